//! Follows a job to its end, whatever happens to the stream: after a break it goes on behind the last event seen.

use std::time::{Duration, Instant};

use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;
use anytime_service::channel::Backoff;
use tonic::Status;

use crate::job_view::{has_ended, waits_for_person};
use crate::learner::{Learner, is_unreachable};

/// After this long without an event we ask for the job itself, because a long step and a learner that hangs are both
/// silent.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// After a break, how long we wait for the last events of a job that has ended.
const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(3);

/// How long `anytime watch` waits for a learner that went away.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Receives what happens to a job.
pub trait EventSink {
    /// A new event, each once and in order.
    ///
    /// # Errors
    /// If the event cannot be shown; then the job is followed no further.
    fn event(&mut self, event: &v1::JobEvent) -> anyhow::Result<()>;

    /// A notice about the connection, for people.
    fn notice(&mut self, text: &str);
}

enum StreamEnd {
    /// The learner closed it, as it does when the job has ended.
    Closed,
    /// Nothing came for [`IDLE_LIMIT`].
    Idle,
    /// The job has paused, and goes on only when somebody resumes it.
    Paused,
    Broken(Status),
}

/// Hands every event to the sink until the job has ended, or waits for a person; returns the job as it is then.
///
/// # Errors
/// An unknown job, a sink that fails, or a learner that cannot be reached for longer than `patience`.
pub async fn follow(
    learner: &mut Learner,
    job_id: &str,
    sink: &mut dyn EventSink,
    patience: Duration,
) -> anyhow::Result<v1::Job> {
    let mut last_seen = 0;
    let mut backoff = Backoff::default();
    let mut last_contact = Instant::now();
    loop {
        let seen_before = last_seen;
        let end = read_events(learner, job_id, &mut last_seen, sink, IDLE_LIMIT).await?;
        if last_seen > seen_before {
            last_contact = Instant::now();
            backoff.reset();
        }
        match learner.get(job_id).await {
            Ok(job) if has_ended(&job) || waits_for_person(&job) => {
                if !matches!(end, StreamEnd::Closed | StreamEnd::Paused) {
                    read_events(learner, job_id, &mut last_seen, sink, LAST_EVENTS_LIMIT).await?;
                }
                return Ok(job);
            }
            Ok(_) => last_contact = Instant::now(),
            Err(error) if is_unreachable(&error) && last_contact.elapsed() < patience => {}
            Err(error) => return Err(error),
        }
        match end {
            // Watched again at once: the job is not over, and a pause that it was in has ended.
            StreamEnd::Idle | StreamEnd::Paused => continue,
            StreamEnd::Closed => {}
            StreamEnd::Broken(status) => sink.notice(&format!("stream broke, reconnecting: {}", status.message())),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn read_events(
    learner: &mut Learner,
    job_id: &str,
    last_seen: &mut u64,
    sink: &mut dyn EventSink,
    idle_limit: Duration,
) -> anyhow::Result<StreamEnd> {
    let mut stream = match learner.watch(job_id, *last_seen).await {
        Ok(stream) => stream,
        Err(status) => return Ok(StreamEnd::Broken(status)),
    };
    loop {
        let message = match tokio::time::timeout(idle_limit, stream.message()).await {
            Ok(message) => message,
            Err(_) => return Ok(StreamEnd::Idle),
        };
        let event = match message {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(StreamEnd::Closed),
            Err(status) => return Ok(StreamEnd::Broken(status)),
        };
        if event.number <= *last_seen {
            continue;
        }
        *last_seen = event.number;
        sink.event(&event)?;
        if let Some(Event::State(change)) = &event.event
            && change.state() == v1::JobState::Paused
            && change.retry_at.is_none()
        {
            return Ok(StreamEnd::Paused);
        }
    }
}
