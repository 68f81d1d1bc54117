//! The figures that other tools read of a job, over a learner that is killed; and that no step waits for a collector of
//! traces that is not there.
#![allow(clippy::unwrap_used)]

use anytime_proto::v1::EvaluationSpec;
use anytime_service::metric_names::DROPPED_SPANS;
use anytime_tests::metrics::Sample;
use anytime_tests::ports::free_address;
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use serde_json::Value;

const STEPS: u64 = 16;

/// The same number, but for what reading its decimals may cost.
fn assert_same(value: &Value, number: f64) {
    let read = value.as_f64().expect("a number");
    assert!((read - number).abs() <= 1e-12 * number.abs(), "{read} and {number}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_of_a_killed_job_stand_once_each() {
    within(150, async {
        let mut stack = Stack::start(1).await;
        let nowhere = format!("http://{}", free_address());
        let mut spec = stack.workplace.train("figures", STEPS);
        spec.checkpoint.as_mut().unwrap().recovery_every = Some(5);
        spec.evaluation = Some(EvaluationSpec {
            budgets: vec![6, 12],
            samples: Some(1),
            every: Some(0),
            ..stack.workplace.demo_train().evaluation.unwrap()
        });
        let job = stack.submit("figures", spec).await;
        // Behind a checkpoint, so that steps are undone.
        for step in [8, 13] {
            stack.wait_for_step(&job.id, step, 60).await;
            stack.learner.process.kill();
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere.clone());
            stack.restart_learner_with(&[endpoint]).await;
        }
        let ended = stack.wait_for_success(&job.id, 90).await;
        let history = stack.history(&job.id).await;
        assert!(!history.went_on().is_empty(), "steps were undone");

        let directory = stack.job_directory(&job.id);
        let text = std::fs::read_to_string(directory.join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of = |event: &str| -> Vec<&Value> { lines.iter().filter(|line| line["event"] == event).collect() };
        let steps = history.steps();
        assert_eq!(steps.len() as u64, STEPS);
        assert_eq!(of("step").len(), steps.len());
        for (line, step) in of("step").into_iter().zip(&steps) {
            assert_eq!(line["step"], step.step);
            assert_same(&line["train/loss"], step.loss);
            for (budget, reward) in [6, 12].into_iter().zip(&step.reward_per_budget) {
                assert_same(&line[format!("reward/budget_{budget}")], *reward);
            }
        }
        assert_eq!(of("evaluation").len(), ended.evaluations.len());
        for (line, result) in of("evaluation").into_iter().zip(&ended.evaluations) {
            assert_eq!(line["step"], result.step);
            assert_same(&line["eval/accuracy/mean"], result.anytime);
        }
        let numbers: Vec<u64> = lines.iter().map(|line| line["number"].as_u64().unwrap()).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
        // The one before the last start is emptied.
        let files = std::fs::read_dir(directory.join("tensorboard")).unwrap();
        let sizes: Vec<u64> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
        assert!(sizes.len() <= 2, "{sizes:?}");
        assert_eq!(sizes.iter().filter(|size| **size > 0).count(), 1, "{sizes:?}");

        let out = stack.workplace.path("report").display().to_string();
        let report = stack.anytime(&["report", &job.id, "--out", &out], 30).await.expect(0);
        assert!(
            report.stdout.contains("metrics.jsonl and tensorboard/"),
            "{}",
            report.stdout
        );
        assert!(report.stdout.contains("timeline.svg"), "{}", report.stdout);

        // Spans that found no collector are counted, and the log says so once in each of the two processes.
        eventually("dropped spans", 30, async || {
            let metrics = stack.learner_metrics().await;
            let is_of_them = |sample: &&Sample| {
                sample.series.starts_with(DROPPED_SPANS) && sample.series.contains("reason=\"not_sent\"")
            };
            let dropped = metrics.iter().find(is_of_them)?.value;
            (dropped >= 1.0).then_some(())
        })
        .await;
        let said = stack.learner.process.log().matches("traces cannot be sent").count();
        assert!((1..=2).contains(&said), "{said}");
        stack.anytime(&["delete", &job.id, "--with-models"], 30).await.expect(0);
        assert!(!directory.exists());
    })
    .await;
}
