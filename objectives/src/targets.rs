//! The advantage and the weight of each trained token, and how they follow from the advantages of segments and
//! summaries.

use anytime_proto::v1;

use super::scores::segment_of_token;

/// The trained tokens of one trace in the order of its tree row: the thinking, then the generated tokens of every
/// summary, node by node. Both lists have one entry per token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TraceTargets {
    /// The advantage A, by which the token's policy gradient is multiplied.
    pub advantages: Vec<f32>,
    /// How much the token counts beside others; 0 leaves it out.
    pub weights: Vec<f32>,
}

impl TraceTargets {
    fn push(&mut self, tokens: usize, (advantage, weight): (f64, f64)) {
        let length = self.advantages.len() + tokens;
        self.advantages.resize(length, advantage as f32);
        self.weights.resize(length, weight as f32);
    }
}

/// One entry per trace of a group that satisfies `check_group`. `thinking(trace, segment)` is the advantage and weight
/// of the thinking tokens of a segment, `summary(trace, budget, summary)` that of a summary's tokens; all count from 0.
/// A node that represents several budgets gives each of them A of its summaries.
pub fn lay_out(
    group: &v1::ScoredGroup,
    thinking: impl Fn(usize, usize) -> (f64, f64),
    summary: impl Fn(usize, usize, usize) -> (f64, f64),
) -> Vec<TraceTargets> {
    let of_token = |trace, token| thinking(trace, segment_of_token(&group.budgets, token));
    lay_out_tokens(group, of_token, summary)
}

/// As [`lay_out`], for an objective that distinguishes the tokens of a segment: it calls `thinking(trace, token)` for
/// each.
pub fn lay_out_tokens(
    group: &v1::ScoredGroup,
    thinking: impl Fn(usize, usize) -> (f64, f64),
    summary: impl Fn(usize, usize, usize) -> (f64, f64),
) -> Vec<TraceTargets> {
    let summaries_per_budget = group.summaries_per_budget as usize;
    let mut all = Vec::with_capacity(group.traces.len());
    for (trace_index, trace) in group.traces.iter().enumerate() {
        let mut targets = TraceTargets::default();
        let length = trace.thinking.as_ref().map_or(0, |thinking| thinking.ids.len());
        for token in 0..length {
            targets.push(1, thinking(trace_index, token));
        }
        let generated = trace.nodes.iter().flat_map(|node| &node.summaries);
        for (column, generated) in generated.enumerate() {
            let length = generated.generated.as_ref().map_or(0, |generated| generated.ids.len());
            let (budget, index) = (column / summaries_per_budget, column % summaries_per_budget);
            targets.push(length, summary(trace_index, budget, index));
        }
        all.push(targets);
    }
    all
}
