//! Jobs that cannot work are refused with one clear line that names the setting and exit code 64, and leave nothing
//! half-started behind.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use anytime_proto::v1::objective_spec::Settings;
use anytime_proto::v1::{self, JobSpec};
use anytime_tests::ports::free_address;
use anytime_tests::programs::binary;
use anytime_tests::stack::Stack;
use anytime_tests::wait::within;
use anytime_tests::workplace::{Ended, Workplace};

/// One thing that is wrong with a job.
struct Case {
    name: &'static str,
    /// Makes the job wrong; may write files into the workplace.
    spoil: fn(&Workplace, &mut JobSpec),
    /// The texts that the error must contain.
    says: &'static [&'static str],
}

const CASES: [Case; 14] = [
    Case {
        name: "a model directory that is not there",
        spoil: |_, spec| model(spec).path = Some("nowhere/model".to_owned()),
        says: &["model.path", "nowhere/model"],
    },
    Case {
        name: "a model without its weights",
        spoil: |_, spec| model(spec).initialise = Some(false),
        says: &["model.path", "model.safetensors"],
    },
    Case {
        name: "a model whose weights are cut short",
        spoil: |workplace, spec| {
            copy_model(workplace, "torn");
            std::fs::write(
                workplace.path("torn/model.safetensors"),
                [200, 0, 0, 0, 0, 0, 0, 0, b'{'],
            )
            .unwrap();
            model(spec).path = Some("torn".to_owned());
            model(spec).initialise = Some(false);
        },
        says: &["model.path", "model.safetensors"],
    },
    Case {
        name: "a marker that tokenises to nothing",
        // The demo's vocabulary holds its own characters and no other.
        spoil: |_, spec| spec.markers.get_or_insert_default().cut = Some("\u{1F914}".to_owned()),
        says: &["markers.cut"],
    },
    Case {
        name: "a marker that contains another",
        spoil: |_, spec| spec.markers.get_or_insert_default().cut = Some("...</think>".to_owned()),
        says: &["markers.cut", "markers.end"],
    },
    Case {
        name: "an end marker that is empty",
        spoil: |_, spec| spec.markers.get_or_insert_default().end = Some(String::new()),
        says: &["markers.end"],
    },
    Case {
        name: "a data row without answer",
        spoil: |workplace, spec| {
            let rows = "{\"problem\": \"1+2=\", \"answer\": 3}\n{\"problem\": \"2+2=\"}\n";
            std::fs::write(workplace.path("unanswered.jsonl"), rows).unwrap();
            spec.data.get_or_insert_default().path = vec!["unanswered.jsonl".to_owned()];
        },
        says: &["data.path", "unanswered.jsonl", "line 2", "answer"],
    },
    Case {
        name: "data that is not there",
        spoil: |_, spec| spec.data.get_or_insert_default().path = vec!["no.jsonl".to_owned()],
        says: &["data.path", "no.jsonl"],
    },
    Case {
        name: "budgets that do not ascend",
        spoil: |_, spec| spec.rollout.get_or_insert_default().budgets = vec![12, 6],
        says: &["rollout.budgets", "[12, 6]"],
    },
    Case {
        name: "a prior that does not sum to 1",
        spoil: |_, spec| {
            let objective = spec.objective.get_or_insert_default();
            objective.set_prior(v1::Prior::Explicit);
            objective.prior_weights = vec![0.5, 0.4];
        },
        says: &["objective.prior_weights", "sum 1"],
    },
    Case {
        name: "budgets beyond the model's positions",
        spoil: |_, spec| spec.rollout.get_or_insert_default().budgets = vec![6, 1000],
        says: &["rollout.budgets", "max_position_embeddings"],
    },
    Case {
        name: "a setting of another objective",
        spoil: |_, spec| {
            let objective = spec.objective.get_or_insert_default();
            objective.name = Some("brpo".to_owned());
            objective.settings = Some(Settings::Degrpo(v1::DeGrpoSpec::default()));
        },
        says: &["objective.degrpo", "objective.name \"brpo\""],
    },
    Case {
        name: "budgets that do not hold an end marker that is forced",
        spoil: |_, spec| {
            adaptthink(spec);
            spec.markers.get_or_insert_default().end = Some("123456".to_owned());
            spec.rollout.get_or_insert_default().budgets = vec![2, 12];
        },
        says: &["rollout.budgets", "end marker"],
    },
    Case {
        name: "two problems that share their reference accuracy",
        spoil: |workplace, spec| {
            adaptthink(spec);
            let rows = "{\"problem\": \"1+2=\", \"answer\": 3, \"id\": \"twice\"}\n\
                        {\"problem\": \"2+2=\", \"answer\": 4, \"id\": \"twice\"}\n";
            std::fs::write(workplace.path("twice.jsonl"), rows).unwrap();
            spec.data.get_or_insert_default().path = vec!["twice.jsonl".to_owned()];
        },
        says: &["data.path", "twice"],
    },
];

fn adaptthink(spec: &mut JobSpec) {
    spec.objective = Some(v1::ObjectiveSpec {
        name: Some("adaptthink".to_owned()),
        ..Default::default()
    });
}

fn model(spec: &mut JobSpec) -> &mut v1::ModelSpec {
    spec.model.get_or_insert_default()
}

fn copy_model(workplace: &Workplace, name: &str) {
    let target = workplace.path(name);
    std::fs::create_dir_all(&target).unwrap();
    for entry in std::fs::read_dir(workplace.path("model")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, target.join(path.file_name().unwrap())).unwrap();
    }
}

/// The error that was printed; an excerpt of a job file may follow it.
fn error_of(name: &str, ended: &Ended) -> String {
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let starts: Vec<usize> = (0..lines.len())
        .filter(|index| lines[*index].starts_with("error: "))
        .collect();
    assert_eq!(starts.len(), 1, "{name}: one error\n{}", ended.stderr);
    lines[starts[0]..].join("\n")
}

/// Panics unless the error is one line, as it is unless it quotes a job file.
fn assert_one_line(name: &str, ended: &Ended) {
    let error = error_of(name, ended);
    assert_eq!(error.lines().count(), 1, "{name}: {error}");
}

fn assert_refused(name: &str, ended: Ended, says: &[&str]) {
    let ended = ended.expect(64);
    let error = error_of(name, &ended);
    assert!(
        says.iter().all(|text| error.contains(text)),
        "{name}: {says:?}: {error}"
    );
    assert!(ended.stdout.is_empty(), "{name}: {}", ended.stdout);
}

/// Panics if anything in the runs directory looks like a job, finished or not.
fn assert_no_job(name: &str, runs: &Path) {
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        assert!(
            !entry.path().join("job.pb").exists(),
            "{name}: {} is left",
            entry.path().display()
        );
        let file_name = entry.file_name().to_string_lossy().into_owned();
        assert!(!file_name.starts_with(".submitting"), "{name}: {file_name} is left");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_local_run_refuses_what_cannot_work() {
    within(150, async {
        let workplace = Workplace::new();
        for case in CASES {
            let mut spec = workplace.train("refused", 2);
            (case.spoil)(&workplace, &mut spec);
            let job_file = workplace.write_job(&spec);
            let arguments = ["local", job_file.to_str().unwrap(), "--actors", "1", "--device", "cpu"];
            let ended = workplace.anytime(&arguments, 40).await;
            assert_one_line(case.name, &ended);
            assert_refused(case.name, ended, case.says);
            workplace.assert_nothing_runs();
            assert!(
                !workplace.path("runs/refused").exists(),
                "{}: its directory is left",
                case.name
            );
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_learner_refuses_the_same_and_goes_on() {
    within(90, async {
        let mut stack = Stack::start(1).await;
        for case in CASES {
            let mut spec = stack.workplace.train("refused", 2);
            (case.spoil)(&stack.workplace, &mut spec);
            let job_file = stack.workplace.write_job(&spec);
            let ended = stack.anytime(&["submit", job_file.to_str().unwrap()], 20).await;
            assert_one_line(case.name, &ended);
            assert_refused(case.name, ended, case.says);
            assert_no_job(case.name, &stack.workplace.path("runs"));
        }
        assert_eq!(
            stack.anytime(&["list", "--json"], 20).await.expect(0).json(),
            serde_json::json!([])
        );
        let spec = stack.workplace.train("good", 2);
        let job = stack.submit("good", spec).await;
        stack.wait_for_success(&job.id, 60).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_file_with_an_unknown_setting_is_refused_by_name() {
    within(30, async {
        let workplace = Workplace::new();
        let job_file = workplace.write_job(&workplace.train("refused", 2));
        let text = std::fs::read_to_string(&job_file).unwrap();
        let text = text.replace("[training]\n", "[training]\nlerning_rate = 1e-3\n");
        std::fs::write(&job_file, text).unwrap();
        let job_file = job_file.to_str().unwrap();
        for command in [&["local", job_file][..], &["check", job_file], &["submit", job_file]] {
            assert_refused(
                command[0],
                workplace.anytime(command, 20).await,
                &["refused.toml", "lerning_rate"],
            );
        }
        workplace.assert_nothing_runs();
        assert!(!workplace.path("runs").exists(), "refused before anything was made");
    })
    .await;
}

/// A learner with this Redis, which is not there.
async fn learner_alone(workplace: &Workplace, redis: &str) -> Ended {
    let mut command = std::process::Command::new(binary("anytime-learner"));
    workplace.mark().put_on(&mut command);
    command
        .args(["--listen", "127.0.0.1:0", "--redis", redis])
        .args(["--runs-dir", "learner-runs"])
        .current_dir(workplace.path(""));
    workplace.run(command, 30).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_redis_is_named() {
    within(60, async {
        let workplace = Workplace::new();
        let job_file = workplace.write_job(&workplace.train("refused", 2));
        let nobody = free_address();
        let redis = format!("redis://{nobody}");
        let arguments = ["local", job_file.to_str().unwrap(), "--redis", &redis];
        // It is tried for ten seconds, and a learner by itself tries at the same time.
        let apart = Workplace::new();
        let (ended, of_learner) = tokio::join!(workplace.anytime(&arguments, 30), learner_alone(&apart, &redis));
        let ended = ended.expect(69);
        assert_one_line("redis", &ended);
        let error = error_of("redis", &ended);
        assert!(error.contains(&nobody) && error.contains("--redis"), "{error}");
        workplace.assert_nothing_runs();

        // The learner by itself says the same.
        let error = error_of("the learner's redis", &of_learner);
        assert!(error.contains(&nobody) && error.contains("--redis"), "{error}");
        assert_eq!(of_learner.code, 69, "{error}");
        assert!(!apart.path("learner-runs").exists(), "refused before anything was made");

        let arguments = ["local", job_file.to_str().unwrap(), "--redis", "localhost"];
        assert_refused("redis", workplace.anytime(&arguments, 30).await, &["--redis localhost"]);
        workplace.assert_nothing_runs();
        assert_no_job("redis", &workplace.path("runs/refused"));
    })
    .await;
}
