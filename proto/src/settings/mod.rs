//! The job specification, checked: what is left out takes its default, and a value that cannot work is refused with its
//! name before anything starts.
//!
//! [`v1::JobSpec`] is what travels and what a job file holds; [`JobSettings`] is what the services run on and can only
//! be made by [`JobSettings::try_new`].

mod defaults;
mod file;
mod method;
mod objective;
#[cfg(test)]
mod tests;
mod validate;

use thiserror::Error;

use crate::v1;

pub use defaults::with_defaults;
pub use file::{JobFileError, parse_job_file};
pub use method::Method;
pub use objective::ObjectiveSettings;

/// A setting that cannot work.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("setting `{field}` is {value}; allowed: {allowed}")]
pub struct InvalidSetting {
    /// Its dotted name in the job file, such as `rollout.budgets`.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub allowed: String,
}

impl InvalidSetting {
    /// An error about the setting with this dotted name.
    pub fn new(field: &str, value: impl std::fmt::Debug, allowed: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: format!("{value:?}"),
            allowed: allowed.into(),
        }
    }

    /// An error about a required setting that is missing.
    pub fn missing(field: &str, allowed: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            value: "missing".to_owned(),
            allowed: allowed.into(),
        }
    }
}

/// A whole job, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSettings {
    /// What the job id starts with.
    pub name: String,
    /// What the job does.
    pub kind: v1::JobKind,
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
    /// What answers are held to.
    pub grading: v1::Conventions,
}

/// See `ModelSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct ModelSettings {
    pub path: String,
    pub initialise: bool,
    pub seed: u64,
    pub dtype: v1::Dtype,
}

/// See `DataSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct DataSettings {
    /// Empty only for an evaluate job.
    pub path: String,
    pub instruction: String,
    /// None: where the model has a template.
    pub chat_template: Option<bool>,
    pub max_prompt_tokens: u32,
    pub shuffle_seed: u64,
}

/// See `MarkerSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct MarkerSettings {
    pub open: String,
    pub end: String,
    pub cut: String,
    pub summary: String,
}

/// See `RolloutSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RolloutSettings {
    pub budgets: Vec<u32>,
    pub traces: u32,
    pub summaries: u32,
    pub max_summary_tokens: u32,
    pub sampling: v1::Sampling,
    pub seed: u64,
    pub cache_policy: v1::CachePolicy,
    pub lease_seconds: u32,
}

/// See `TrainingSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct TrainingSettings {
    pub steps: u64,
    pub batch: u32,
    pub minibatches: u32,
    pub learning_rate: f64,
    pub schedule: v1::Schedule,
    pub warmup_updates: u64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    pub gradient_clip: f64,
    pub clip: f64,
    pub clip_high: f64,
    pub importance_cap: f64,
    pub max_staleness: u64,
    /// None: by device.
    pub micro_batch_tokens: Option<u32>,
    pub normaliser: f64,
    pub queue_groups: u32,
    pub seed: u64,
    pub activation_checkpointing: bool,
}

/// See `EvaluationSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct EvaluationSettings {
    /// Empty: no evaluation.
    pub path: String,
    pub budgets: Vec<u32>,
    pub samples: u32,
    pub summaries: u32,
    pub sampling: v1::Sampling,
    pub seed: u64,
    pub every: u64,
    pub before: bool,
    pub after: bool,
    pub keep_generations: bool,
}

/// See `CheckpointSpec` in spec.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct CheckpointSettings {
    /// None: `final` in the job's directory.
    pub output: Option<String>,
    pub recovery_every: u64,
    pub export_every: u64,
}

impl JobSettings {
    /// Fills in the defaults and checks every setting.
    ///
    /// # Errors
    /// The first setting that cannot work, with its name, its value and what is allowed.
    pub fn try_new(spec: &v1::JobSpec) -> Result<Self, InvalidSetting> {
        validate::check(&with_defaults(spec))
    }
}
