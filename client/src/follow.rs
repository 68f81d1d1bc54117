//! Follows a job to its end, whatever happens to the stream: after a break it goes on behind the last event seen.

use std::time::{Duration, Instant};

use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;
use anytime_service::channel::Backoff;
use anytime_service::exit::ExitError;
use tonic::Status;

use crate::job_view::{has_ended, waits_for_person};
use crate::learner::{Healing, Learner, healing, is_unreachable};

/// After this long without an event we ask for the job itself, because a long step and a learner that hangs are both
/// silent.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// After a break, how long we wait for the last events of a job that has ended.
const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(3);

/// How long a caller may be refused as unknown: both ends read changed tokens again within two seconds.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(4);

/// A stream that was open for so long worked, though it brought nothing: some proxy may have closed it.
const WORKED_FOR: Duration = Duration::from_secs(5);

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
    /// It broke, after it had been open for this long.
    Broken(Status, Duration),
}

/// What has failed since the stream of events last worked.
#[derive(Default)]
struct Failures {
    since: Option<Instant>,
    /// Since when the caller is told that it is not known, and nothing else.
    unknown_since: Option<Instant>,
    /// How many tries in a row.
    count: u32,
    /// What the sink was told of.
    told: String,
}

impl Failures {
    /// Notes a failure, and tells the sink of what lasts: a stream that is back at once needs no words.
    fn note(&mut self, status: &Status, sink: &mut dyn EventSink) {
        let now = Instant::now();
        self.since.get_or_insert(now);
        self.unknown_since = match healing(status) {
            Healing::WhereFilesChange => self.unknown_since.or(Some(now)),
            Healing::Never | Healing::InTime => None,
        };
        self.count += 1;
        if self.count > 1 && self.told != status.message() {
            status.message().clone_into(&mut self.told);
            sink.notice(&format!("stream broke, reconnecting: {}", status.message()));
        }
    }
}

/// Hands every event to the sink until the job has ended, or waits for a person; returns the job as it is then.
///
/// # Errors
/// A sink that fails; an error that no waiting heals, at once: an unknown job, a role that may not, a request that is
/// refused; a token or certificate that is unknown also after it was read again; and any other one that lasts for longer
/// than `patience`, such as a learner that cannot be reached.
pub async fn follow(
    learner: &mut Learner,
    job_id: &str,
    sink: &mut dyn EventSink,
    patience: Duration,
) -> anyhow::Result<v1::Job> {
    let mut last_seen = 0;
    let mut backoff = Backoff::default();
    let mut failures = Failures::default();
    loop {
        let seen_before = last_seen;
        let end = read_events(learner, job_id, &mut last_seen, sink, IDLE_LIMIT).await?;
        let has_worked = match &end {
            StreamEnd::Broken(_, open_for) => *open_for >= WORKED_FOR,
            StreamEnd::Closed => false,
            StreamEnd::Idle | StreamEnd::Paused => true,
        };
        if last_seen > seen_before || has_worked {
            backoff.reset();
            failures = Failures::default();
        }
        if let StreamEnd::Broken(status, _) = &end {
            failures.note(status, sink);
            check(learner, status, &failures, patience)?;
        }
        match learner.try_get(job_id).await {
            Ok(job) if has_ended(&job) || waits_for_person(&job) => {
                if !matches!(end, StreamEnd::Closed | StreamEnd::Paused) {
                    read_events(learner, job_id, &mut last_seen, sink, LAST_EVENTS_LIMIT).await?;
                }
                return Ok(job);
            }
            Ok(_) => {}
            Err(status) => {
                failures.note(&status, sink);
                check(learner, &status, &failures, patience)?;
            }
        }
        match end {
            // Watched again at once: the job is not over, and a pause that it was in has ended.
            StreamEnd::Idle | StreamEnd::Paused => {}
            StreamEnd::Closed | StreamEnd::Broken(..) => tokio::time::sleep(backoff.pause()).await,
        }
    }
}

/// Whether it is worth while to try again.
fn check(learner: &Learner, status: &Status, failures: &Failures, patience: Duration) -> anyhow::Result<()> {
    let (limit, since) = match healing(status) {
        Healing::Never => (Duration::ZERO, None),
        Healing::WhereFilesChange => (UNKNOWN_LIMIT.min(patience), failures.unknown_since),
        Healing::InTime => (patience, failures.since),
    };
    if since.is_some_and(|since| since.elapsed() < limit) {
        return Ok(());
    }
    let error = learner.explain(status);
    if healing(status) == Healing::InTime && !is_unreachable(&error) {
        // A learner that is there and fails again and again is as good as none.
        return Err(ExitError::unavailable(format!("{error:#}")).into());
    }
    Err(error)
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
        Err(status) => return Ok(StreamEnd::Broken(status, Duration::ZERO)),
    };
    let opened = Instant::now();
    loop {
        let message = match tokio::time::timeout(idle_limit, stream.message()).await {
            Ok(message) => message,
            Err(_) => return Ok(StreamEnd::Idle),
        };
        let event = match message {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(StreamEnd::Closed),
            Err(status) => return Ok(StreamEnd::Broken(status, opened.elapsed())),
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
