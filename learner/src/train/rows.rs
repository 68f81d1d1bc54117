//! From scored groups and supervised pairs to training rows: one trace is one row, its prefix computed once.

use anytime_policy::{Branch, TreeRow};
use anytime_proto::v1;

use crate::objectives::TraceTargets;

/// One row with what is known of each of its trained tokens.
pub struct TrainingRow {
    /// Prompt, thinking and summary branches.
    pub tree: TreeRow,
    /// In the order of the tree's trained tokens.
    pub tokens: RowTokens,
}

/// Per trained token of a row; all lists are of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowTokens {
    /// Log-probability when the token was generated.
    pub behaviour: Vec<f32>,
    /// Weights version that generated it.
    pub versions: Vec<u64>,
    /// Oldest version that generated it or any token of the trace before it: what is the oldest in the cache that it was
    /// generated on, where that was kept over a change of weights.
    pub oldest: Vec<u64>,
    /// A.
    pub advantages: Vec<f32>,
    /// Weight beside other tokens.
    pub weights: Vec<f32>,
}

impl RowTokens {
    /// Adds tokens that were generated behind those of the versions `before`.
    fn push(&mut self, before: &[u64], generated: &v1::Generated, advantages: &[f32], weights: &[f32]) {
        self.behaviour.extend_from_slice(&generated.log_probs);
        self.versions.extend_from_slice(&generated.versions);
        let mut oldest = before.iter().copied().min().unwrap_or(u64::MAX);
        for version in &generated.versions {
            oldest = oldest.min(*version);
            self.oldest.push(oldest);
        }
        self.advantages.extend_from_slice(advantages);
        self.weights.extend_from_slice(weights);
    }
}

/// The rows of a group that satisfies `check_group`. Branches and rows without any token that moves the weights
/// (advantage or weight zero throughout) are left out: their gradient is exactly zero.
pub fn training_rows(group: &v1::ScoredGroup, targets: &[TraceTargets]) -> Vec<TrainingRow> {
    let mut rows = Vec::with_capacity(group.traces.len());
    for (trace, targets) in group.traces.iter().zip(targets) {
        let Some(thinking) = &trace.thinking else {
            continue;
        };
        let length = thinking.ids.len();
        let mut tokens = RowTokens::default();
        tokens.push(&[], thinking, &targets.advantages[..length], &targets.weights[..length]);
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
                let seen = &thinking.versions[..node.cut as usize];
                tokens.push(seen, generated, advantages, weights);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(versions: &[u64]) -> v1::Generated {
        v1::Generated {
            ids: vec![5; versions.len()],
            log_probs: vec![-1.0; versions.len()],
            versions: versions.to_vec(),
            ..v1::Generated::default()
        }
    }

    /// New weights came after the second thinking token.
    #[test]
    fn tokens_know_the_oldest_version_of_the_cache_they_stand_on() {
        let node = |cut, versions: &[u64]| v1::Node {
            cut,
            multiplicity: 1,
            summaries: vec![v1::Summary {
                generated: Some(generated(versions)),
                ..v1::Summary::default()
            }],
            ..v1::Node::default()
        };
        let trace = v1::Trace {
            thinking: Some(generated(&[1, 1, 2])),
            nodes: vec![node(0, &[2, 2]), node(2, &[1, 2]), node(3, &[2])],
        };
        let group = v1::ScoredGroup {
            prompt_ids: vec![4],
            traces: vec![trace],
            ..v1::ScoredGroup::default()
        };
        let targets = TraceTargets {
            advantages: vec![1.0; 8],
            weights: vec![1.0; 8],
        };
        let rows = training_rows(&group, &[targets]);
        assert_eq!(rows[0].tokens.versions, [1, 1, 2, 2, 2, 1, 2, 2]);
        assert_eq!(rows[0].tokens.oldest, [1, 1, 1, 2, 2, 1, 1, 1]);
    }
}
