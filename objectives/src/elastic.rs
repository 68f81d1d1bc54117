//! Elastic Reasoning (arXiv 2505.05315): thinking and solution have budgets of their own, t* and s*. A thinking that
//! has not ended after t* tokens is ended, and the solution follows in at most s* tokens ("budget-constrained
//! rollout"); GRPO trains both as one response: A = (r − mean of the group)/standard deviation of the group.
//!
//! Here t* is the largest of `rollout.budgets` (its smaller budgets are measured, not trained) and s* is
//! `rollout.max_summary_tokens`; the paper trains with 1024 and 1024. The deviation is that of a sample (n − 1) plus
//! 1e-6, as in verl, which the paper trains with; `divide_by_deviation = false` leaves it out. Where this differs: no
//! KL term (the paper's code has one of weight 0.001), and the solution opens with the job's summary marker.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::responses::{self, deviation_scale, group_baselines, lay_out_responses};
use super::scores::ScoreTable;
use super::targets::TraceTargets;
use super::{Analysis, NotAnalysed, Objective};

/// GRPO over thinking and solution.
#[derive(Clone, Debug)]
pub(crate) struct Elastic {
    settings: ObjectiveSettings,
    own: v1::ElasticSpec,
}

impl Elastic {
    /// Reads the weight of summaries from the shared settings, everything else from its own.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::ElasticSpec) -> Self {
        Self {
            settings: settings.clone(),
            own: *own,
        }
    }

    fn values(&self, table: &ScoreTable) -> Analysis {
        let rewards = responses::rewards(table, |_, score| score);
        let baselines = group_baselines(&rewards, self.own.leave_one_out());
        let scale = if self.own.divide_by_deviation() {
            deviation_scale(&rewards)
        } else {
            1.0
        };
        responses::analyse(&self.settings, table, &rewards, &baselines, scale)
    }
}

impl Objective for Elastic {
    fn targets(&mut self, group: &v1::ScoredGroup) -> Vec<TraceTargets> {
        let analysis = self.values(&ScoreTable::of_group(group));
        lay_out_responses(&self.settings, group, &analysis)
    }

    fn analyse(&self, scores: ScoreTable) -> Result<Analysis, NotAnalysed> {
        Ok(self.values(&scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Settings, settings};

    fn advantages(divide_by_deviation: Option<bool>, scores: [f64; 4]) -> Vec<f64> {
        let own = v1::ElasticSpec {
            divide_by_deviation,
            ..Default::default()
        };
        let settings = settings(Settings::Elastic(own), &[4, 10]);
        let scores = scores.map(|score| vec![vec![0.0], vec![score]]).to_vec();
        let table = ScoreTable::try_new(vec![4, 10], scores, None, None).expect("valid");
        let analysis = crate::objective(&settings).analyse(table).expect("scores decide it");
        analysis.advantages.iter().map(|row| row[0]).collect()
    }

    #[test]
    fn advantages_are_in_standard_deviations_of_the_group() {
        // Mean 3/4; variance (3·1/16 + 9/16)/3 = 1/4; deviation 1/2.
        let divided = advantages(None, [1.0, 1.0, 1.0, 0.0]);
        for (actual, expected) in divided.iter().zip([0.5, 0.5, 0.5, -1.5]) {
            assert!((actual - expected).abs() < 1e-5, "{divided:?}");
        }
        assert_eq!(advantages(Some(false), [1.0, 1.0, 1.0, 0.0]), [0.25, 0.25, 0.25, -0.75]);
        assert_eq!(advantages(None, [1.0; 4]), [0.0; 4]);
    }
}
