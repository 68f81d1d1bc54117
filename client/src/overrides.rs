//! `--preset` and `--set`, which change a job before it is checked. The layers are preset, job file and `--set`; a
//! later layer replaces single settings of the earlier ones, and lists as a whole.

use anytime_proto::settings::in_plain_words;
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use clap::Args;
use serde::Deserialize as _;
use toml::{Table, Value};

/// `--preset` and `--set` of a command that takes jobs.
#[derive(Clone, Debug, Default, Args)]
pub struct OverrideArgs {
    /// A job of `anytime presets`; a job file beside it replaces single settings of it
    #[arg(long, value_name = "BASE/METHOD")]
    pub preset: Option<String>,
    /// Replaces a setting of the (last) job, whatever file or preset say: `training.steps=10`, a TOML value; repeatable
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
}

/// Reads one `KEY=VALUE` into nested tables. A value that is not TOML is taken as a text, unless it begins like a list,
/// a table or a quoted text.
///
/// # Errors
/// [`ExitError`] with the configuration code: no `=`, an empty name, a broken value, or a setting that does not exist
/// or has another type, by name.
pub fn parse(text: &str) -> Result<Table, ExitError> {
    let (key, table) = parse_table(text)?;
    check_names(key, &table)?;
    Ok(table)
}

fn parse_table(text: &str) -> Result<(&str, Table), ExitError> {
    let Some((key, value)) = text.split_once('=') else {
        let message = format!("--set {text} has no `=`: a setting is written KEY=VALUE, such as training.steps=10");
        return Err(ExitError::configuration(message));
    };
    let key = key.trim();
    let table = nested(key, parse_value(value.trim()).map_err(|error| bad(key, &error))?)?;
    Ok((key, table))
}

/// As [`parse`], but the setting need not exist: for callers that know only a part of its name.
///
/// # Errors
/// [`ExitError`] with the configuration code: no `=`, an empty name or a broken value.
pub fn parse_loose(text: &str) -> Result<Table, ExitError> {
    parse_table(text).map(|(_, table)| table)
}

/// Turns the settings of a study file, which may have dotted names or be in sections, into nested tables.
///
/// # Errors
/// As [`parse`].
pub fn from_dotted(settings: &Table) -> Result<Table, ExitError> {
    let mut all = Table::new();
    add_settings(&mut all, "", settings)?;
    Ok(all)
}

/// Adds one setting at a time, so that an error can name it in full.
fn add_settings(all: &mut Table, prefix: &str, settings: &Table) -> Result<(), ExitError> {
    for (name, value) in settings {
        let key = format!("{prefix}{name}");
        if let Value::Table(section) = value {
            add_settings(all, &format!("{key}."), section)?;
            continue;
        }
        let table = nested(&key, value.clone())?;
        check_names(&key, &table)?;
        merge(all, &table);
    }
    Ok(())
}

/// Puts every setting of `over` in the place of the one in `table`; sections are merged, everything else is replaced.
pub fn merge(table: &mut Table, over: &Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => merge(inner, over),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// A job with `--set` applied; its settings are not yet checked.
///
/// # Errors
/// As [`parse`].
pub fn apply_to_spec(spec: &v1::JobSpec, settings: &[String]) -> Result<v1::JobSpec, ExitError> {
    if settings.is_empty() {
        return Ok(spec.clone());
    }
    let mut over = Table::new();
    for setting in settings {
        merge(&mut over, &parse(setting)?);
    }
    apply_table(spec, &over)
}

/// A job with nested settings over its own; they are not yet checked.
///
/// # Errors
/// [`ExitError`] with the configuration code.
pub fn apply_table(spec: &v1::JobSpec, over: &Table) -> Result<v1::JobSpec, ExitError> {
    let mut table = Table::try_from(spec).map_err(|error| ExitError::configuration(error.to_string()))?;
    lay_over(&mut table, over)?;
    v1::JobSpec::deserialize(table).map_err(|error| ExitError::configuration(in_plain_words(error.message())))
}

/// [`merge`]s settings into those of a job that lies under them, unless they choose another objective than the one whose
/// table the job has: the table would be left over.
///
/// # Errors
/// [`ExitError`] with the configuration code.
pub fn lay_over(job: &mut Table, over: &Table) -> Result<(), ExitError> {
    let (name, table) = objective_of(job);
    let (new_name, new_table) = objective_of(over);
    let problem = match (new_name.as_deref(), new_table.as_deref()) {
        (Some(new), _) | (None, Some(new)) if table.as_deref().is_some_and(|table| table != new) => Some((
            new,
            format!(
                "the job under it has [objective.{}], which is another objective's; start from a preset or a job file of \
                 {new}, or from one without that table",
                table.as_deref().unwrap_or_default()
            ),
        )),
        (None, Some(new)) if name.as_deref().is_some_and(|name| name != new) => Some((
            new,
            format!(
                "the job under it has objective.name {:?}; set objective.name to {new:?} as well",
                name.as_deref().unwrap_or_default()
            ),
        )),
        _ => None,
    };
    let Some((new, reason)) = problem else {
        merge(job, over);
        return Ok(());
    };
    let changed = match new_name {
        Some(_) => format!("objective.name is {new:?}"),
        None => format!("objective.{new} is written"),
    };
    Err(ExitError::configuration(format!("{changed}; {reason}")))
}

/// What a job says about its objective: the name, and whose table it has.
fn objective_of(job: &Table) -> (Option<String>, Option<String>) {
    let Some(Value::Table(section)) = job.get("objective") else {
        return (None, None);
    };
    let name = section.get("name").and_then(Value::as_str).map(str::to_owned);
    let table = section.iter().find(|(_, value)| value.is_table());
    (name, table.map(|(name, _)| name.clone()))
}

/// Most parts of a setting's name. It bounds the depth of the tables, over which other code recurses.
const MOST_PARTS: usize = 32;

fn nested(key: &str, value: Value) -> Result<Table, ExitError> {
    let mut value = value;
    for (place, part) in key.rsplit('.').enumerate() {
        if part.is_empty() || place >= MOST_PARTS {
            return Err(bad(key, "this is no name of a setting such as training.steps"));
        }
        let mut table = Table::new();
        table.insert(part.to_owned(), value);
        value = Value::Table(table);
    }
    match value {
        Value::Table(table) => Ok(table),
        _ => Err(bad(key, "this is no name of a setting such as training.steps")),
    }
}

/// Reads the setting as a job of its own, so that an error is about this setting alone.
fn check_names(key: &str, table: &Table) -> Result<(), ExitError> {
    match v1::JobSpec::deserialize(table.clone()) {
        Ok(_) => Ok(()),
        Err(error) => Err(bad(key, &reason_within(key, &error))),
    }
}

/// What is wrong with the setting `key`. Where that is a whole section, the reason begins with the setting in it.
fn reason_within(key: &str, error: &toml::de::Error) -> String {
    let reason = in_plain_words(error.message());
    match place_of(error) {
        Some(place) if place.len() > key.len() && place.starts_with(key) => format!("{place}: {reason}"),
        _ => reason,
    }
}

/// The dotted name of the setting at which reading stopped. Errors about values have it in place of a line number.
pub(crate) fn place_of(error: &toml::de::Error) -> Option<String> {
    let text = error.to_string();
    let is_place = |line: &str| Some(line.strip_prefix("in `")?.strip_suffix('`')?.to_owned());
    text.lines().rev().find_map(is_place)
}

fn bad(key: &str, error: &str) -> ExitError {
    ExitError::configuration(format!("setting `{key}`: {error}"))
}

fn parse_value(text: &str) -> Result<Value, String> {
    match toml::from_str::<Table>(&format!("value = {text}")) {
        Ok(mut table) if table.len() == 1 => table.remove("value").ok_or_else(|| format!("no value: {text}")),
        Err(error) if text.starts_with(['[', '{', '"', '\'']) => Err(error.message().to_owned()),
        // Digits alone that TOML does not read are too large a number, unless they begin with a zero: then they are a
        // text.
        Err(_)
            if text.starts_with(|first| ('1'..='9').contains(&first)) && text.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Err(format!(
                "it is {text}; a number must be up to {}, and a text in quotes",
                i64::MAX
            ))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn values_are_toml_and_bare_words_are_text() {
        let cases = [
            ("training.steps=10", "training = { steps = 10 }"),
            ("training.learning_rate=1", "training = { learning_rate = 1 }"),
            (" rollout.budgets = [6, 12] ", "rollout = { budgets = [6, 12] }"),
            ("objective.prior=uniform", "objective = { prior = 'uniform' }"),
            ("model.path=runs/a=b", "model = { path = 'runs/a=b' }"),
            ("data.instruction=\"\"", "data = { instruction = '' }"),
            ("evaluation.before=false", "evaluation = { before = false }"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap(), table(expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_by_name() {
        for (text, name) in [
            ("rollout.budget=[6]", "rollout.budget"),
            ("training.steps=often", "training.steps"),
            ("rollout.budgets=[6", "rollout.budgets"),
            ("rollouts=1", "rollouts"),
            ("training=1", "training"),
            ("training..steps=1", "training..steps"),
            ("=1", "setting ``"),
            ("training.steps", "training.steps"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code, 64, "{text}");
            assert!(error.message.contains(name), "{text}: {}", error.message);
        }
    }

    #[test]
    fn later_layers_replace_single_settings() {
        let mut job = table("name = 'x'\n[rollout]\nbudgets = [1, 2]\ntraces = 8");
        merge(&mut job, &table("[rollout]\nbudgets = [3]\n[training]\nsteps = 1"));
        let expected = table("name = 'x'\n[rollout]\nbudgets = [3]\ntraces = 8\n[training]\nsteps = 1");
        assert_eq!(job, expected);
    }
}
