//! A job from end to end where everything is encrypted, every caller has a certificate and a token, and Redis asks for a
//! password and a certificate.

use std::ffi::OsString;
use std::net::TcpStream;
use std::process::Command;

use anytime_tests::metrics::sum;
use anytime_tests::ports::free_address;
use anytime_tests::process::Process;
use anytime_tests::programs::{binary, redis_server};
use anytime_tests::prometheus::Prometheus;
use anytime_tests::secrets::{Secrets, tls_in_front_of};
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;

use crate::security::{learner_arguments, start};

/// A Redis that asks for the set's password, behind TLS that asks for a certificate of the set. The servers that the tests
/// fetch are built without TLS, so that what speaks it stands before the server.
async fn redis(workplace: &Workplace, secrets: &Secrets) -> (Process, String) {
    let address = free_address();
    let (_, port) = address.rsplit_once(':').unwrap();
    let directory = workplace.path("redis");
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new(redis_server());
    command.args(["--bind", "127.0.0.1", "--port", port, "--save", "", "--requirepass"]);
    command
        .arg(secrets.text("redis.password").trim())
        .arg("--dir")
        .arg(&directory);
    let process = Process::start("redis", command, workplace.mark(), &workplace.path("logs"));
    eventually("redis", 30, async || TcpStream::connect(&address).ok()).await;
    let secured = tls_in_front_of(&address, secrets.server_config()).await;
    (process, format!("rediss://{secured}"))
}

fn redis_arguments(secrets: &Secrets, own: Option<&str>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "--redis-ca".into(),
        secrets.path("ca.pem").into(),
        "--redis-password-file".into(),
        secrets.path("redis.password").into(),
    ];
    if let Some(name) = own {
        arguments.extend(["--redis-cert".into(), secrets.path(&format!("{name}.pem")).into()]);
        arguments.extend(["--redis-key".into(), secrets.path(&format!("{name}.key")).into()]);
    }
    arguments
}

fn calling(secrets: &Secrets, role: &str) -> Vec<String> {
    let file = |name: &str| secrets.path(&format!("{role}.{name}"));
    [
        ("--tls-ca", secrets.path("ca.pem")),
        ("--tls-cert", file("pem")),
        ("--tls-key", file("key")),
        ("--token-file", file("token")),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_runs_where_everybody_shows_who_they_are() {
    within(300, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        let (_redis, redis_url) = redis(&workplace, &secrets).await;
        let mut arguments = learner_arguments(&workplace, &redis_url);
        arguments.extend(secrets.serving("server", true));
        arguments.extend(redis_arguments(&secrets, Some("server")));
        let learner = start(&workplace, "learner", "learner", &arguments).await;
        let verifier = start(&workplace, "verifier", "verifier", &secrets.serving("server", true)).await;
        let actor_metrics = free_address();
        let mut command = Command::new(binary("anytime-actor"));
        command.args(["--threads", "1", "--device", "cpu", "--actor-id", "actor-1"]);
        command.args(["--learner", &format!("https://{}", learner.address)]);
        command.args(["--verifier", &format!("https://{}", verifier.address)]);
        command.args(["--metrics-address", &actor_metrics]);
        command.args(calling(&secrets, "act"));
        command.args(["--access", &secrets.path("access")]);
        let mut actor = Process::start("actor-1", command, workplace.mark(), &workplace.path("logs"));

        let address = format!("https://{}", learner.address);
        let anytime = async |command: &[&str], set: &Secrets, role: &str, seconds: u64| {
            let calling = calling(set, role);
            let calling: Vec<&str> = calling.iter().map(String::as_str).collect();
            let arguments = [command, &["--learner", &address], &calling].concat();
            workplace.anytime(&arguments, seconds).await
        };
        let job = workplace
            .write_job(&workplace.train("secured", 6))
            .display()
            .to_string();
        // A caller that may only look, or that is of another cluster, cannot submit.
        let denied = anytime(&["submit", &job], &secrets, "read", 30).await.expect(64);
        assert!(denied.stderr.contains("the role of the token"), "{}", denied.stderr);
        let stranger = anytime(&["submit", &job], &foreign, "submit", 60).await;
        assert_ne!(stranger.code, 0, "{}", stranger.stderr);
        let listed = anytime(&["list", "--json"], &secrets, "read", 30).await.expect(0);
        assert_eq!(listed.json(), serde_json::json!([]), "nothing was submitted");

        let submitted = anytime(&["submit", &job, "--watch"], &secrets, "submit", 200).await;
        assert_eq!(submitted.code, 0, "{}\n{}", submitted.stdout, submitted.stderr);
        let listed = anytime(&["list", "--json"], &secrets, "read", 30)
            .await
            .expect(0)
            .json();
        assert_eq!(listed[0]["state"], "succeeded", "{listed}");
        let id = listed[0]["id"].as_str().unwrap().to_owned();
        anytime(&["audit", &id], &secrets, "read", 30).await.expect(0);
        // This Redis keeps nothing, and the doctor, who may only look, says so.
        let doctor = anytime(&["doctor", "--json"], &secrets, "read", 30).await.expect(1);
        let found = &doctor.json()["findings"];
        let kinds: Vec<&str> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["kind"].as_str().unwrap())
            .collect();
        assert!(kinds.contains(&"redis_not_durable"), "{kinds:?}");
        let denied = anytime(&["doctor"], &secrets, "act", 30).await.expect(64);
        assert!(denied.stderr.contains("refuses this"), "{}", denied.stderr);
        actor.assert_runs();

        // Prometheus, with the configuration of the containers, sees all of them. It shows no certificate.
        let samples = secrets.scrape(&actor_metrics, None).await;
        assert!(sum(&samples, "anytime_actor_groups_total", "outcome=\"pushed\"") >= 24.0);
        std::fs::copy(secrets.path("read.token"), secrets.path("prometheus.token")).unwrap();
        let plain_verifier = start(&workplace, "verifier", "scraped", &secrets.serving("server", false)).await;
        let targets = [
            ("actor", vec![actor_metrics.clone()]),
            ("verifier", vec![plain_verifier.metrics.clone()]),
            ("learner", vec![plain_verifier.metrics.clone()]),
        ];
        let prometheus = Prometheus::start_with(&workplace, &targets, Some(&secrets)).await;
        eventually("prometheus scrapes them", 30, async || {
            let up = prometheus.query("up{job=~\"actor|verifier|learner\"}").await;
            (up == [1.0, 1.0, 1.0]).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_does_not_know_the_learner_is_said() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        let (_redis, url) = redis(&workplace, &secrets).await;
        let refused = async |arguments: Vec<OsString>, code: i32| {
            let mut command = Command::new(binary("anytime-learner"));
            command.args(["--listen", "127.0.0.1:0"]).args(arguments);
            workplace.mark().put_on(&mut command);
            workplace.run(command, 60).await.expect(code).stderr
        };
        let with = |extra: Vec<OsString>| [learner_arguments(&workplace, &url), extra].concat();
        // No certificate, and a Redis that is not who it should be: it cannot be reached, which is tried for a while.
        let none = with(redis_arguments(&secrets, None));
        let other = with(redis_arguments(&foreign, Some("server")));
        let (none, other) = tokio::join!(refused(none, 69), refused(other, 69));
        for said in [none, other] {
            assert!(said.contains("error: --redis 127.0.0.1:"), "{said}");
        }
        // A wrong password is bad configuration.
        let wrong = workplace.path("wrong");
        std::fs::write(&wrong, "wrong\n").unwrap();
        let mut arguments = redis_arguments(&secrets, Some("server"));
        arguments[3] = wrong.into_os_string();
        let said = refused(with(arguments), 64).await;
        assert!(said.contains("error: --redis 127.0.0.1:"), "{said}");
        // Arguments for TLS are refused beside a URL without it.
        let plain = learner_arguments(&workplace, "redis://127.0.0.1:1");
        let said = refused([plain, redis_arguments(&secrets, None)].concat(), 64).await;
        assert!(said.contains("--redis is not rediss://"), "{said}");
    })
    .await;
}
