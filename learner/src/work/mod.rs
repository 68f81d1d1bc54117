//! What a job does on its thread: prepare, then train, fine-tune or evaluate.

mod group_figures;
mod plan;
mod prepare;
mod reference;
mod run;
mod sft;
mod training;
mod training_order;

pub use plan::{evaluation_plan, training_plan};
pub use prepare::{Prepared, PromptAndCompletion, prepare};
pub use run::run_job;
pub use training_order::TrainingOrder;

use std::path::Path;

use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;

/// Checks a specification and everything that it names, before the job exists.
///
/// # Errors
/// The first setting that cannot work.
pub fn validate(spec: &v1::JobSpec, root: &Path) -> Result<JobSettings, InvalidSetting> {
    let settings = JobSettings::try_new(spec)?;
    prepare(&settings, root)?;
    Ok(settings)
}
