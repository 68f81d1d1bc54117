//! The event log of one job: length-delimited messages that are appended to a file. A message that a crash left
//! incomplete at the end is cut off when the log is opened. One that the disk did not take is kept in memory and is
//! written, behind the last whole one, as soon as the disk takes it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use anytime_proto::v1::{self, JobEvent};
use prost::Message as _;
use prost_types::Timestamp;
use tracing::warn;

/// How many events of one job are kept in memory, of those that were appended since the log was opened. All events are
/// on disk.
pub const KEPT_IN_MEMORY: usize = 10_000;

/// The place of one event in so many is remembered, so that a watcher far behind is not read the whole file for.
const EVENTS_PER_PLACE: u64 = 512;

/// The log of one job, open for appending. The newest events are kept in memory too, for those who watch the job.
pub struct EventLog {
    path: PathBuf,
    file: File,
    /// How many bytes of the file are whole events.
    whole: u64,
    /// There may be a part of an event behind them.
    is_torn: bool,
    /// Whole events that the disk has not taken.
    unwritten: Vec<u8>,
    recent: VecDeque<JobEvent>,
    last_number: u64,
    /// Numbers of events, ascending, with the byte of the file where each begins.
    places: Vec<(u64, u64)>,
    /// The newest step's figures.
    last_step: Option<v1::StepMetrics>,
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
            whole: 0,
            is_torn: false,
            unwritten: Vec::new(),
            recent: VecDeque::new(),
            last_number: 0,
            places: Vec::new(),
            last_step: None,
        };
        let reading = || format!("read {}", path.display());
        let mut events = EventReader::open(path, 0).with_context(reading)?;
        loop {
            let place = events.position;
            let Some(event) = events.next().with_context(reading)? else {
                break;
            };
            log.note(&event, place);
        }
        log.whole = events.position;
        let torn = events.end - events.position;
        if torn > 0 {
            warn!(path = %path.display(), bytes = torn, "cut a torn end off an event log");
            log.file
                .set_len(log.whole)
                .with_context(|| format!("cut {}", path.display()))?;
        }
        Ok(log)
    }

    /// Appends an event; its number and time are filled in.
    ///
    /// # Errors
    /// If the disk refuses. The event is in memory all the same, and is written with the next one that the disk takes.
    pub fn append(&mut self, event: v1::job_event::Event) -> anyhow::Result<()> {
        let event = JobEvent {
            number: self.last_number + 1,
            time: Some(timestamp()),
            event: Some(event),
        };
        let place = self.whole + self.unwritten.len() as u64;
        self.unwritten.extend(event.encode_length_delimited_to_vec());
        self.note(&event, place);
        self.recent.push_back(event);
        if self.recent.len() > KEPT_IN_MEMORY {
            self.recent.pop_front();
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
        let outcome = self.write_behind_whole();
        self.is_torn = outcome.is_err();
        outcome.with_context(|| format!("write {}", self.path.display()))?;
        self.whole += self.unwritten.len() as u64;
        self.unwritten.clear();
        Ok(())
    }

    fn write_behind_whole(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.whole)?;
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

    /// A byte of the file at which an event begins, at or before the one that follows this number.
    pub fn place_after(&self, after: u64) -> u64 {
        let known = self.places.partition_point(|(number, _)| *number <= after + 1);
        known.checked_sub(1).map_or(0, |index| self.places[index].1)
    }

    fn note(&mut self, event: &JobEvent, place: u64) {
        self.last_number = event.number;
        if self
            .places
            .last()
            .is_none_or(|(number, _)| event.number >= number + EVENTS_PER_PLACE)
        {
            self.places.push((event.number, place));
        }
        if let Some(v1::job_event::Event::Step(step)) = &event.event {
            self.last_step = Some(step.clone());
        }
    }
}

/// Up to `limit` events after a number, from disk. `from` is a byte at which an event begins, at or before the first of
/// them; 0 always is.
///
/// # Errors
/// If the file cannot be read.
pub fn read_after(path: &Path, from: u64, after: u64, limit: usize) -> anyhow::Result<Vec<JobEvent>> {
    let reading = || format!("read {}", path.display());
    let mut reader = EventReader::open(path, from).with_context(reading)?;
    let mut events = Vec::new();
    while events.len() < limit
        && let Some(event) = reader.next().with_context(reading)?
    {
        if event.number > after {
            events.push(event);
        }
    }
    Ok(events)
}

/// The time of day, for events and jobs.
pub(super) fn timestamp() -> Timestamp {
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

/// Reads a file event by event.
struct EventReader {
    reader: BufReader<File>,
    /// Where the next event begins.
    position: u64,
    /// The length of the file when it was opened.
    end: u64,
    buffer: Vec<u8>,
}

impl EventReader {
    fn open(path: &Path, from: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Self {
            reader: BufReader::new(file),
            position: from,
            end,
            buffer: Vec::new(),
        })
    }

    /// The next whole event; none at the end and before a torn one.
    fn next(&mut self) -> io::Result<Option<JobEvent>> {
        let Some((length, head)) = self.length()? else {
            return Ok(None);
        };
        let behind = self.position + head + length;
        if behind > self.end {
            return Ok(None);
        }
        self.buffer.resize(length as usize, 0);
        self.reader.read_exact(&mut self.buffer)?;
        let event = JobEvent::decode(self.buffer.as_slice());
        // Numbers start at 1: 0 is what zeros at the end of a file decode to.
        let Some(event) = event.ok().filter(|event| event.number > 0) else {
            return Ok(None);
        };
        self.position = behind;
        Ok(Some(event))
    }

    /// The length in front of an event, a varint, and how many bytes it took.
    fn length(&mut self) -> io::Result<Option<(u64, u64)>> {
        let (mut length, mut head) = (0_u64, 0_u64);
        loop {
            let Some(byte) = self.reader.fill_buf()?.first().copied() else {
                return Ok(None);
            };
            self.reader.consume(1);
            length |= u64::from(byte & 0x7F) << (7 * head);
            head += 1;
            if byte & 0x80 == 0 {
                return Ok(Some((length, head)));
            }
            // No event has 2^35 bytes.
            if head == 5 {
                return Ok(None);
            }
        }
    }
}
