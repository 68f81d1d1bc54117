//! The summaries of a cut become texts, and vote.

use std::sync::Arc;

use anytime_policy::without_eos;
use anytime_proto::v1::{FinishReason, Generated};

use super::error::ApiError;
use super::settings::Served;
use super::summary::SummaryText;
use super::vote::{Ballot, elect};

/// What the summaries of a cut came to.
pub(crate) struct Chosen {
    /// Which summary speaks for the largest class.
    pub(crate) index: usize,
    pub(crate) content: String,
    pub(crate) answer: Option<String>,
    pub(crate) agreement: f64,
    /// Whether the longest summary that is allowed cut it off.
    pub(crate) is_cut_off: bool,
}

/// Has summaries vote. Grading may take milliseconds, so it has a thread of its own.
///
/// # Errors
/// Where there are none.
pub(crate) async fn poll(
    served: &Arc<Served>,
    stops: &[String],
    summaries: Vec<Generated>,
) -> Result<Chosen, ApiError> {
    let (served, stops) = (Arc::clone(served), stops.to_vec());
    let vote = move || {
        let ballot = |summary: &Generated| Ballot {
            content: SummaryText::of(&served, &stops, without_eos(&summary.ids, served.tokenizer.eos_ids())),
            log_prob: summary.log_probs.iter().map(|&log_prob| f64::from(log_prob)).sum(),
        };
        let mut ballots: Vec<Ballot> = summaries.iter().map(ballot).collect();
        let elected = elect(&ballots)?;
        Some(Chosen {
            index: elected.ballot,
            is_cut_off: summaries[elected.ballot].finish() == FinishReason::Length,
            content: ballots.swap_remove(elected.ballot).content,
            answer: elected.answer,
            agreement: elected.agreement,
        })
    };
    let chosen = tokio::task::spawn_blocking(vote).await.ok().flatten();
    chosen.ok_or_else(|| ApiError::fault("the summaries of a cut could not be compared"))
}
