//! AdaptThink (arXiv 2505.13417): a model learns for which problems it may leave the thinking out. Maximise the share of
//! responses without thinking such that accuracy stays above that of the reference model, with the multiplier δ:
//! A(x, y) = 1[no thinking]·δ + R(x, y) − R̄_ref(x), where R̄_ref(x) is the accuracy of the starting weights on problem x
//! over K samples, measured once before the first step. So that both kinds are seen from the first step on, responses
//! are drawn from π_IS: half of a group's end their thinking with the first token, half go on, each first token having
//! probability 0.5 (importance sampling), and all later tokens are the policy's.
//!
//! R̄_ref is state. δ = 0.05, K = 16 and 16 traces per problem are the paper's. A response without thinking consists of
//! the end marker and the summary. Where this differs: the paper's thinking half starts with one given word; here its
//! first token is drawn from the policy without the end marker's first token, with log-probability log 0.5 plus that of
//! the draw. An end marker of several tokens has log 0.5 at its first and 0 at the others.
//!
//! The ratio π_θ/π_IS is its geometric mean over a response, as in the paper's code (the paper writes that of the whole
//! response). Token by token (`sequence_ratio = false`) the first token of a kind that the policy starts with
//! probability p has the ratio 2p: where p is about zero nothing moves. Tokens of all responses are summed over a
//! constant as everywhere here, where the code takes the mean over responses.

use std::collections::BTreeMap;

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Objective;
use super::responses::{self, lay_out_responses};
use super::scores::ScoreTable;
use super::state::{InvalidState, named, read_named};
use super::targets::TraceTargets;

const NAME: &str = "adaptthink";

/// See the module. Its numbers are those of the job's settings.
#[derive(Clone, Debug)]
pub struct AdaptThink {
    settings: ObjectiveSettings,
    no_thinking_bonus: f64,
    reference_samples: u32,
    sequence_ratio: bool,
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// R̄_ref by problem id.
    reference: BTreeMap<String, f64>,
}

impl AdaptThink {
    /// Of the settings it takes the summary's weight.
    pub fn new(
        settings: &ObjectiveSettings,
        no_thinking_bonus: f64,
        reference_samples: u32,
        sequence_ratio: bool,
    ) -> Self {
        Self {
            settings: settings.clone(),
            no_thinking_bonus,
            reference_samples,
            sequence_ratio,
            state: State::default(),
        }
    }
}

impl Objective for AdaptThink {
    /// A group whose problem has no reference accuracy teaches nothing; [`Objective::needs_reference`] says which these
    /// are.
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let table = ScoreTable::of_group(group);
        let rewards = responses::rewards(&table, |trace, score| {
            let bonus = if table.is_without_thinking(trace) {
                self.no_thinking_bonus
            } else {
                0.0
            };
            score + bonus
        });
        let reference = self.state.reference.get(&group.problem_id).copied();
        let baselines = vec![reference.unwrap_or(0.0); rewards.len()];
        let scale = if reference.is_some() { 1.0 } else { 0.0 };
        let analysis = responses::analyse(&self.settings, &table, &rewards, &baselines, scale);
        lay_out_responses(&self.settings, group, &analysis)
    }

    fn no_thinking_traces(&self, traces: u32) -> u32 {
        traces / 2
    }

    fn sequence_ratio(&self) -> bool {
        self.sequence_ratio
    }

    fn reference_samples(&self) -> Option<u32> {
        Some(self.reference_samples)
    }

    fn needs_reference(&self, problem_id: &str) -> bool {
        !self.state.reference.contains_key(problem_id)
    }

    fn add_references(&mut self, accuracies: BTreeMap<String, f64>) {
        self.state.reference.extend(accuracies);
    }

    fn state(&self) -> Option<Value> {
        Some(named(NAME, &self.state))
    }

    fn restore(&mut self, state: Value) -> Result<(), InvalidState> {
        self.state = read_named(NAME, state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Response, group, thinking_advantages};

    fn objective() -> Box<dyn Objective> {
        let spec = v1::ObjectiveSpec {
            name: Some(NAME.to_owned()),
            no_thinking_bonus: Some(0.25),
            ..Default::default()
        };
        crate::objective(&ObjectiveSettings::try_new(&spec, &[20]).expect("valid"))
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
        let mut objective = objective();
        objective.add_references(BTreeMap::from([("seven".to_owned(), 0.75)]));
        let targets = objective.targets(&responses());
        // 1 + δ − 0.75, δ − 0.75, 1 − 0.75, −0.75.
        assert_eq!(thinking_advantages(&targets), [0.5, -0.5, 0.25, -0.75]);
        // The end marker and the summary, all of one response.
        assert_eq!(targets[0].advantages, [0.5; 3]);
    }

    #[test]
    fn half_of_a_group_does_not_think_and_problems_need_a_reference_once() {
        let mut objective = objective();
        assert_eq!(
            (objective.no_thinking_traces(16), objective.reference_samples()),
            (8, Some(16))
        );
        assert!(objective.needs_reference("seven"));
        assert!(
            objective
                .targets(&responses())
                .iter()
                .all(|trace| trace.advantages.iter().all(|a| *a == 0.0))
        );
        objective.add_references(BTreeMap::from([("seven".to_owned(), 0.75)]));
        assert!(!objective.needs_reference("seven"));
    }

    #[test]
    fn references_outlive_a_restart_and_no_other_state_is_taken() {
        let mut before = objective();
        before.add_references(BTreeMap::from([
            ("seven".to_owned(), 0.75),
            ("8".to_owned(), 1.0 / 3.0),
        ]));
        let mut after = objective();
        let text = before.state().expect("it remembers").to_string();
        after
            .restore(serde_json::from_str(&text).expect("JSON"))
            .expect("its own");
        assert_eq!(after.state(), before.state());
        assert_eq!(after.targets(&responses()), before.targets(&responses()));
        let foreign = serde_json::json!({"name": "short_rl", "best_accuracy": 0.5});
        assert!(after.restore(foreign).is_err());
    }
}
