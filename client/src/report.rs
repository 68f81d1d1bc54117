//! What came of a job: accuracy at every budget before and after, as a JSON document and as a table.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::v1;
use anytime_proto::{ShortName, v1::JobKind};
use serde::Serialize;
use serde_json::Value;

use crate::accuracy::{Accuracy, rate, with_interval};
use crate::curves;
use crate::job_view::{forked_from_json, kind, notice_line};
use crate::output::{make_directory, write_whole};
use crate::timeline;

/// The report of a job, as `report.json` holds it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The learner's id of the job.
    pub job_id: String,
    /// The job's own name.
    pub name: String,
    /// train, sft or evaluate.
    pub kind: String,
    /// The state of the job: how it ended, or how far it is.
    pub state: String,
    /// The recovery checkpoint of another job that it started from; null where it started from none.
    pub forked_from: Option<Value>,
    /// Accuracy of the weights the job started from; null where they were not evaluated.
    pub before: Option<Accuracy>,
    /// Accuracy of the newest weights that were evaluated; null where there are none after a step.
    pub after: Option<Accuracy>,
    /// The last finished step.
    pub steps: u64,
    /// Wall time that the job spent running, in seconds.
    pub seconds: f64,
    /// Generated tokens per second over all steps that were seen (sft: trained tokens); null before the first.
    pub tokens_per_second: Option<f64>,
    /// Directory of the newest Hugging Face export.
    pub checkpoint: String,
    /// Every evaluation, by step.
    pub evaluations: Vec<Accuracy>,
    /// What a user should know about the job.
    pub notices: Vec<v1::Notice>,
    /// The figures of every step that was seen.
    pub series: Vec<v1::StepMetrics>,
    /// The name of the picture beside the report that shows when the last steps were; null where no step says it.
    pub timeline: Option<String>,
    /// The steps of that picture.
    #[serde(skip)]
    pub timed_steps: Vec<(u64, v1::StepTimeline)>,
}

impl Report {
    /// Makes the report of a job; `series` are the steps of it that were seen, in order.
    pub fn new(job: &v1::Job, mut series: Vec<v1::StepMetrics>) -> Self {
        let timed_steps = timeline::last_steps(&series);
        for step in &mut series {
            // It is drawn, and would make the document long.
            step.timeline = None;
        }
        let (before, after) = before_and_after(job);
        let seen: &[v1::StepMetrics] = if series.is_empty() {
            job.last_step.as_slice()
        } else {
            &series
        };
        Self {
            job_id: job.id.clone(),
            name: job.spec.as_ref().map(|spec| spec.name().to_owned()).unwrap_or_default(),
            kind: kind(job).short_name(),
            state: job.state().short_name(),
            forked_from: job.forked_from.as_ref().map(forked_from_json),
            before,
            after,
            steps: job.step,
            seconds: job.seconds,
            tokens_per_second: tokens_per_second(kind(job), seen),
            checkpoint: job.checkpoint.clone(),
            evaluations: job.evaluations.iter().map(Accuracy::from).collect(),
            notices: job.notices.clone(),
            series,
            timeline: timeline::can_be_drawn(&timed_steps).then(|| timeline::FILE.to_owned()),
            timed_steps,
        }
    }
}

/// Adds a step's figures to a series. A step that a restarted learner does again is kept once, as it was done last.
pub fn push_step(series: &mut Vec<v1::StepMetrics>, step: &v1::StepMetrics) {
    while series.last().is_some_and(|last| last.step >= step.step) {
        series.pop();
    }
    series.push(v1::StepMetrics {
        account: None,
        ..step.clone()
    });
    // Only the last steps are drawn with their times, of which each has many.
    if let Some(before) = series.len().checked_sub(timeline::MOST_STEPS + 1) {
        series[before].timeline = None;
    }
}

/// A train job starts from the weights of step 0. An evaluate job has no before: its weights are not trained on.
fn before_and_after(job: &v1::Job) -> (Option<Accuracy>, Option<Accuracy>) {
    if kind(job) == JobKind::Evaluate {
        return (None, job.evaluations.last().map(Accuracy::from));
    }
    let before = job.evaluations.iter().find(|result| result.step == 0);
    let after = job.evaluations.iter().rev().find(|result| result.step > 0);
    (before.map(Accuracy::from), after.map(Accuracy::from))
}

/// All tokens over all seconds: each step has the weight of its time.
fn tokens_per_second(kind: JobKind, steps: &[v1::StepMetrics]) -> Option<f64> {
    let mut tokens = 0.0;
    let mut seconds = 0.0;
    for step in steps {
        seconds += step.step_seconds;
        tokens += match kind {
            JobKind::Sft => step.trained_tokens as f64,
            _ => step.generated_tokens_per_second * step.step_seconds,
        };
    }
    rate(tokens, seconds)
}

/// The files of a report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportFiles {
    /// `report.json`
    pub report: PathBuf,
    /// `curves.svg`; null where nothing was evaluated.
    pub curves: Option<PathBuf>,
    /// `timeline.svg`; null where no step says when it was.
    pub timeline: Option<PathBuf>,
}

/// Writes `report.json` and, where there is something to draw, `curves.svg` and `timeline.svg` into a directory.
///
/// # Errors
/// If a file cannot be written, with its path.
pub fn write(report: &Report, directory: &Path) -> anyhow::Result<ReportFiles> {
    make_directory(directory)?;
    let report_path = directory.join("report.json");
    let mut text = serde_json::to_string_pretty(report).context("report")?;
    text.push('\n');
    write_whole(&report_path, text)?;
    let curves = curves::draw(&report.name, report.before.as_ref(), report.after.as_ref())?;
    let timeline = timeline::draw(&report.name, &report.timed_steps)?;
    Ok(ReportFiles {
        report: report_path,
        curves: write_picture(directory, "curves.svg", curves)?,
        timeline: write_picture(directory, timeline::FILE, timeline)?,
    })
}

/// Writes a picture, where there is one, and returns its path.
fn write_picture(directory: &Path, name: &str, svg: Option<String>) -> anyhow::Result<Option<PathBuf>> {
    let Some(svg) = svg else {
        return Ok(None);
    };
    let path = directory.join(name);
    write_whole(&path, svg)?;
    Ok(Some(path))
}

/// Accuracy per budget, thinking length and speed as a table for people.
pub fn table(report: &Report) -> String {
    let columns: Vec<(&str, &Accuracy)> = [("before", &report.before), ("after", &report.after)]
        .into_iter()
        .filter_map(|(name, accuracy)| accuracy.as_ref().map(|accuracy| (name, accuracy)))
        .collect();
    let mut lines = Vec::new();
    if let Some((_, first)) = columns.first() {
        let headings: Vec<&str> = if columns.len() == 1 {
            vec!["accuracy"]
        } else {
            columns.iter().map(|c| c.0).collect()
        };
        lines.push(row("budget", headings.iter().map(|heading| (*heading).to_owned())));
        for (index, budget) in first.budgets.iter().enumerate() {
            let cells = columns.iter().map(|(_, accuracy)| cell(accuracy, index));
            lines.push(row(&budget.to_string(), cells));
        }
        let anytime = columns
            .iter()
            .map(|(_, a)| with_interval(a.anytime, (a.anytime_low, a.anytime_high)));
        lines.push(row("anytime", anytime));
        lines.push(row(
            "final",
            columns.iter().map(|(_, a)| format!("{:.3}", a.final_accuracy)),
        ));
        lines.push(row(
            "thinking",
            columns
                .iter()
                .map(|(_, a)| format!("{:.1} tokens", a.mean_thinking_tokens)),
        ));
        let mut share = |name: &str, of: fn(&Accuracy) -> f64| {
            lines.push(row(name, columns.iter().map(|(_, a)| format!("{:.3}", of(a)))));
        };
        share("finished", |a| a.finished_share);
        share("formatted", |a| a.formatted_share);
        share("overthinking", |a| a.overthinking_share);
        if columns.iter().any(|(_, a)| a.tokens_per_second.is_some()) {
            let rates = columns
                .iter()
                .map(|(_, a)| a.tokens_per_second.map_or("-".to_owned(), |r| format!("{r:.0}")));
            lines.push(row("tokens/s", rates));
        }
    }
    if report.kind != JobKind::Evaluate.short_name() {
        let speed = report
            .tokens_per_second
            .map(|rate| format!(", {rate:.0} tokens/s"))
            .unwrap_or_default();
        lines.push(format!("{} steps in {:.0} s{speed}", report.steps, report.seconds));
    }
    lines.extend(report.notices.iter().map(notice_line));
    lines.join("\n")
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let mut line = format!("{name:>12}");
    for cell in cells {
        line.push_str(&format!("   {cell:<20}"));
    }
    line.trim_end().to_owned()
}

fn cell(accuracy: &Accuracy, index: usize) -> String {
    let ends = accuracy.accuracy_low.get(index).zip(accuracy.accuracy_high.get(index));
    match (accuracy.accuracy.get(index), ends) {
        (Some(mean), Some((low, high))) => with_interval(*mean, (*low, *high)),
        _ => "-".to_owned(),
    }
}
