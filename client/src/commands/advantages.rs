//! `anytime advantages`: what an objective makes of the scores of one group, so that anyone can check it by hand.

use anytime_objectives::{Analysis, InvalidScores, NotAnalysed, ScoreTable, objective};
use anytime_proto::settings::{ObjectiveSettings, in_plain_words};
use anytime_proto::{ShortName as _, v1};
use anytime_service::exit::ExitError;
use serde::Deserialize as _;
use serde_json::Value;
use toml::Table;

use crate::arguments::AdvantagesArgs;
use crate::output::{print_json, print_line};
use crate::overrides;

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
        return Err("--budgets is missing; `lengths` are measured against them".to_owned());
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
    let analysis = analyse_as(&settings, &table)?;
    if arguments.budgets.is_empty() {
        check_budgets_do_not_count(arguments, &table, &analysis)?;
    }
    Ok(analysis)
}

fn analyse_as(settings: &ObjectiveSettings, table: &ScoreTable) -> Result<Analysis, String> {
    objective(settings).analyse(table.clone()).map_err(|error| match error {
        NotAnalysed::Lengths => format!(
            "standard input: lengths is missing; --objective {}: {error}",
            settings.name
        ),
        NotAnalysed::MoreThanScores => format!("--objective {}: {error}", settings.name),
    })
}

/// Where no budgets were given, refuses a result that depends on them: other budgets must give the same one.
fn check_budgets_do_not_count(
    arguments: &AdvantagesArgs,
    table: &ScoreTable,
    analysis: &Analysis,
) -> Result<(), String> {
    let uneven: Vec<u32> = table.budgets().iter().map(|budget| budget * budget + 1).collect();
    let other = table.with_budgets(&uneven);
    let settings = settings(arguments, &uneven)?;
    if analyse_as(&settings, &other)? == *analysis {
        return Ok(());
    }
    Err("--budgets is missing; the prior `linear` and the mix `budget` are in proportion to them".to_owned())
}

/// The budgets that were given, or, where nothing depends on them, evenly spaced ones.
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

/// The settings as a job file would have them. What belongs to one objective goes into the table of the chosen
/// objective. A setting that this objective does not have is refused with its name.
fn settings(arguments: &AdvantagesArgs, budgets: &[u32]) -> Result<ObjectiveSettings, String> {
    let name = &arguments.objective;
    let mut own = Table::new();
    for (setting, value) in own_settings(arguments) {
        own.insert(setting.to_owned(), value);
    }
    for setting in &arguments.set {
        let given = overrides::parse_loose(setting).map_err(|error| error.message)?;
        if let Some(twice) = given
            .keys()
            .find(|name| own_settings(arguments).any(|(option, _)| option == *name))
        {
            let option = twice.replace('_', "-");
            return Err(format!(
                "--set {setting}: --{option} gives the same setting; one of them must go"
            ));
        }
        overrides::merge(&mut own, &given);
    }
    let mut section = Table::new();
    section.insert("name".to_owned(), name.as_str().into());
    if let Some(lambda) = arguments.lambda {
        section.insert("lambda".to_owned(), lambda.into());
    }
    if let Some(mix) = arguments.mix {
        section.insert("mix".to_owned(), mix.short_name().into());
    }
    if let Some(prior) = &arguments.prior {
        section.insert("prior".to_owned(), prior.prior.short_name().into());
        let weights = prior.weights.iter().map(|weight| (*weight).into());
        section.insert("prior_weights".to_owned(), toml::Value::Array(weights.collect()));
    }
    if !own.is_empty() {
        section.insert(name.clone(), own.into());
    }
    let spec = v1::ObjectiveSpec::deserialize(section).map_err(|error| {
        let reason = in_plain_words(error.message());
        match overrides::place_of(&error) {
            Some(place) if place.contains('.') => format!("objective.{place}: {reason}"),
            _ => format!("--objective {name}: {reason}"),
        }
    })?;
    ObjectiveSettings::try_new(&spec, budgets).map_err(|error| error.to_string())
}

/// The options that belong to the table of an objective, as far as they were given.
fn own_settings(arguments: &AdvantagesArgs) -> impl Iterator<Item = (&'static str, toml::Value)> + '_ {
    let given: [(&'static str, Option<toml::Value>); 8] = [
        (
            "variance_reduction",
            arguments.variance_reduction.map(|choice| choice.short_name().into()),
        ),
        (
            "summary_method",
            arguments.summary_method.map(|choice| choice.short_name().into()),
        ),
        (
            "length_penalty",
            arguments.length_penalty.map(|choice| choice.short_name().into()),
        ),
        (
            "length_coefficient",
            arguments.length_coefficient.map(toml::Value::Float),
        ),
        ("leave_one_out", arguments.leave_one_out.then_some(true.into())),
        ("divide_by_deviation", arguments.divide_by_deviation.map(Into::into)),
        ("length_weight", arguments.length_weight.map(toml::Value::Float)),
        (
            "length_tolerance",
            arguments.length_tolerance.map(|tokens| i64::from(tokens).into()),
        ),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// The document on standard input.
struct Input {
    rewards: Vec<Vec<Vec<f64>>>,
    lengths: Option<Vec<u32>>,
    nodes: Option<Vec<Vec<usize>>>,
}

impl Input {
    fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let Value::Object(fields) = &value else {
            return Err("it is no JSON object with `rewards`".to_owned());
        };
        let known = ["rewards", "lengths", "nodes"];
        if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!(
                "it has a field `{name}`, which is unknown; the fields are {}",
                known.join(", ")
            ));
        }
        let rewards = fields.get("rewards").ok_or("it has no field `rewards`")?;
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
