//! The metrics of a last step hold while their job runs. At its end they become "not a number", which is a gap in a curve:
//! a flat line would be taken for a job that stands still, or for the next one.

use std::time::SystemTime;

use anytime_proto::settings::JobSettings;
use anytime_proto::v1::JobKind;
use anytime_service::metric_names as names;
use metrics::{counter, gauge};

/// What every kind of training shows of its last step.
const OF_ANY_STEP: [&str; 9] = [
    names::LEARNER_STEP,
    names::LEARNER_TOTAL_STEPS,
    names::LEARNER_LAST_STEP,
    names::LEARNER_LOSS,
    names::LEARNER_LEARNING_RATE,
    names::LEARNER_GRADIENT_NORM,
    names::LEARNER_CLIPPED_GRADIENTS,
    names::LEARNER_LARGEST_TOKEN,
    names::LEARNER_UPDATE_SIZE,
];

/// What a train job shows besides.
const OF_POLICY_STEP: [&str; 9] = [
    names::LEARNER_CLIPPED_TOKENS,
    names::LEARNER_ANYTIME_REWARD,
    names::LEARNER_FORMATTED_SHARE,
    names::LEARNER_FINISHED_SHARE,
    names::LEARNER_OVERTHINKING_SHARE,
    names::LEARNER_THINKING_TOKENS,
    names::LEARNER_STALENESS,
    names::LEARNER_LOG_PROB_GAP,
    names::LEARNER_LARGEST_LOG_PROB_GAP,
];

/// The values of the label `baseline`.
pub(super) const BASELINES: [&str; 3] = ["v1", "v2", "v"];

/// The values of the label `statistic` of the ratio.
pub(super) const RATIO_STATISTICS: [&str; 2] = ["mean", "largest"];

/// Makes the counters of steps appear with what they have, 0 in a new process, because alerts look at their increase.
pub fn begin_counters() {
    gauge!(names::LEARNER_RANKS).set(1.0);
    counter!(names::LEARNER_WITHOUT_GRADIENT).increment(0);
    counter!(names::LEARNER_SKIPPED_UPDATES).increment(0);
    count_gaps(&[0; names::LOG_PROB_GAP_BUCKETS.len()], 0);
}

/// Adds tokens to the histogram of gaps: how many are at most at each bound, and how many there are. The buckets are
/// counters of their own, because the tokens of a step are counted on the device, and a histogram of the `metrics` crate
/// takes millions of values one by one.
pub(super) fn count_gaps(within: &[u64; names::LOG_PROB_GAP_BUCKETS.len()], all: u64) {
    for (bound, count) in names::LOG_PROB_GAP_BUCKETS.iter().zip(within) {
        counter!(names::LEARNER_LOG_PROB_GAP_BUCKET, "le" => bound.to_string()).increment(*count);
    }
    counter!(names::LEARNER_LOG_PROB_GAP_BUCKET, "le" => "+Inf").increment(all);
    counter!(names::LEARNER_LOG_PROB_GAP_COUNT).increment(all);
}

/// The step gauges of one job that trains, until it is dropped.
pub(super) struct StepGauges {
    is_policy: bool,
    budgets: Vec<String>,
}

impl StepGauges {
    pub(super) fn of(settings: &JobSettings) -> Self {
        gauge!(names::LEARNER_TOTAL_STEPS).set(settings.training.steps as f64);
        Self {
            is_policy: settings.kind == JobKind::Train,
            budgets: settings.rollout.budgets.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A step has ended.
pub(super) fn show_time_of_step() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    gauge!(names::LEARNER_LAST_STEP).set(since.unwrap_or_default().as_secs_f64());
}

impl Drop for StepGauges {
    fn drop(&mut self) {
        let no_value = |name: &'static str| gauge!(name).set(f64::NAN);
        OF_ANY_STEP.into_iter().for_each(no_value);
        if !self.is_policy {
            return;
        }
        OF_POLICY_STEP.into_iter().for_each(no_value);
        for statistic in RATIO_STATISTICS {
            gauge!(names::LEARNER_RATIO, "statistic" => statistic).set(f64::NAN);
        }
        for budget in &self.budgets {
            gauge!(names::LEARNER_REWARD, "budget" => budget.clone()).set(f64::NAN);
            for baseline in BASELINES {
                for name in [names::LEARNER_BASELINE_CORRELATION, names::LEARNER_BASELINE_VARIANCE] {
                    gauge!(name, "baseline" => baseline, "budget" => budget.clone()).set(f64::NAN);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use anytime_proto::settings::parse_job_file;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    /// What a scrape has after some work, by series.
    fn scraped(work: impl FnOnce()) -> Vec<String> {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, work);
        let text = recorder.handle().render();
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn no_figure_of_a_step_outlives_its_job() {
        let spec = "name = \"x\"\nkind = \"train\"\n[model]\npath = \"m\"\n[data]\npath = \"d\"\n[rollout]\nbudgets = [2, 4]\n\
                    [training]\nsteps = 7";
        let settings = JobSettings::try_new(&parse_job_file(spec).expect("a job file")).expect("valid");
        let total = |lines: &[String]| lines.contains(&"anytime_learner_total_steps 7".to_owned());
        assert!(total(&scraped(|| std::mem::forget(StepGauges::of(&settings)))));
        let after = scraped(|| {
            let shown = StepGauges::of(&settings);
            gauge!(names::LEARNER_REWARD, "budget" => "4").set(0.5);
            show_time_of_step();
            drop(shown);
        });
        // Two statistics, two budgets, and of each budget two figures of three baselines.
        assert_eq!(
            after.len(),
            OF_ANY_STEP.len() + OF_POLICY_STEP.len() + 2 + 2 + 2 * 2 * 3
        );
        assert!(after.iter().all(|line| line.ends_with(" NaN")), "{after:#?}");
    }

    #[test]
    fn the_gaps_are_the_buckets_of_a_histogram() {
        let lines = scraped(|| {
            begin_counters();
            count_gaps(&[0, 1, 2, 3, 4, 5, 6], 7);
            count_gaps(&[1; 7], 1);
        });
        for expected in [
            "anytime_learner_log_prob_gap_bucket{le=\"0.000001\"} 1",
            "anytime_learner_log_prob_gap_bucket{le=\"0.1\"} 6",
            "anytime_learner_log_prob_gap_bucket{le=\"1\"} 7",
            "anytime_learner_log_prob_gap_bucket{le=\"+Inf\"} 8",
            "anytime_learner_log_prob_gap_count 8",
            "anytime_learner_groups_without_gradient_total 0",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}: {lines:#?}");
        }
    }
}
