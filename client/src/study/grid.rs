//! The study file, and the runs that it describes: methods times seeds.

use std::path::Path;

use anytime_proto::settings::{JobSettings, with_its_place};
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde::Deserialize;
use toml::Table;

use super::results::{RunName, seed_directory};
use crate::demo;
use crate::overrides;
use crate::presets::{Base, Method, compose};
use crate::tasks::{JobFiles, Sizes};

/// Copy of the study file in the study's directory; the report takes title and comparisons from it.
pub(super) const STUDY_FILE: &str = "study.toml";

/// The reference if the study names none: the method that the paper compares with.
const REFERENCE: &str = "grpo";

/// A study file as it is written; docs/study has commented ones.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StudyFile {
    title: String,
    /// The base of the presets.
    base: String,
    /// Methods of presets, by name alone or with settings of their own.
    methods: Vec<MethodEntry>,
    /// Each of them seeds the data, first weights, warm start and all sampling of one run per method.
    seeds: Vec<u64>,
    /// The method that all others are compared with.
    reference: Option<String>,
    /// More comparisons: the first method of each pair is expected to be better.
    #[serde(default)]
    comparisons: Vec<[String; 2]>,
    /// Rows of the data that each seed draws.
    #[serde(default)]
    data: DataSizes,
    /// Settings for all methods; they replace those of the base and give way to those of the method.
    #[serde(default)]
    set: Table,
    /// Settings of the warm start.
    #[serde(default)]
    warm_start: Table,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be the name of a method, or a table of name, preset and, where it changes settings, set"
)]
enum MethodEntry {
    Name(String),
    Changed(ChangedMethod),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangedMethod {
    name: String,
    preset: String,
    #[serde(default)]
    set: Table,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DataSizes {
    train: Option<usize>,
    test: Option<usize>,
    sft: Option<usize>,
}

/// A method of a study.
#[derive(Clone, Debug)]
pub struct StudyMethod {
    /// What the study calls it.
    pub name: String,
    method: Method,
    set: Table,
}

/// A checked study: every job of it is valid.
#[derive(Clone, Debug)]
pub struct Study {
    /// Heading of the report.
    pub title: String,
    /// The base, which all runs have in common.
    pub base: Base,
    /// The methods in the order of the report.
    pub methods: Vec<StudyMethod>,
    /// The seeds in the order of the runs.
    pub seeds: Vec<u64>,
    /// The comparisons, by the names of two methods: the one that is expected to be better, and the other.
    pub comparisons: Vec<(String, String)>,
    /// Rows of the data of a seed.
    pub sizes: Option<Sizes>,
    set: Table,
    warm_start: Table,
}

/// One run to do.
#[derive(Clone, Debug)]
pub struct RunPlan {
    /// Its place in the study.
    pub name: RunName,
    /// The job.
    pub spec: v1::JobSpec,
}

impl Study {
    /// Reads a study and checks every job in it.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code; `name` is what messages call the file.
    pub fn parse(name: &str, text: &str) -> Result<Self, ExitError> {
        let refuse = |error: &dyn std::fmt::Display| {
            ExitError::configuration(format!("study {name}: {}", error.to_string().trim_end()))
        };
        let file: StudyFile = toml::from_str(text).map_err(|error| refuse(&with_its_place(&error)))?;
        let study = Self::from_file(file).map_err(|error| refuse(&error))?;
        for seed in &study.seeds {
            for method in &study.methods {
                study
                    .plan(method, *seed, Path::new("out"))
                    .map_err(|error| refuse(&error))?;
            }
            study
                .warm_start(*seed, Path::new("out"))
                .map_err(|error| refuse(&error))?;
        }
        Ok(study)
    }

    fn from_file(file: StudyFile) -> Result<Self, ExitError> {
        let base = Base::find(&file.base)?;
        let mut methods: Vec<StudyMethod> = Vec::new();
        for entry in &file.methods {
            let method = study_method(entry)?;
            let is_taken = |known: &StudyMethod| directory_name(&known.name) == directory_name(&method.name);
            if methods.iter().any(is_taken) {
                return Err(bad("methods", &method.name, "another method has this name"));
            }
            methods.push(method);
        }
        let mut seeds = file.seeds.clone();
        seeds.sort_unstable();
        seeds.dedup();
        if methods.is_empty() || seeds.is_empty() || seeds.len() != file.seeds.len() {
            return Err(ExitError::configuration(
                "a study has one method or more and one seed or more, and every seed once",
            ));
        }
        let names: Vec<&str> = methods.iter().map(|method| method.name.as_str()).collect();
        let comparisons = comparisons(&file, &names)?;
        let sizes = base.task.map(|task| {
            let defaults = Sizes::of(task);
            Sizes {
                train: file.data.train.unwrap_or(defaults.train),
                test: file.data.test.unwrap_or(defaults.test),
                sft: file.data.sft.unwrap_or(defaults.sft),
            }
        });
        let set = overrides::from_dotted(&file.set)?;
        let warm_start = overrides::from_dotted(&file.warm_start)?;
        for settings in methods.iter().map(|method| &method.set).chain([&set]) {
            refuse_settings(settings, &OF_THE_STUDY)?;
        }
        refuse_settings(&warm_start, &["checkpoint.output"])?;
        Ok(Self {
            title: file.title,
            base,
            methods,
            seeds: file.seeds,
            comparisons,
            sizes,
            set,
            warm_start,
        })
    }

    /// The run of a method with a seed, with its files under `out`.
    ///
    /// # Errors
    /// A setting that cannot work, by name.
    pub fn plan(&self, method: &StudyMethod, seed: u64, out: &Path) -> anyhow::Result<RunPlan> {
        let mut spec = compose(&self.base, &method.method, &self.set, &method.set)?;
        spec.name = Some(format!("{}-{seed}", directory_name(&method.name)));
        demo::set_seeds(&mut spec, seed);
        if let Some(task) = self.base.task {
            demo::move_paths(&mut spec, task.directory(), &out.join(seed_directory(seed)))?;
        }
        let settings = JobSettings::try_new(&spec).map_err(ExitError::configuration)?;
        let is_evaluated = !settings.evaluation.path.is_empty() && settings.evaluation.after;
        if !is_evaluated {
            return Err(bad(
                "evaluation.path",
                &settings.evaluation.path.join(", "),
                "every run of a study is evaluated after its last step: this takes a file, and `evaluation.after = true`",
            )
            .into());
        }
        let name = RunName {
            preset: format!("{}/{}", self.base.name, method.method.name),
            method: method.name.clone(),
            seed,
            run: format!("{}/{}", seed_directory(seed), directory_name(&method.name)),
        };
        Ok(RunPlan { name, spec })
    }

    /// The warm start of a seed, which all methods share; none where the base starts from a published checkpoint.
    ///
    /// # Errors
    /// A setting that cannot work, by name.
    pub fn warm_start(&self, seed: u64, out: &Path) -> anyhow::Result<Option<v1::JobSpec>> {
        let Some(task) = self.base.task.filter(|task| JobFiles::of(*task).is_some()) else {
            return Ok(None);
        };
        let specs = demo::job_specs(task, &out.join(seed_directory(seed)), Some(seed))?;
        let Some(spec) = specs.first() else {
            return Ok(None);
        };
        let spec = overrides::apply_table(spec, &self.warm_start)?;
        JobSettings::try_new(&spec).map_err(ExitError::configuration)?;
        Ok(Some(spec))
    }
}

/// Settings that a study sets for each of its runs. It would silently replace a value in the file, so such a value is
/// refused.
const OF_THE_STUDY: [&str; 5] = [
    "name",
    "checkpoint.output",
    "model.seed",
    "data.shuffle_seed",
    "rollout.seed",
];

fn refuse_settings(settings: &Table, paths: &[&str]) -> Result<(), ExitError> {
    for path in paths {
        let found = match path.split_once('.') {
            Some((section, name)) => settings.get(section).and_then(|section| section.get(name)),
            None => settings.get(*path),
        };
        if let Some(value) = found {
            let reason = "the study gives every run its own (seeds follow `seeds`), so leave it out";
            return Err(ExitError::configuration(format!("{path} is {value}; {reason}")));
        }
    }
    Ok(())
}

/// A method's name as a part of a path, without `+`.
fn directory_name(method: &str) -> String {
    method.replace('+', "-")
}

fn study_method(entry: &MethodEntry) -> Result<StudyMethod, ExitError> {
    let (name, preset, set) = match entry {
        MethodEntry::Name(name) => (name, name, Table::new()),
        MethodEntry::Changed(changed) => (&changed.name, &changed.preset, overrides::from_dotted(&changed.set)?),
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "+-_.".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(is_plain) || name.len() > 40 {
        return Err(bad(
            "methods.name",
            name,
            "a name has up to 40 letters, digits, `+`, `-`, `_` and `.`, and begins with a letter or digit",
        ));
    }
    Ok(StudyMethod {
        name: name.clone(),
        method: Method::find(preset)?,
        set,
    })
}

/// Compares every method with the reference, and then whatever else the study asks for.
fn comparisons(file: &StudyFile, names: &[&str]) -> Result<Vec<(String, String)>, ExitError> {
    let reference = match &file.reference {
        Some(reference) => reference.as_str(),
        None if names.contains(&REFERENCE) => REFERENCE,
        None => names[0],
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !names.contains(&reference) {
        return Err(bad("reference", reference, &no_method(names)));
    }
    for name in names.iter().filter(|name| **name != reference) {
        pairs.push(((*name).to_owned(), reference.to_owned()));
    }
    for [better, other] in &file.comparisons {
        for name in [better, other] {
            if !names.contains(&name.as_str()) {
                return Err(bad("comparisons", name, &no_method(names)));
            }
        }
        let pair = (better.clone(), other.clone());
        if better != other && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

fn no_method(names: &[&str]) -> String {
    format!("the study has no such method; it has {}", names.join(", "))
}

fn bad(field: &str, value: &str, reason: &str) -> ExitError {
    ExitError::configuration(format!("setting `{field}` is {value:?}: {reason}"))
}
