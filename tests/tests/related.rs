//! A job whose objective remembers something, through real processes: AdaptThink's forced halves and the reference
//! accuracies that outlive the learner.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use anytime_proto::v1::AdaptThinkSpec;
use anytime_proto::v1::objective_spec::Settings;
use anytime_tests::stack::Stack;
use anytime_tests::wait::within;
use serde_json::Value;

/// Samples per training problem.
const SAMPLES: u32 = 2;

/// The reference accuracies in the newest recovery checkpoint.
fn remembered(job_directory: &Path) -> Value {
    let checkpoints = std::fs::read_dir(job_directory.join("recovery")).unwrap();
    let complete = checkpoints
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none());
    let text = std::fs::read_to_string(complete.max().unwrap().join("state.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["references"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reference_accuracies_are_measured_once_and_outlive_a_killed_learner() {
    let steps = 12;
    within(150, async {
        let mut stack = Stack::start(2).await;
        let mut spec = stack.workplace.train("adapt", steps);
        let objective = spec.objective.get_or_insert_default();
        *objective = anytime_proto::v1::ObjectiveSpec {
            settings: Some(Settings::Adaptthink(AdaptThinkSpec {
                reference_samples: Some(SAMPLES),
                ..Default::default()
            })),
            ..Default::default()
        };
        let job = stack.submit("one", spec).await;
        stack.wait_for_step(&job.id, 3, 120).await;
        let before = remembered(&stack.job_directory(&job.id));
        stack.learner.process.kill();
        stack.restart_learner().await;
        stack.wait_for_success(&job.id, 90).await;

        let problems = std::fs::read_to_string(stack.workplace.path("data/train.jsonl")).unwrap();
        assert_eq!(before.as_object().unwrap().len(), problems.lines().count());
        assert_eq!(remembered(&stack.job_directory(&job.id)), before);
        // The log is that of both learners.
        let log = stack.learner.process.log();
        let measured = log.matches("reference accuracies measured").count();
        assert_eq!(measured, 1, "the second learner took them from the checkpoint");

        let history = stack.history(&job.id).await;
        for step in history.steps() {
            // Half of the traces end at once, and forced tokens are no disagreement.
            assert!(step.finished_share >= 0.5, "{step:?}");
            assert!(step.fresh_log_prob_gap < 1e-4, "{step:?}");
        }
        stack.assert_trained_once_each(&job.id).await;
    })
    .await;
}
