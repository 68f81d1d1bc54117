//! The thread that runs jobs, one after the other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anytime_proto::JobId;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::JobState;
use tracing::{error, info, warn};

use super::context::{Afterwards, JobContext, interruption};
use super::entry::{JobEntry, Started};
use super::fault::{Fault, NeedsPerson, advice, fault_of, fault_of_panic};
use super::interrupt::Interrupted;
use super::job_info::JobInfo;
use super::registry::JobRegistry;
use crate::server_state::ServerState;

/// How long the end of a job waits for Redis to take its right back.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(1);

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

/// How the work on a job ended.
enum Outcome {
    Succeeded(Option<Afterwards>),
    Cancelled,
    /// The process is to end; the job goes on in the next one.
    Suspended,
    Failed(String),
    /// It is tried again by itself.
    PutAside(String),
    /// It waits for a person.
    NeedsPerson(String),
    /// The process cannot go on.
    ProcessFault(String),
}

fn run_one(registry: &JobRegistry, state: &Arc<ServerState>, entry: &Arc<JobEntry>, run_job: &RunJob) {
    let job_id = entry.id();
    let is_resumed = entry.state() == JobState::Running;
    match entry.start() {
        Started::Running => {}
        Started::HadEnded => return,
        Started::WasCancelled => {
            info!(%job_id, "a job was cancelled before the process ended");
            clear(state, job_id, true);
            entry.finish(JobState::Cancelled, "");
            return;
        }
        Started::Paused => {
            error!(%job_id, reason = entry.job().error, "a job ended the process too often and is paused");
            return;
        }
    }
    registry.begun(job_id);
    registry.count();
    info!(%job_id, is_resumed, "a job runs");
    let shown = JobInfo::show(&entry.job());
    let outcome = match work_on(state, entry, run_job) {
        // What held it up or ended it does not matter any more.
        Outcome::Failed(_) | Outcome::PutAside(_) | Outcome::NeedsPerson(_) if entry.cancelled().is_cancelled() => {
            Outcome::Cancelled
        }
        outcome => outcome,
    };
    drop(shown);
    let is_over = matches!(outcome, Outcome::Succeeded(_) | Outcome::Cancelled);
    clear(state, job_id, is_over);
    match outcome {
        Outcome::Succeeded(afterwards) => {
            info!(%job_id, "a job succeeded");
            entry.finish(JobState::Succeeded, "");
            if let Some(work) = afterwards {
                work();
            }
        }
        Outcome::Cancelled => {
            info!(%job_id, "a job was cancelled");
            entry.finish(JobState::Cancelled, "");
        }
        Outcome::Suspended => {
            info!(%job_id, "a job is suspended until the next start");
            entry.suspend();
            entry.let_go();
        }
        Outcome::Failed(reason) => {
            error!(%job_id, error = reason, "a job failed; its queue and its checkpoints are kept");
            entry.finish(JobState::Failed, &reason);
        }
        Outcome::PutAside(reason) => {
            let pause = entry.put_aside(&reason);
            let seconds = pause.as_secs_f64();
            warn!(%job_id, reason, seconds, "a job is paused and is tried again after these seconds");
            registry.try_again(job_id, pause);
        }
        Outcome::NeedsPerson(reason) => {
            error!(%job_id, reason, "a job is paused until it is resumed");
            entry.wait_for_person(&reason);
        }
        Outcome::ProcessFault(reason) => {
            error!(%job_id, reason, "the process ends, because no job can go on in it");
            entry.note_process_fault(&reason);
            state.end_with(&format!("job {job_id}: {reason}"));
        }
    }
}

fn work_on(state: &Arc<ServerState>, entry: &Arc<JobEntry>, run_job: &RunJob) -> Outcome {
    let work = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let spec = entry.job().spec.unwrap_or_default();
        let settings = JobSettings::try_new(&spec).context("the specification on disk")?;
        let context = JobContext::new(state.clone(), entry.clone(), settings);
        context.check()?;
        run_job(&context)?;
        anyhow::Ok(context.take_afterwards())
    }));
    let failure = match work {
        Ok(Ok(afterwards)) => return Outcome::Succeeded(afterwards),
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = without_backtrace(&panic_text(panic.as_ref()));
            return match fault_of_panic(&text) {
                Fault::Process => Outcome::ProcessFault(text),
                Fault::Passing | Fault::Own => Outcome::Failed(format!("panicked: {text}")),
            };
        }
    };
    match interruption(&failure) {
        Some(Interrupted::Cancelled) => return Outcome::Cancelled,
        Some(Interrupted::Shutdown) => return Outcome::Suspended,
        None => {}
    }
    let reason = without_backtrace(&format!("{failure:#}"));
    if failure.chain().any(|cause| cause.is::<NeedsPerson>()) {
        return Outcome::NeedsPerson(reason);
    }
    match fault_of(&failure) {
        Fault::Own => Outcome::Failed(reason),
        Fault::Process => Outcome::ProcessFault(reason),
        Fault::Passing => {
            let advice = advice(&reason);
            Outcome::PutAside(format!("{reason}; {advice}: the job is tried again by itself"))
        }
    }
}

/// Removes what a job leaves behind when its thread lets go of it; its queue only if the job is over for good.
fn clear(state: &ServerState, job_id: &JobId, is_over: bool) {
    state.broker.remove_job(job_id);
    state.weights.remove_job(job_id);
    state.runtime.block_on(async {
        if is_over {
            state.broker.delete_queue(job_id).await;
        }
        let given_back = state.broker.give_right_back(job_id);
        if tokio::time::timeout(GIVE_BACK_TIMEOUT, given_back).await.is_err() {
            warn!(%job_id, "redis did not answer when the right to a job was given back; it runs out by itself");
        }
    });
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "without a message".to_owned())
}
