//! A study with every process real: it is killed in the middle of a run, goes on, and does no run twice.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use anytime_tests::process::Process;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use serde_json::Value;

const STUDY: &str = r#"
title = "A small study"
base = "demo"
methods = ["grpo", "ar-uniform"]
seeds = [3]

[data]
train = 100
test = 8
sft = 640

[set]
rollout = { budgets = [6, 12], traces = 4 }
training = { steps = 12, batch = 4 }
evaluation = { samples = 1, every = 6 }
checkpoint.recovery_every = 2

[warm_start]
training = { steps = 10, warmup_updates = 2 }
"#;

const COMMAND: [&str; 8] = [
    "study",
    "study.toml",
    "--out",
    "out",
    "--actors",
    "1",
    "--device",
    "cpu",
];

fn results(workplace: &Workplace) -> Vec<Value> {
    let text = std::fs::read_to_string(workplace.path("out/results.json")).unwrap_or_else(|_| "[]".to_owned());
    serde_json::from_str(&text).unwrap()
}

/// The job that a run has submitted. A directory whose name begins with a dot is of a job that is being created.
fn job_of(run: &Path) -> Option<String> {
    let entries = std::fs::read_dir(run).ok()?.flatten();
    let of_jobs = entries.filter(|entry| entry.path().join("job.pb").is_file());
    let mut names = of_jobs.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|name| !name.starts_with('.'))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_that_was_killed_goes_on_and_runs_nothing_twice() {
    within(110, async {
        let workplace = Workplace::new();
        std::fs::write(workplace.path("study.toml"), STUDY).unwrap();
        let logs = workplace.path("study-logs");
        let mut first = Process::start("study", workplace.command(&COMMAND), workplace.mark(), &logs);
        let second_run = workplace.path("out/seed-3/ar-uniform");
        let interrupted = eventually("the second run's job", 80, async || {
            first.assert_runs();
            job_of(&second_run)
        })
        .await;
        first.kill();
        eventually("the end of its processes", 20, async || {
            workplace.mark().processes().is_empty().then_some(())
        })
        .await;
        let before = results(&workplace);
        assert_eq!(before.len(), 1, "what was done is kept");
        assert_eq!(
            (&before[0]["preset"], &before[0]["seed"]),
            (&"demo/grpo".into(), &3.into())
        );

        let resumed = workplace.anytime(&COMMAND, 80).await.expect(0);
        assert!(!resumed.stderr.contains("warm start with seed"), "{}", resumed.stderr);
        assert!(!resumed.stderr.contains("run 1 of 2"), "{}", resumed.stderr);
        workplace.assert_nothing_runs();
        let after = results(&workplace);
        assert_eq!(after[0], before[0]);
        assert_eq!(
            after[1]["job_id"],
            interrupted.as_str(),
            "the job went on, it was not begun again"
        );
        for (result, budgets) in after.iter().zip([&[12][..], &[6, 12][..]]) {
            assert_eq!(
                result["budgets"],
                serde_json::json!([6, 12]),
                "every method is evaluated at all budgets"
            );
            assert_eq!(result["settings"]["rollout"]["budgets"], serde_json::json!(budgets));
            let steps: Vec<u64> = result["evaluations"]
                .as_array()
                .unwrap()
                .iter()
                .map(|point| point["step"].as_u64().unwrap())
                .collect();
            assert_eq!(steps, [0, 6, 12]);
            assert!(result["generated_tokens"].as_u64().unwrap() > 0);
            assert!(
                workplace
                    .path("out")
                    .join(result["run"].as_str().unwrap())
                    .join("report.json")
                    .is_file()
            );
        }
        let at_start = |result: &Value| result["evaluations"][0]["accuracy"].clone();
        assert_eq!(
            at_start(&after[0]),
            at_start(&after[1]),
            "one warm start for all methods of a seed"
        );
        let report = std::fs::read_to_string(workplace.path("out/report.html")).unwrap();
        assert!(report.contains("A small study") && report.contains("AR-uniform (BRPO) beats GRPO"));

        let again = workplace.anytime(&COMMAND, 20).await.expect(0);
        assert!(!again.stderr.contains("study: run"), "{}", again.stderr);
        assert_eq!(results(&workplace), after);
        let changed = STUDY.replace("samples = 1", "samples = 2");
        std::fs::write(workplace.path("study.toml"), changed).unwrap();
        let refused = workplace.anytime(&COMMAND, 20).await.expect(64);
        assert!(refused.stderr.contains("other settings"), "{}", refused.stderr);
        assert_eq!(results(&workplace), after);
    })
    .await;
}
