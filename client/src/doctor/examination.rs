//! What the learner said, and what follows from it.

use anytime_proto::v1;

use super::findings::{self, Finding};
use super::{going_on, pace};
use crate::arguments::LearnerArgs;

/// What the learner said, and what follows from it.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Where the learner is.
    pub learner: String,
    /// What commands need behind them to reach the same learner; empty where they find it by themselves.
    pub learner_argument: String,
    /// What it said.
    pub diagnosis: v1::Diagnosis,
    /// What is wrong, the likeliest cause first, and what should be known besides.
    pub findings: Vec<Finding>,
    /// The likeliest fault or bottleneck in a sentence.
    pub verdict: String,
}

impl Examination {
    /// What follows from a diagnosis by the learner that these arguments name.
    pub fn of(diagnosis: v1::Diagnosis, arguments: &LearnerArgs) -> Self {
        let learner_argument = going_on::learner_argument(&arguments.learner);
        let findings = findings::of(&diagnosis, &learner_argument);
        let verdict = match findings.iter().find(|finding| finding.is_fault) {
            Some(fault) => fault.in_words(),
            None => pace::in_words(&diagnosis),
        };
        Self {
            learner: arguments.learner.clone(),
            learner_argument,
            diagnosis,
            findings,
            verdict,
        }
    }

    /// Whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| !finding.is_fault)
    }
}
