//! The event log of one job: records with checksums that are appended to a file ([`anytime_files::record`]). A record
//! that a crash left incomplete or the disk damaged is skipped and never cut off, so only its own event is lost. An
//! event that the disk did not take is kept in memory and is written as soon as the disk takes it.
//!
//! Where a job goes on from a checkpoint, the steps that were reported behind it are undone: they stay in the file, and
//! whoever reads the events gets each step once.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use anytime_files::{RecordReader, record};
use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{self, JobEvent};
use prost::Message as _;
use prost_types::Timestamp;
use tracing::warn;

use super::files::events_path;
use super::standing_figures::StandingFigures;

/// How many events of one job are kept in memory, of those that were appended since the log was opened. All events are
/// on disk.
pub const KEPT_IN_MEMORY: usize = 10_000;

/// The most encoded bytes of these. A step's event names every group that it trained, so it is long with large batches.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// The places of one event in this many are remembered, so that the whole file need not be read for a slow watcher.
const EVENTS_PER_PLACE: u64 = 512;

/// The log of one job, open for appending. The newest events are kept in memory too, for those who watch the job.
pub struct EventLog {
    path: PathBuf,
    file: File,
    /// How many bytes the file had when an append last succeeded.
    written: u64,
    /// There may be a part of an event behind them.
    is_torn: bool,
    /// Whole events that the disk has not taken.
    unwritten: Vec<u8>,
    recent: VecDeque<JobEvent>,
    /// Their encoded bytes.
    recent_bytes: usize,
    /// The number that was given out last, perhaps to an event that is lost.
    last_number: u64,
    newest: u64,
    /// Bytes that were no whole events when the log was opened.
    damaged: u64,
    /// Numbers of events, ascending, with the byte of the file where each begins.
    places: Vec<(u64, u64)>,
    /// The steps that count, ascending, with the numbers of their events.
    steps: Vec<(u64, u64)>,
    undone: Undone,
    /// How many steps were undone.
    undone_steps: u64,
    standing: StandingFigures,
    /// The newest step's figures.
    last_step: Option<v1::StepMetrics>,
    /// When a step was finished last.
    last_step_time: Option<Timestamp>,
}

/// The steps that count no more because the job went on from an earlier checkpoint, as ranges of event numbers.
#[derive(Clone, Debug, Default)]
struct Undone(Vec<RangeInclusive<u64>>);

impl Undone {
    fn holds(&self, event: &JobEvent) -> bool {
        matches!(event.event, Some(Event::Step(_))) && self.0.iter().any(|range| range.contains(&event.number))
    }
}

impl EventLog {
    /// Opens or creates a log. It is read once, and none of it stays in memory.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            written: 0,
            is_torn: false,
            unwritten: Vec::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            last_number: 0,
            newest: 0,
            damaged: 0,
            places: Vec::new(),
            steps: Vec::new(),
            undone: Undone::default(),
            undone_steps: 0,
            standing: StandingFigures::default(),
            last_step: None,
            last_step_time: None,
        };
        let reading = || format!("read {}", path.display());
        let mut events = EventReader::open(path, 0).with_context(reading)?;
        while let Some((place, event)) = events.read_next().with_context(reading)? {
            log.note(&event, place);
        }
        let torn = events.records.rest();
        log.damaged = events.damaged + events.records.damaged() + torn;
        log.written = events.records.position() + torn;
        if torn > 0 {
            // A watcher may have seen the event whose end is missing, so its number is not given again.
            log.last_number += 1;
        }
        if log.damaged > 0 {
            let (path, bytes) = (path.display(), log.damaged);
            warn!(%path, bytes, torn, "part of an event log is damaged; the other events are read");
        }
        Ok(log)
    }

    /// Appends an event; its number and time are filled in.
    ///
    /// # Errors
    /// If the disk refuses. The event is in memory all the same, and is written with the next one that the disk takes.
    pub fn append(&mut self, event: Event) -> anyhow::Result<()> {
        self.append_at(event, timestamp())
    }

    /// The same for an event of this time.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub fn append_at(&mut self, event: Event, time: Timestamp) -> anyhow::Result<()> {
        let event = JobEvent {
            number: self.last_number + 1,
            time: Some(time),
            event: Some(event),
        };
        let place = self.written + self.unwritten.len() as u64;
        let bytes = record(&event.encode_to_vec()).with_context(|| format!("write {}", self.path.display()))?;
        self.unwritten.extend(bytes);
        self.note(&event, place);
        self.recent_bytes += event.encoded_len();
        self.recent.push_back(event);
        while (self.recent.len() > KEPT_IN_MEMORY || self.recent_bytes > KEPT_BYTES)
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.encoded_len();
        }
        self.write()
    }

    /// Writes what the disk has not taken so far.
    ///
    /// # Errors
    /// If it still does not.
    pub fn write(&mut self) -> anyhow::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let outcome = self.write_behind_the_last();
        self.is_torn = outcome.is_err();
        outcome.with_context(|| format!("write {}", self.path.display()))?;
        self.written += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    fn write_behind_the_last(&mut self) -> io::Result<()> {
        if self.is_torn {
            // Cuts off only a record that this process began to write and will write again.
            self.file.set_len(self.written)?;
        }
        self.file.write_all(&self.unwritten)
    }

    /// Whether events wait for a disk that takes them.
    pub fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
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

    /// The number of the newest event that can be read.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The newest step's figures.
    pub fn last_step(&self) -> Option<&v1::StepMetrics> {
        self.last_step.as_ref()
    }

    /// Which figures stand.
    pub(super) fn standing(&self) -> &StandingFigures {
        &self.standing
    }

    /// When a step was finished last, whether it was undone or not.
    pub(super) fn last_step_time(&self) -> Option<&Timestamp> {
        self.last_step_time.as_ref()
    }

    /// How many bytes of the file belonged to no whole event when the log was opened.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// How many steps count no more because the job went on from an earlier checkpoint.
    pub fn undone_steps(&self) -> u64 {
        self.undone_steps
    }

    /// Up to `limit` events after a number, if memory holds them.
    pub fn recent_after(&self, after: u64, limit: usize) -> Option<Vec<JobEvent>> {
        let oldest = self.recent.front().map_or(self.last_number + 1, |event| event.number);
        if after + 1 < oldest {
            return None;
        }
        let skipped = self.recent.partition_point(|event| event.number <= after);
        let counting = self
            .recent
            .iter()
            .skip(skipped)
            .filter(|event| !self.undone.holds(event));
        Some(counting.take(limit).cloned().collect())
    }

    /// A reader of the events after a number, from the disk.
    pub fn on_disk_after(&self, after: u64) -> EventsOnDisk {
        let known = self.places.partition_point(|(number, _)| *number <= after + 1);
        EventsOnDisk {
            path: self.path.clone(),
            from: known.checked_sub(1).map_or(0, |index| self.places[index].1),
            after,
            undone: self.undone.clone(),
        }
    }

    fn note(&mut self, event: &JobEvent, place: u64) {
        self.last_number = event.number;
        self.newest = event.number;
        self.standing.note(event);
        if self
            .places
            .last()
            .is_none_or(|(number, _)| event.number >= number + EVENTS_PER_PLACE)
        {
            self.places.push((event.number, place));
        }
        match &event.event {
            Some(Event::Step(step)) => {
                self.steps.push((step.step, event.number));
                self.last_step = Some(without_account(step.clone()));
                self.last_step_time = event.time;
            }
            Some(Event::WentOn(went_on)) => {
                self.undo_behind(went_on.step);
                self.last_step = None;
            }
            _ => {}
        }
    }

    fn undo_behind(&mut self, step: u64) {
        let kept = self.steps.partition_point(|(known, _)| *known <= step);
        if let (Some((_, first)), Some((_, last))) = (self.steps.get(kept), self.steps.last()) {
            self.undone.0.push(*first..=*last);
            self.undone_steps += (self.steps.len() - kept) as u64;
            self.steps.truncate(kept);
        }
    }
}

/// A place in the file of a log. Reading from it does not lock the log.
pub struct EventsOnDisk {
    path: PathBuf,
    /// The byte where reading starts: an event begins there, at or before the first one after `after`.
    from: u64,
    after: u64,
    undone: Undone,
}

impl EventsOnDisk {
    /// Up to `limit` events.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, limit: usize) -> anyhow::Result<Vec<JobEvent>> {
        let mut events = Vec::new();
        if limit > 0 {
            self.visit(|event| {
                events.push(event);
                Ok(events.len() < limit)
            })?;
        }
        Ok(events)
    }

    /// Hands the events to `take` one by one, as long as it answers true.
    ///
    /// # Errors
    /// If the file cannot be read, or that of `take`.
    pub(super) fn visit(&self, mut take: impl FnMut(JobEvent) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let reading = || format!("read {}", self.path.display());
        let mut reader = EventReader::open(&self.path, self.from).with_context(reading)?;
        while let Some((_, event)) = reader.read_next().with_context(reading)? {
            if event.number > self.after && !self.undone.holds(&event) && !take(event)? {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a file event by event.
struct EventReader {
    records: RecordReader,
    /// Bytes of whole records that are no events.
    damaged: u64,
}

impl EventReader {
    fn open(path: &Path, from: u64) -> io::Result<Self> {
        Ok(Self {
            records: RecordReader::open(path, from)?,
            damaged: 0,
        })
    }

    /// The next event, with the byte at which it begins.
    fn read_next(&mut self) -> io::Result<Option<(u64, JobEvent)>> {
        while let Some((place, content)) = self.records.read_next()? {
            match JobEvent::decode(content.as_slice()) {
                Ok(event) if event.number > 0 => return Ok(Some((place, event))),
                _ => self.damaged += content.len() as u64,
            }
        }
        Ok(None)
    }
}

/// The steps of a job that count, by their numbers, from its directory, in which another process may be writing. Nothing
/// is changed.
///
/// # Errors
/// If the file cannot be read.
pub fn steps_on_disk(job_directory: &Path) -> anyhow::Result<BTreeMap<u64, v1::StepMetrics>> {
    let path = &events_path(job_directory);
    let reading = || format!("read {}", path.display());
    let mut events = EventReader::open(path, 0).with_context(reading)?;
    let mut steps = BTreeMap::new();
    while let Some((_, event)) = events.read_next().with_context(reading)? {
        match event.event {
            Some(Event::Step(step)) => {
                steps.insert(step.step, step);
            }
            Some(Event::WentOn(went_on)) => {
                steps.split_off(&went_on.step.saturating_add(1));
            }
            _ => {}
        }
    }
    Ok(steps)
}

/// The figures of a step without its account of groups and their times, which are in the event and would make the job's
/// record long.
pub(super) fn without_account(metrics: v1::StepMetrics) -> v1::StepMetrics {
    v1::StepMetrics {
        account: None,
        timeline: None,
        ..metrics
    }
}

/// The time of day, for events and jobs.
pub(crate) fn timestamp() -> Timestamp {
    time_after(Duration::ZERO)
}

/// The time of day when this much time has passed.
pub(super) fn time_after(pause: Duration) -> Timestamp {
    let since_epoch = (SystemTime::now() + pause)
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp {
        seconds: since_epoch.as_secs() as i64,
        nanos: since_epoch.subsec_nanos() as i32,
    }
}
