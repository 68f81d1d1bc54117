//! Budget Relative Policy Optimization (arXiv 2505.13438). From GRPO it differs in the reward, which is dense: a
//! thinking token earns the scores of all budgets at or after it, weighted by the prior (equation 6). It differs in the
//! baseline, which mixes the group mean V2 with V1, what the same trace scored at earlier budgets (equations 7 to 9).
//! The summary policy is trained on its own, each summary against the others of its node (equation 10). As in Dr.GRPO
//! nothing is divided by a standard deviation or by a length.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::baselines::{mean_over_group, previous_budgets_value, reward_to_go};
use super::scores::{ScoreTable, segment_of_token};
use super::{Objective, TraceTargets};

/// BRPO with its ablations (which baseline, which summaries).
#[derive(Clone, Debug)]
pub struct Brpo {
    lambda: f64,
    prior: Vec<f64>,
    variance_reduction: v1::VarianceReduction,
    summary_method: v1::SummaryMethod,
    summary_weight: f64,
}

impl Brpo {
    /// The prior of the settings has one weight per budget of the groups to come.
    pub fn new(settings: &ObjectiveSettings) -> Self {
        Self {
            lambda: settings.lambda,
            prior: settings.prior.clone(),
            variance_reduction: settings.variance_reduction,
            summary_method: settings.summary_method,
            summary_weight: settings.summary_weight,
        }
    }

    /// A[g][s] = R − V from r[g][s] (equations 6 to 9).
    pub fn thinking_advantages(&self, rewards: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let to_go: Vec<Vec<f64>> = rewards.iter().map(|row| reward_to_go(row, &self.prior)).collect();
        let group_value = mean_over_group(&to_go);
        let mut advantages = Vec::with_capacity(rewards.len());
        for (row, to_go) in rewards.iter().zip(&to_go) {
            let own_value = previous_budgets_value(row, &self.prior, self.lambda);
            let mut of_trace = Vec::with_capacity(row.len());
            for segment in 0..row.len() {
                let value = self.mix(segment, row.len(), own_value[segment], group_value[segment]);
                of_trace.push(to_go[segment] - value);
            }
            advantages.push(of_trace);
        }
        advantages
    }

    /// V = (j_t − 1)/m·V1 + (m − j_t + 1)/m·V2 (equation 9), or what the ablation takes instead.
    fn mix(&self, segment: usize, segments: usize, own_value: f64, group_value: f64) -> f64 {
        match self.variance_reduction {
            v1::VarianceReduction::V1 => own_value,
            v1::VarianceReduction::V2 => group_value,
            v1::VarianceReduction::None => 0.0,
            v1::VarianceReduction::Brpo | v1::VarianceReduction::Unspecified => {
                let passed = segment as f64 / segments as f64;
                passed * own_value + (1.0 - passed) * group_value
            }
        }
    }

    /// Advantages as [trace][S·A summary columns] (paper 2): against the mean of the whole node where a budget has
    /// several summaries, against the group at the same column where it has one.
    pub fn summary_advantages(&self, group: &v1::ScoredGroup, scores: &ScoreTable) -> Vec<Vec<f64>> {
        let columns = group.budgets.len() * group.summaries_per_budget as usize;
        let flat: Vec<Vec<f64>> = scores.0.iter().map(|budgets| budgets.concat()).collect();
        let mut advantages = vec![vec![0.0; columns]; flat.len()];
        for (trace_index, trace) in group.traces.iter().enumerate() {
            let mut column = 0;
            for node in &trace.nodes {
                let of_node = column..column + node.summaries.len();
                let node_mean = flat[trace_index][of_node.clone()].iter().sum::<f64>() / node.summaries.len() as f64;
                for column in of_node.clone() {
                    let is_last = column + 1 == columns;
                    if self.summary_method == v1::SummaryMethod::Grpo && !is_last {
                        continue;
                    }
                    let baseline = if group.summaries_per_budget > 1 {
                        node_mean
                    } else {
                        flat.iter().map(|row| row[column]).sum::<f64>() / flat.len() as f64
                    };
                    advantages[trace_index][column] = flat[trace_index][column] - baseline;
                }
                column = of_node.end;
            }
        }
        advantages
    }
}

impl Objective for Brpo {
    fn targets(&self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let scores = ScoreTable::of_group(group);
        let thinking = self.thinking_advantages(&scores.mean_per_budget());
        let summaries = self.summary_advantages(group, &scores);
        let mut all = Vec::with_capacity(group.traces.len());
        for (trace_index, trace) in group.traces.iter().enumerate() {
            let mut targets = TraceTargets::default();
            let length = trace.thinking.as_ref().map_or(0, |thinking| thinking.ids.len());
            for token in 0..length {
                let segment = segment_of_token(&group.budgets, token);
                targets.push(1, thinking[trace_index][segment], 1.0);
            }
            let generated = trace.nodes.iter().flat_map(|node| &node.summaries);
            for (summary, advantage) in generated.zip(&summaries[trace_index]) {
                let length = summary.generated.as_ref().map_or(0, |generated| generated.ids.len());
                targets.push(length, *advantage, self.summary_weight);
            }
            all.push(targets);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grpo;

    /// A group with given scores as [trace][S·A]; `nodes` gives each trace's (cut, multiplicity).
    fn group(
        scores: &[&[f32]],
        nodes: &[&[(u32, u32)]],
        budgets: &[u32],
        summaries_per_budget: u32,
    ) -> v1::ScoredGroup {
        let generated = |length: usize| {
            Some(v1::Generated {
                ids: vec![1; length],
                log_probs: vec![-1.0; length],
                versions: vec![0; length],
                finish: v1::FinishReason::EndMarker.into(),
            })
        };
        let mut traces = Vec::new();
        for (row, cuts) in scores.iter().zip(nodes) {
            let mut left = row.iter();
            let mut first_budget = 0;
            let mut trace_nodes = Vec::new();
            for (cut, multiplicity) in *cuts {
                let count = (multiplicity * summaries_per_budget) as usize;
                let summaries = left.by_ref().take(count).map(|score| v1::Summary {
                    generated: generated(1),
                    verdict: v1::VerdictKind::Wrong.into(),
                    formatted: true,
                    score: *score,
                });
                trace_nodes.push(v1::Node {
                    cut: *cut,
                    first_budget,
                    multiplicity: *multiplicity,
                    inserted_ids: vec![2],
                    summaries: summaries.collect(),
                });
                first_budget += multiplicity;
            }
            let length = cuts.last().expect("a trace has nodes").0 as usize;
            traces.push(v1::Trace {
                thinking: generated(length),
                nodes: trace_nodes,
            });
        }
        let group = v1::ScoredGroup {
            budgets: budgets.to_vec(),
            summaries_per_budget,
            traces,
            prompt_ids: vec![0],
            ..Default::default()
        };
        anytime_proto::check_group(&group).expect("a valid group");
        group
    }

    fn brpo(prior: &[f64], variance_reduction: v1::VarianceReduction, method: v1::SummaryMethod) -> Brpo {
        Brpo {
            lambda: 0.5,
            prior: prior.to_vec(),
            variance_reduction,
            summary_method: method,
            summary_weight: 1.0,
        }
    }

    fn assert_close(actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len());
        for (actual, expected) in actual.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
        }
    }

    const UNIFORM: [f64; 4] = [0.25; 4];
    const LINEAR: [f64; 4] = [0.1, 0.2, 0.3, 0.4];
    const BASE: [f64; 4] = [0.0, 0.0, 0.0, 1.0];
    const FULL: v1::VarianceReduction = v1::VarianceReduction::Brpo;
    const ALL: v1::SummaryMethod = v1::SummaryMethod::Brpo;

    /// The golden group of paper 1.2: G = 2, S = 4, A = 2, the second trace ends inside the second segment.
    fn golden() -> v1::ScoredGroup {
        group(
            &[&[0., 0., 0., 1., 1., 1., 1., 1.], &[0., 0., 1., 0., 1., 1., 0., 1.]],
            &[&[(2, 1), (4, 1), (6, 1), (8, 1)], &[(2, 1), (3, 3)]],
            &[2, 4, 6, 8],
            2,
        )
    }

    fn golden_rewards() -> Vec<Vec<f64>> {
        ScoreTable::of_group(&golden()).mean_per_budget()
    }

    #[test]
    fn golden_rewards_to_go_and_values() {
        let rewards = golden_rewards();
        assert_close(&reward_to_go(&rewards[0], &UNIFORM), &[0.625, 0.625, 0.5, 0.25]);
        assert_close(&reward_to_go(&rewards[1], &UNIFORM), &[0.5, 0.5, 0.375, 0.125]);
        for row in &rewards {
            // Six decimals as the vectors give them.
            assert_close(
                &previous_budgets_value(row, &UNIFORM, 0.5),
                &[0.0, 0.0, 1.0 / 6.0, 0.25 * 5.0 / 7.0],
            );
        }
        let to_go: Vec<Vec<f64>> = rewards.iter().map(|row| reward_to_go(row, &UNIFORM)).collect();
        assert_close(&mean_over_group(&to_go), &[0.5625, 0.5625, 0.4375, 0.1875]);
    }

    #[test]
    fn golden_thinking_advantages() {
        type Vector<'a> = (&'a [f64], v1::VarianceReduction, [f64; 4], [f64; 4]);
        let vectors: [Vector<'_>; 8] = [
            (
                &UNIFORM,
                FULL,
                [0.0625, 0.203125, 0.197917, 0.069196],
                [-0.0625, 0.078125, 0.072917, -0.055804],
            ),
            (
                &LINEAR,
                FULL,
                [0.1, 0.275, 0.283333, 0.110714],
                [-0.1, 0.075, 0.083333, -0.089286],
            ),
            (
                &BASE,
                FULL,
                [0.25, 0.4375, 0.458333, 0.276786],
                [-0.25, -0.0625, -0.041667, -0.223214],
            ),
            (&UNIFORM, v1::VarianceReduction::V2, [0.0625; 4], [-0.0625; 4]),
            (&LINEAR, v1::VarianceReduction::V2, [0.1; 4], [-0.1; 4]),
            (&BASE, v1::VarianceReduction::V2, [0.25; 4], [-0.25; 4]),
            (
                &UNIFORM,
                v1::VarianceReduction::V1,
                [0.625, 0.625, 0.333333, 0.071429],
                [0.5, 0.5, 0.208333, -0.053571],
            ),
            (
                &UNIFORM,
                v1::VarianceReduction::None,
                [0.625, 0.625, 0.5, 0.25],
                [0.5, 0.5, 0.375, 0.125],
            ),
        ];
        for (prior, variance_reduction, first, second) in vectors {
            let advantages = brpo(prior, variance_reduction, ALL).thinking_advantages(&golden_rewards());
            assert_close(&advantages[0], &first);
            assert_close(&advantages[1], &second);
        }
    }

    #[test]
    fn golden_summary_advantages_and_tokens() {
        let group = golden();
        let objective = brpo(&UNIFORM, FULL, ALL);
        let advantages = objective.summary_advantages(&group, &ScoreTable::of_group(&group));
        assert_close(&advantages[0], &[0., 0., -0.5, 0.5, 0., 0., 0., 0.]);
        let third = 1.0 / 3.0;
        assert_close(
            &advantages[1],
            &[0., 0., third, -2. * third, third, third, -2. * third, third],
        );

        let targets = objective.targets(&group);
        // Eight thinking tokens, two per segment, then eight summaries of one token.
        let expected = [
            0.0625, 0.0625, 0.203125, 0.203125, 0.197917, 0.197917, 0.069196, 0.069196,
        ];
        let thinking: Vec<f64> = targets[0].advantages[..8].iter().copied().map(f64::from).collect();
        assert_close(&thinking, &expected);
        assert_eq!(targets[0].advantages.len(), 16);
        // The trace that ended early has three tokens; the third is of the second segment.
        let thinking: Vec<f64> = targets[1].advantages[..3].iter().copied().map(f64::from).collect();
        assert_close(&thinking, &[-0.0625, -0.0625, 0.078125]);
        assert_eq!(targets[1].advantages.len(), 11);
    }

    #[test]
    fn golden_grpo() {
        let one_budget: &[(u32, u32)] = &[(2, 1)];
        let scores: [&[f32]; 4] = [&[1.], &[0.], &[0.], &[1.]];
        let group = group(&scores, &[one_budget; 4], &[2], 1);
        for objective in [
            Box::new(Grpo { summary_weight: 1.0 }) as Box<dyn Objective>,
            Box::new(brpo(&[1.0], v1::VarianceReduction::V2, v1::SummaryMethod::Grpo)),
        ] {
            let targets = objective.targets(&group);
            for (trace, sign) in targets.iter().zip([0.5_f32, -0.5, -0.5, 0.5]) {
                assert_eq!(trace.advantages, vec![sign; 3]);
                assert_eq!(trace.weights, vec![1.0; 3]);
            }
        }
    }

    #[test]
    fn golden_grpo_with_linear_prior() {
        let group = group(
            &[&[0., 0., 1., 1.], &[0., 1., 1., 0.]],
            &[&[(2, 1), (4, 1), (6, 1), (8, 1)], &[(2, 1), (3, 3)]],
            &[2, 4, 6, 8],
            1,
        );
        let objective = brpo(&LINEAR, v1::VarianceReduction::V2, v1::SummaryMethod::Grpo);
        let scores = ScoreTable::of_group(&group);
        assert_close(
            &objective.thinking_advantages(&scores.mean_per_budget())[0],
            &[0.1, 0.1, 0.2, 0.2],
        );
        let summaries = objective.summary_advantages(&group, &scores);
        assert_close(&summaries[0], &[0., 0., 0., 0.5]);
        assert_close(&summaries[1], &[0., 0., 0., -0.5]);
    }

    #[test]
    fn golden_group_of_one() {
        let group = group(
            &[&[0., 0., 0., 1., 1., 1., 1., 1.]],
            &[&[(2, 1), (4, 1), (6, 1), (8, 1)]],
            &[2, 4, 6, 8],
            2,
        );
        let rewards = ScoreTable::of_group(&group).mean_per_budget();
        let advantages = brpo(&UNIFORM, FULL, ALL).thinking_advantages(&rewards);
        assert_close(&advantages[0], &[0.625, 0.625, 0.416667, 0.116071]);
    }

    #[test]
    fn tokens_belong_to_the_next_budget_at_or_after_them() {
        let budgets = [2, 4];
        let segments: Vec<usize> = (0..4).map(|token| segment_of_token(&budgets, token)).collect();
        assert_eq!(segments, [0, 0, 1, 1]);
    }
}
