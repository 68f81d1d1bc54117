//! Presets: a base (model, task, hyper-parameters) times a method (a row of the paper's experiments). Each is a short
//! file under deploy/presets, embedded here; `BASE/METHOD` is a job.
//!
//! A job is made of layers, of which a later one replaces settings of an earlier one: the task's own job file, the
//! base, the settings of a study for all methods, the method. The budgets come last: a method that knows one budget
//! takes the base's largest, every method is evaluated at all of them, and `checkpoint.output` stays open, so that two
//! methods never write over each other.

use anytime_proto::settings::{JobSettings, in_plain_words};
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::overrides::{lay_over, merge};
use crate::tasks::{JobFiles, TaskName};

macro_rules! embedded {
    ($directory:literal, $($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!("../../deploy/presets/", $directory, "/", $name, ".toml")))),+]
    };
}

/// The name and the text of every base, in the order of `anytime presets`.
const BASES: [(&str, &str); 5] = embedded!(
    "bases",
    "r1-distill-1.5b-8k",
    "r1-distill-1.5b-16k",
    "demo",
    "products",
    "smollm2-sums",
);

/// The name and the text of every method: first those of the paper's script in its order, then the paper's baselines
/// alone, then the related work.
const METHODS: [(&str, &str); 16] = embedded!(
    "methods",
    "grpo",
    "ar-base",
    "ar-linear",
    "ar-uniform",
    "grpo+linear",
    "grpo+decouple",
    "grpo+vr",
    "grpo+vr+decouple",
    "v1only",
    "v2only",
    "none",
    "elastic",
    "adaptthink",
    "degrpo",
    "short_rl",
    "kimi",
);

/// Which budgets a method trains at.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum BudgetChoice {
    /// All budgets of the base.
    All,
    /// Only the largest budget of the base (`n_budget_support=1` in the reference).
    Last,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaseFile {
    description: String,
    /// Another base: the settings here replace single ones of it.
    like: Option<String>,
    /// The task that makes the data, and the warm start where it has one.
    task: Option<TaskName>,
    #[serde(default)]
    job: Table,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MethodFile {
    description: String,
    budgets: BudgetChoice,
    #[serde(default)]
    job: Table,
}

/// A model, a task and their hyper-parameters.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its part of a preset's name.
    pub name: &'static str,
    /// One line for the list of presets.
    pub description: String,
    /// The task whose data it trains on; none if the data are not made by this project.
    pub task: Option<TaskName>,
    job: Table,
}

/// A row of the paper's experiments.
#[derive(Clone, Debug)]
pub struct Method {
    /// Its part of a preset's name.
    pub name: &'static str,
    /// One line for the list of presets.
    pub description: String,
    budgets: BudgetChoice,
    job: Table,
}

impl Base {
    /// All bases.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BASES.iter().map(|(name, _)| *name)
    }

    /// A base by its name.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code and the names there are.
    pub fn find(name: &str) -> Result<Self, ExitError> {
        let (name, text) = find("base", &BASES, name)?;
        let file: BaseFile = read(name, text)?;
        let mut job = match &file.like {
            Some(like) => Self::find(like)?.job,
            None => Table::new(),
        };
        if let Some(files) = file.task.and_then(JobFiles::of) {
            let (path, text) = files.train;
            job = read(path, text)?;
        }
        merge(&mut job, &file.job);
        Ok(Self {
            name,
            description: file.description,
            task: file.task,
            job,
        })
    }

    /// The job file that makes the model this base starts from: its path in the repository and its text.
    pub fn warm_start(&self) -> Option<(&'static str, &'static str)> {
        self.task.and_then(JobFiles::of).map(|files| files.warm_start)
    }
}

impl Method {
    /// All methods.
    pub fn names() -> impl Iterator<Item = &'static str> {
        METHODS.iter().map(|(name, _)| *name)
    }

    /// A method by its name.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code and the names there are.
    pub fn find(name: &str) -> Result<Self, ExitError> {
        let (name, text) = find("method", &METHODS, name)?;
        let file: MethodFile = read(name, text)?;
        Ok(Self {
            name,
            description: file.description,
            budgets: file.budgets,
            job: file.job,
        })
    }
}

/// Splits `BASE/METHOD` into its two parts.
///
/// # Errors
/// [`ExitError`] with the configuration code.
pub fn split_name(name: &str) -> Result<(&str, &str), ExitError> {
    name.split_once('/').ok_or_else(|| {
        let message = format!("preset `{name}` has no `/`: a preset is BASE/METHOD, and `anytime presets` lists them");
        ExitError::configuration(message)
    })
}

/// Makes the job of a base and a method. The settings `for_all` replace those of the base and give way to the method;
/// those `for_method` replace all others. Whether the files of the job exist is not checked.
///
/// # Errors
/// [`ExitError`] with the configuration code and the setting that cannot work.
pub fn compose(base: &Base, method: &Method, for_all: &Table, for_method: &Table) -> Result<v1::JobSpec, ExitError> {
    let mut job = base.job.clone();
    merge(&mut job, for_all);
    if let Some(Value::Table(checkpoint)) = job.get_mut("checkpoint") {
        checkpoint.remove("output");
    }
    let label = format!("preset {}/{}", base.name, method.name);
    let refuse = |error: &dyn std::fmt::Display| ExitError::configuration(format!("{label}: {error}"));
    lay_over(&mut job, &method.job).map_err(|error| refuse(&error))?;
    choose_budgets(&mut job, method.budgets);
    let name = format!("{}-{}", base.name, method.name.replace('+', "-"));
    job.insert("name".to_owned(), Value::String(name));
    lay_over(&mut job, for_method).map_err(|error| refuse(&error))?;
    let spec = v1::JobSpec::deserialize(job).map_err(|error| refuse(&in_plain_words(error.message())))?;
    JobSettings::try_new(&spec).map_err(|error| refuse(&error))?;
    Ok(spec)
}

/// The job of a preset by its name.
///
/// # Errors
/// [`ExitError`] with the configuration code.
pub fn job(name: &str) -> Result<v1::JobSpec, ExitError> {
    let (base, method) = split_name(name)?;
    compose(&Base::find(base)?, &Method::find(method)?, &Table::new(), &Table::new())
}

fn choose_budgets(job: &mut Table, choice: BudgetChoice) {
    let budgets = job.get("rollout").and_then(|rollout| rollout.get("budgets")).cloned();
    let Some(Value::Array(budgets)) = budgets else {
        return;
    };
    let mut evaluation = Table::new();
    evaluation.insert("budgets".to_owned(), Value::Array(budgets.clone()));
    let is_evaluated_elsewhere = job
        .get("evaluation")
        .is_some_and(|section| section.get("budgets").is_some());
    if !is_evaluated_elsewhere {
        merge(job, &section("evaluation", evaluation));
    }
    if choice == BudgetChoice::Last {
        let last = budgets.last().cloned().into_iter().collect();
        let mut rollout = Table::new();
        rollout.insert("budgets".to_owned(), Value::Array(last));
        merge(job, &section("rollout", rollout));
    }
}

fn section(name: &str, settings: Table) -> Table {
    let mut table = Table::new();
    table.insert(name.to_owned(), Value::Table(settings));
    table
}

fn find(
    what: &str,
    entries: &[(&'static str, &'static str)],
    name: &str,
) -> Result<(&'static str, &'static str), ExitError> {
    let found = entries.iter().find(|(known, _)| *known == name);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = entries.iter().map(|(known, _)| *known).collect();
        ExitError::configuration(format!(
            "there is no preset {what} `{name}`; there are {}",
            names.join(", ")
        ))
    })
}

fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, ExitError> {
    toml::from_str(text).map_err(|error| ExitError::configuration(format!("{name}: {error}")))
}
