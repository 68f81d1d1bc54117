//! AdaptThink (arXiv 2505.13417): a model learns for which problems it may leave the thinking out. Maximise the share
//! of responses without thinking such that accuracy stays above that of the reference model, with the multiplier δ:
//! A(x, y) = 1[no thinking]·δ + R(x, y) − R̄_ref(x), where R̄_ref(x) is the accuracy of the starting weights on problem
//! x over K samples, measured once before the first step. Responses are drawn from π_IS (importance sampling), so that
//! training sees both kinds from the first step on: half of a group's responses end their thinking with the first token
//! and half think on. Each of the two first tokens has probability 0.5, and the policy draws all later tokens.
//!
//! The learner measures and keeps R̄_ref. δ = 0.05, K = 16 and 16 traces per problem are the paper's. A response without
//! thinking consists of the end marker and the summary. Where this differs: the paper's thinking half starts with one
//! given word; here its first token is drawn from the policy without the end marker's first token, with log-probability
//! log 0.5 plus that of the draw. An end marker of several tokens has log 0.5 at its first and 0 at the others.
//!
//! The ratio π_θ/π_IS is its geometric mean over a response, as in the paper's code (the paper writes the ratio of the
//! whole response). With `sequence_ratio = false` every token has its own ratio. A first token that the policy draws
//! with probability p then has the ratio 2p, so that a kind that the policy never starts is never learnt. Tokens of all
//! responses are summed over a constant, as everywhere here; the paper's code takes the mean over responses.

use std::collections::BTreeMap;

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::responses::{self, lay_out_responses};
use super::scores::ScoreTable;
use super::targets::TraceTargets;
use super::{Objective, RolloutNeeds, StepContext};

/// AdaptThink: accuracy and a bonus for leaving the thinking out, against the accuracy of the starting weights.
#[derive(Clone, Debug)]
pub(crate) struct AdaptThink {
    settings: ObjectiveSettings,
    own: v1::AdaptThinkSpec,
    /// R̄_ref of this step's problems, by problem id.
    references: BTreeMap<String, f64>,
}

impl AdaptThink {
    /// Reads the weight of summaries from the shared settings, everything else from its own.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::AdaptThinkSpec) -> Self {
        Self {
            settings: settings.clone(),
            own: *own,
            references: BTreeMap::new(),
        }
    }
}

impl Objective for AdaptThink {
    fn needs(&self, traces: u32) -> RolloutNeeds {
        RolloutNeeds {
            no_thinking_traces: traces / 2,
            reference_samples: Some(self.own.reference_samples()),
            sequence_ratio: self.own.sequence_ratio(),
        }
    }

    fn begin_step(&mut self, step: &StepContext<'_>) {
        let of_group = |group: &&v1::ScoredGroup| {
            let reference = step.references.get(&group.problem_id)?;
            Some((group.problem_id.clone(), *reference))
        };
        self.references = step.groups.iter().filter_map(of_group).collect();
    }

    /// A group whose problem has no reference accuracy teaches nothing.
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let table = ScoreTable::of_group(group);
        let rewards = responses::rewards(&table, |trace, score| {
            let bonus = if table.is_without_thinking(trace) {
                self.own.no_thinking_bonus()
            } else {
                0.0
            };
            score + bonus
        });
        let reference = self.references.get(&group.problem_id).copied();
        let baselines = vec![reference.unwrap_or(0.0); rewards.len()];
        let scale = if reference.is_some() { 1.0 } else { 0.0 };
        let analysis = responses::analyse(&self.settings, &table, &rewards, &baselines, scale);
        lay_out_responses(&self.settings, group, &analysis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Response, Settings, group, settings, thinking_advantages};

    fn objective() -> Box<dyn Objective> {
        let own = v1::AdaptThinkSpec {
            no_thinking_bonus: Some(0.25),
            ..Default::default()
        };
        crate::objective(&settings(Settings::Adaptthink(own), &[20]))
    }

    fn targets(objective: &mut dyn Objective, references: &[(&str, f64)]) -> Vec<TraceTargets> {
        let group = responses();
        let references = references.iter().map(|(id, accuracy)| ((*id).to_owned(), *accuracy));
        objective.begin_step(&StepContext {
            groups: &[&group],
            references: &references.collect(),
        });
        objective.targets(&group)
    }

    fn responses() -> v1::ScoredGroup {
        let mut group = group(
            20,
            &[
                Response::without_thinking(true),
                Response::without_thinking(false),
                Response::new(9, true),
                Response::new(9, false),
            ],
        );
        group.problem_id = "seven".to_owned();
        group
    }

    #[test]
    fn accuracy_and_bonus_stand_against_the_reference() {
        let targets = targets(&mut *objective(), &[("seven", 0.75), ("eight", 0.0)]);
        // 1 + δ − 0.75, δ − 0.75, 1 − 0.75, −0.75.
        assert_eq!(thinking_advantages(&targets), [0.5, -0.5, 0.25, -0.75]);
        // The end marker and the summary, all of one response.
        assert_eq!(targets[0].advantages, [0.5; 3]);
    }

    #[test]
    fn half_of_a_group_does_not_think() {
        let needs = objective().needs(16);
        let expected = RolloutNeeds {
            no_thinking_traces: 8,
            reference_samples: Some(16),
            sequence_ratio: true,
        };
        assert_eq!(needs, expected);
    }

    #[test]
    fn a_problem_without_reference_teaches_nothing() {
        let mut objective = objective();
        targets(&mut *objective, &[("seven", 0.75)]);
        let without = targets(&mut *objective, &[("eight", 0.75)]);
        let mut advantages = without.iter().flat_map(|trace| &trace.advantages);
        assert!(advantages.all(|advantage| *advantage == 0.0));
    }

    #[test]
    fn it_keeps_no_state_and_takes_none() {
        let mut objective = objective();
        assert_eq!(objective.state(), None);
        let foreign = serde_json::json!({"name": "short_rl", "best_accuracy": 0.5});
        assert!(objective.restore(foreign).is_err());
    }
}
