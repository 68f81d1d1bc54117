//! A packed micro-batch of the policy gradient, and whether actors' log-probabilities stand for the proximal policy's.

use anytime_policy::TreeBatch;
use tch::{Kind, Tensor};

use super::loss::TokenTerms;
use super::rows::RowTokens;

/// Fresh tokens were generated with the weights that train. If the forward passes of actor and learner agree, the
/// actors' log-probabilities are those of the proximal policy, and one forward pass is saved. In f32 they agree to
/// 1e-6. In bf16 they round at different places, and the difference would go into the ratio π/π_prox of the first
/// update: tokens beyond the clip would lose their gradient for nothing, the unlikely ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Fresh tokens keep their actors' log-probabilities, as long as those that are computed again all the same agree.
    Full,
    /// Not known yet: the first micro-batch that has fresh tokens is computed again and compared.
    Unknown,
    /// Every log-probability is computed again.
    Nothing,
}

/// The largest |log π_actor − log π_trainer| on a fresh token at which actors are trusted: a tenth of the paper's clip.
pub(super) const LARGEST_TRUSTED_GAP: f64 = 0.02;

impl Trust {
    /// The trust before the first micro-batch of a step. In f32 nothing is computed twice for it; the figures of each step
    /// are checked instead, with a warning.
    pub(super) fn at_start(compute_kind: Kind) -> Self {
        match compute_kind {
            Kind::Float | Kind::Double => Self::Full,
            _ => Self::Unknown,
        }
    }

    /// Decides by the largest gap over fresh tokens, where there are such tokens. What was trusted may lose it; what is not
    /// trusted stays so for the step.
    pub(super) fn judge(&mut self, largest_gap: impl FnOnce() -> Option<f64>) {
        if *self == Self::Nothing {
            return;
        }
        *self = match largest_gap() {
            None => *self,
            Some(gap) if gap <= LARGEST_TRUSTED_GAP => Self::Full,
            Some(_) => Self::Nothing,
        };
    }
}

/// Whether this version generated each token of a row and all tokens before it. A token that it generated on the keys
/// and values of an older version has another distribution.
pub(super) fn fresh_tokens(versions: &[u64], version: u64) -> Vec<bool> {
    let mut is_fresh = true;
    let mut fresh = Vec::with_capacity(versions.len());
    for generated in versions {
        is_fresh &= *generated == version;
        fresh.push(is_fresh);
    }
    fresh
}

/// The mean of the values over each row, repeated for all of the row's tokens: `[n]` to `[n]`.
pub(super) fn mean_by_row(values: &Tensor, rows: &[RowTokens]) -> Tensor {
    let mut means = Vec::with_capacity(rows.len());
    let mut lengths = Vec::with_capacity(rows.len());
    let mut start = 0;
    for row in rows {
        let length = row.behaviour.len() as i64;
        means.push(values.narrow(0, start, length).mean(Kind::Float));
        lengths.push(length);
        start += length;
    }
    let lengths = Tensor::from_slice(&lengths).to_device(values.device());
    Tensor::stack(&means, 0).repeat_interleave_self_tensor(&lengths, Some(0), Some(start))
}

/// A packed micro-batch of the policy gradient.
pub(super) struct PolicyBatch {
    pub(super) tree: TreeBatch,
    pub(super) terms: TokenTerms,
    /// `[n]`, log-probabilities when the tokens were generated.
    pub(super) behaviour: Tensor,
    /// `[n]`, whether the version that trains drew the token, and all tokens before it, from its own distribution. On
    /// these tokens actor and learner must agree.
    pub(super) comparable: Tensor,
    /// Σ over tokens of the number of versions between generation and training.
    pub(super) staleness: f64,
}
