//! The demo trains a model of a few hundred thousand parameters on problems that the project makes itself: a warm start
//! and a train job, run by the same processes as any other job. The binary carries everything that this needs.

mod jobs;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use anytime_service::exit::ExitError;

use crate::arguments::{DataArgs, DemoArgs};
use crate::local::{self, LocalRun};
use crate::output::print_line;
use crate::overrides::{self, OverrideArgs};
use crate::presets;
use crate::tasks::{JobFiles, Sizes, TaskName, write_data, write_model};

pub use jobs::{job_specs, move_paths, set_seeds, write_jobs};

/// The seed of the data if none is given.
const DATA_SEED: u64 = 2505;

/// Runs `anytime demo`: writes data, model and jobs, and runs the jobs.
pub(crate) async fn run(arguments: DemoArgs, json: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let task = task_of(&arguments)?;
    if JobFiles::of(task).is_none() {
        let message = format!(
            "--task {} has no demo, because it trains a published checkpoint (see `anytime presets`); chains and products \
             have one",
            task.name()
        );
        return Err(ExitError::configuration(message).into());
    }
    let out = arguments.out.unwrap_or_else(|| PathBuf::from(task.directory()));
    let specs = prepare(task, &out, arguments.seed, &arguments.overrides)?;
    let mut processes = arguments.processes;
    if processes.devices.is_empty() {
        // A step of a model of this size is over before a GPU has been told of it: on an H100 the demo takes several
        // times as long as on two cores.
        processes.device.get_or_insert_with(|| "cpu".to_owned());
    }
    let run = LocalRun {
        specs,
        out,
        resume: false,
        processes,
    };
    local::run_jobs(run, json).await?;
    if !json {
        print_line(&format!("everything took {:.0} s", started.elapsed().as_secs_f64()))?;
    }
    Ok(())
}

/// The task of `--task`, or of the base that a preset names.
fn task_of(arguments: &DemoArgs) -> anyhow::Result<TaskName> {
    let Some(preset) = &arguments.overrides.preset else {
        return Ok(arguments.task.unwrap_or(TaskName::Chains));
    };
    let (base, _) = presets::split_name(preset)?;
    let base = presets::Base::find(base)?;
    base.task.ok_or_else(|| {
        let message =
            format!("--preset {preset} has no task that the demo can make; those of demo and products have one");
        ExitError::configuration(message).into()
    })
}

/// Writes data, model and job files into `out` and gives the jobs.
///
/// # Errors
/// An override that is wrong, or a file that cannot be written.
pub fn prepare(
    task: TaskName,
    out: &Path,
    seed: Option<u64>,
    changes: &OverrideArgs,
) -> anyhow::Result<Vec<v1::JobSpec>> {
    // The job files are checked before anything is written.
    let mut specs = job_specs(task, out, seed)?;
    if let Some(train) = specs.last_mut() {
        if let Some(preset) = &changes.preset {
            *train = presets::job(preset)?;
            move_paths(train, task.directory(), out)?;
            if let Some(seed) = seed {
                set_seeds(train, seed);
            }
        }
        *train = overrides::apply_to_spec(train, &changes.set)?;
        JobSettings::try_new(train).map_err(ExitError::configuration)?;
    }
    write_data(task, &out.join("data"), seed.unwrap_or(DATA_SEED), &Sizes::of(task))?;
    write_model(&out.join("model"))?;
    let written: Vec<PathBuf> = write_jobs(&out.join("jobs"), &specs)?;
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    eprintln!(
        "data, model and job files are in {} (jobs: {})",
        out.display(),
        names.join(", ")
    );
    Ok(specs)
}

/// Runs `anytime data`: writes the problems of a task.
pub(crate) fn write_task(arguments: &DataArgs) -> anyhow::Result<()> {
    let defaults = Sizes::of(arguments.task);
    let sizes = Sizes {
        train: arguments.train.unwrap_or(defaults.train),
        test: arguments.test.unwrap_or(defaults.test),
        sft: arguments.sft.unwrap_or(defaults.sft),
    };
    write_data(arguments.task, &arguments.out.join("data"), arguments.seed, &sizes)?;
    if JobFiles::of(arguments.task).is_some() {
        write_model(&arguments.out.join("model"))?;
    }
    print_line(&format!("written: {}", arguments.out.join("data").display()))
}
