//! The report: its figures, its shape, its table and its picture.
#![allow(clippy::unwrap_used)]

use anytime::curves;
use anytime::report::{Report, push_step, table, write};
use anytime::timeline;
use anytime_proto::v1;
use serde_json::{Value, json};

fn evaluation(step: u64, budgets: &[u32], accuracy: &[f64]) -> v1::EvaluationResult {
    v1::EvaluationResult {
        step,
        budgets: budgets.to_vec(),
        accuracy: accuracy.to_vec(),
        ci95: vec![0.03; budgets.len()],
        accuracy_low: accuracy.iter().map(|mean| mean - 0.02).collect(),
        accuracy_high: accuracy.iter().map(|mean| mean + 0.01).collect(),
        anytime: accuracy.iter().sum::<f64>() / accuracy.len() as f64,
        anytime_ci95: 0.02,
        anytime_low: 0.5,
        anytime_high: 0.9,
        formatted_share: 0.75,
        finished_share: 0.5,
        overthinking_share: 0.125,
        generations: "runs/demo/demo-1/generations/step.jsonl".to_owned(),
        r#final: *accuracy.last().unwrap(),
        mean_thinking_tokens: 17.25,
        problems: 256,
        samples: 4,
        seconds: 4.0,
        generated_tokens: 6000,
        ..Default::default()
    }
}

fn job(kind: v1::JobKind, evaluations: Vec<v1::EvaluationResult>) -> v1::Job {
    let spec = v1::JobSpec {
        name: Some("demo".to_owned()),
        kind: Some(kind.into()),
        ..Default::default()
    };
    v1::Job {
        id: "demo-1".to_owned(),
        spec: Some(spec),
        state: v1::JobState::Succeeded.into(),
        step: 150,
        total_steps: 150,
        evaluations,
        checkpoint: "runs/demo/final".to_owned(),
        seconds: 240.5,
        ..Default::default()
    }
}

fn picture(report: &Report) -> Option<String> {
    curves::draw(&report.name, report.before.as_ref(), report.after.as_ref()).unwrap()
}

fn trained() -> v1::Job {
    let budgets = [6, 12, 18, 24];
    let evaluations = vec![
        evaluation(0, &budgets, &[0.19, 0.42, 0.73, 0.94]),
        evaluation(50, &budgets, &[0.5, 0.6, 0.8, 0.95]),
        evaluation(150, &budgets, &[0.63, 0.88, 0.97, 0.98]),
    ];
    job(v1::JobKind::Train, evaluations)
}

fn step(number: u64, rate: f64, seconds: f64) -> v1::StepMetrics {
    v1::StepMetrics {
        step: number,
        generated_tokens_per_second: rate,
        step_seconds: seconds,
        ..Default::default()
    }
}

#[test]
fn before_is_step_zero_and_after_is_the_newest() {
    let report = Report::new(&trained(), vec![step(1, 100.0, 1.0), step(2, 400.0, 3.0)]);
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["before"]["accuracy"], json!([0.19, 0.42, 0.73, 0.94]));
    assert_eq!(document["after"]["accuracy"], json!([0.63, 0.88, 0.97, 0.98]));
    for key in [
        "budgets",
        "accuracy",
        "ci95",
        "anytime",
        "final",
        "mean_thinking_tokens",
    ] {
        assert!(
            !document["before"][key].is_null() && !document["after"][key].is_null(),
            "{key}"
        );
    }
    assert_eq!(document["after"]["final"], 0.98);
    assert_eq!(document["after"]["accuracy_high"], json!([0.64, 0.89, 0.98, 0.99]));
    for (key, value) in [
        ("anytime_low", 0.5),
        ("anytime_high", 0.9),
        ("formatted_share", 0.75),
        ("finished_share", 0.5),
        ("overthinking_share", 0.125),
    ] {
        assert_eq!(document["after"][key], value, "{key}");
    }
    assert_eq!(
        document["after"]["generations"],
        "runs/demo/demo-1/generations/step.jsonl"
    );
    assert_eq!(document["after"]["budgets"], json!([6, 12, 18, 24]));
    assert_eq!(document["after"]["tokens_per_second"], 1500.0);
    assert_eq!((&document["steps"], &document["seconds"]), (&json!(150), &json!(240.5)));
    assert_eq!(document["checkpoint"], "runs/demo/final");
    assert_eq!(document["evaluations"].as_array().unwrap().len(), 3);
    assert_eq!(document["tokens_per_second"], 325.0, "1300 tokens in 4 s");
}

#[test]
fn what_was_not_measured_is_null() {
    let only_before = Report::new(&job(v1::JobKind::Train, vec![evaluation(0, &[6], &[0.5])]), Vec::new());
    assert!(only_before.before.is_some() && only_before.after.is_none());
    let evaluated = Report::new(
        &job(v1::JobKind::Evaluate, vec![evaluation(0, &[6], &[0.5])]),
        Vec::new(),
    );
    assert!(evaluated.before.is_none() && evaluated.after.is_some());
    let nothing = Report::new(&job(v1::JobKind::Sft, Vec::new()), Vec::new());
    let document: Value = serde_json::to_value(&nothing).unwrap();
    assert!(document["before"].is_null() && document["tokens_per_second"].is_null());
    assert!(picture(&nothing).is_none());
}

#[test]
fn a_job_from_before_the_bootstrap_has_the_normal_interval() {
    let old = v1::EvaluationResult {
        accuracy_low: Vec::new(),
        accuracy_high: Vec::new(),
        ..evaluation(0, &[6, 12], &[0.5, 0.99])
    };
    let report = Report::new(&job(v1::JobKind::Evaluate, vec![old]), Vec::new());
    let measured = report.after.as_ref().unwrap();
    assert_eq!((measured.accuracy_low[0], measured.accuracy_high[1]), (0.47, 1.0));
    let text = table(&report);
    assert!(text.contains("0.500 [0.470, 0.530]"), "{text}");
}

#[test]
fn a_supervised_job_counts_trained_tokens() {
    let step = v1::StepMetrics {
        step: 1,
        trained_tokens: 900,
        step_seconds: 0.5,
        ..Default::default()
    };
    assert_eq!(
        Report::new(&job(v1::JobKind::Sft, Vec::new()), vec![step]).tokens_per_second,
        Some(1800.0)
    );
}

#[test]
fn a_step_done_again_is_kept_once() {
    let mut series = Vec::new();
    for number in [1, 2, 3, 2, 3, 4] {
        push_step(&mut series, &step(number, 1.0, 1.0));
    }
    assert_eq!(series.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn the_table_has_a_row_per_budget() {
    let text = table(&Report::new(&trained(), Vec::new()));
    let rows: Vec<&str> = text.lines().collect();
    assert_eq!(rows[0], "      budget   before                 after");
    assert_eq!(rows[1], "           6   0.190 [0.170, 0.200]   0.630 [0.610, 0.640]");
    assert_eq!(rows[5], "     anytime   0.570 [0.500, 0.900]   0.865 [0.500, 0.900]");
    assert!(text.contains("thinking   17.2 tokens"), "{text}");
    assert!(text.contains("overthinking   0.125"), "{text}");
    assert!(
        text.ends_with("150 steps in 240 s") || text.ends_with("150 steps in 241 s"),
        "{text}"
    );
}

#[test]
fn the_picture_shows_both_curves_with_their_bands() {
    let svg = picture(&Report::new(&trained(), Vec::new())).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "before: anytime 0.570",
        "after: anytime 0.865",
        "thinking budget (tokens)",
        "#D55E00",
        "#0072B2",
    ] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(svg.matches("<polygon").count(), 2, "a band each");
    assert_eq!(svg.matches("<circle").count(), 8, "a point per budget each");
    for name in ["before", "after"] {
        assert!(
            svg.lines().any(|line| line.trim() == name),
            "{name} stands at its curve"
        );
    }
    for budget in ["6", "12", "18", "24"] {
        assert!(
            svg.lines().any(|line| line.trim() == budget),
            "{budget} stands at the axis"
        );
    }
}

#[test]
fn many_budgets_do_not_crowd_the_axis() {
    let budgets: Vec<u32> = (1..=32).map(|number| number * 250).collect();
    let accuracy: Vec<f64> = (1..=32).map(|number| f64::from(number) / 40.0).collect();
    let report = Report::new(
        &job(v1::JobKind::Evaluate, vec![evaluation(0, &budgets, &accuracy)]),
        Vec::new(),
    );
    let svg = picture(&report).unwrap();
    let at_axis = budgets
        .iter()
        .filter(|budget| svg.lines().any(|line| line.trim() == budget.to_string()))
        .count();
    assert_eq!(at_axis, 8);
    assert!(svg.lines().any(|line| line.trim() == "8000"));
}

#[test]
fn all_files_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(&Report::new(&trained(), Vec::new()), &directory.path().join("made")).unwrap();
    assert!(files.report.is_file() && files.curves.unwrap().is_file());
    assert_eq!(files.timeline, None, "no step says when it was");
    let report = Report::new(&trained(), vec![timed_step(150)]);
    let files = write(&report, &directory.path().join("made")).unwrap();
    assert!(files.timeline.unwrap().ends_with("made/timeline.svg"));
    let left: Vec<_> = std::fs::read_dir(directory.path().join("made")).unwrap().collect();
    assert_eq!(left.len(), 3, "nothing is left aside");
}

/// A step of two groups of two actors, of ten seconds.
fn timed_step(number: u64) -> v1::StepMetrics {
    let begin = 1_700_000_000.0 + 10.0 * number as f64;
    let span = |part: v1::StepPart, began: f64, ended: f64| v1::LearnerSpan {
        part: part.into(),
        began: begin + began,
        ended: begin + ended,
    };
    let group = |sequence: u64, actor: &str, leased: f64| v1::GroupTimes {
        sequence,
        actor_id: actor.to_owned(),
        leased: Some(begin + leased),
        arrived: Some(begin + 3.0),
        taken: begin + 4.0,
    };
    v1::StepMetrics {
        timeline: Some(v1::StepTimeline {
            learner: vec![
                span(v1::StepPart::AwaitsGroups, 0.0, 4.0),
                span(v1::StepPart::Computes, 4.0, 8.0),
                span(v1::StepPart::Publishes, 8.0, 9.0),
                span(v1::StepPart::Writes, 9.0, 10.0),
            ],
            groups: vec![
                group(2 * number, "actor <1> & co", 1.0),
                group(2 * number + 1, "actor-2", 2.0),
            ],
            trained: begin + 8.0,
        }),
        ..step(number, 100.0, 10.0)
    }
}

#[test]
fn the_timeline_shows_the_last_steps_and_names_whatever_others_call_themselves() {
    let mut series = Vec::new();
    for number in 1..=25 {
        push_step(&mut series, &timed_step(number));
    }
    let kept = series.iter().filter(|step| step.timeline.is_some()).count();
    assert_eq!(kept, timeline::MOST_STEPS, "no more than are drawn");
    let mut job = trained();
    job.spec.as_mut().unwrap().name = Some("<demo> & \"more\"".to_owned());
    let report = Report::new(&job, series);
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["timeline"], "timeline.svg");
    assert!(document.get("timed_steps").is_none() && document["series"][24]["timeline"].is_null());

    let svg = timeline::draw(&report.name, &report.timed_steps).unwrap().unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "Timeline of steps 6 to 25: &lt;demo&gt; &amp; &quot;more&quot;",
        "actor &lt;1&gt; &amp; co",
        "actor-2",
        "waits for groups",
        "computes",
        "publishes",
        "writes",
        "evaluates",
        "seconds from the beginning of step 6",
        "A group is",
    ] {
        assert!(svg.lines().any(|line| line.trim() == text), "{text}\n{svg}");
    }
    // The card, two of the legend, four parts of each step, and of each group what its actor did and its training.
    assert_eq!(svg.matches("<rect").count(), 3 + 20 * 4 + 20 * 2 * 2);
    let numbers = (6..=25).filter(|step| svg.lines().any(|line| line.trim() == step.to_string()));
    assert_eq!(numbers.count(), 20, "every step has its number");
}
