//! Under which names data sets have their problems and answers.

use super::parquet::Columns;
use super::row::{Row, Value};

/// Names of problems, in the order in which a row is searched for them.
const PROBLEMS: [&str; 6] = ["problem", "question", "Problem", "Question", "prompt", "messages"];

/// Names of answers, likewise.
const ANSWERS: [&str; 8] = [
    "answer",
    "Answer",
    "reward_model.ground_truth",
    "ground_truth",
    "label",
    "final_answer",
    "solution",
    "Solution",
];

/// Names of prompts and of completions, in rows of supervised training.
const PROMPTS: [&str; 1] = ["prompt"];
const COMPLETIONS: [&str; 1] = ["completion"];

/// Other fields of a problem that are read where they exist.
const WELCOME: [&str; 5] = [
    "id",
    "ID",
    "extra_info.index",
    "data_source",
    "reward_model.ground_truth",
];

/// The settings `data.problem_field` and `data.answer_field`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// The name of a problem, or of a prompt that is followed by a completion.
    pub problem: Option<&'a str>,
    /// The name of an answer, or of a completion.
    pub answer: Option<&'a str>,
    /// Whether rows without these fields are searched for the common names, because the settings were made for another
    /// file.
    pub or_common: bool,
}

/// A field's name and its value.
pub(super) type Named<'a> = (&'a str, &'a Value);

impl Fields<'_> {
    /// The problem of a row.
    ///
    /// # Errors
    /// If there is none, with the setting that names the field and the names that the row has.
    pub(super) fn problem<'a>(&'a self, row: &'a Row) -> Result<Named<'a>, String> {
        // verl's rows may have a question beside their messages, which is not what they train on.
        if self.problem.is_none()
            && row.get("reward_model").is_some()
            && matches!(row.get("prompt"), Some(Value::List(_)))
            && row.get("problem").is_none()
        {
            return self.find(row, None, &["prompt"], "problem", "data.problem_field");
        }
        self.find(row, self.problem, &PROBLEMS, "problem", "data.problem_field")
    }

    /// The answer of a row whose problem has this name.
    ///
    /// # Errors
    /// As [`Fields::problem`].
    pub(super) fn answer<'a>(&'a self, row: &'a Row, problem: &str) -> Result<Named<'a>, String> {
        let is_verl = problem == "prompt" && row.get("reward_model").is_some();
        let names: &[&str] = if is_verl { &ANSWERS[2..3] } else { &ANSWERS };
        self.find(row, self.answer, names, "answer", "data.answer_field")
    }

    /// The prompt and the completion of a row of supervised training.
    ///
    /// # Errors
    /// As [`Fields::problem`].
    pub(super) fn imitated<'a>(&'a self, row: &'a Row) -> Result<(Named<'a>, Named<'a>), String> {
        Ok((
            self.find(row, self.problem, &PROMPTS, "prompt", "data.problem_field")?,
            self.find(row, self.answer, &COMPLETIONS, "completion", "data.answer_field")?,
        ))
    }

    fn find<'a>(
        &self,
        row: &'a Row,
        given: Option<&'a str>,
        common: &[&'a str],
        what: &str,
        setting: &str,
    ) -> Result<Named<'a>, String> {
        let given = given.filter(|name| !self.or_common || row.has(name));
        if let Some(name) = given {
            let value = row.get(name).map(|value| (name, value));
            return value.ok_or_else(|| {
                let is_null = if row.has(name) { "is null" } else { "is missing" };
                format!("field {name:?} ({setting}) {is_null}; {}", row.what_it_has(name))
            });
        }
        let found = |is_wanted: fn(&Value) -> bool| {
            let values = common.iter().filter_map(|name| Some((*name, row.get(name)?)));
            values.into_iter().find(|(_, value)| is_wanted(value))
        };
        // `answer` is empty in some sets that have it in `solution`.
        let is_filled = |value: &Value| !matches!(value, Value::Text(text) if text.trim().is_empty());
        found(is_filled).or_else(|| found(|_| true)).ok_or_else(|| {
            if let Some(name) = common.iter().find(|name| row.has(name)) {
                let has = row.what_it_has("");
                return format!("field {name:?} is null; {has}; {setting} says which field is meant");
            }
            let names: Vec<String> = common.iter().map(|name| format!("{name:?}")).collect();
            let names = match names.as_slice() {
                [name] => format!("no field {name}"),
                names => format!("no {what} under {}", names.join(", ")),
            };
            format!("{names}; {}; {setting} says which field is meant", row.what_it_has(""))
        })
    }

    /// The columns for problems with answers.
    pub(super) fn columns(&self) -> Columns {
        self.columns_of(&PROBLEMS, &ANSWERS)
    }

    /// The columns for prompts with completions.
    pub(super) fn imitated_columns(&self) -> Columns {
        self.columns_of(&PROMPTS, &COMPLETIONS)
    }

    fn columns_of(&self, problems: &[&str], answers: &[&str]) -> Columns {
        let names = |given: Option<&str>, common: &[&str]| {
            let common = common.iter().filter(|_| given.is_none() || self.or_common);
            given.into_iter().chain(common.copied()).map(str::to_owned).collect()
        };
        Columns {
            needed: [names(self.problem, problems), names(self.answer, answers)],
            welcome: WELCOME.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

impl Columns {
    /// Whether a field of this name at the top of a JSON row is looked at.
    pub(super) fn needs(&self, key: &str) -> bool {
        let is_first = |name: &String| name == key || name.split('.').next() == Some(key);
        self.needed.iter().flatten().chain(&self.welcome).any(is_first)
    }

    /// Whether a field of this name is looked into, and never looked at as a whole.
    pub(super) fn only_leads_into(&self, key: &str) -> bool {
        let mut names = self.needed.iter().flatten().chain(&self.welcome);
        let leads = |name: &String| name.split_once('.').is_some_and(|(first, _)| first == key);
        self.needs(key) && names.clone().any(leads) && !names.any(|name| name == key)
    }
}
