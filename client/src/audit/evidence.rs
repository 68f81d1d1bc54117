//! What an audit looks at: of a learner that runs, or of a job's directory or a copy of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use anytime_files::{RecordReader, only_record};
use anytime_proto::v1;
use anytime_proto::{checkpoint_accounts, settings::parse_kept_job_file, settings::with_defaults};
use anytime_service::exit::ExitError;
use prost::Message as _;

use crate::learner::Learner;

/// A learner that sends no further event for this long is not waited for.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Everything that was found of one job.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Its id.
    pub job_id: String,
    /// Its specification.
    pub spec: v1::JobSpec,
    /// Its state; unspecified where its record cannot be read.
    pub state: v1::JobState,
    /// Its events, in the order of their numbers; those of undone steps may be among them.
    pub events: Vec<v1::JobEvent>,
    /// How many steps were undone whose events are not among them.
    pub undone_steps: usize,
    /// Bytes of the event log that belong to no whole event.
    pub damaged_bytes: u64,
    /// Its recovery checkpoints, by step.
    pub checkpoints: Vec<v1::CheckpointAccount>,
    /// Where the groups that have not ended are; none unless a learner was asked and the job trains.
    pub queue: Option<v1::QueueAccount>,
}

impl Evidence {
    /// Collects the evidence from a learner.
    ///
    /// # Errors
    /// A job that it does not know, or a learner that does not answer, or that does not send all the events that it has:
    /// of a part of the history nothing is said, since what is missing would look like a loss.
    pub async fn of_learner(learner: &mut Learner, job_id: &str) -> anyhow::Result<Self> {
        let job = learner.get(job_id).await?;
        // Read before the events, so that every step that the account counts is among them.
        let account = learner.account(job_id).await?;
        let mut events = Vec::new();
        let opened = learner.watch(job_id, 0).await;
        let mut stream = opened.map_err(|status| learner.explain(&status).context("the events"))?;
        let is_read = |events: &[v1::JobEvent]| events.last().map_or(0, |last| last.number) >= account.last_event;
        while !is_read(&events) {
            let incomplete = |why: &str| {
                let read = events.last().map_or(0, |last| last.number);
                ExitError::unavailable(format!(
                    "the evidence is incomplete: {why} after event {read} of {}, so nothing is said of {job_id}; ask again, \
                     or audit the job's directory (--runs-dir)",
                    account.last_event
                ))
            };
            let idle = tokio::time::timeout(IDLE_LIMIT, stream.message()).await;
            let message = idle.map_err(|_| incomplete("the learner sent nothing more for 10 s"))?;
            let event = message.map_err(|status| learner.explain(&status).context("the events"))?;
            let event = event.ok_or_else(|| incomplete("the stream of events ended"))?;
            events.push(event);
        }
        Ok(Self {
            job_id: job.id.clone(),
            state: job.state(),
            spec: job.spec.unwrap_or_default(),
            events,
            undone_steps: usize::try_from(account.undone_steps).unwrap_or(usize::MAX),
            damaged_bytes: account.damaged_bytes,
            checkpoints: account.checkpoints,
            queue: account.queue,
        })
    }

    /// Reads the directory of a job, or a copy of it. Nothing in it is changed.
    ///
    /// # Errors
    /// If it is no job's, or its files cannot be read.
    pub fn of_directory(directory: &Path) -> anyhow::Result<Self> {
        let job = read_job(directory);
        let spec = match &job {
            Some(job) => job.spec.clone().unwrap_or_default(),
            None => {
                let path = directory.join("job.toml");
                let text = fs::read_to_string(&path).with_context(|| {
                    format!(
                        "{} holds no job: neither job.pb nor job.toml can be read",
                        directory.display()
                    )
                })?;
                with_defaults(&parse_kept_job_file(&text).with_context(|| path.display().to_string())?)
            }
        };
        let (events, damaged_bytes) = read_events(&directory.join("events.log"))?;
        let checkpoints = checkpoint_accounts(directory).with_context(|| format!("read {}", directory.display()))?;
        let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(Self {
            job_id: job.as_ref().map_or_else(|| name.to_owned(), |job| job.id.clone()),
            state: job.as_ref().map(v1::Job::state).unwrap_or_default(),
            spec,
            events,
            undone_steps: 0,
            damaged_bytes,
            checkpoints: checkpoints.into_iter().map(v1::CheckpointAccount::from).collect(),
            queue: None,
        })
    }
}

/// The record of the job, where it is whole. Earlier versions wrote it without a checksum.
fn read_job(directory: &Path) -> Option<v1::Job> {
    let bytes = fs::read(directory.join("job.pb")).ok()?;
    let content = only_record(&bytes).unwrap_or(&bytes);
    v1::Job::decode(content).ok().filter(|job| !job.id.is_empty())
}

fn read_events(path: &Path) -> anyhow::Result<(Vec<v1::JobEvent>, u64)> {
    let reading = || format!("read {}", path.display());
    let mut reader = RecordReader::open(path, 0).with_context(reading)?;
    let (mut events, mut damaged) = (Vec::new(), 0);
    while let Some((_, content)) = reader.read_next().with_context(reading)? {
        match v1::JobEvent::decode(content.as_slice()) {
            Ok(event) => events.push(event),
            Err(_) => damaged += content.len() as u64,
        }
    }
    Ok((events, damaged + reader.damaged() + reader.rest()))
}
