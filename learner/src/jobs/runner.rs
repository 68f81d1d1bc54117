//! The thread that runs jobs, one after the other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use anyhow::Context as _;
use anytime_proto::JobId;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::JobState;
use tracing::{error, info};

use super::context::{ContextError, JobContext};
use super::entry::JobEntry;
use super::interrupt::Interrupted;
use super::registry::JobRegistry;
use crate::server_state::ServerState;

/// Runs one job from its start, or from where a restart found it, to its end.
pub type RunJob = Arc<dyn Fn(&JobContext) -> anyhow::Result<()> + Send + Sync>;

/// Starts the thread. It ends when the process is to end and the job under way has let go.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(
    registry: Arc<JobRegistry>,
    state: Arc<ServerState>,
    run_job: RunJob,
) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let work = move || {
        while let Some(entry) = next_job(&registry, &state) {
            run_one(&registry, &state, &entry, &run_job);
            registry.count();
        }
    };
    std::thread::Builder::new()
        .name("jobs".to_owned())
        .spawn(work)
        .context("start the job thread")
}

/// Waits for the next job; none when the process is to end.
fn next_job(registry: &JobRegistry, state: &ServerState) -> Option<Arc<JobEntry>> {
    state.runtime.block_on(async {
        tokio::select! {
            biased;
            () = state.shutdown.cancelled() => None,
            entry = registry.next() => Some(entry),
        }
    })
}

fn run_one(registry: &JobRegistry, state: &Arc<ServerState>, entry: &Arc<JobEntry>, run_job: &RunJob) {
    let job_id = entry.id();
    let is_resumed = entry.state() == JobState::Running;
    if !entry.start() {
        return;
    }
    registry.count();
    info!(%job_id, is_resumed, "a job runs");
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let spec = entry.job().spec.unwrap_or_default();
        let settings = JobSettings::try_new(&spec).context("the specification on disk")?;
        let context = JobContext::new(state.clone(), entry.clone(), settings);
        context.check()?;
        run_job(&context)
    }));
    let outcome = outcome.unwrap_or_else(|panic| Err(anyhow::anyhow!("panicked: {}", panic_text(panic.as_ref()))));
    let ended = match outcome {
        Ok(()) => Some((JobState::Succeeded, String::new())),
        Err(failure) => match interruption(&failure) {
            Some(Interrupted::Cancelled) => Some((JobState::Cancelled, String::new())),
            Some(Interrupted::Shutdown) => None,
            None => Some((JobState::Failed, without_backtrace(&format!("{failure:#}")))),
        },
    };
    clear(state, job_id, ended.is_some());
    match ended {
        None => {
            info!(%job_id, "a job is suspended until the next start");
            entry.suspend();
        }
        Some((JobState::Failed, reason)) => {
            error!(%job_id, error = reason, "a job failed");
            entry.finish(JobState::Failed, &reason);
        }
        Some((state, _)) => {
            info!(%job_id, state = state.as_str_name(), "a job ended");
            entry.finish(state, "");
        }
    }
}

/// Removes what a job leaves behind when its thread lets go of it; its queue only if the job has ended.
fn clear(state: &ServerState, job_id: &JobId, has_ended: bool) {
    state.broker.remove_job(job_id);
    state.weights.remove_job(job_id);
    if has_ended {
        state.runtime.block_on(state.broker.delete_queue(job_id));
    }
}

/// libtorch appends its own call stack to every message; the job's record keeps what a person reads.
fn without_backtrace(message: &str) -> String {
    const STACK_STARTS: &str = "\nException raised from";
    message
        .split(STACK_STARTS)
        .next()
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}

/// Whether the job stopped because it was asked to.
fn interruption(failure: &anyhow::Error) -> Option<Interrupted> {
    failure.chain().find_map(|cause| {
        if let Some(interrupted) = cause.downcast_ref::<Interrupted>() {
            return Some(*interrupted);
        }
        match cause.downcast_ref::<ContextError>() {
            Some(ContextError::Interrupted(interrupted)) => Some(*interrupted),
            _ => None,
        }
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "without a message".to_owned())
}
