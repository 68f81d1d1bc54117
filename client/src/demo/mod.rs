//! The demo: problems that the project makes itself, a model of a few hundred thousand parameters, and two jobs on them
//! through the same processes as any other run. The binary carries everything it needs.

mod chain;
mod files;
mod rows;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anytime_proto::v1;

use crate::arguments::DemoArgs;
use crate::local::{self, LocalRun};
use crate::output::print_line;

pub use chain::Chain;
pub use files::{Sizes, job_specs, write_data, write_jobs, write_model};
pub use rows::{CUT_MARKER, END_MARKER, SUMMARY_MARKER, SftRow, cut_row, full_row};

/// Seed of the data where none is given.
const DATA_SEED: u64 = 2505;

/// `anytime demo`
pub(crate) async fn run(arguments: DemoArgs, json: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let specs = prepare(&arguments.out, arguments.seed)?;
    let run = LocalRun {
        specs,
        out: arguments.out,
        resume: false,
        processes: arguments.processes,
    };
    local::run_jobs(run, json).await?;
    if !json {
        print_line(&format!("everything took {:.0} s", started.elapsed().as_secs_f64()))?;
    }
    Ok(())
}

/// Writes data, model and job files into `out` and gives the jobs.
///
/// # Errors
/// If a file cannot be written.
pub fn prepare(out: &Path, seed: Option<u64>) -> anyhow::Result<Vec<v1::JobSpec>> {
    // The job files are checked before anything is written.
    let specs = job_specs(out, seed)?;
    write_data(&out.join("data"), seed.unwrap_or(DATA_SEED), &Sizes::default())?;
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
