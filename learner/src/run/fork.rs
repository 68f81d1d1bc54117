//! What a job starts from where that is another job's recovery checkpoint, as far as it takes tensors and checkpoints.

use std::sync::Arc;

use anyhow::Context as _;
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;
use anytime_service::exit::ExitError;

use super::start::validate_all;
use crate::checkpoint::{Lasting, NoStart, lay_out_start};
use crate::jobs::checked::CheckedJob;
use crate::jobs::fault::{Fault, fault_of};
use crate::jobs::fork::{Fork, ForkError, StartRequest, TakenStart, refused, start_directory, unknown};
use crate::jobs::forking;
use crate::jobs::store::read_job;
use crate::outputs::Places;

/// Makes a model's directory of a job's recovery checkpoint.
///
/// # Errors
/// `model.from_job` or `model.from_step`, where there is no such checkpoint or none is good; or if the disk refuses.
pub fn take_start(request: &StartRequest) -> Result<TakenStart, ForkError> {
    let lasting = if request.is_kept {
        Lasting::Kept
    } else {
        Lasting::ForALook
    };
    let is_damage = |error: &anyhow::Error| fault_of(error) == Fault::Own;
    let start = lay_out_start(
        &request.job,
        &request.directory,
        request.step,
        &request.target,
        lasting,
        &is_damage,
    );
    match start {
        Ok(start) => Ok(TakenStart {
            step: start.step,
            checksum: start.checksum,
            damaged: start.damaged,
        }),
        Err(NoStart::Step(reason)) => Err(refused(request, true, &reason).into()),
        Err(NoStart::Job(reason)) => Err(refused(request, false, &reason).into()),
        Err(NoStart::Failed(failure)) => Err(ForkError::Failed(failure)),
    }
}

/// As [`validate_all`], without a learner: a job that is started from is looked for in the runs directory.
///
/// # Errors
/// [`ExitError`] with the configuration code: the first setting that cannot work; or if the disk refuses.
pub fn validate_here(spec: &mut v1::JobSpec, inputs: &[v1::HubInput], places: &Places) -> anyhow::Result<CheckedJob> {
    look(spec, inputs, places).map_err(|error| match error {
        ForkError::Refused(setting) => ExitError::configuration(setting).into(),
        ForkError::Failed(failure) => failure,
    })
}

fn look(spec: &mut v1::JobSpec, inputs: &[v1::HubInput], places: &Places) -> Result<CheckedJob, ForkError> {
    let settings = JobSettings::try_new(spec)?;
    let staging;
    let fork = match &settings.model.from_job {
        None => None,
        Some(id) => {
            let directory = places.runs_directory.join(id);
            if !directory.is_dir() {
                return Err(not_here(id, places).into());
            }
            staging = tempfile::tempdir().context("a directory for the check")?;
            let request = StartRequest {
                job: read_job(&directory).map_err(|failure| unreadable(id, &failure))?,
                directory,
                step: settings.model.from_step,
                target: start_directory(staging.path()),
                is_kept: false,
            };
            Some(Fork::of(&request, &(Arc::new(take_start) as _), spec, None)?)
        }
    };
    Ok(forking::check(fork, spec, |spec| {
        validate_all(spec, inputs, &places.root)
    })?)
}

fn unreadable(id: &str, failure: &anyhow::Error) -> InvalidSetting {
    let reason = format!("it must be a job whose files can be read: {failure:#}");
    InvalidSetting::new("model.from_job", id, reason)
}

fn not_here(id: &str, places: &Places) -> InvalidSetting {
    let InvalidSetting { field, value, reason } = unknown(id);
    let reason = format!(
        "{reason} (no learner was asked, and {} has none; --learner asks one)",
        places.runs_directory.display()
    );
    InvalidSetting { field, value, reason }
}
