//! What a job came to, without what depends on time: for the comparison of two runs bit by bit.

use std::path::Path;

use anytime_proto::v1::{EvaluationResult, Job, StepMetrics};

use crate::history::History;

/// The numbers of a job that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// A text of each step's metrics. Numbers are written so that two of them have one text only where they are the same
    /// number.
    pub steps: Vec<String>,
    /// A text of each evaluation.
    pub evaluations: Vec<String>,
    /// The file of the last weights.
    pub weights: Vec<u8>,
}

impl Outcome {
    /// The outcome of a job whose last export is the directory `model`.
    pub fn of(job: &Job, history: &History, model: &Path) -> Self {
        let weights = model.join("model.safetensors");
        Self {
            steps: history
                .steps()
                .into_iter()
                .map(|step| format!("{:?}", timeless_step(step)))
                .collect(),
            evaluations: (job.evaluations.iter().cloned())
                .map(|result| format!("{:?}", timeless_evaluation(result)))
                .collect(),
            weights: std::fs::read(&weights).unwrap_or_else(|error| panic!("{}: {error}", weights.display())),
        }
    }

    /// The first thing that differs; None where nothing does.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let of_lists = |what: &str, one: &[String], other: &[String]| {
            if one.len() != other.len() {
                return Some(format!("{} and {} {what}s", one.len(), other.len()));
            }
            let index = one.iter().zip(other).position(|(one, other)| one != other)?;
            Some(format!("{what} {}:\n{}\n{}", index + 1, one[index], other[index]))
        };
        of_lists("step", &self.steps, &other.steps)
            .or_else(|| of_lists("evaluation", &self.evaluations, &other.evaluations))
            .or_else(|| (self.weights != other.weights).then(|| "the weights".to_owned()))
    }
}

fn timeless_step(step: StepMetrics) -> StepMetrics {
    let mut step = StepMetrics {
        generated_tokens_per_second: 0.0,
        queue_depth: 0,
        wait_seconds: 0.0,
        step_seconds: 0.0,
        timeline: None,
        ..step
    };
    if let Some(account) = &mut step.account {
        // It covers the job's id, which differs between two jobs of one learner.
        account.weights_checksum.clear();
    }
    step
}

fn timeless_evaluation(result: EvaluationResult) -> EvaluationResult {
    EvaluationResult {
        seconds: 0.0,
        // A path, which differs between runs.
        generations: String::new(),
        ..result
    }
}
