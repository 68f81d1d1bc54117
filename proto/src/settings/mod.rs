//! The job specification, checked: what is left out takes its default, and a value that cannot work is refused with its
//! name and a reason before anything starts.
//!
//! [`v1::JobSpec`] is what travels and what a job file holds; [`JobSettings`] is what the services run on and can only
//! be made by [`JobSettings::try_new`]. `table` holds the default and the check of every setting, `rules` those that
//! read several; the structures of the sections and the TOML form are generated from the proto files, and
//! [`reference_text`] writes the reference of all settings from both.

mod changed;
mod data_files;
mod error;
mod file;
mod filled;
mod form;
#[cfg(test)]
mod further_tests;
mod hub;
mod job;
mod model_directory;
mod objective;
mod plain;
mod reference;
#[cfg(test)]
mod reference_page;
#[cfg(test)]
mod refusals;
mod removed;
mod replay;
mod resume;
mod row;
mod rules;
mod sections;
mod start_rules;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::v1;

pub use data_files::{is_pattern, reason_that_nothing_is_there};
pub use error::InvalidSetting;
pub use file::{JobFileError, parse_job_file, parse_kept_job_file, with_its_place};
pub(crate) use form::{
    budgets_from_list, files_as_text_or_list, files_from_text_or_list, section_from_table, values_as_table,
    values_from_table,
};
pub use hub::HubReference;
pub use model_directory::reason_that_no_model_is_there;
pub use objective::{ObjectiveSettings, spell_out_prior};
pub use plain::in_plain_words;
pub use reference::reference_text;
pub use removed::kept_spec_from_json;
pub use replay::{REPLAYABLE, check_replayed};
pub use resume::{RESUMABLE, check_resumed};
pub use sections::{
    CheckpointSettings, DataSettings, EvaluationSettings, GradingSettings, LoraSettings, MarkerSettings, ModelSettings,
    RolloutSettings, TrainingSettings,
};
pub use start_rules::{check_labels, is_job_id};

use self::filled::filled;
use self::job::Job;
use self::table::TABLE;

/// A whole job, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// What the job id starts with.
    pub name: String,
    /// What the job does.
    pub kind: v1::JobKind,
    /// Among jobs that wait, the higher goes first.
    pub priority: i32,
    /// What it is found by.
    pub labels: BTreeMap<String, String>,
    /// The model to start from.
    pub model: ModelSettings,
    /// What is trained on.
    pub data: DataSettings,
    /// The strings that structure a trace.
    pub markers: MarkerSettings,
    /// How groups are generated.
    pub rollout: RolloutSettings,
    /// How scores become advantages.
    pub objective: ObjectiveSettings,
    /// How weights are updated.
    pub training: TrainingSettings,
    /// How accuracy is measured.
    pub evaluation: EvaluationSettings,
    /// What is written, and when.
    pub checkpoint: CheckpointSettings,
    /// The conventions that answers are judged by.
    pub grading: GradingSettings,
}

impl JobSettings {
    /// Fills in the defaults and checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot work, with its name and the reason.
    pub fn try_new(spec: &v1::JobSpec) -> Result<Self, InvalidSetting> {
        let job = filled(spec);
        for row in TABLE {
            row.check(&job)?;
        }
        let spec = job.into_spec();
        let mut checkpoint = CheckpointSettings::new(&spec.checkpoint.clone().unwrap_or_default());
        checkpoint.output = checkpoint.output.filter(|path| !path.is_empty());
        Ok(Self {
            name: spec.name().to_owned(),
            kind: spec.kind(),
            priority: spec.priority(),
            labels: spec.labels.clone(),
            model: ModelSettings::new(&spec.model.clone().unwrap_or_default()),
            data: DataSettings::new(&spec.data.clone().unwrap_or_default()),
            markers: MarkerSettings::new(&spec.markers.clone().unwrap_or_default()),
            rollout: RolloutSettings::new(&spec.rollout.clone().unwrap_or_default()),
            objective: ObjectiveSettings::of_checked(&spec)?,
            training: TrainingSettings::new(&spec.training.clone().unwrap_or_default()),
            evaluation: EvaluationSettings::new(&spec.evaluation.clone().unwrap_or_default()),
            checkpoint,
            grading: GradingSettings::new(&spec.grading.unwrap_or_default()),
        })
    }
}

/// What else of a specification cannot work, beside the setting that it was refused for, each setting once. Only settings
/// that are written, or missing, are named: a default that follows from a bad setting is no fault of its own.
pub fn further_refused(spec: &v1::JobSpec, refused: &InvalidSetting) -> Vec<InvalidSetting> {
    let (written, job) = (Job::new(spec), filled(spec));
    let mut found: Vec<InvalidSetting> = Vec::new();
    for error in TABLE.iter().filter_map(|row| row.check(&job).err()) {
        let is_own = error.is_missing() || written.get(&error.field).is_some();
        let is_new = found.iter().chain([refused]).all(|known| known.field != error.field);
        if is_own && is_new {
            found.push(error);
        }
    }
    found
}

/// The specification with every setting that has a default filled in. Settings whose default depends on the model or
/// the device (`data.chat_template`, `training.micro_batch_tokens`, `training.activation_checkpointing`) and on the job's
/// directory (`checkpoint.output`) stay open, and so do required ones.
pub fn with_defaults(spec: &v1::JobSpec) -> v1::JobSpec {
    filled(spec).into_spec()
}
