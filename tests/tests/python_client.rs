//! The Python client against real servers: its wheel is built and installed, and its own tests (clients/python/tests)
//! submit, follow, report and delete a job, show certificates and tokens, and read the figures of a job with TensorBoard. Skips, with a message, where pip reaches no
//! package index.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use anytime_proto::v1::{EvaluationSpec, JobSpec};
use anytime_tests::ports::free_address;
use anytime_tests::process::Process;
use anytime_tests::programs::{binary, repository};
use anytime_tests::secrets::Secrets;
use anytime_tests::stack::{Stack, start_redis};
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::{Ended, Workplace};

/// What clients/python/run.sh ends with where nothing can be installed.
const UNAVAILABLE: i32 = 69;

/// Longest time of the client's tests, with the installation of what they need.
const PYTEST_SECONDS: u64 = 480;

/// Runs tests of the client, all without a file, with these variables.
async fn pytest(workplace: &Workplace, files: &[&str], environment: &[(&str, String)]) -> Ended {
    let mut command = Command::new(repository().join("clients/python/run.sh"));
    workplace.mark().put_on(&mut command);
    command
        .args(["test", "-rs"])
        .args(files)
        .env("VENV", repository().join(".deps/python-tests"))
        .env("ANYTIME_TEST_CLI", binary("anytime"));
    for (name, value) in environment {
        command.env(name, value);
    }
    workplace.run(command, PYTEST_SECONDS).await
}

/// A small job with an evaluation before and one after its steps.
fn job(workplace: &Workplace) -> JobSpec {
    let mut spec = workplace.train("python", 6);
    spec.evaluation = Some(EvaluationSpec {
        budgets: vec![6, 12],
        samples: Some(1),
        every: Some(0),
        ..workplace.demo_train().evaluation.unwrap()
    });
    spec
}

/// A learner that asks for certificates and tokens, and where it listens.
async fn start_secure_learner(workplace: &Workplace, secrets: &Secrets, redis_url: &str) -> (Process, String) {
    let port_file = workplace.path("secure.port");
    let mut command = Command::new(binary("anytime-learner"));
    command.args(["--listen", "127.0.0.1:0", "--threads", "1", "--device", "cpu"]);
    command.args([
        "--redis",
        redis_url,
        "--metrics-address",
        &free_address(),
        "--port-file",
    ]);
    command.arg(&port_file).arg("--root").arg(workplace.path(""));
    command.arg("--runs-dir").arg(workplace.path("runs"));
    command.args(secrets.serving("server", true));
    let mut learner = Process::start("learner", command, workplace.mark(), &workplace.path("logs"));
    let address = eventually("the learner listens", 60, async || {
        learner.assert_runs();
        std::fs::read_to_string(&port_file).ok()
    })
    .await;
    (learner, address.trim().to_owned())
}

// One test, because both parts install into the same directory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "builds a wheel and fetches its dependencies; make test-python runs it"]
async fn jobs_are_submitted_and_followed_from_python() {
    within(900, async {
        let stack = Stack::start(1).await;
        let job_file = stack.workplace.write_job(&job(&stack.workplace));
        let environment = [
            ("ANYTIME_LEARNER", format!("http://{}", stack.learner.address)),
            ("ANYTIME_TEST_JOB", job_file.display().to_string()),
            ("ANYTIME_TEST_RUNS", stack.workplace.path("runs").display().to_string()),
        ];
        let ended = pytest(&stack.workplace, &[], &environment).await;
        if ended.code == UNAVAILABLE {
            println!("skipped: {}", ended.stderr);
            return;
        }
        let ended = ended.expect(0);
        println!("{}", ended.stdout);
        drop(stack);

        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let (_redis, redis_url) = start_redis(&workplace).await;
        let (_learner, address) = start_secure_learner(&workplace, &secrets, &redis_url).await;
        let environment = [
            ("ANYTIME_LEARNER", format!("https://{address}")),
            ("ANYTIME_TEST_SECRETS", workplace.path("secrets").display().to_string()),
        ];
        let ended = pytest(&workplace, &["tests/test_access.py"], &environment)
            .await
            .expect(0);
        println!("{}", ended.stdout);
    })
    .await;
}

#[test]
fn the_wheels_have_the_version_of_the_workspace() {
    for package in ["python", "verifier-python"] {
        let file = repository().join("clients").join(package).join("pyproject.toml");
        let project: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        let version = project["project"]["version"].as_str();
        assert_eq!(version, Some(env!("CARGO_PKG_VERSION")), "{package}");
    }
}
