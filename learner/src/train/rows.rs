//! From scored groups and supervised pairs to training rows. One trace is one row, so that its thinking is computed
//! once for all of its summaries.

use anytime_objectives::TraceTargets;
use anytime_policy::{Branch, TreeRow};
use anytime_proto::v1;
use serde::{Deserialize, Serialize};

/// One row of a training batch, with the figures of each of its trained tokens.
#[derive(Serialize, Deserialize)]
pub struct TrainingRow {
    /// Prompt, thinking and summary branches.
    pub tree: TreeRow,
    /// The figures in the order of the tree's trained tokens.
    pub tokens: RowTokens,
}

/// Figures of the trained tokens of a row. All lists have one element for each token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowTokens {
    /// Log-probability when the token was generated.
    pub behaviour: Vec<f32>,
    /// Weights version that generated it.
    pub versions: Vec<u64>,
    /// The advantage A.
    pub advantages: Vec<f32>,
    /// Weight beside other tokens.
    pub weights: Vec<f32>,
    /// How many of the first tokens were forced, or drawn from a part of the policy's distribution.
    pub forced: usize,
}

impl RowTokens {
    /// Whether each token was drawn from the policy's distribution.
    pub fn are_free(&self) -> impl Iterator<Item = bool> {
        let forced = self.forced;
        (0..self.behaviour.len()).map(move |token| token >= forced)
    }

    fn push(&mut self, generated: &v1::Generated, advantages: &[f32], weights: &[f32]) {
        self.behaviour.extend_from_slice(&generated.log_probs);
        self.versions.extend_from_slice(&generated.versions);
        self.advantages.extend_from_slice(advantages);
        self.weights.extend_from_slice(weights);
    }
}

/// The rows of a group that satisfies `check_group`. Branches and rows without any token that moves the weights
/// (advantage or weight zero throughout) are left out: their gradient is exactly zero.
pub fn training_rows(group: &v1::ScoredGroup, targets: &[TraceTargets]) -> Vec<TrainingRow> {
    let mut rows = Vec::with_capacity(group.traces.len());
    for (index, (trace, targets)) in group.traces.iter().zip(targets).enumerate() {
        let Some(thinking) = &trace.thinking else {
            continue;
        };
        let length = thinking.ids.len();
        let mut tokens = RowTokens {
            forced: match group.no_thinking_traces as usize {
                0 => 0,
                without if index < without => length,
                _ => 1,
            },
            ..RowTokens::default()
        };
        tokens.push(thinking, &targets.advantages[..length], &targets.weights[..length]);
        let mut branches = Vec::new();
        let mut offset = length;
        for node in &trace.nodes {
            for summary in &node.summaries {
                let Some(generated) = &summary.generated else {
                    continue;
                };
                let of_summary = offset..offset + generated.ids.len();
                offset = of_summary.end;
                let advantages = &targets.advantages[of_summary.clone()];
                let weights = &targets.weights[of_summary];
                if !moves_weights(advantages, weights) {
                    continue;
                }
                tokens.push(generated, advantages, weights);
                let ids = [node.inserted_ids.as_slice(), generated.ids.as_slice()].concat();
                branches.push(Branch {
                    cut: node.cut as usize,
                    inserted: node.inserted_ids.len(),
                    ids,
                });
            }
        }
        if moves_weights(&tokens.advantages, &tokens.weights) {
            let prefix = [group.prompt_ids.as_slice(), thinking.ids.as_slice()].concat();
            rows.push(TrainingRow {
                tree: TreeRow {
                    prompt: group.prompt_ids.len(),
                    prefix,
                    branches,
                },
                tokens,
            });
        }
    }
    rows
}

fn moves_weights(advantages: &[f32], weights: &[f32]) -> bool {
    advantages
        .iter()
        .zip(weights)
        .any(|(advantage, weight)| advantage * weight != 0.0)
}

/// A supervised pair as a row without branches; every completion token has weight 1.
pub fn supervised_row(prompt: &[u32], completion: &[u32]) -> TrainingRow {
    let tokens = RowTokens {
        weights: vec![1.0; completion.len()],
        ..RowTokens::default()
    };
    let tree = TreeRow {
        prompt: prompt.len(),
        prefix: [prompt, completion].concat(),
        branches: Vec::new(),
    };
    TrainingRow { tree, tokens }
}
