//! The figures of an event under the names that other tools are given. docs/metrics-file.md says what each is; a test
//! holds the two against each other.

use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{EvaluationResult, JobEvent, SegmentStatistics, StepAccount, StepMetrics};
use prost_types::Timestamp;
use serde_json::Value;

use super::context::Context;

/// Names and numbers, in the order in which they are written. A number that is not finite is null, since JSON has no
/// other word for it.
pub(super) type Figures = Vec<(String, Value)>;

/// The figures of a step or of an evaluation.
pub(super) struct FiguresOf {
    /// The step after which they hold.
    pub(super) step: u64,
    /// `step` or `evaluation`, as in `anytime watch --json`.
    pub(super) kind: &'static str,
    /// Seconds since the job began to run, pauses included; none where that is not known.
    pub(super) wall_seconds: Option<f64>,
    pub(super) figures: Figures,
}

impl FiguresOf {
    /// None for an event of another kind.
    pub(super) fn event(event: &JobEvent, context: &Context, began: Option<Timestamp>) -> Option<Self> {
        let (step, kind, figures) = match event.event.as_ref()? {
            Event::Step(metrics) => (metrics.step, "step", of_step(metrics, &context.budgets)),
            Event::Evaluation(result) => (result.step, "evaluation", of_evaluation(result)),
            _ => return None,
        };
        Some(Self {
            step,
            kind,
            wall_seconds: event.time.zip(began).map(|(time, began)| unix(time) - unix(began)),
            figures,
        })
    }
}

/// Seconds since 1970.
pub(super) fn unix(time: Timestamp) -> f64 {
    time.seconds as f64 + f64::from(time.nanos) * 1e-9
}

/// What only training by rewards has is left out of supervised training.
fn of_step(metrics: &StepMetrics, budgets: &[u32]) -> Figures {
    let mut figures = Figures::new();
    let mut add = |name: &str, value: Value| figures.push((name.to_owned(), value));
    add("train/loss", metrics.loss.into());
    add("train/learning_rate", metrics.learning_rate.into());
    add("train/grad_norm", metrics.gradient_norm.into());
    add("train/grad_clip_fraction", metrics.clipped_gradient_share.into());
    add("train/largest_token_share", metrics.largest_token_share.into());
    add("train/update_rms", metrics.update_size.into());
    add("train/skipped_updates", metrics.skipped_updates.into());
    add("train/tokens", metrics.trained_tokens.into());
    add("perf/step_seconds", metrics.step_seconds.into());
    if metrics.reward_per_budget.is_empty() {
        return figures;
    }
    add("train/clip_fraction", metrics.clipped_share.into());
    add("train/policy_version", metrics.weights_version.into());
    add("reward/mean", metrics.anytime.into());
    add("reward/final", metrics.r#final.into());
    for (budget, reward) in budgets.iter().zip(&metrics.reward_per_budget) {
        add(&at_budget("reward", *budget), (*reward).into());
    }
    add("rollout/thinking_tokens", metrics.mean_thinking_tokens.into());
    add("rollout/generated_tokens", metrics.generated_tokens.into());
    add("rollout/format_rate", metrics.formatted_share.into());
    add("rollout/finish_rate", metrics.finished_share.into());
    add("rollout/overthinking_rate", metrics.overthinking_share.into());
    add("off_policy/staleness", metrics.mean_staleness.into());
    add("off_policy/logprob_gap_mean", metrics.fresh_log_prob_gap.into());
    add("off_policy/logprob_gap_max", metrics.largest_log_prob_gap.into());
    add("queue/depth", metrics.queue_depth.into());
    add("queue/dropped_groups", metrics.dropped_groups.into());
    add("perf/wait_seconds", metrics.wait_seconds.into());
    add("perf/tokens_per_second", metrics.generated_tokens_per_second.into());
    for segment in &metrics.segments {
        figures.extend(of_segment(segment));
    }
    figures.extend(metrics.account.iter().flat_map(of_account));
    figures
}

/// How well the baselines predict the rewards. What has no value is left out, as it is of the event.
fn of_segment(segment: &SegmentStatistics) -> Figures {
    let figures = [
        ("baseline/traces", Some(segment.traces.into())),
        ("baseline/corr_v1", segment.correlation_v1.map(Value::from)),
        ("baseline/corr_v2", segment.correlation_v2.map(Value::from)),
        ("baseline/corr_v", segment.correlation_v.map(Value::from)),
        ("baseline/var_ratio_v1", segment.variance_v1.map(Value::from)),
        ("baseline/var_ratio_v2", segment.variance_v2.map(Value::from)),
        ("baseline/var_ratio_v", segment.variance_v.map(Value::from)),
    ];
    let figures = figures.into_iter();
    figures
        .filter_map(|(name, value)| Some((at_budget(name, segment.budget), value?)))
        .collect()
}

/// Which groups they were is for the audit: here they are counted.
fn of_account(account: &StepAccount) -> Figures {
    vec![
        ("groups/trained".to_owned(), account.trained.len().into()),
        ("groups/left_out".to_owned(), account.left_out.len().into()),
        ("groups/replayed".to_owned(), account.replayed.len().into()),
    ]
}

fn of_evaluation(result: &EvaluationResult) -> Figures {
    let mut figures = Figures::new();
    let mut add = |name: &str, value: Value| figures.push((name.to_owned(), value));
    add("eval/accuracy/mean", result.anytime.into());
    add("eval/accuracy/final", result.r#final.into());
    add("eval/accuracy_low/mean", result.anytime_low.into());
    add("eval/accuracy_high/mean", result.anytime_high.into());
    add("eval/accuracy_ci95/mean", result.anytime_ci95.into());
    let lists = [
        ("eval/accuracy", &result.accuracy),
        ("eval/accuracy_low", &result.accuracy_low),
        ("eval/accuracy_high", &result.accuracy_high),
        ("eval/accuracy_ci95", &result.ci95),
    ];
    for (name, values) in lists {
        for (budget, value) in result.budgets.iter().zip(values) {
            add(&at_budget(name, *budget), (*value).into());
        }
    }
    add("eval/thinking_tokens", result.mean_thinking_tokens.into());
    add("eval/generated_tokens", result.generated_tokens.into());
    add("eval/format_rate", result.formatted_share.into());
    add("eval/finish_rate", result.finished_share.into());
    add("eval/overthinking_rate", result.overthinking_share.into());
    add("eval/problems", result.problems.into());
    add("eval/samples", result.samples.into());
    add("eval/left_out_groups", result.left_out_groups.into());
    add("eval/policy_version", result.weights_version.into());
    add("eval/seconds", result.seconds.into());
    figures
}

fn at_budget(name: &str, budget: u32) -> String {
    format!("{name}/budget_{budget}")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use anytime_proto::v1::{LeftOutGroup, TrainedGroup};

    use super::*;

    /// A step with another number in every field. It is written in full, so that whoever adds a field comes by here.
    fn full_step() -> StepMetrics {
        StepMetrics {
            step: 1,
            weights_version: 2,
            loss: 3.5,
            learning_rate: 4.5,
            gradient_norm: 5.5,
            reward_per_budget: vec![6.25, 6.5],
            mean_thinking_tokens: 7.5,
            trained_tokens: 8,
            generated_tokens_per_second: 9.5,
            queue_depth: 10,
            mean_staleness: 11.5,
            dropped_groups: 12,
            fresh_log_prob_gap: 13.5,
            clipped_share: 14.5,
            wait_seconds: 15.5,
            step_seconds: 16.5,
            formatted_share: 17.5,
            finished_share: 18.5,
            segments: vec![SegmentStatistics {
                budget: 2000,
                traces: 190,
                correlation_v1: Some(190.25),
                correlation_v2: Some(191.25),
                correlation_v: Some(192.25),
                variance_v1: Some(193.25),
                variance_v2: Some(194.25),
                variance_v: Some(195.25),
            }],
            anytime: 20.5,
            r#final: 21.5,
            overthinking_share: 22.5,
            generated_tokens: 23,
            skipped_updates: 24,
            clipped_gradient_share: 25.5,
            largest_token_share: 26.5,
            update_size: 27.5,
            largest_log_prob_gap: 28.5,
            account: Some(StepAccount {
                trained: vec![TrainedGroup::default(); 291],
                left_out: vec![LeftOutGroup::default(); 292],
                weights_checksum: "checksum".to_owned(),
                replayed: vec![0; 294],
            }),
            // Times are no figures.
            timeline: None,
        }
    }

    fn full_evaluation() -> EvaluationResult {
        EvaluationResult {
            step: 1,
            weights_version: 2,
            budgets: vec![2000, 4000],
            accuracy: vec![4.25, 4.5],
            ci95: vec![5.25, 5.5],
            anytime: 6.5,
            r#final: 7.5,
            mean_thinking_tokens: 8.5,
            problems: 9,
            samples: 10,
            seconds: 11.5,
            generated_tokens: 12,
            anytime_ci95: 13.5,
            formatted_share: 14.5,
            finished_share: 15.5,
            overthinking_share: 16.5,
            accuracy_low: vec![17.25, 17.5],
            accuracy_high: vec![18.25, 18.5],
            anytime_low: 19.5,
            anytime_high: 20.5,
            generations: "a path".to_owned(),
            left_out_groups: 22,
        }
    }

    fn context() -> Context {
        Context {
            budgets: vec![2000, 4000],
            tensorboard: true,
        }
    }

    fn figures(event: Event) -> FiguresOf {
        let event = JobEvent {
            number: 1,
            event: Some(event),
            ..JobEvent::default()
        };
        FiguresOf::event(&event, &context(), None).expect("figures")
    }

    /// Every number within a JSON document, with the place of it.
    fn numbers(value: &Value, place: &str, found: &mut Vec<(String, f64)>) {
        match value {
            Value::Number(number) => found.push((place.to_owned(), number.as_f64().expect("a number"))),
            Value::Array(items) => items.iter().for_each(|item| numbers(item, place, found)),
            Value::Object(fields) => fields.iter().for_each(|(name, field)| {
                let place = if place.is_empty() {
                    name.clone()
                } else {
                    format!("{place}.{name}")
                };
                numbers(field, &place, found);
            }),
            _ => {}
        }
    }

    /// Compares what has figures with the event as JSON. Both have every number once, so that a number says which figure
    /// is of which field; returns the fields by the figures' names.
    fn fields_by_name(event: Event, document: &Value, elsewhere: &[&str]) -> BTreeMap<String, String> {
        let mut of_event = Vec::new();
        numbers(document, "", &mut of_event);
        let figures = figures(event);
        assert_eq!(figures.step, 1);
        let mut fields = BTreeMap::new();
        for (name, value) in &figures.figures {
            let number = value.as_f64().expect("a number");
            let of_number: Vec<&String> = of_event
                .iter()
                .filter(|(_, other)| *other == number)
                .map(|(place, _)| place)
                .collect();
            let [field] = of_number[..] else {
                panic!("{name} is {number}: {of_number:?}");
            };
            assert!(fields.insert(name.clone(), field.clone()).is_none(), "{name} twice");
        }
        let shown: BTreeSet<&String> = fields.values().collect();
        for (place, number) in &of_event {
            let is_shown = shown.contains(place) || elsewhere.iter().any(|other| place == other);
            assert!(is_shown, "{place} ({number}) has no figure");
        }
        fields
    }

    fn all_fields() -> BTreeMap<String, String> {
        let step = full_step();
        let mut document = serde_json::to_value(&step).expect("JSON");
        // Lists of groups are counted.
        document["account"] = serde_json::json!({ "trained": 291, "left_out": 292, "replayed": 294 });
        let mut fields = fields_by_name(Event::Step(step), &document, &["step", "segments.budget"]);
        let evaluation = full_evaluation();
        let document = serde_json::to_value(&evaluation).expect("JSON");
        fields.extend(fields_by_name(
            Event::Evaluation(evaluation),
            &document,
            &["step", "budgets"],
        ));
        fields
    }

    #[test]
    fn every_number_of_an_event_has_a_figure_and_the_page_names_it() {
        let page = include_str!("../../../../docs/metrics-file.md");
        // | `reward/budget_N` | `reward_per_budget` | what it is |
        let mut rows = BTreeSet::new();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let [_, names, field, ..] = cells[..] {
                for name in names.split(", ") {
                    rows.insert((name.trim_matches('`').to_owned(), field.trim_matches('`').to_owned()));
                }
            }
        }
        let heads = ["step", "event", "number", "time", "wall_seconds"];
        rows.retain(|(name, _)| !heads.contains(&name.as_str()));
        let shown: BTreeSet<(String, String)> = all_fields()
            .into_iter()
            .map(|(name, field)| (name.replace("2000", "N").replace("4000", "N"), field))
            .collect();
        assert_eq!(rows, shown);
    }

    #[test]
    fn budgets_are_in_the_names() {
        let figures = figures(Event::Step(full_step())).figures;
        let of = |name: &str| {
            figures
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(of("reward/budget_2000"), Some(Value::from(6.25)));
        assert_eq!(of("reward/budget_4000"), Some(Value::from(6.5)));
        assert_eq!(of("train/tokens"), Some(Value::from(8)), "a count is no decimal");
    }

    #[test]
    fn supervised_training_has_no_figures_of_rollouts() {
        let supervised = StepMetrics {
            step: 10,
            loss: 0.5,
            ..StepMetrics::default()
        };
        let figures = figures(Event::Step(supervised)).figures;
        let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"train/loss") && names.contains(&"perf/step_seconds"));
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("train/") || name.starts_with("perf/")),
            "{names:?}"
        );
        assert!(!names.contains(&"train/clip_fraction"));
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let broken = StepMetrics {
            loss: f64::NAN,
            gradient_norm: f64::INFINITY,
            ..full_step()
        };
        let figures = figures(Event::Step(broken)).figures;
        for name in ["train/loss", "train/grad_norm"] {
            let (_, value) = figures.iter().find(|(other, _)| other == name).expect("it is there");
            assert!(value.is_null());
        }
    }
}
