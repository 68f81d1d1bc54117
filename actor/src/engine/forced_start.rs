//! How a thinking starts: free, or as importance sampling wants it (AdaptThink, arXiv 2505.13417): the first n of G traces
//! end their thinking at once, the others do not. A trace is of one kind with probability n/G and of the other with
//! 1 − n/G, whatever the policy says; that is what the log-probability of its first token starts from.

use super::sampler::Drawn;
use crate::plan::Plan;

/// What the first tokens of a sequence have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// What is drawn.
    Free,
    /// The end marker: log n/G for its first token, 0 for the others, which follow from it.
    AtTheEnd,
    /// Not the first token of the end marker: log (1 − n/G) and that of the draw among the others.
    Thinking,
}

impl Start {
    pub(crate) fn of_trace(plan: &Plan, trace: usize) -> Self {
        match plan.no_thinking_traces {
            0 => Self::Free,
            without if trace < without => Self::AtTheEnd,
            _ => Self::Thinking,
        }
    }

    /// The id that the token at this position must not be.
    pub(crate) fn excluded(self, plan: &Plan, position: usize) -> Option<u32> {
        (self == Self::Thinking && position == 0).then(|| plan.markers.end[0])
    }

    /// The token at this position in place of what was drawn for it.
    pub(crate) fn obey(self, plan: &Plan, position: usize, drawn: Drawn) -> Drawn {
        let share = plan.no_thinking_traces as f32 / plan.traces as f32;
        match self {
            Self::AtTheEnd => plan.markers.end.get(position).map_or(drawn, |&id| Drawn {
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
