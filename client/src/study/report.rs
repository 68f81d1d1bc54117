//! `report.html`: one file with everything in it, made of results.json alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::figures::{self, Figure};
use super::results::RunResult;
use super::summary::{Cost, Summary};
use super::tables;
use crate::output::{make_directory, write_whole};

/// Name of the file in a study's directory.
pub const REPORT_FILE: &str = "report.html";

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2em auto; padding: 0 1em; }
p { max-width: 60em; } h1, h2, h3 { line-height: 1.25; } h2 { margin-top: 2em; } small { color: #666; font-weight: normal; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: 4px 8px; text-align: left; vertical-align: top; }
td { white-space: nowrap; } td:first-child { white-space: normal; min-width: 9em; }
.claims td:nth-child(-n+3), .claims td:last-child { white-space: normal; min-width: 9em; }
.claims td:first-child { min-width: 14em; }
th { border-bottom: 2px solid #666; } a { color: #0055aa; } :target { background: #fff2b3; }
figure { margin: 1.5em 0; } figure svg { max-width: 100%; height: auto; } figcaption { font-size: 14px; color: #444; }
";

/// The files of a report.
#[derive(Clone, Debug)]
pub struct StudyFiles {
    /// `report.html`
    pub report: PathBuf,
    /// Every picture by itself, as `figures/NAME.svg`.
    pub figures: Vec<PathBuf>,
}

/// Writes the report and its figures into a directory.
///
/// # Errors
/// If a figure cannot be drawn or a file not be written.
pub fn write(summary: &Summary<'_>, directory: &Path) -> anyhow::Result<StudyFiles> {
    let figures = figures::all(summary)?;
    let report = directory.join(REPORT_FILE);
    write_whole(&report, html(summary, &figures))?;
    let figure_directory = directory.join("figures");
    make_directory(&figure_directory)?;
    let mut paths = Vec::new();
    for figure in &figures {
        let path = figure_directory.join(format!("{}.svg", figure.name));
        write_whole(&path, &figure.svg)?;
        paths.push(path);
    }
    Ok(StudyFiles { report, figures: paths })
}

/// The report as one document.
pub fn html(summary: &Summary<'_>, figures: &[Figure]) -> String {
    let title = tables::escape(&summary.title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{}",
        introduction(summary)
    );
    let claims = format!("<div class=\"claims\">{}</div>\n", tables::what_holds(summary));
    section(&mut html, "What holds", HOLDS_TEXT, &claims);
    for figure in figures {
        // Writing into a String cannot fail.
        let _ = write!(
            html,
            "<h2 id=\"{}\">{}</h2>\n<figure>\n{}\n<figcaption>{}</figcaption>\n</figure>\n",
            figure.name,
            tables::escape(&figure.title),
            figure.svg,
            tables::escape(&figure.caption)
        );
    }
    let last = tables::accuracies(
        summary,
        |run| before(run).map(|point| point.final_accuracy),
        |run| run.final_accuracy,
    );
    section(&mut html, "Final accuracy (the paper's Table 1)", ACCURACY_TEXT, &last);
    let anytime = tables::accuracies(summary, |run| before(run).map(|point| point.anytime), |run| run.anytime);
    section(
        &mut html,
        "Anytime accuracy (the paper's Table 2)",
        ACCURACY_TEXT,
        &anytime,
    );
    section(&mut html, "At every budget", ACCURACY_TEXT, &tables::by_budget(summary));
    let anytime = tables::paired_tests(summary, |run| Some(run.anytime));
    section(&mut html, "Paired tests: anytime accuracy", TESTS_TEXT, &anytime);
    let last = tables::paired_tests(summary, |run| Some(run.final_accuracy));
    section(&mut html, "Paired tests: final accuracy", TESTS_TEXT, &last);
    for (cost, name, unit) in [
        (Cost::Steps, "At equal steps", "steps"),
        (Cost::Tokens, "At equal generated tokens", "tokens"),
        (Cost::Seconds, "At equal wall time", "seconds of training"),
    ] {
        if let Some((total, table)) = tables::at_equal_cost(summary, cost) {
            let text = format!("Every run after {total:.0} {unit}, the most that all of them reached. {COST_TEXT}");
            section(&mut html, name, &text, &table);
        }
    }
    if !summary.has_evaluations_between() {
        section(&mut html, "At equal cost", NOT_FOLLOWED_TEXT, "");
    }
    if let Some(table) = tables::stability(summary) {
        section(&mut html, "Did runs keep what they learnt?", STABILITY_TEXT, &table);
    }
    section(&mut html, "Runs", RUNS_TEXT, &tables::runs(summary));
    html + "</body>\n</html>\n"
}

const HOLDS_TEXT: &str = "Generated from the intervals: a claim holds where the 95 % t-interval of the paired difference \
lies above zero (and its p value stays below 0.05 after Holm's correction over all comparisons by the same figure), does \
not hold where it lies below, and is undecided otherwise. A claim about every budget is judged at its weakest one; its p \
value is the largest of all budgets.";
const ACCURACY_TEXT: &str = "Mean over seeds ± half of the 95 % t-interval.";
const TESTS_TEXT: &str = "Runs of the same seed share data, first weights and warm start, so that methods are compared by \
differences within seeds. Holm's correction is over the rows of the table. The sign-flip test goes through all sign \
patterns; with n pairs its p value cannot be below 2^(1−n).";
const COST_TEXT: &str = "Between two evaluations a run is interpolated. Where a method is cut short, a falling learning \
rate had not yet fallen all the way. Wall time is that of the training steps; what actors generate during an evaluation \
is waiting when the next step begins, so that it counts a little too low.";
const NOT_FOLLOWED_TEXT: &str = "Not compared at equal generated tokens or wall time: a run has no evaluation between its \
first and its last, and a straight line between these two is not how it learnt.";
const STABILITY_TEXT: &str = "Rewards at the largest budget as means over ten steps in a row. A run fell where such a mean \
was below 0.8 of the best one before it, even if it came back. A seed's cell is the mean that was lowest beside the best \
before it, and the last step of it.";
const RUNS_TEXT: &str = "Each run links to its report.json below this directory, where that was kept; results.json has \
every setting of every run.";

fn before(run: &RunResult) -> Option<&super::results::EvaluationPoint> {
    run.evaluations.first().filter(|point| point.step == 0)
}

fn introduction(summary: &Summary<'_>) -> String {
    let count: usize = summary.methods.iter().map(|method| method.runs.len()).sum();
    let names: Vec<String> = summary
        .methods
        .iter()
        .map(|method| format!("{} ({})", tables::escape(&method.name), method.runs.len()))
        .collect();
    let budgets: Vec<String> = summary.budgets.iter().map(u32::to_string).collect();
    format!(
        "<p>{count} runs. Methods (seeds): {}. Evaluated at budgets of {} thinking tokens.</p>\n",
        names.join(", "),
        budgets.join(", ")
    )
}

fn section(html: &mut String, heading: &str, text: &str, body: &str) {
    let (heading, text) = (tables::escape(heading), tables::escape(text));
    let _ = write!(html, "<h2>{heading}</h2>\n<p>{text}</p>\n{body}");
}
