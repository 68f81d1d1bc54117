//! The report's tables. Every number links to the runs it was computed from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::claims::{claims, compare_all};
use super::results::{EvaluationPoint, RunResult};
use super::stability::Stability;
use super::statistics::{Estimate, interpolate};
use super::summary::{Cost, MethodRuns, Summary};

/// A p value below this is only said to be below.
const SMALLEST_P: f64 = 0.001;

/// Text escaped for HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Anchor of a run in the table of runs.
fn run_anchor(run: &RunResult) -> String {
    format!("run-{}-{}", plain(&run.method), run.seed)
}

/// Anchor of a method's runs.
fn method_anchor(name: &str) -> String {
    format!("runs-{}", plain(name))
}

fn plain(name: &str) -> String {
    name.replace('+', "-plus-")
}

fn link(anchor: &str, text: &str) -> String {
    format!("<a href=\"#{anchor}\">{}</a>", escape(text))
}

fn links_of(summary: &Summary<'_>, methods: &[usize]) -> String {
    let names = methods.iter().map(|number| &summary.methods[*number].name);
    let links: Vec<String> = names.map(|name| link(&method_anchor(name), name)).collect();
    links.join(", ")
}

/// `0.873 ± 0.012`
fn plus_minus(estimate: &Estimate, digits: usize) -> String {
    match estimate.half_width {
        Some(half_width) => format!("{:.digits$} ± {half_width:.digits$}", estimate.mean),
        None => format!("{:.digits$}", estimate.mean),
    }
}

/// `+0.041 [−0.012, +0.094]`, with minus signs that are as wide as plus signs.
fn difference(estimate: &Estimate) -> String {
    let text = match estimate.ends() {
        Some((low, high)) => format!("{:+.3} [{low:+.3}, {high:+.3}]", estimate.mean),
        None => format!("{:+.3}", estimate.mean),
    };
    text.replace('-', "−")
}

fn p_value(p: Option<f64>) -> String {
    match p {
        None => "–".to_owned(),
        Some(p) if p < SMALLEST_P => format!("&lt; {SMALLEST_P}"),
        Some(p) => format!("{p:.3}"),
    }
}

fn table(headings: &[String], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"wide\"><table>\n<tr>");
    for heading in headings {
        // Writing into a String cannot fail.
        let _ = write!(html, "<th>{heading}</th>");
    }
    html.push_str("</tr>\n");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{cell}</td>");
        }
        html.push_str("</tr>\n");
    }
    html + "</table></div>\n"
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The paper's Table 1 (final accuracy) or 2 (anytime accuracy): before and after training, and every seed.
pub fn accuracies(
    summary: &Summary<'_>,
    before: fn(&RunResult) -> Option<f64>,
    after: fn(&RunResult) -> f64,
) -> String {
    let mut seeds: Vec<u64> = summary
        .methods
        .iter()
        .flat_map(|method| method.runs.iter().map(|run| run.seed))
        .collect();
    seeds.sort_unstable();
    seeds.dedup();
    let mut headings = texts(&["method", "before training", "after training"]);
    headings.extend(seeds.iter().map(|seed| format!("seed {seed}")));
    let mut rows = Vec::new();
    for method in &summary.methods {
        let runs = method_anchor(&method.name);
        let cell = |estimate: Option<Estimate>| match estimate {
            Some(estimate) => link(&runs, &plus_minus(&estimate, 3)),
            None => "–".to_owned(),
        };
        let mut row = vec![
            escape(&method.name),
            cell(method.estimate(before)),
            format!("<b>{}</b>", cell(method.estimate(|run| Some(after(run))))),
        ];
        for seed in &seeds {
            let run = method.runs.iter().find(|run| run.seed == *seed);
            row.push(run.map_or("–".to_owned(), |run| {
                link(&run_anchor(run), &format!("{:.3}", after(run)))
            }));
        }
        rows.push(row);
    }
    table(&headings, &rows)
}

/// Accuracy at every budget, and what the thinking was like.
pub fn by_budget(summary: &Summary<'_>) -> String {
    let mut headings = texts(&["method"]);
    headings.extend(summary.budgets.iter().map(|budget| format!("at {budget}")));
    headings.extend(texts(&["thinking tokens", "finished", "overthinking"]));
    let mut rows = Vec::new();
    for method in &summary.methods {
        let mut row = vec![escape(&method.name)];
        let mut push = |value: &dyn Fn(&RunResult) -> Option<f64>, digits: usize| {
            let estimate = method.estimate(value);
            let text = estimate.map(|estimate| plus_minus(&estimate, digits));
            row.push(text.map_or("–".to_owned(), |text| link(&method_anchor(&method.name), &text)));
        };
        for index in 0..summary.budgets.len() {
            push(&|run| run.accuracy.get(index).copied(), 3);
        }
        push(&|run| Some(run.mean_thinking_tokens), 1);
        push(&|run| run.evaluations.last().map(|point| point.finished_share), 3);
        push(&|run| run.evaluations.last().map(|point| point.overthinking_share), 3);
        rows.push(row);
    }
    table(&headings, &rows)
}

/// Every comparison by one figure: paired by seed, with both tests.
pub fn paired_tests(summary: &Summary<'_>, value: fn(&RunResult) -> Option<f64>) -> String {
    let headings = texts(&[
        "comparison",
        "difference [95 % interval]",
        "p (paired t)",
        "p (Holm)",
        "p (sign flips, exact)",
        "pairs",
    ]);
    let mut rows = Vec::new();
    for (pair, test, p_holm) in compare_all(summary, value) {
        rows.push(vec![
            links_of(summary, &[pair.0, pair.1]).replacen(", ", " − ", 1),
            difference(&test.difference),
            p_value(test.p_t),
            p_value(p_holm),
            p_value(test.p_sign_flip),
            test.difference.count.to_string(),
        ]);
    }
    table(&headings, &rows)
}

/// All methods where all of them have spent the same, and how far each got with it.
pub fn at_equal_cost(summary: &Summary<'_>, cost: Cost) -> Option<(f64, String)> {
    let total = summary.common_total(cost)?;
    let anytime = |run: &RunResult| interpolate(&cost.curve(run, |point| point.anytime), total);
    let last = |run: &RunResult| interpolate(&cost.curve(run, |point| point.final_accuracy), total);
    let headings = texts(&[
        "method",
        "anytime",
        "final",
        "share of its training",
        "compared with",
        "anytime difference",
        "final difference",
    ]);
    let mut rows = Vec::new();
    for (number, method) in summary.methods.iter().enumerate() {
        let runs = method_anchor(&method.name);
        let cell = |estimate: Option<Estimate>| {
            estimate.map_or("–".to_owned(), |estimate| link(&runs, &plus_minus(&estimate, 3)))
        };
        let share = method.estimate(|run| cost.total(run).map(|spent| total / spent));
        let mut row = vec![
            escape(&method.name),
            cell(method.estimate(anytime)),
            cell(method.estimate(last)),
            share.map_or("–".to_owned(), |share| format!("{:.0} %", 100.0 * share.mean)),
        ];
        let pairs = summary.comparisons.iter().filter(|pair| pair.0 == number);
        let mut is_first = true;
        for pair in pairs {
            if !is_first {
                rows.push(row);
                row = vec![String::new(); 4];
            }
            is_first = false;
            row.push(links_of(summary, &[pair.1]));
            for value in [&anytime as &dyn Fn(&RunResult) -> Option<f64>, &last] {
                let test = summary.paired(*pair, value);
                row.push(test.map_or("–".to_owned(), |test| difference(&test.difference)));
            }
        }
        row.resize(headings.len(), String::new());
        rows.push(row);
    }
    Some((total, table(&headings, &rows)))
}

/// Accuracy at each budget with its interval over the problems of one evaluation.
fn over_problems(point: &EvaluationPoint) -> String {
    let pairs = point.accuracy.iter().zip(&point.ci95);
    let texts: Vec<String> = pairs.map(|(mean, half)| format!("{mean:.3} ± {half:.3}")).collect();
    texts.join("<br>")
}

/// The claims and whether they hold, judged by intervals alone.
pub fn what_holds(summary: &Summary<'_>) -> String {
    let headings = texts(&[
        "claim",
        "verdict",
        "measured by",
        "difference [95 % interval]",
        "p (Holm)",
        "runs",
    ]);
    let rows: Vec<Vec<String>> = claims(summary)
        .iter()
        .map(|claim| {
            vec![
                escape(&claim.text),
                format!("<b>{}</b>", claim.verdict.text()),
                escape(&claim.measure),
                difference(&claim.difference),
                p_value(claim.p_holm),
                links_of(summary, &claim.methods),
            ]
        })
        .collect();
    table(&headings, &rows)
}

/// Every run, with the way to its directory.
pub fn runs(summary: &Summary<'_>) -> String {
    let mut html = String::new();
    for method in &summary.methods {
        let _ = writeln!(
            html,
            "<h3 id=\"{}\">{} <small>preset {}</small></h3>",
            method_anchor(&method.name),
            escape(&method.name),
            escape(&method.preset)
        );
        html.push_str(&runs_of(method));
    }
    html
}

fn runs_of(method: &MethodRuns<'_>) -> String {
    let headings = texts(&[
        "run",
        "seed",
        "accuracy by budget, before",
        "after (± half of the 95 % interval over problems)",
        "anytime",
        "final",
        "thinking tokens",
        "steps",
        "seconds per step",
        "generated tokens",
        "training seconds",
        "all seconds",
        "problems × samples",
    ]);
    let mut rows = Vec::new();
    for run in &method.runs {
        let before = run.evaluations.first().filter(|point| point.step == 0);
        rows.push(vec![
            format!(
                "<a id=\"{}\" href=\"{}/report.json\">{}</a>",
                run_anchor(run),
                escape(&run.run),
                escape(&run.job_id)
            ),
            run.seed.to_string(),
            before.map_or("–".to_owned(), over_problems),
            run.evaluations.last().map_or("–".to_owned(), over_problems),
            format!("{:.3}", run.anytime),
            format!("{:.3}", run.final_accuracy),
            format!("{:.1}", run.mean_thinking_tokens),
            run.steps.to_string(),
            format!("{:.2}", run.training_seconds / run.steps.max(1) as f64),
            run.generated_tokens.to_string(),
            format!("{:.0}", run.training_seconds),
            format!("{:.0}", run.seconds),
            format!("{} × {}", run.problems, run.samples),
        ]);
    }
    table(&headings, &rows)
}

/// The table of the report: for each method how many runs fell, and each seed's lowest mean with its step. None where
/// no result has these figures.
pub fn stability(summary: &Summary<'_>) -> Option<String> {
    let mut seeds = BTreeMap::new();
    for run in summary.methods.iter().flat_map(|method| &method.runs) {
        if run.stability.is_some() {
            seeds.insert(run.seed, ());
        }
    }
    if seeds.is_empty() {
        return None;
    }
    let mut headings = texts(&[
        "method",
        "fell",
        "worst of all",
        "mean of the last 20 steps",
        "lowest of those",
    ]);
    headings.extend(seeds.keys().map(|seed| format!("seed {seed}")));
    let mut rows = Vec::new();
    for method in &summary.methods {
        let known: Vec<Stability> = method.runs.iter().filter_map(|run| run.stability).collect();
        if known.is_empty() {
            continue;
        }
        let fallen = known.iter().filter(|run| run.fell()).count();
        let least = |figure: fn(&Stability) -> f64| known.iter().map(figure).fold(f64::INFINITY, f64::min);
        let lasts: Vec<f64> = known.iter().map(|run| run.last).collect();
        let mut row = vec![
            escape(&method.name),
            format!("<b>{fallen} of {}</b>", known.len()),
            format!("{:.3}", least(|run| run.lowest_share)),
            format!("{:.3}", lasts.iter().sum::<f64>() / lasts.len() as f64),
            format!("{:.3}", least(|run| run.last)),
        ];
        for seed in seeds.keys() {
            let of_seed = |run: &&&RunResult| run.seed == *seed;
            let found = method.runs.iter().find(of_seed).and_then(|run| run.stability);
            row.push(found.map_or("–".to_owned(), |run| lowest(&run)));
        }
        rows.push(row);
    }
    Some(table(&headings, &rows))
}

fn lowest(run: &Stability) -> String {
    let text = format!("{:.3} at {}", run.lowest, run.lowest_step);
    if run.fell() { format!("<b>{text}</b>") } else { text }
}
