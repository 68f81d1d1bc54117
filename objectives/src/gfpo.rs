//! Group Filtered Policy Optimization (arXiv 2508.09726, "Sample More to Think Less"): sample a large group, train on few.
//! Of the G responses to a problem only the k best by a metric are kept: the shortest, or those with the most reward per
//! token. Mean and standard deviation are taken over the kept ones S alone, and the others teach nothing:
//! A_i = (r_i − mean over S)/(deviation over S) for i in S, A_i = 0 otherwise. With k = G it is GRPO with a deviation.
//!
//! The paper samples 8, 16 or 24 responses and keeps 8 or fewer. Equal ones are kept in the order of the group. The
//! deviation is that of a sample (n − 1) plus 1e-6, as in verl, so that one kept response, or several of one reward, have
//! the advantage 0. Where this differs: the length is the thinking's, since summaries are capped; with A summaries the
//! reward that is measured against the length is their mean, and a thinking is kept with all of its summaries; tokens are
//! summed over a constant as everywhere here, where the paper divides by the tokens of the group; no KL term.

use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1;

use super::responses::{self, Rewards, deviation_scale, group_baselines, lay_out_responses};
use super::scores::ScoreTable;
use super::statistics::mean;
use super::targets::TraceTargets;
use super::{Analysis, NotAnalysed, Objective};

/// GRPO over the responses of a group that are worth imitating for their length.
#[derive(Clone, Debug)]
pub(crate) struct Gfpo {
    settings: ObjectiveSettings,
    own: v1::GfpoSpec,
}

impl Gfpo {
    /// Reads the weight of summaries from the shared settings, everything else from its own.
    pub(crate) fn new(settings: &ObjectiveSettings, own: &v1::GfpoSpec) -> Self {
        Self {
            settings: settings.clone(),
            own: *own,
        }
    }

    fn values(&self, table: &ScoreTable) -> Analysis {
        let rewards = responses::rewards(table, |_, score| score);
        let kept = self.kept(&rewards, table.lengths());
        let of_kept: Rewards = kept.iter().map(|trace| rewards[*trace].clone()).collect();
        let baseline = group_baselines(&of_kept, false)[0];
        let baselines = vec![baseline; rewards.len()];
        let mut analysis = responses::analyse(&self.settings, table, &rewards, &baselines, deviation_scale(&of_kept));
        for trace in (0..rewards.len()).filter(|trace| !kept.contains(trace)) {
            analysis.advantages[trace].fill(0.0);
            for summaries in &mut analysis.summary_advantages[trace] {
                summaries.fill(0.0);
            }
        }
        analysis
    }

    /// S: the k best traces by the metric.
    fn kept(&self, rewards: &Rewards, lengths: &[u32]) -> Vec<usize> {
        let cost = |trace: &usize| {
            let length = f64::from(lengths[*trace]);
            match self.own.metric() {
                // A thinking without tokens counts as one token.
                v1::GfpoMetric::TokenEfficiency => -mean(&rewards[*trace]) / length.max(1.0),
                v1::GfpoMetric::Length | v1::GfpoMetric::Unspecified => length,
            }
        };
        let mut traces: Vec<usize> = (0..rewards.len()).collect();
        // A stable sort: equal ones stay in their order.
        traces.sort_by(|one, other| cost(one).total_cmp(&cost(other)));
        traces.truncate(self.own.keep() as usize);
        traces.sort_unstable();
        traces
    }
}

impl Objective for Gfpo {
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
    use std::f32::consts::FRAC_1_SQRT_2;

    use super::*;
    use crate::testing::{Response, Settings, group, group_with_summaries, settings, thinking_advantages};

    const SHORTEST: v1::GfpoMetric = v1::GfpoMetric::Length;
    const EFFICIENT: v1::GfpoMetric = v1::GfpoMetric::TokenEfficiency;

    fn objective(keep: u32, metric: v1::GfpoMetric) -> Box<dyn Objective> {
        let own = v1::GfpoSpec {
            keep: Some(keep),
            metric: Some(metric.into()),
        };
        crate::objective(&settings(Settings::Gfpo(own), &[20]))
    }

    fn advantages(keep: u32, metric: v1::GfpoMetric, responses: &[Response]) -> Vec<f32> {
        thinking_advantages(&objective(keep, metric).targets(&group(20, responses)))
    }

    fn assert_close(actual: &[f32], expected: &[f32]) {
        assert_eq!(actual.len(), expected.len());
        for (one, other) in actual.iter().zip(expected) {
            assert!((one - other).abs() < 1e-5, "{actual:?} instead of {expected:?}");
        }
    }

    const GROUP: [Response; 6] = [
        Response::new(10, true),
        Response::new(4, true),
        Response::new(6, false),
        Response::new(8, true),
        Response::new(5, true),
        Response::new(20, false),
    ];

    #[test]
    fn the_shortest_are_measured_against_each_other() {
        // Kept: 4, 5, 6, 8 with the rewards 1, 1, 0, 1: mean 3/4, variance (3·1/16 + 9/16)/3 = 1/4, deviation 1/2.
        let kept = advantages(4, SHORTEST, &GROUP);
        assert_close(&kept, &[0.0, 0.5, -1.5, 0.5, 0.5, 0.0]);
        // Kept: 4, 5, 6: mean 2/3, variance (2·1/9 + 4/9)/2 = 1/3, deviation 0.577350.
        let kept = advantages(3, SHORTEST, &GROUP);
        assert_close(&kept, &[0.0, 0.577350, -1.154701, 0.0, 0.577350, 0.0]);
    }

    #[test]
    fn the_efficient_are_those_with_the_most_reward_per_token() {
        // 1/10, 1/4, 0, 1/8, 1/5, 0: the four right ones are kept, and have nothing to learn from each other.
        assert_eq!(advantages(4, EFFICIENT, &GROUP), [0.0; 6]);
        // A fifth is the first of those with nothing: mean 4/5, variance (4·1/25 + 16/25)/4 = 1/5, deviation 0.447214.
        let kept = advantages(5, EFFICIENT, &GROUP);
        assert_close(&kept, &[0.447214, 0.447214, -1.788854, 0.447214, 0.447214, 0.0]);
    }

    #[test]
    fn equal_ones_are_kept_in_the_order_of_the_group() {
        let equal = [
            Response::new(7, true),
            Response::new(7, false),
            Response::new(7, false),
            Response::new(7, true),
        ];
        // Rewards 1 and 0: mean 1/2, deviation √(1/2).
        assert_close(
            &advantages(2, SHORTEST, &equal),
            &[FRAC_1_SQRT_2, -FRAC_1_SQRT_2, 0.0, 0.0],
        );
    }

    #[test]
    fn with_all_kept_it_is_grpo_with_a_deviation() {
        let elastic = v1::ElasticSpec {
            divide_by_deviation: Some(true),
            ..Default::default()
        };
        let mut grpo = crate::objective(&settings(Settings::Elastic(elastic), &[20]));
        let group = group(20, &GROUP);
        for keep in [6, 7, 100] {
            assert_eq!(objective(keep, SHORTEST).targets(&group), grpo.targets(&group));
        }
    }

    #[test]
    fn one_kept_or_equal_rewards_teach_nothing() {
        assert_eq!(advantages(1, SHORTEST, &GROUP), [0.0; 6]);
        assert_eq!(advantages(3, SHORTEST, &[Response::new(5, true); 4]), [0.0; 4]);
        assert_eq!(advantages(3, EFFICIENT, &[Response::new(5, false); 4]), [0.0; 4]);
    }

    #[test]
    fn summaries_have_the_advantage_of_their_own_response() {
        // One trace is kept with its three summaries: rewards 1, 1, 0, mean 2/3, deviation 0.577350.
        let targets = objective(2, SHORTEST).targets(&group_with_summaries(20, 3, &[true, true, false]));
        assert_close(&targets[0].advantages, &[0.0, 0.0, 0.0, 0.577350, 0.577350, -1.154701]);
    }

    #[test]
    fn a_thinking_without_tokens_is_the_shortest() {
        let mut group = group(
            20,
            &[Response::new(3, true), Response::new(2, true), Response::new(1, false)],
        );
        if let Some(thinking) = &mut group.traces[1].thinking {
            thinking.ids.clear();
        }
        for (metric, expected) in [
            // Kept: lengths 0 and 1 with the rewards 1 and 0.
            (SHORTEST, [0.0, FRAC_1_SQRT_2, -FRAC_1_SQRT_2]),
            // Kept: 1/1 and 1/3, both right.
            (EFFICIENT, [0.0, 0.0, 0.0]),
        ] {
            let table = ScoreTable::of_group(&group);
            let analysis = objective(2, metric)
                .analyse(table)
                .expect("scores and lengths decide it");
            let first: Vec<f32> = analysis.advantages.iter().map(|row| row[0] as f32).collect();
            assert_close(&first, &expected);
        }
    }
}
