//! The list of problems, and the page of one problem with a trace.

use anytime_proto::generations::{KeptNode, KeptProblem, KeptSummary, KeptTrace, ProblemHead};

use super::plain::{indented, one_line, plain};

/// More columns of budgets than this do not fit a line.
const MOST_BUDGETS: usize = 8;

/// Characters of a problem's text in the list.
const PROBLEM_WIDTH: usize = 60;

/// Characters of a problem's id in the list.
const ID_WIDTH: usize = 24;

/// The mark at the place where a budget cuts the thinking.
const CUT: char = '▎';

/// All problems with their accuracy per budget, worst first.
pub fn problem_list(job: &str, step: u64, heads: &[ProblemHead]) -> String {
    let mut sorted: Vec<&ProblemHead> = heads.iter().collect();
    sorted.sort_by(|one, two| one.anytime().total_cmp(&two.anytime()).then(one.row.cmp(&two.row)));
    let id_width = sorted.iter().map(|head| one_line(&head.id, ID_WIDTH).chars().count());
    let id_width = id_width.max().unwrap_or(0).max("id".len());
    let budgets = heads.first().map(|head| head.budgets.as_slice()).unwrap_or_default();
    let shown = shown_budgets(budgets.len());

    let mut lines = vec![format!("job {job}, step {step}: {} problems, worst first", heads.len())];
    let headings: String = shown.iter().map(|index| format!(" {:>6}", budgets[*index])).collect();
    lines.push(format!("{:>6}  {:id_width$}  anytime{headings}  problem", "row", "id"));
    for head in sorted {
        let accuracies: String = shown
            .iter()
            .map(|index| match head.accuracy.get(*index) {
                Some(accuracy) => format!(" {accuracy:>6.3}"),
                None => format!(" {:>6}", "-"),
            })
            .collect();
        let (id, problem) = (one_line(&head.id, ID_WIDTH), one_line(&head.problem, PROBLEM_WIDTH));
        let anytime = head.anytime();
        lines.push(format!(
            "{:>6}  {id:id_width$}  {anytime:>7.3}{accuracies}  {problem}",
            head.row
        ));
    }
    lines.join("\n")
}

/// One problem: its prompt, all traces in a table, and one of them with its cuts, summaries and verdicts. Unless a
/// trace is named, that is the first one.
pub fn problem_page(job: &str, step: u64, problem: &KeptProblem, trace: Option<usize>) -> String {
    let head = &problem.head;
    let truths: Vec<String> = head.ground_truths.iter().map(|truth| plain(truth)).collect();
    let accuracies: Vec<String> = head
        .budgets
        .iter()
        .zip(&head.accuracy)
        .map(|(budget, accuracy)| format!("{budget}: {accuracy:.3}"))
        .collect();
    let mut lines = vec![
        format!(
            "problem       {} (row {}) of job {job}, step {step}",
            plain(&head.id),
            head.row
        ),
        indented(&head.problem, 2),
        format!("ground truth  {}", truths.join("  or  ")),
        format!("accuracy      {}  anytime {:.3}", accuracies.join("  "), head.anytime()),
        String::new(),
    ];
    if trace.is_none() {
        lines.push(trace_table(problem));
        lines.push(String::new());
    }
    let number = trace.unwrap_or(0);
    match problem.traces.get(number) {
        Some(shown) => lines.push(trace_text(number, shown)),
        None => lines.push(format!("no trace {number}")),
    }
    lines.join("\n")
}

/// Length, end and mean score per budget of every trace.
fn trace_table(problem: &KeptProblem) -> String {
    let budgets = &problem.head.budgets;
    let shown = shown_budgets(budgets.len());
    let headings: String = shown.iter().map(|index| format!(" {:>6}", budgets[*index])).collect();
    let mut lines = vec![format!("{:>7} {:>7}  {:10}{headings}", "trace", "tokens", "ended by")];
    for (number, trace) in problem.traces.iter().enumerate() {
        let scores = scores(trace, problem.head.summaries_per_budget as usize);
        let cells: String = shown
            .iter()
            .map(|index| match scores.get(*index) {
                Some(score) => format!(" {score:>6.2}"),
                None => format!(" {:>6}", "-"),
            })
            .collect();
        lines.push(format!(
            "{number:>7} {:>7}  {:10}{cells}",
            trace.tokens,
            spaced(&trace.finish)
        ));
    }
    lines.join("\n")
}

/// The mean score at every budget.
fn scores(trace: &KeptTrace, summaries_per_budget: usize) -> Vec<f32> {
    let of_nodes = trace
        .nodes
        .iter()
        .flat_map(|node| node.summaries.chunks(summaries_per_budget.max(1)));
    of_nodes
        .map(|summaries| summaries.iter().map(|summary| summary.score).sum::<f32>() / summaries.len() as f32)
        .collect()
}

fn trace_text(number: usize, trace: &KeptTrace) -> String {
    let ended = match trace.finish.as_str() {
        "end_marker" => "ended by itself",
        "length" => "cut off at the largest budget",
        "eos" => "broken off by an end of sequence",
        other => other,
    };
    let mut lines = vec![
        format!("trace {number}: {} thinking tokens, {ended}", trace.tokens),
        indented(&with_cuts(trace), 2),
    ];
    for node in &trace.nodes {
        lines.push(String::new());
        let inserted = plain(&node.inserted).replace('\n', "⏎");
        lines.push(format!(
            "{CUT}{}  after {} tokens, then {inserted}",
            budgets_text(&node.budgets),
            node.cut
        ));
        let per_budget = node.summaries.len() / node.budgets.len().max(1);
        for (index, summary) in node.summaries.iter().enumerate() {
            let budget = (node.budgets.len() > 1)
                .then(|| node.budgets.get(index / per_budget.max(1)))
                .flatten();
            let is_broken_off = trace.finish == "eos" && node.cut == trace.tokens;
            lines.push(summary_text(summary, budget.copied(), is_broken_off));
        }
    }
    lines.join("\n")
}

/// The thinking with a mark and its budgets wherever it is cut.
fn with_cuts(trace: &KeptTrace) -> String {
    let mut text = String::new();
    let mut nodes = trace.nodes.iter().peekable();
    let mark = |node: &KeptNode| format!("{CUT}{} ", budgets_text(&node.budgets));
    for (place, character) in trace.thinking.chars().enumerate() {
        while let Some(node) = nodes.next_if(|node| node.cut_at <= place) {
            text.push_str(&mark(node));
        }
        text.push(character);
    }
    for node in nodes {
        text.push_str(&mark(node));
    }
    text.trim_end().to_owned()
}

fn summary_text(summary: &KeptSummary, budget: Option<u32>, is_broken_off: bool) -> String {
    let sign = if summary.score > 0.0 { '✓' } else { '✗' };
    let mut facts = vec![spaced(&summary.verdict)];
    if let Some(answer) = &summary.extracted {
        facts.push(format!("answer {}", one_line(answer, PROBLEM_WIDTH)));
    }
    if !summary.formatted {
        facts.push("not formatted".to_owned());
    }
    if is_broken_off && summary.score <= 0.0 {
        facts.push("without score, for the thinking broke off".to_owned());
    }
    facts.push(match summary.finish.as_str() {
        "length" => format!("{} tokens, its cap", summary.tokens),
        _ => format!("{} tokens", summary.tokens),
    });
    if let Some(budget) = budget {
        facts.push(format!("for budget {budget}"));
    }
    format!(
        "  {sign} {}\n{}",
        facts.join(", "),
        indented(summary.text.trim_end_matches('\n'), 6)
    )
}

/// `6`, `6,12` or `6…24`.
fn budgets_text(budgets: &[u32]) -> String {
    match budgets {
        [first, _, .., last] if budgets.len() > 3 => format!("{first}…{last}"),
        few => few.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
    }
}

/// Which budgets get a column: all, or as many as fit, the largest always among them.
fn shown_budgets(count: usize) -> Vec<usize> {
    let stride = count.div_ceil(MOST_BUDGETS).max(1);
    let mut shown: Vec<usize> = (0..count).rev().step_by(stride).collect();
    shown.reverse();
    shown
}

/// A short name in words.
fn spaced(name: &str) -> String {
    plain(name).replace('_', " ")
}
