//! `anytime advantages`: what an objective makes of the scores of one group, so that anyone can check it by hand.

use anytime_objectives::{Analysis, InvalidScores, ScoreTable, objective};
use anytime_proto::settings::{Method, ObjectiveSettings};
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde_json::Value;

use crate::arguments::AdvantagesArgs;
use crate::output::{print_json, print_line};

pub(super) fn run(arguments: &AdvantagesArgs, json: bool) -> anyhow::Result<()> {
    let text = std::io::read_to_string(std::io::stdin())
        .map_err(|error| ExitError::configuration(format!("standard input: {error}")))?;
    let analysis = analyse(arguments, &text).map_err(ExitError::configuration)?;
    if json {
        print_json(&analysis)
    } else {
        print_line(&table(&analysis))
    }
}

fn analyse(arguments: &AdvantagesArgs, text: &str) -> Result<Analysis, String> {
    let input = Input::parse(text).map_err(|error| format!("standard input: {error}"))?;
    let has_lengths = input.lengths.is_some();
    if has_lengths && arguments.budgets.is_empty() {
        return Err("--budgets: missing; `lengths` are measured against them".to_owned());
    }
    let budgets = budgets(arguments, &input)?;
    let table = ScoreTable::try_new(budgets, input.rewards, input.lengths, input.nodes).map_err(|error| {
        let origin = if error.place == "budgets" {
            "--"
        } else {
            "standard input: "
        };
        format!("{origin}{error}")
    })?;
    let settings = settings(arguments, table.budgets())?;
    let needs_lengths = match settings.method {
        Method::Kimi { .. } | Method::ShortRl { .. } => Some("this objective"),
        _ => (settings.length_penalty != v1::LengthPenalty::None).then_some("--length-penalty"),
    };
    if let Some(what) = needs_lengths.filter(|_| !has_lengths) {
        let problem = format!("missing; {what} needs the thinking tokens of each trace");
        return Err(format!("standard input: lengths: {problem}"));
    }
    let name = &settings.name;
    objective(&settings)
        .analyse(table)
        .ok_or_else(|| format!("--objective: the advantages of `{name}` do not follow from scores alone"))
}

/// The budgets that were given, or, where nothing depends on them, some that are even.
fn budgets(arguments: &AdvantagesArgs, input: &Input) -> Result<Vec<u32>, String> {
    let found = input.rewards.first().map_or(0, Vec::len);
    if arguments.budgets.is_empty() {
        return Ok((1..=found as u32).collect());
    }
    let given = arguments.budgets.len();
    if given != found && found > 0 {
        return Err(format!(
            "--budgets has {given} entries, but rewards[0] has {found} budgets"
        ));
    }
    Ok(arguments.budgets.clone())
}

fn settings(arguments: &AdvantagesArgs, budgets: &[u32]) -> Result<ObjectiveSettings, String> {
    let mut spec = v1::ObjectiveSpec {
        name: Some(arguments.objective.clone()),
        lambda: arguments.lambda,
        variance_reduction: arguments.variance_reduction.map(Into::into),
        mix: arguments.mix.map(Into::into),
        leave_one_out: Some(arguments.leave_one_out),
        summary_method: arguments.summary_method.map(Into::into),
        length_penalty: arguments.length_penalty.map(Into::into),
        length_coefficient: arguments.length_coefficient,
        divide_by_deviation: arguments.divide_by_deviation,
        length_weight: arguments.length_weight,
        length_tolerance: arguments.length_tolerance,
        ..Default::default()
    };
    if let Some(prior) = &arguments.prior {
        spec.set_prior(prior.prior);
        spec.prior_weights = prior.weights.clone();
    }
    if arguments.budgets.is_empty() {
        let is_linear = arguments
            .prior
            .as_ref()
            .is_none_or(|prior| prior.prior == v1::Prior::Linear);
        if is_linear && arguments.objective == "brpo" {
            return Err("--budgets is missing: the prior `linear` is in proportion to them".to_owned());
        }
        if arguments.mix == Some(v1::Mix::Budget) {
            return Err("--budgets is missing: the mix `budget` is in proportion to them".to_owned());
        }
    }
    ObjectiveSettings::try_new(&spec, budgets).map_err(|error| error.to_string())
}

/// What stands on standard input.
struct Input {
    rewards: Vec<Vec<Vec<f64>>>,
    lengths: Option<Vec<u32>>,
    nodes: Option<Vec<Vec<usize>>>,
}

impl Input {
    fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
        let Value::Object(fields) = &value else {
            return Err("is no JSON object with `rewards`".to_owned());
        };
        let known = ["rewards", "lengths", "nodes"];
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!(
                "has a field `{name}`, which is unknown; the fields are {}",
                known.join(", ")
            ));
        }
        let rewards = fields.get("rewards").ok_or("has no field `rewards`")?;
        let invalid = |error: InvalidScores| error.to_string();
        let input = Self {
            rewards: list("rewards", rewards, &|place, trace| {
                list(place, trace, &|place, budget| list(place, budget, &score))
            })
            .map_err(invalid)?,
            lengths: fields
                .get("lengths")
                .map(|lengths| list("lengths", lengths, &whole))
                .transpose()
                .map_err(invalid)?,
            nodes: fields
                .get("nodes")
                .map(|nodes| list("nodes", nodes, &|place, trace| list(place, trace, &whole)))
                .transpose()
                .map_err(invalid)?,
        };
        Ok(input)
    }
}

/// A list whose entries are read by `read`, which is given the place of each.
fn list<T>(
    place: &str,
    value: &Value,
    read: &dyn Fn(&str, &Value) -> Result<T, InvalidScores>,
) -> Result<Vec<T>, InvalidScores> {
    let Value::Array(entries) = value else {
        return Err(not(place, value, "a list"));
    };
    let read_entry = |(index, entry)| read(&format!("{place}[{index}]"), entry);
    entries.iter().enumerate().map(read_entry).collect()
}

fn score(place: &str, value: &Value) -> Result<f64, InvalidScores> {
    value.as_f64().ok_or_else(|| not(place, value, "a number"))
}

fn whole<N: TryFrom<u64>>(place: &str, value: &Value) -> Result<N, InvalidScores> {
    value
        .as_u64()
        .and_then(|number| N::try_from(number).ok())
        .ok_or_else(|| not(place, value, "a whole number, 0 or more"))
}

fn not(place: &str, value: &Value, what: &str) -> InvalidScores {
    InvalidScores {
        place: place.to_owned(),
        problem: format!("is {value}, not {what}"),
    }
}

/// One block of lines per trace.
fn table(analysis: &Analysis) -> String {
    let mut lines = Vec::new();
    for (trace, to_go) in analysis.reward_to_go.iter().enumerate() {
        lines.push(row(
            &format!("trace {trace}"),
            (1..=to_go.len()).map(|segment| format!("segment {segment}")),
        ));
        let rows = [
            ("R", &analysis.reward_to_go),
            ("V1", &analysis.previous_budgets_value),
            ("V2", &analysis.group_value),
            ("V", &analysis.baseline),
            ("A = R − V", &analysis.advantages),
        ];
        for (name, values) in rows {
            lines.push(row(name, values[trace].iter().map(|value| number(*value))));
        }
        let summaries = &analysis.summary_advantages[trace];
        for summary in 0..summaries.first().map_or(0, Vec::len) {
            let cells = summaries.iter().map(|column| number(column[summary]));
            lines.push(row(&format!("summary {summary}"), cells));
        }
        lines.push(String::new());
    }
    lines.pop();
    lines.join("\n")
}

fn number(value: f64) -> String {
    // Never "-0.000000".
    format!("{:.6}", if value.abs() < 5e-7 { 0.0 } else { value })
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>12}")).collect();
    format!("{name:<12}{cells}")
}
