//! The first tokens of a trace where the plan forces them: AdaptThink's importance sampling (arXiv 2505.13417).
//!
//! The first n of G traces end their thinking at once, and the others do not. A trace is then of one kind with
//! probability n/G and of the other with 1 − n/G, whatever the policy says. The logarithm of that is part of the
//! log-probability of its first token.

#![deny(clippy::disallowed_methods)]

use super::sampler::Drawn;
use crate::plan::Plan;

/// How the first tokens of a sequence are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForcedStart {
    /// They are drawn as all others are.
    Free,
    /// They are the end marker: log n/G for its first token, 0 for the others, which follow from it.
    NoThinking,
    /// The first one is drawn among all tokens but the first of the end marker: log (1 − n/G) and that of the draw.
    Thinking,
}

impl ForcedStart {
    pub(crate) fn of_trace(plan: &Plan, trace: usize) -> Self {
        match plan.no_thinking_traces {
            0 => Self::Free,
            without if trace < without => Self::NoThinking,
            _ => Self::Thinking,
        }
    }

    /// The id that must not be drawn at this position of the sequence.
    pub(crate) fn excluded(self, plan: &Plan, position: usize) -> Option<u32> {
        (self == Self::Thinking && position == 0).then(|| plan.markers.end[0])
    }

    /// The id at this position of the sequence where `drawn` was drawn for it.
    pub(crate) fn apply(self, plan: &Plan, position: usize, drawn: Drawn) -> Drawn {
        let share = plan.no_thinking_traces as f32 / plan.traces as f32;
        match self {
            Self::NoThinking => plan.markers.end.get(position).map_or(drawn, |&id| Drawn {
                id,
                log_prob: if position == 0 { share.ln() } else { 0.0 },
            }),
            Self::Thinking if position == 0 => Drawn {
                log_prob: drawn.log_prob + (1.0 - share).ln(),
                ..drawn
            },
            Self::Free | Self::Thinking => drawn,
        }
    }
}
