//! Figures of the groups of a training step, about the policy and the baselines: for the step's event and for metrics.

use anytime_objectives::statistics::mean;
use anytime_objectives::{ScoreTable, StepStatistics};
use anytime_proto::settings::JobSettings;
use anytime_proto::{JobId, v1};
use anytime_service::metric_names as names;
use metrics::{counter, gauge, histogram};
use tracing::warn;

use super::step_gauges::{BASELINES, RATIO_STATISTICS, count_gaps, show_time_of_step};
use crate::evaluation::counts::TraceCounts;
use crate::rollouts::group::QueuedGroup;
use crate::train::StepFigures;

/// Means and shares over the groups of a step, in the words of `StepMetrics`.
pub(super) struct GroupFigures {
    pub(super) reward_per_budget: Vec<f64>,
    pub(super) mean_thinking_tokens: f64,
    pub(super) generated_tokens: u64,
    pub(super) formatted_share: f64,
    pub(super) finished_share: f64,
    pub(super) overthinking_share: f64,
    pub(super) segments: Vec<v1::SegmentStatistics>,
}

impl GroupFigures {
    pub(super) fn of(groups: &[QueuedGroup], settings: &JobSettings) -> Self {
        let mut statistics = StepStatistics::new(&settings.objective, &settings.rollout.budgets);
        let mut counts = TraceCounts::default();
        for queued in groups {
            let table = ScoreTable::of_group(&queued.group);
            counts.add(&queued.group, &table.mean_per_budget());
            statistics.add(table);
        }
        Self {
            reward_per_budget: statistics.reward_per_budget(),
            mean_thinking_tokens: counts.mean_thinking_tokens(),
            generated_tokens: counts.generated_tokens(),
            formatted_share: counts.formatted_share(),
            finished_share: counts.finished_share(),
            overthinking_share: counts.overthinking_share(),
            segments: statistics.segments(),
        }
    }

    /// The mean reward over the budgets, unweighted.
    pub(super) fn anytime(&self) -> f64 {
        mean(self.reward_per_budget.iter().copied())
    }
}

/// Shows how a step moved the weights, and warns of updates that were skipped.
pub(super) fn show_update(job_id: &JobId, step: u64, figures: &StepFigures) {
    gauge!(names::LEARNER_GRADIENT_NORM).set(figures.gradient_norm);
    gauge!(names::LEARNER_CLIPPED_GRADIENTS).set(figures.clipped_gradient_share);
    gauge!(names::LEARNER_LARGEST_TOKEN).set(figures.largest_token_share);
    gauge!(names::LEARNER_UPDATE_SIZE).set(figures.update_size);
    gauge!(names::LEARNER_LEARNING_RATE).set(figures.learning_rate);
    show_time_of_step();
    counter!(names::LEARNER_SKIPPED_UPDATES).increment(u64::from(figures.skipped_updates));
    if let Some(reason) = &figures.skip_reason {
        warn!(%job_id, step, skipped = figures.skipped_updates, reason, "an update was skipped");
    }
}

/// Shows what the tokens of a step of policy gradient were like: how far they were from the policy that trained them, and
/// how long their thinkings.
pub(super) fn show_tokens(groups: &[QueuedGroup], figures: &StepFigures) {
    for trace in groups.iter().flat_map(|queued| &queued.group.traces) {
        let tokens = trace.thinking.as_ref().map_or(0, |thinking| thinking.ids.len());
        histogram!(names::LEARNER_THINKING_LENGTH).record(tokens as f64);
    }
    counter!(names::LEARNER_WITHOUT_GRADIENT).increment(figures.groups_without_gradient);
    count_gaps(&figures.fresh_gaps, figures.fresh_tokens);
    // A step without a token that moves the weights has no ratio: 0 / 0.
    let tokens = figures.trained_tokens as f64;
    gauge!(names::LEARNER_CLIPPED_TOKENS).set(figures.clipped_tokens / tokens);
    let largest = if figures.trained_tokens > 0 {
        figures.largest_ratio
    } else {
        f64::NAN
    };
    for (statistic, value) in RATIO_STATISTICS.into_iter().zip([figures.ratio / tokens, largest]) {
        gauge!(names::LEARNER_RATIO, "statistic" => statistic).set(value);
    }
}

/// Shows the study's figures as metrics. A figure that a step leaves undefined is NaN, which is a gap in the curve; the
/// value of an earlier step would mislead.
pub(super) fn show_study_figures(metrics: &v1::StepMetrics) {
    gauge!(names::LEARNER_ANYTIME_REWARD).set(metrics.anytime);
    gauge!(names::LEARNER_FORMATTED_SHARE).set(metrics.formatted_share);
    gauge!(names::LEARNER_FINISHED_SHARE).set(metrics.finished_share);
    gauge!(names::LEARNER_OVERTHINKING_SHARE).set(metrics.overthinking_share);
    for segment in &metrics.segments {
        let figures = [
            (segment.correlation_v1, segment.variance_v1),
            (segment.correlation_v2, segment.variance_v2),
            (segment.correlation_v, segment.variance_v),
        ];
        for (baseline, (correlation, variance)) in BASELINES.into_iter().zip(figures) {
            let budget = segment.budget.to_string();
            gauge!(names::LEARNER_BASELINE_CORRELATION, "baseline" => baseline, "budget" => budget.clone())
                .set(correlation.unwrap_or(f64::NAN));
            gauge!(names::LEARNER_BASELINE_VARIANCE, "baseline" => baseline, "budget" => budget)
                .set(variance.unwrap_or(f64::NAN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollouts::group::Journey;

    /// A trace of `length` tokens over the budgets 2 and 4 with one summary of one token at each.
    fn trace(length: usize, scores: [f32; 2]) -> v1::Trace {
        let generated = |length: usize| v1::Generated {
            ids: vec![1; length],
            log_probs: vec![-0.5; length],
            versions: vec![0; length],
            finish: v1::FinishReason::EndMarker.into(),
        };
        let node = |cut: u32, first_budget: u32, scores: &[f32]| v1::Node {
            cut,
            first_budget,
            multiplicity: scores.len() as u32,
            inserted_ids: vec![7],
            summaries: (scores.iter())
                .map(|score| v1::Summary {
                    generated: Some(generated(1)),
                    formatted: *score > 0.0,
                    score: *score,
                    ..v1::Summary::default()
                })
                .collect(),
        };
        let nodes = if length <= 2 {
            vec![node(length as u32, 0, &scores)]
        } else {
            vec![node(2, 0, &scores[..1]), node(length as u32, 1, &scores[1..])]
        };
        v1::Trace {
            thinking: Some(generated(length)),
            nodes,
        }
    }

    #[test]
    fn a_step_is_summed_up() {
        let spec = "name = \"x\"\nkind = \"train\"\n[model]\npath = \"m\"\n[data]\npath = \"d\"\n[rollout]\nbudgets = [2, 4]\n\
                    [objective]\nname = \"grpo\"\nprior = \"uniform\"\n[training]\nsteps = 1";
        let spec = anytime_proto::settings::parse_job_file(spec).expect("a job file");
        let settings = JobSettings::try_new(&spec).expect("valid");
        let traces = vec![trace(4, [1.0, 0.0]), trace(1, [1.0, 1.0])];
        let group = v1::ScoredGroup {
            budgets: vec![2, 4],
            summaries_per_budget: 1,
            traces,
            prompt_ids: vec![0],
            ..v1::ScoredGroup::default()
        };
        anytime_proto::check_group(&group).expect("a valid group");
        let queued = QueuedGroup {
            sequence: 0,
            group,
            journey: Journey {
                actor: anytime_proto::ActorId("actor".to_owned()),
                leased: None,
                arrived: None,
                taken: std::time::Instant::now(),
                span: Default::default(),
            },
        };
        let figures = GroupFigures::of(&[queued], &settings);
        assert_eq!(figures.reward_per_budget, [1.0, 0.5]);
        assert_eq!(figures.anytime(), 0.75);
        assert_eq!(figures.overthinking_share, 0.5);
        assert_eq!((figures.mean_thinking_tokens, figures.generated_tokens), (2.5, 9));
        assert_eq!((figures.formatted_share, figures.finished_share), (0.75, 1.0));
        let traces: Vec<(u32, u64)> = figures.segments.iter().map(|one| (one.budget, one.traces)).collect();
        assert_eq!(traces, [(2, 2), (4, 1)]);
        // R = 1/2 and 1; V2 is the mean of both for both.
        assert_eq!(figures.segments[0].variance_v2, Some(1.0));
        assert_eq!(figures.segments[0].correlation_v2, None);
    }
}
