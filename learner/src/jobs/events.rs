//! The event log of one job: length-delimited messages that are appended to a file. A message that a crash left
//! incomplete at the end is cut off when the log is opened.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use anytime_proto::v1::{self, JobEvent};
use prost::Message as _;
use prost_types::Timestamp;
use tracing::warn;

/// How many events of one job are kept in memory. All events are on disk.
pub const KEPT_IN_MEMORY: usize = 10_000;

/// The log of one job, open for appending. The newest events are kept in memory too, for those who watch the job.
pub struct EventLog {
    path: PathBuf,
    file: File,
    recent: VecDeque<JobEvent>,
    last_number: u64,
    /// The newest step's figures.
    last_step: Option<v1::StepMetrics>,
}

impl EventLog {
    /// Opens or creates a log.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        file.read_to_end(&mut bytes)
            .with_context(|| format!("read {}", path.display()))?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            recent: VecDeque::new(),
            last_number: 0,
            last_step: None,
        };
        let mut rest = bytes.as_slice();
        while let Some(event) = next_event(&mut rest) {
            log.remember(event);
        }
        if !rest.is_empty() {
            let good = bytes.len() - rest.len();
            warn!(path = %path.display(), bytes = rest.len(), "cut a torn end off an event log");
            log.file
                .set_len(good as u64)
                .with_context(|| format!("cut {}", path.display()))?;
        }
        Ok(log)
    }

    /// Appends an event; its number and time are filled in.
    ///
    /// # Errors
    /// If the disk refuses. The event is in memory all the same.
    pub fn append(&mut self, event: v1::job_event::Event) -> anyhow::Result<()> {
        let number = self.last_number + 1;
        let event = JobEvent {
            number,
            time: Some(timestamp()),
            event: Some(event),
        };
        let bytes = event.encode_length_delimited_to_vec();
        self.remember(event);
        self.file
            .write_all(&bytes)
            .with_context(|| format!("write {}", self.path.display()))
    }

    /// Makes sure that what was appended survives a power failure.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&self) -> anyhow::Result<()> {
        self.file
            .sync_data()
            .with_context(|| format!("sync {}", self.path.display()))
    }

    /// The number of the newest event.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// The newest step's figures.
    pub fn last_step(&self) -> Option<&v1::StepMetrics> {
        self.last_step.as_ref()
    }

    /// Up to `limit` events after a number, if memory holds them.
    pub fn recent_after(&self, after: u64, limit: usize) -> Option<Vec<JobEvent>> {
        let oldest = self.recent.front().map_or(self.last_number + 1, |event| event.number);
        if after + 1 < oldest {
            return None;
        }
        let skipped = usize::try_from(after + 1 - oldest).unwrap_or(usize::MAX);
        Some(self.recent.iter().skip(skipped).take(limit).cloned().collect())
    }

    fn remember(&mut self, event: JobEvent) {
        self.last_number = event.number;
        if let Some(v1::job_event::Event::Step(step)) = &event.event {
            self.last_step = Some(step.clone());
        }
        self.recent.push_back(event);
        if self.recent.len() > KEPT_IN_MEMORY {
            self.recent.pop_front();
        }
    }
}

/// Up to `limit` events after a number, from disk.
///
/// # Errors
/// If the file cannot be read.
pub fn read_after(path: &Path, after: u64, limit: usize) -> anyhow::Result<Vec<JobEvent>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while events.len() < limit
        && let Some(event) = next_event(&mut rest)
    {
        if event.number > after {
            events.push(event);
        }
    }
    Ok(events)
}

/// The time of day, for events and jobs.
pub(super) fn timestamp() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: since_epoch.as_secs() as i64,
        nanos: since_epoch.subsec_nanos() as i32,
    }
}

/// Takes the next whole event off the front of the bytes.
fn next_event(rest: &mut &[u8]) -> Option<JobEvent> {
    let mut ahead = *rest;
    let event = JobEvent::decode_length_delimited(&mut ahead).ok()?;
    // Numbers start at 1: this is what zeros at the end of a file decode to.
    if event.number == 0 {
        return None;
    }
    *rest = ahead;
    Some(event)
}
