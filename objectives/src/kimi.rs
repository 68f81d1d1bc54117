//! The length reward of Kimi k1.5 (arXiv 2501.12599, section 2.3.3 "length penalty"). Among the k responses to a
//! problem, λ = 0.5 − (len − min_len)/(max_len − min_len); a correct response earns λ, a wrong one min(0, λ), on top of
//! the accuracy reward; nothing where all are of one length.
//!
//! Where this differs: the report adds it with a weighting parameter that it does not give (`length_weight`, 1 here)
//! and after a warm-up without it (two jobs, one after the other); len is the thinking's, since summaries are capped;
//! the report's policy optimisation is mirror descent with the mean reward as its baseline, and here it is GRPO with
//! the same baseline and without a division.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::responses::{self, group_baselines, is_right, lay_out_responses, relative_length_reward};
use super::scores::ScoreTable;
use super::targets::TraceTargets;
use super::{Analysis, NotAnalysed, Objective};

/// GRPO with Kimi k1.5's length reward.
#[derive(Clone, Debug)]
pub(crate) struct Kimi {
    settings: ObjectiveSettings,
    own: v1::KimiSpec,
}

impl Kimi {
    /// Reads the weight of summaries from the shared settings, everything else from its own.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::KimiSpec) -> Self {
        Self {
            settings: settings.clone(),
            own: *own,
        }
    }

    fn values(&self, table: &ScoreTable) -> Analysis {
        let lengths = table.lengths();
        let rewards = responses::rewards(table, |trace, score| {
            let lambda = relative_length_reward(lengths[trace], lengths);
            let earned = if is_right(score) { lambda } else { lambda.min(0.0) };
            score + self.own.length_weight() * earned
        });
        let baselines = group_baselines(&rewards, self.own.leave_one_out());
        responses::analyse(&self.settings, table, &rewards, &baselines, 1.0)
    }
}

impl Objective for Kimi {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let analysis = self.values(&ScoreTable::of_group(group));
        lay_out_responses(&self.settings, group, &analysis)
    }

    fn analyse(&self, scores: ScoreTable) -> Result<Analysis, NotAnalysed> {
        scores.check_lengths()?;
        Ok(self.values(&scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Settings, settings};

    #[test]
    fn short_and_right_earns_long_costs_and_short_and_wrong_earns_nothing() {
        let settings = settings(Settings::Kimi(v1::KimiSpec::default()), &[4, 10]);
        let scores = [1.0, 1.0, 0.0, 0.0].map(|score| vec![vec![0.0], vec![score]]).to_vec();
        let table = ScoreTable::try_new(vec![4, 10], scores, Some(vec![2, 10, 2, 8]), None).expect("valid");
        let analysis = crate::objective(&settings)
            .analyse(table)
            .expect("scores and lengths decide it");
        // λ: 0.5, −0.5, 0.5, 0.5 − 6/8 = −0.25; rewards: 1.5, 0.5, 0 + min(0, 0.5) = 0, −0.25; mean 1.75/4.
        let rewards: Vec<f64> = analysis.reward_to_go.iter().map(|row| row[0]).collect();
        assert_eq!(rewards, [1.5, 0.5, 0.0, -0.25]);
        let advantages: Vec<f64> = analysis.advantages.iter().map(|row| row[1]).collect();
        assert_eq!(advantages, [1.0625, 0.0625, -0.4375, -0.6875]);
        assert_eq!(analysis.summary_advantages[0], [[0.0], [1.0625]]);
    }

    #[test]
    fn what_remembers_nothing_takes_no_state() {
        let mut kimi = crate::objective(&settings(Settings::Kimi(v1::KimiSpec::default()), &[4]));
        assert_eq!(kimi.state(), None);
        let foreign = serde_json::json!({"name": "short_rl", "best_accuracy": 0.5});
        let error = kimi.restore(foreign).expect_err("another objective's").to_string();
        assert!(error.contains("short_rl"), "{error}");
    }

    #[test]
    fn one_length_leaves_the_accuracy_alone() {
        assert_eq!(relative_length_reward(7, &[7, 7]), 0.0);
    }
}
