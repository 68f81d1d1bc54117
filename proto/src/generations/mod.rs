//! What an evaluation generated, kept beside its job for reading: `generations/step-NNNNNNNN.jsonl`, one
//! [`KeptProblem`] a line. The learner writes it; the command line reads it from disk or asks the learner for a line.
//!
//! All texts are decoded tokens, which may lose what is no text; nothing reads them back as tokens.

mod files;

use serde::{Deserialize, Serialize};

pub use files::{DIRECTORY, Kept, LookupError, kept_steps, step_file};

/// What was asked, and how right the answers were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProblemHead {
    /// The problem's row in the data set, from 0.
    pub row: u64,
    /// Its id: the row's own, else its number.
    pub id: String,
    /// The question as it is in the data set.
    pub problem: String,
    /// Answers that count as right.
    pub ground_truths: Vec<String>,
    /// b_1 < … < b_S in thinking tokens.
    pub budgets: Vec<u32>,
    /// A.
    pub summaries_per_budget: u32,
    /// Mean score at every budget, over traces and summaries.
    pub accuracy: Vec<f64>,
}

impl ProblemHead {
    /// Unweighted mean of the accuracy over the budgets.
    pub fn anytime(&self) -> f64 {
        self.accuracy.iter().sum::<f64>() / self.accuracy.len().max(1) as f64
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and lists always have a JSON form")
    }
}

/// One problem with everything that was generated for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptProblem {
    /// What was asked.
    #[serde(flatten)]
    pub head: ProblemHead,
    /// What was thought and answered.
    pub traces: Vec<KeptTrace>,
}

/// One thinking with its summaries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptTrace {
    /// The thinking, its end marker included.
    pub thinking: String,
    /// Its length in tokens.
    pub tokens: u32,
    /// How it ended: `end_marker`, `length` (the largest budget) or `eos`.
    pub finish: String,
    /// By ascending cut.
    pub nodes: Vec<KeptNode>,
}

/// A point at which the thinking was summarised.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptNode {
    /// The budgets that it represents: several where the thinking had ended by then.
    pub budgets: Vec<u32>,
    /// The summaries see this many thinking tokens.
    pub cut: u32,
    /// The same as characters (Unicode scalar values) of `thinking`.
    pub cut_at: usize,
    /// Inserted between the thinking and each summary.
    pub inserted: String,
    /// A for each of `budgets`, in their order.
    pub summaries: Vec<KeptSummary>,
}

/// One summary and what it was worth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeptSummary {
    /// What was generated, without the end of sequence.
    pub text: String,
    /// Generated tokens, the end of sequence included.
    pub tokens: u32,
    /// How it ended: `length` or `eos`.
    pub finish: String,
    /// The verifier's verdict by its short name, such as `correct`.
    pub verdict: String,
    /// The answer that was read out of it; null where there was none.
    pub extracted: Option<String>,
    /// Whether exactly one end marker is between the start of the thinking and the end of the summary.
    pub formatted: bool,
    /// 1 where it is correct and formatted, else 0.
    pub score: f32,
}
