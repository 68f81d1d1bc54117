//! DeGRPO of Thinkless (arXiv 2505.13379). The first token of a response decides on its kind, short or long. A correct
//! short response earns 1, a correct long one 1 − γ, a wrong one −1; advantages are "reward − mean over the group"
//! without a division, as in Dr.GRPO. The control token is normalised apart from the T_i tokens that follow it, so that
//! it is not drowned by a long response: J = 1/G·Σ_i [α·L_i,0 + 1/T_i·Σ_t≥1 L_i,t].
//!
//! α = 0.001 and γ = 0.5 are the paper's. With `training.normaliser = 1`, the default of this objective, the loss is
//! this J exactly. Where this differs: there are no tokens `<short>` and `<think>`; the control token is the first one
//! of the thinking, and a response is short where its thinking is the end marker and nothing else (the paper's model
//! has learnt both kinds by distillation, and a model that never ends its thinking at once will not learn it here
//! either). With A summaries a thinking takes part in A responses, each of weight 1/A. No KL term (the paper's code:
//! 0.001).

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::Objective;
use super::responses::{self, group_baselines, is_right};
use super::scores::ScoreTable;
use super::targets::{TraceTargets, lay_out_tokens};

/// What a wrong response earns.
const WRONG: f64 = -1.0;

/// DeGRPO: the group's mean as baseline, and weights that normalise the control token and the rest of a response apart.
#[derive(Clone, Debug)]
pub(crate) struct DeGrpo {
    settings: ObjectiveSettings,
    own: v1::DeGrpoSpec,
}

impl DeGrpo {
    /// Reads `summary_weight` from the shared settings, as a factor of the summaries' tokens.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::DeGrpoSpec) -> Self {
        Self {
            settings: settings.clone(),
            own: *own,
        }
    }
}

impl Objective for DeGrpo {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let table = ScoreTable::of_group(group);
        let rewards = responses::rewards(&table, |trace, score| {
            if !is_right(score) {
                WRONG
            } else if table.is_without_thinking(trace) {
                1.0
            } else {
                1.0 - self.own.thinking_cost()
            }
        });
        let baselines = group_baselines(&rewards, self.own.leave_one_out());
        let analysis = responses::analyse(&self.settings, &table, &rewards, &baselines, 1.0);
        let last_budget = group.budgets.len() - 1;
        let shares: Vec<Vec<f64>> = group.traces.iter().map(|trace| response_shares(group, trace)).collect();
        let of_thinking = |trace: usize| {
            let weight: f64 = shares[trace].iter().sum();
            let advantages = analysis.summary_advantages[trace][last_budget].iter();
            let weighted: f64 = advantages
                .zip(&shares[trace])
                .map(|(advantage, share)| advantage * share)
                .sum();
            (weighted / weight, weight)
        };
        lay_out_tokens(
            group,
            |trace, token| match token {
                0 => (analysis.advantages[trace][last_budget], self.own.control_weight()),
                _ => of_thinking(trace),
            },
            |trace, budget, summary| {
                if budget != last_budget {
                    return (0.0, 0.0);
                }
                let weight = self.settings.summary_weight * shares[trace][summary];
                (analysis.summary_advantages[trace][budget][summary], weight)
            },
        )
    }
}

/// 1/(A·T) of each of the A responses of a trace, T counting the tokens of a response behind its control token.
fn response_shares(group: &v1::ScoredGroup, trace: &v1::Trace) -> Vec<f64> {
    let tokens_of = |generated: &Option<v1::Generated>| generated.as_ref().map_or(0, |generated| generated.ids.len());
    let summaries: Vec<usize> = trace
        .nodes
        .iter()
        .flat_map(|node| &node.summaries)
        .map(|summary| tokens_of(&summary.generated))
        .collect();
    let count = group.summaries_per_budget as usize;
    // The summaries at the largest budget come last.
    let at_the_end = &summaries[summaries.len() - count..];
    let of_thinking = tokens_of(&trace.thinking) - 1;
    at_the_end
        .iter()
        .map(|tokens| 1.0 / (count * (of_thinking + tokens)) as f64)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Response, Settings, group, group_with_summaries, settings};

    fn objective() -> Box<dyn Objective> {
        let own = v1::DeGrpoSpec {
            control_weight: Some(0.125),
            thinking_cost: Some(0.5),
            ..Default::default()
        };
        crate::objective(&settings(Settings::Degrpo(own), &[20]))
    }

    #[test]
    fn control_token_and_response_are_normalised_apart() {
        // Rewards: 1, −1, 0.5, −1; mean −0.125.
        let responses = [
            Response::without_thinking(true),
            Response::without_thinking(false),
            Response::new(4, true),
            Response::new(8, false),
        ];
        let targets = objective().targets(&group(20, &responses));
        // An end marker of two tokens and a summary of one: the control token and T = 2.
        assert_eq!(targets[0].advantages, [1.125; 3]);
        assert_eq!(targets[0].weights, [0.125, 0.5, 0.5]);
        assert_eq!(targets[1].advantages, [-0.875; 3]);
        assert_eq!(targets[2].advantages, [0.625; 5]);
        assert_eq!(targets[2].weights, [0.125, 0.25, 0.25, 0.25, 0.25]);
        assert_eq!(targets[3].weights[1..], [0.125; 8]);
    }

    #[test]
    fn a_thinking_with_several_summaries_is_part_of_several_responses() {
        // One trace of 3 tokens with summaries of one token, right and wrong: rewards 0.5 and −1, mean −0.25.
        let group = group_with_summaries(20, 3, &[true, false]);
        let targets = objective().targets(&group);
        assert_eq!(targets[0].advantages, [0.0, 0.0, 0.0, 0.75, -0.75]);
        // 1/(2·3) for each response.
        let share = 1.0 / 6.0;
        let expected = [0.125, 2.0 * share, 2.0 * share, share, share];
        for (actual, expected) in targets[0].weights.iter().zip(expected) {
            assert!((actual - expected).abs() < 1e-6, "{:?}", targets[0].weights);
        }
    }
}
