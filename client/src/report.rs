//! What came of a job: accuracy at every budget before and after, as a JSON document and as a table.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::v1;
use anytime_proto::{ShortName, v1::JobKind};
use serde::Serialize;

use crate::curves;
use crate::job_view::kind;
use crate::output::{make_directory, write_whole};

/// `report.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The learner's id of the job.
    pub job_id: String,
    /// The job's own name.
    pub name: String,
    /// train, sft or evaluate.
    pub kind: String,
    /// How the job ended, or what it does.
    pub state: String,
    /// Accuracy of the weights the job started from; null where they were not evaluated.
    pub before: Option<Accuracy>,
    /// Accuracy of the newest weights that were evaluated; null where there are none after a step.
    pub after: Option<Accuracy>,
    /// The last finished step.
    pub steps: u64,
    /// Wall time spent running.
    pub seconds: f64,
    /// Generated tokens per second over all steps that were seen (sft: trained tokens); null before the first.
    pub tokens_per_second: Option<f64>,
    /// Directory of the newest Hugging Face export.
    pub checkpoint: String,
    /// Every evaluation, by step.
    pub evaluations: Vec<Accuracy>,
    /// The figures of every step that was seen.
    pub series: Vec<v1::StepMetrics>,
}

/// Accuracy of one set of weights.
#[derive(Clone, Debug, Serialize)]
pub struct Accuracy {
    /// Thinking budgets in tokens, ascending.
    pub budgets: Vec<u32>,
    /// Mean score at each.
    pub accuracy: Vec<f64>,
    /// Half width of the 95 % interval of each, over problems, by the normal approximation.
    pub ci95: Vec<f64>,
    /// Lower end of the 95 % bootstrap interval of each, over problems.
    pub accuracy_low: Vec<f64>,
    /// Upper end.
    pub accuracy_high: Vec<f64>,
    /// Unweighted mean over the budgets.
    pub anytime: f64,
    /// Half width of its 95 % interval, by the normal approximation.
    pub anytime_ci95: f64,
    /// Lower end of its 95 % bootstrap interval.
    pub anytime_low: f64,
    /// Upper end.
    pub anytime_high: f64,
    /// At the largest budget.
    #[serde(rename = "final")]
    pub final_accuracy: f64,
    /// How long the thinking was.
    pub mean_thinking_tokens: f64,
    /// Share of summaries in the form asked for.
    pub formatted_share: f64,
    /// Share of traces that ended their thinking themselves.
    pub finished_share: f64,
    /// Share of traces that were right at an earlier budget and are not at the largest.
    pub overthinking_share: f64,
    /// How many problems.
    pub problems: u32,
    /// Traces per problem.
    pub samples: u32,
    /// After which training step.
    pub step: u64,
    /// Wall time of the evaluation.
    pub seconds: f64,
    /// Generated tokens per second; null where nothing was timed.
    pub tokens_per_second: Option<f64>,
    /// File of what was generated, on the learner's file system; empty where none was kept.
    pub generations: String,
}

impl From<&v1::EvaluationResult> for Accuracy {
    fn from(result: &v1::EvaluationResult) -> Self {
        let (accuracy_low, accuracy_high) = intervals(result).into_iter().unzip();
        let (anytime_low, anytime_high) = anytime_interval(result);
        Self {
            budgets: result.budgets.clone(),
            accuracy: result.accuracy.clone(),
            ci95: result.ci95.clone(),
            accuracy_low,
            accuracy_high,
            anytime: result.anytime,
            anytime_ci95: result.anytime_ci95,
            anytime_low,
            anytime_high,
            final_accuracy: result.r#final,
            mean_thinking_tokens: result.mean_thinking_tokens,
            formatted_share: result.formatted_share,
            finished_share: result.finished_share,
            overthinking_share: result.overthinking_share,
            problems: result.problems,
            samples: result.samples,
            step: result.step,
            seconds: result.seconds,
            tokens_per_second: rate(result.generated_tokens as f64, result.seconds),
            generations: result.generations.clone(),
        }
    }
}

/// The ends of each budget's interval. Jobs from before there was a bootstrap have half widths only.
pub(crate) fn intervals(result: &v1::EvaluationResult) -> Vec<(f64, f64)> {
    let is_whole = [&result.accuracy_low, &result.accuracy_high]
        .iter()
        .all(|ends| ends.len() == result.accuracy.len());
    if is_whole {
        let ends = result.accuracy_low.iter().zip(&result.accuracy_high);
        return ends.map(|(low, high)| (*low, *high)).collect();
    }
    let half_widths = result.ci95.iter().chain(std::iter::repeat(&0.0));
    let means = result.accuracy.iter().zip(half_widths);
    means.map(|(mean, half_width)| around(*mean, *half_width)).collect()
}

/// The ends of the interval of the anytime accuracy.
pub(crate) fn anytime_interval(result: &v1::EvaluationResult) -> (f64, f64) {
    if result.accuracy_low.is_empty() {
        return around(result.anytime, result.anytime_ci95);
    }
    (result.anytime_low, result.anytime_high)
}

fn around(mean: f64, half_width: f64) -> (f64, f64) {
    ((mean - half_width).max(0.0), (mean + half_width).min(1.0))
}

/// A share with the ends of its interval.
pub(crate) fn with_interval(mean: f64, (low, high): (f64, f64)) -> String {
    format!("{mean:.3} [{low:.3}, {high:.3}]")
}

impl Report {
    /// The report of a job; `series` is what was seen of its steps, in order.
    pub fn new(job: &v1::Job, series: Vec<v1::StepMetrics>) -> Self {
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
            before,
            after,
            steps: job.step,
            seconds: job.seconds,
            tokens_per_second: tokens_per_second(kind(job), seen),
            checkpoint: job.checkpoint.clone(),
            evaluations: job.evaluations.iter().map(Accuracy::from).collect(),
            series,
        }
    }
}

/// Adds a step to a series. A step that a restarted learner does again is kept once, as it was done last.
pub fn push_step(series: &mut Vec<v1::StepMetrics>, step: &v1::StepMetrics) {
    while series.last().is_some_and(|last| last.step >= step.step) {
        series.pop();
    }
    series.push(step.clone());
}

/// A train job's step 0 is what it started from. The weights of an evaluate job are nobody's beginning.
fn before_and_after(job: &v1::Job) -> (Option<Accuracy>, Option<Accuracy>) {
    if kind(job) == JobKind::Evaluate {
        return (None, job.evaluations.last().map(Accuracy::from));
    }
    let before = job.evaluations.iter().find(|result| result.step == 0);
    let after = job.evaluations.iter().rev().find(|result| result.step > 0);
    (before.map(Accuracy::from), after.map(Accuracy::from))
}

/// Steps weigh by their time, so that the figure is all tokens over all seconds.
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

fn rate(tokens: f64, seconds: f64) -> Option<f64> {
    (seconds > 0.0 && tokens > 0.0).then(|| tokens / seconds)
}

/// The files of a report.
#[derive(Clone, Debug, Serialize)]
pub struct ReportFiles {
    /// `report.json`
    pub report: PathBuf,
    /// `curves.svg`; null where nothing was evaluated.
    pub curves: Option<PathBuf>,
}

/// Writes `report.json` and, where there is something to draw, `curves.svg` into a directory.
///
/// # Errors
/// If a file cannot be written, with its path.
pub fn write(report: &Report, directory: &Path) -> anyhow::Result<ReportFiles> {
    make_directory(directory)?;
    let report_path = directory.join("report.json");
    let mut text = serde_json::to_string_pretty(report).context("report")?;
    text.push('\n');
    write_whole(&report_path, text)?;
    let curves = match curves::draw(report)? {
        None => None,
        Some(svg) => {
            let curves_path = directory.join("curves.svg");
            write_whole(&curves_path, svg)?;
            Some(curves_path)
        }
    };
    Ok(ReportFiles {
        report: report_path,
        curves,
    })
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
