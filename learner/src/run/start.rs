//! Where a job starts: its check when it is submitted, and its run on the thread of jobs.

use std::path::Path;
use std::time::{Duration, Instant};

use anytime_policy::device::name;
use anytime_policy::memory::DeviceMemory;
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;
use anytime_service::traces::SpanRef;
use tch::Device;
use tracing::info;

use super::check::job_check;
use super::job::RunningJob;
use super::memory::{UpdatePlace, refuse_too_large};
use super::model::unusable;
use super::notices::notices;
use super::prepare::{Prepared, prepare};
use super::step_gauges::StepGauges;
use super::written_since::{self, stamps};
use super::{sft, train};
use crate::hub::{self, Ears};
use crate::jobs::checked::CheckedJob;
use crate::jobs::context::JobContext;
use crate::jobs::fork::{in_terms_of_job, settings_in_place};
use crate::ranks::Meeting;
use crate::train::compute_kind;

/// How long a check reads data, because a client waits for the answer. The start of the job reads all of it.
const CHECK_TIME: Duration = Duration::from_secs(45);

/// Checks a specification and every file that it names, before the job exists, and whether its updates can fit the share
/// of the device on which it is to run. `inputs` are what was fetched of the Hugging Face hub, and the specification has
/// their commits.
///
/// # Errors
/// The first setting that cannot work.
pub fn validate(
    spec: &v1::JobSpec,
    inputs: &[v1::HubInput],
    root: &Path,
    place: UpdatePlace,
) -> Result<CheckedJob, InvalidSetting> {
    let UpdatePlace { device, share, ranks } = place;
    let (checked, prepared) = check(spec, inputs, root, Some(Instant::now() + CHECK_TIME))?;
    refuse_undetermined(&checked.settings, device)?;
    let memory = DeviceMemory::ask(device).ok().map(|memory| memory.share(share));
    refuse_too_large(&checked.settings, &prepared, (device, ranks), memory)?;
    Ok(checked)
}

/// Refuses `deterministic` on a device that cannot keep that promise: on GPUs the order in which gradients are summed
/// depends on the order in which thread blocks end.
fn refuse_undetermined(settings: &JobSettings, device: Device) -> Result<(), InvalidSetting> {
    let is_broken = settings.rollout.deterministic && settings.kind == v1::JobKind::Train && device != Device::Cpu;
    if !is_broken {
        return Ok(());
    }
    let reason = format!(
        "it must be false on {}: only a learner on the CPU adds gradients up in the same order each time",
        name(device)
    );
    Err(InvalidSetting::new("rollout.deterministic", true, reason))
}

/// As [`validate`], but reads all data and all weights, however long that takes. The job may run on another machine, so the
/// memory of this one refuses nothing.
///
/// # Errors
/// As [`validate`].
pub fn validate_all(spec: &v1::JobSpec, inputs: &[v1::HubInput], root: &Path) -> Result<CheckedJob, InvalidSetting> {
    let (checked, prepared) = check(spec, inputs, root, None)?;
    check_values(&checked.settings, &prepared)?;
    Ok(checked)
}

/// Reads the weights of a model that is not drawn anew, as the start of the job does.
///
/// # Errors
/// `model.path`, with the file and the tensor at fault.
fn check_values(settings: &JobSettings, prepared: &Prepared) -> Result<(), InvalidSetting> {
    if settings.model.initialise {
        return Ok(());
    }
    let directory = &prepared.model_directory;
    let kind = compute_kind(settings.model.dtype, Device::Cpu);
    anytime_policy::check_values(directory, &prepared.config, kind).map_err(|error| unusable(directory, &error))
}

fn check(
    spec: &v1::JobSpec,
    inputs: &[v1::HubInput],
    root: &Path,
    until: Option<Instant>,
) -> Result<(CheckedJob, Prepared), InvalidSetting> {
    let settings = JobSettings::try_new(spec)?;
    // The stamps are taken before the files are read, so that a change meanwhile is noticed when the job starts.
    let files = stamps(&settings, root);
    let prepared = prepare(&hub::in_place(&settings, inputs), root, until)?;
    let mut found = job_check(&settings, &prepared)?;
    found.hub = inputs.to_vec();
    found.notices.splice(0..0, hub::notices(inputs));
    let checked = CheckedJob {
        settings,
        found,
        files,
        fork: None,
    };
    Ok((checked, prepared))
}

/// Runs a job to its end on the calling thread. Goes on from the recovery checkpoint where there is one.
///
/// # Errors
/// [`Interrupted`](crate::jobs::interrupt::Interrupted) somewhere in the chain where the job was told to stop;
/// otherwise the reason why the job failed.
pub fn run_job(context: &JobContext) -> anyhow::Result<()> {
    run_job_with(context, None)
}

/// As [`run_job`], with updates that the ranks of a meeting compute together, where there is one.
///
/// # Errors
/// As [`run_job`]'s.
pub fn run_job_with(context: &JobContext, meeting: Option<&Meeting>) -> anyhow::Result<()> {
    let device = anytime_policy::device::choose(context.device())?;
    let inputs = fetch_again(context)?;
    let here = settings_in_place(&hub::in_place(context.settings(), &inputs), context.directory());
    let prepared = prepare(&here, context.root(), None).map_err(|error| match &here.model.from_job {
        Some(job) => in_terms_of_job(error, job, Path::new(&here.model.path)),
        None => error,
    })?;
    // Notices of the check at submission are not repeated. There may be new ones, because a file may have changed
    // since.
    let known = context.notices();
    let has_begun = context.job().recovery_step.is_some();
    let now = stamps(context.settings(), context.root());
    let changed = written_since::notices(&context.checked_files(), &now, has_begun);
    let found = notices(context.settings(), &prepared.checks, &prepared.notes);
    for notice in changed.into_iter().chain(found) {
        let is_known = |earlier: &v1::Notice| (&earlier.topic, &earlier.text) == (&notice.topic, &notice.text);
        if !known.iter().any(is_known) {
            context.notice(&notice.topic, &notice.text);
        }
    }
    log_first_prompt(context, &prepared);
    let mut job = RunningJob::open(context, prepared, device, meeting)?;
    match context.settings().kind {
        v1::JobKind::Train => {
            let _shown = StepGauges::of(context.settings());
            train::train(&mut job)
        }
        v1::JobKind::Sft => {
            let _shown = StepGauges::of(context.settings());
            sft::fine_tune(&mut job)
        }
        v1::JobKind::Evaluate | v1::JobKind::Unspecified => {
            job.publish(&SpanRef::default())?;
            job.evaluate()
        }
    }
}

/// What the job takes from the hub, which is fetched again where the cache has it no more.
///
/// # Errors
/// [`Interrupted`](crate::jobs::interrupt::Interrupted) where the job is to stop; otherwise the setting, with the reason.
fn fetch_again(context: &JobContext) -> anyhow::Result<Vec<v1::HubInput>> {
    let known = context.job().hub;
    let ears = Ears {
        stop: &|| context.check().is_err(),
        say: &|text| info!(job_id = %context.job_id(), "{text}"),
    };
    let inputs = hub::fetch(context.hub(), context.settings(), &known, &ears);
    context.check()?;
    let inputs = inputs?;
    for (input, notice) in inputs.iter().zip(hub::notices(&inputs)) {
        if input.fetched_bytes > 0 {
            context.notice(&notice.topic, &notice.text);
        }
    }
    Ok(inputs)
}

/// Logs the first prompt, where a lost or wrong template shows first.
fn log_first_prompt(context: &JobContext, prepared: &Prepared) {
    let job_id = context.job_id();
    info!(%job_id, "{}", prepared.template);
    let problems = prepared.problems.iter().chain(&prepared.evaluation_problems);
    let prompts = problems.map(|problem| &problem.prompt_ids);
    let first = prompts
        .chain(prepared.completions.iter().map(|(prompt, _)| prompt))
        .next();
    if let Some(ids) = first {
        let text = prepared.tokenizer.decode(ids).unwrap_or_default();
        info!(%job_id, ?ids, ?text, "first prompt");
    }
}

#[cfg(test)]
mod tests {
    use anytime_proto::settings::parse_job_file;

    use super::*;

    #[test]
    fn a_gpu_does_not_train_a_deterministic_job() {
        let settings = |kind: &str, rollout: &str| {
            let training = if kind == "train" {
                "training = { steps = 1 }\n"
            } else {
                ""
            };
            let job = format!(
                "name = \"job\"\nkind = {kind:?}\nmodel = {{ path = \"m\" }}\ndata = {{ path = \"d.jsonl\" }}\n{training}\
                 evaluation = {{ path = \"d.jsonl\" }}\nrollout = {{ {rollout} }}\n"
            );
            JobSettings::try_new(&parse_job_file(&job).expect("a job file")).expect("valid")
        };
        let deterministic = settings("train", "deterministic = true");
        assert_eq!(deterministic.training.max_staleness, 0);
        let refused = refuse_undetermined(&deterministic, Device::Cuda(1)).expect_err("refused");
        assert_eq!(refused.field, "rollout.deterministic");
        assert!(refused.to_string().contains("on cuda:1"), "{refused}");
        assert_eq!(refuse_undetermined(&deterministic, Device::Cpu), Ok(()));
        assert_eq!(refuse_undetermined(&settings("train", ""), Device::Cuda(1)), Ok(()));
        // The learner of an evaluation makes no updates.
        let evaluation = settings("evaluate", "deterministic = true");
        assert_eq!(refuse_undetermined(&evaluation, Device::Cuda(1)), Ok(()));
    }
}
