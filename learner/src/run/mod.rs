//! What a job does on its thread: prepare, then train, fine-tune or evaluate.

mod figures;
mod job;
mod order;
mod plan;
mod prepare;
mod reference;
mod sft;
mod train;

pub use job::run_job;
pub use order::TrainingOrder;
pub use plan::{evaluation_plan, training_plan};
pub use prepare::{Prepared, PromptAndCompletion, prepare};

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
