//! A job as it changes, and as it is seen. Whoever changes it keeps the others out while the disk takes the change, which a
//! slow disk makes seconds. Who only looks does not wait for that: it sees the job as it was before.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use anytime_proto::v1;

use super::events::EventLog;
use super::series::Series;
use super::store::StoredJob;
use crate::lock::lock;

pub(super) struct Live {
    pub(super) job: v1::Job,
    pub(super) log: EventLog,
    /// What other tools read of the log.
    pub(super) series: Series,
    /// When the job started to run in this process, and how many seconds it had run before; none while it does not run.
    pub(super) running: Option<(Instant, f64)>,
    pub(super) saved: Instant,
    /// Whether the job's file is behind the memory, because the disk refused it.
    pub(super) is_unsaved: bool,
    /// The thread of jobs works on it.
    pub(super) is_held: bool,
    /// It was removed. Its directory may be that of another job of its name by now, so nothing is written any more.
    pub(super) is_removed: bool,
    /// The step at which it was put aside last, and how often in a row there.
    pub(super) put_aside: (u64, u32),
}

impl Live {
    /// A job whose file and log were just read or written.
    pub(super) fn new(stored: StoredJob) -> Self {
        let series = Series::new(&stored.directory);
        Self {
            job: stored.job,
            log: stored.log,
            series,
            running: None,
            saved: Instant::now(),
            is_unsaved: false,
            is_held: false,
            is_removed: false,
            put_aside: (0, 0),
        }
    }

    /// How long the job has run, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        seconds(&self.job, self.running)
    }

    fn seen(&self) -> Seen {
        let stepped = self.log.last_step_time();
        Seen {
            job: self.job.clone(),
            running: self.running,
            is_held: self.is_held,
            is_removed: self.is_removed,
            last_event: self.log.newest(),
            undone_steps: self.log.undone_steps(),
            damaged: self.log.damaged(),
            stepped: stepped.and_then(|time| SystemTime::try_from(*time).ok()),
        }
    }
}

/// What is told of a job. It does not change any more.
pub(super) struct Seen {
    /// Its seconds are those of the last change.
    pub(super) job: v1::Job,
    running: Option<(Instant, f64)>,
    /// The thread of jobs works on it.
    pub(super) is_held: bool,
    /// It was removed.
    pub(super) is_removed: bool,
    /// The number of the newest event that can be read.
    pub(super) last_event: u64,
    /// How many steps were undone.
    pub(super) undone_steps: u64,
    /// How many bytes of the event log belong to no whole event.
    pub(super) damaged: u64,
    /// When a step was finished last.
    pub(super) stepped: Option<SystemTime>,
}

impl Seen {
    /// How long the job has run until now, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        seconds(&self.job, self.running)
    }
}

fn seconds(job: &v1::Job, running: Option<(Instant, f64)>) -> f64 {
    running.map_or(job.seconds, |(since, before)| before + since.elapsed().as_secs_f64())
}

/// A job behind its locks.
pub(super) struct LiveJob {
    live: Mutex<Live>,
    /// Held for moments only, never while the disk works.
    seen: Mutex<Arc<Seen>>,
}

impl LiveJob {
    pub(super) fn new(live: Live) -> Self {
        Self {
            seen: Mutex::new(Arc::new(live.seen())),
            live: Mutex::new(live),
        }
    }

    /// The job as it was when the last change was over. Waits for nobody.
    pub(super) fn seen(&self) -> Arc<Seen> {
        lock(&self.seen).clone()
    }

    /// The right to change the job. May wait for the disk, and so has no place on the threads that move messages.
    pub(super) fn change(&self) -> Change<'_> {
        Change {
            live: lock(&self.live),
            seen: &self.seen,
            has_changed: false,
        }
    }
}

/// A job that nobody else changes. What was changed is seen when this is dropped.
pub(super) struct Change<'a> {
    live: MutexGuard<'a, Live>,
    seen: &'a Mutex<Arc<Seen>>,
    has_changed: bool,
}

impl Deref for Change<'_> {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut Live {
        self.has_changed = true;
        &mut self.live
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        if self.has_changed {
            *lock(self.seen) = Arc::new(self.live.seen());
        }
    }
}
