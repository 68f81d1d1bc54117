//! What a request is told while it is served.

use anytime_proto::WeightsVersion;

use super::error::ApiError;

/// One piece of news, in the order in which it happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Update {
    /// Its thinking has begun.
    Started,
    /// More of the thinking.
    Reasoning(String),
    /// The answer at a budget.
    Checkpoint(Checkpoint),
    /// More of the answer. All pieces together are `Ended::content`.
    Content(String),
    /// The end, and all that is known then.
    Ended(Box<Ended>),
    /// The end without an answer.
    Failed(ApiError),
}

/// The answer at one budget.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checkpoint {
    /// The budget, in thinking tokens.
    pub(crate) budget: u32,
    /// The thinking tokens that the answer has seen, at most the budget.
    pub(crate) thinking_tokens: usize,
    /// The answer in the content, where one is found.
    pub(crate) answer: Option<String>,
    /// The text of the summary that speaks for the most.
    pub(crate) content: String,
    /// The share of the summaries whose answers are equal to it.
    pub(crate) agreement: f64,
    /// Whether the longest summary that is allowed cut it off.
    pub(crate) is_cut_off: bool,
}

/// Why a thinking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhyEnded {
    EndMarker,
    EndOfSequence,
    Budget,
    Agreement,
}

impl WhyEnded {
    /// As it is sent.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EndMarker => "end_marker",
            Self::EndOfSequence => "end_of_sequence",
            Self::Budget => "budget",
            Self::Agreement => "agreement",
        }
    }
}

/// Tokens that a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What it began with: the prompt, and the earlier thinking of a trace that went on.
    pub(crate) prompt: usize,
    /// How many of these were in the cache already.
    pub(crate) cached: usize,
    /// How many were computed for this request.
    pub(crate) computed: usize,
    /// Thinking tokens that were drawn for it.
    pub(crate) reasoning: usize,
    /// Tokens of all its summaries.
    pub(crate) summaries: usize,
}

/// The weights that an answer was drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) first: WeightsVersion,
    pub(crate) last: WeightsVersion,
}

impl Versions {
    /// With those of one more token.
    pub(crate) fn and(before: Option<Self>, version: WeightsVersion) -> Option<Self> {
        let first = before.map_or(version, |before| before.first);
        Some(Self { first, last: version })
    }
}

/// Everything about a request that was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) reasoning: String,
    pub(crate) content: String,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) why: WhyEnded,
    /// Tokens of the whole thinking, the earlier part of a trace that went on included.
    pub(crate) thinking_tokens: usize,
    /// Of a request of several branches, how many have ended and voted.
    pub(crate) ended_branches: Option<usize>,
    /// Where branches may be given up, how many were.
    pub(crate) pruned_branches: Option<usize>,
    /// Where a service scores them, how many times it had no score.
    pub(crate) unscored_looks: Option<usize>,
    pub(crate) usage: Usage,
    /// Of its first token and of its last.
    pub(crate) versions: Option<Versions>,
}

impl Ended {
    /// As OpenAI's clients know it.
    pub(crate) fn finish_reason(&self) -> &'static str {
        match self.checkpoints.last() {
            Some(last) if last.is_cut_off => "length",
            _ => "stop",
        }
    }
}
