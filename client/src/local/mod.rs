//! Whole jobs on one machine: Redis, verifier, learner and actors as child processes on loopback, the jobs one after
//! another, and an end for every process whatever happens.
//!
//! `run` reads top to bottom: check everything that can be checked → start → run the jobs, mend what dies → end.

mod answers;
mod check;
mod devices;
mod fleet;
mod jobs;
mod parent_death;
mod ports;
mod preflight;
mod process;
mod programs;
mod redis;
mod request;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_proto::v1;
use anytime_service::exit::{CONFIGURATION, exit_code};
use serde_json::json;

pub(crate) use self::answers::OwnServer;
pub(crate) use self::check::check_here;
use self::devices::Devices;
use self::fleet::Fleet;
pub(crate) use self::jobs::{Finished, is_same_job};
use self::programs::Programs;
pub use self::request::LocalRun;
use crate::arguments::LocalArgs;
use crate::display::Style;
use crate::interrupt::{Interrupt, interrupted};
use crate::job_view::{job_json, kind};
use crate::output::{lock_directory, make_directory, print_json, print_line};
use crate::{job_file, report};

/// The program `anytime-learner`, beside our own.
///
/// # Errors
/// If it is not there.
pub(crate) fn learner_program() -> anyhow::Result<PathBuf> {
    programs::server("anytime-learner")
}

/// The program `anytime-actor`, beside our own.
///
/// # Errors
/// If it is not there.
pub(crate) fn actor_program() -> anyhow::Result<PathBuf> {
    programs::server("anytime-actor")
}

/// `anytime local`
pub(crate) async fn run(arguments: LocalArgs, json: bool) -> anyhow::Result<()> {
    let jobs = job_file::read_all(&arguments.job_files, &arguments.overrides)?;
    let specs: Vec<_> = jobs.into_iter().map(|job| job.spec).collect();
    let last_name = specs.last().map(|spec| spec.name().to_owned()).unwrap_or_default();
    let out = arguments.out.unwrap_or_else(|| Path::new("runs").join(last_name));
    let run = LocalRun {
        specs,
        out,
        resume: arguments.resume,
        processes: arguments.processes,
    };
    run_jobs(run, json).await
}

/// Starts the processes, runs the jobs, ends the processes and says what came of the jobs.
pub(crate) async fn run_jobs(run: LocalRun, json: bool) -> anyhow::Result<()> {
    let mut interrupt = Interrupt::try_new()?;
    let goes_on = format!(
        "`anytime local … --out {} --resume` goes on from here",
        run.out.display()
    );
    let finished = run_to_end(&run, json, &goes_on, &mut interrupt).await?;
    conclude(&run, &finished, json)
}

/// Starts the processes, runs the jobs and ends the processes. `goes_on` is what a signal says about going on.
pub(crate) async fn run_to_end(
    run: &LocalRun,
    json: bool,
    goes_on: &str,
    interrupt: &mut Interrupt,
) -> anyhow::Result<Vec<Finished>> {
    let root = std::env::current_dir().context("current directory")?;
    let devices = Devices::try_new(&run.processes)?;
    preflight::check(&run.specs, &root, &run.out, run.resume)?;
    let programs = Programs::find(&root, run.processes.redis.is_none())?;
    if let Some(url) = &run.processes.redis {
        redis::check_existing(url).await?;
    }
    let is_new = !run.out.exists();
    make_directory(&run.out)?;
    let out = run
        .out
        .canonicalize()
        .with_context(|| format!("directory {}", run.out.display()))?;
    // Two learners on the same jobs would overwrite each other.
    let _lock = lock_directory(&out, "local.lock", "run")?;

    // This learner is run for these jobs alone, so it may write wherever they say.
    let outputs = run
        .specs
        .iter()
        .filter_map(|spec| spec.checkpoint.as_ref()?.output.as_ref());
    let outputs = outputs.map(|output| root.join(output)).collect();
    let mut fleet = Fleet::try_new(programs, run.processes.clone(), devices, root, out.clone(), outputs)?;
    let result = tokio::select! {
        result = start_and_run(&mut fleet, run, json) => result,
        signal = interrupt.wait() => Err(interrupted(format!("{signal}: stopped; {goes_on}")).into()),
    };
    fleet.stop(interrupt).await;
    if let Err(error) = &result
        && is_new
        && exit_code(error) == CONFIGURATION
        && !holds_a_job(&out)?
    {
        // The jobs were refused before one existed, so nobody needs what the processes have set up.
        std::fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    result
}

async fn start_and_run(fleet: &mut Fleet, run: &LocalRun, json: bool) -> anyhow::Result<Vec<Finished>> {
    let learner_address = fleet.start().await?;
    eprintln!(
        "learner at {learner_address}, {} actors, logs in {}",
        fleet.actors(),
        run.out.join("logs").display()
    );
    let style = Style::beside_document(json);
    tokio::select! {
        finished = jobs::run_all(&learner_address, run, style, json) => finished,
        error = fleet.supervise() => Err(error),
    }
}

/// Whether the directory holds any job, of this run or of another one. If so, everything in it stays.
fn holds_a_job(out: &Path) -> anyhow::Result<bool> {
    let entries = std::fs::read_dir(out).with_context(|| format!("read {}", out.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("read {}", out.display()))?;
        if entry.path().join("job.pb").exists() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Says what came of the jobs. Each job's table was printed when it ended, so people are told only where everything
/// lies.
fn conclude(run: &LocalRun, finished: &[Finished], json: bool) -> anyhow::Result<()> {
    if json {
        let jobs: Vec<_> = finished.iter().map(|one| job_json(&one.job)).collect();
        let last = finished.iter().rev().find(|one| one.files.is_some());
        let report = last.map(|one| &one.report);
        let files = last.and_then(|one| one.files.as_ref());
        return print_json(&json!({ "out": run.out, "jobs": jobs, "report": report, "files": files }));
    }
    for one in finished {
        if kind(&one.job) == v1::JobKind::Train {
            print_line(&report::table(&one.report))?;
        }
        if !one.job.checkpoint.is_empty() {
            print_line(&format!("checkpoint of {}: {}", one.report.name, one.job.checkpoint))?;
        }
        if let Some(files) = &one.files {
            print_line(&format!("report: {}", files.report.display()))?;
            if let Some(curves) = &files.curves {
                print_line(&format!("curves: {}", curves.display()))?;
            }
        }
    }
    let is_readable = |one: &Finished| {
        let evaluation = one.job.spec.as_ref().and_then(|spec| spec.evaluation.as_ref());
        !one.job.evaluations.is_empty() && evaluation.and_then(|evaluation| evaluation.keep_generations) != Some(false)
    };
    if finished.iter().any(is_readable) {
        print_line(&format!(
            "what evaluations generated: anytime show {}",
            run.out.display()
        ))?;
    }
    print_line(&format!("logs: {}", run.out.join("logs").display()))
}
