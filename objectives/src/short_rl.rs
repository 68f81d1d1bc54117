//! Short-RL's lazy length penalty (arXiv 2505.12284): GRPO with Kimi's length reward, made lazy in three ways. Only
//! correct responses get a length reward. A response that is at most τ_ℓ tokens longer than the shortest correct one
//! gets the same length reward as that one, 0.5; a longer one gets λ = 0.5 − (ℓ − ℓ_min)/(ℓ_max − ℓ_min) over the
//! group's correct responses. And no response gets one at a step whose accuracy is more than τ_acc below that of the
//! best step so far.
//!
//! The best accuracy is state. τ_ℓ = 100 and τ_acc = 0.05 are what the paper's code trains
//! DeepSeek-R1-Distill-Qwen-1.5B at 8k with (200 tokens in its logic setting). Where this differs: ℓ is the thinking's
//! length, since summaries are capped; the accuracy is that of the largest budget; no division by a standard deviation,
//! no KL term.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::responses::{self, group_baselines, is_right, lay_out_responses, relative_length_reward};
use super::scores::ScoreTable;
use super::state::{InvalidState, named, read_named};
use super::statistics::mean;
use super::targets::TraceTargets;
use super::{Analysis, NotAnalysed, Objective, StepContext};

const NAME: &str = "short_rl";

/// The length reward λ of the shortest response.
const HIGHEST_LENGTH_REWARD: f64 = 0.5;

/// Short-RL: GRPO with a length reward that rests while accuracy is below the best step's.
#[derive(Clone, Debug)]
pub(crate) struct ShortRl {
    settings: ObjectiveSettings,
    own: v1::ShortRlSpec,
    state: State,
    /// Whether length is rewarded at this step.
    rewards_length: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    best_accuracy: f64,
}

impl ShortRl {
    /// Reads the weight of summaries from the shared settings, everything else from its own. The first step has no
    /// earlier one to fall behind.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::ShortRlSpec) -> Self {
        Self {
            settings: settings.clone(),
            own: *own,
            state: State::default(),
            rewards_length: true,
        }
    }

    fn values(&self, table: &ScoreTable) -> Analysis {
        let lengths = table.lengths();
        let scores = responses::rewards(table, |_, score| score);
        let has_right = |trace: &usize| scores[*trace].iter().any(|score| is_right(*score));
        let right: Vec<u32> = (0..scores.len())
            .filter(has_right)
            .map(|trace| lengths[trace])
            .collect();
        let shortest = right.iter().copied().min().unwrap_or(0);
        let rewards = responses::rewards(table, |trace, score| {
            if !self.rewards_length || !is_right(score) {
                return score;
            }
            let is_tolerated = lengths[trace] <= shortest.saturating_add(self.own.length_tolerance());
            let earned = if is_tolerated {
                HIGHEST_LENGTH_REWARD
            } else {
                relative_length_reward(lengths[trace], &right)
            };
            score + self.own.length_weight() * earned
        });
        let baselines = group_baselines(&rewards, self.own.leave_one_out());
        responses::analyse(&self.settings, table, &rewards, &baselines, 1.0)
    }
}

impl Objective for ShortRl {
    fn begin_step(&mut self, step: &StepContext<'_>) {
        let of_group = |group: &&v1::ScoredGroup| responses::rewards(&ScoreTable::of_group(group), |_, score| score);
        let scores: Vec<f64> = step.groups.iter().flat_map(of_group).flatten().collect();
        if scores.is_empty() {
            return;
        }
        let accuracy = mean(&scores);
        self.rewards_length = accuracy >= self.state.best_accuracy - self.own.accuracy_tolerance();
        self.state.best_accuracy = self.state.best_accuracy.max(accuracy);
    }

    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let analysis = self.values(&ScoreTable::of_group(group));
        lay_out_responses(&self.settings, group, &analysis)
    }

    /// Shows a step at which length is rewarded.
    fn analyse(&self, scores: ScoreTable) -> Result<Analysis, NotAnalysed> {
        scores.check_lengths()?;
        let mut rewarding = self.clone();
        rewarding.rewards_length = true;
        Ok(rewarding.values(&scores))
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
    use crate::testing::{Response, Settings, group, settings, thinking_advantages};

    fn objective(change: impl Fn(&mut v1::ShortRlSpec)) -> Box<dyn Objective> {
        let mut own = v1::ShortRlSpec {
            length_tolerance: Some(2),
            accuracy_tolerance: Some(0.1),
            ..Default::default()
        };
        change(&mut own);
        crate::objective(&settings(Settings::ShortRl(own), &[20]))
    }

    fn one_step(objective: &mut dyn Objective, responses: &[Response]) -> Vec<f32> {
        let group = group(20, responses);
        objective.begin_step(&StepContext {
            groups: &[&group],
            references: &std::collections::BTreeMap::new(),
        });
        thinking_advantages(&objective.targets(&group))
    }

    const HALF_RIGHT: [Response; 4] = [
        Response::new(4, true),
        Response::new(6, true),
        Response::new(14, true),
        Response::new(2, false),
    ];

    #[test]
    fn only_correct_responses_beyond_the_tolerance_are_penalised() {
        // Of the correct ones 4 and 6 are within 4 + 2 and earn 0.5, 14 earns 0.5 − 10/10; the wrong one nothing.
        // Rewards 1.5, 1.5, 0.5, 0; mean 0.875.
        let advantages = one_step(&mut *objective(|_| {}), &HALF_RIGHT);
        assert_eq!(advantages, [0.625, 0.625, -0.375, -0.875]);
        let halved = one_step(&mut *objective(|spec| spec.length_weight = Some(0.5)), &HALF_RIGHT);
        // 1.25, 1.25, 0.75, 0; mean 0.8125.
        assert_eq!(halved, [0.4375, 0.4375, -0.0625, -0.8125]);
    }

    #[test]
    fn the_penalty_rests_while_accuracy_is_below_the_best() {
        let mut objective = objective(|_| {});
        one_step(&mut *objective, &[Response::new(3, true); 4]);
        // 0.75 is below 1 − 0.1: plain accuracy.
        assert_eq!(one_step(&mut *objective, &HALF_RIGHT), [0.25, 0.25, 0.25, -0.75]);
        assert_eq!(
            objective.state(),
            Some(serde_json::json!({"name": NAME, "best_accuracy": 1.0}))
        );
        // Within the tolerance it is back: rewards 1.5 nine times and 0 once.
        let mut nearly = [Response::new(3, true); 10];
        nearly[9] = Response::new(3, false);
        let advantages = one_step(&mut *objective, &nearly);
        assert!((advantages[0] - 0.15).abs() < 1e-6, "{advantages:?}");
    }

    #[test]
    fn the_best_accuracy_outlives_a_restart_and_no_other_state_is_taken() {
        let mut before = objective(|_| {});
        one_step(&mut *before, &[Response::new(3, true); 4]);
        let mut after = objective(|_| {});
        after.restore(before.state().expect("it remembers")).expect("its own");
        assert_eq!(one_step(&mut *after, &HALF_RIGHT), one_step(&mut *before, &HALF_RIGHT));
        let foreign = serde_json::json!({"name": "adaptthink", "reference": {}});
        let error = after.restore(foreign).expect_err("another objective's").to_string();
        assert!(error.contains("adaptthink") && error.contains(NAME), "{error}");
        assert!(after.restore(serde_json::json!({"name": NAME})).is_err());
    }
}
