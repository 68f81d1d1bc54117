//! A file that is derived from a job's events: brought up to them, written anew where they have changed, and tried again
//! where the disk refuses it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_proto::v1::JobEvent;
use anytime_service::metric_names::LEARNER_FIGURES_REFUSED;
use metrics::counter;
use tracing::{info, warn};

use super::context::Context;
use super::figures::FiguresOf;
use super::form::Form;
use crate::jobs::events::EventLog;
use crate::jobs::standing_figures::StandingFigures;

/// How many events are added at a time, where many wait.
const EVENTS_AT_A_TIME: usize = 256;

/// After a write that failed the next one waits for so long, and twice as long after each further one. A disk that
/// refuses is so not asked at every step, which would cost more the longer the job is.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A file with the figures that stand.
pub(super) struct Derived<F> {
    pub(super) form: F,
    /// Where its writing is; none before it was written in this process.
    end: Option<End>,
    /// How often in a row it could not be written, and when it is tried again.
    failing: Option<(u32, Instant)>,
}

/// The end of a file.
struct End {
    file: File,
    path: PathBuf,
    /// Up to here it is whole.
    written: u64,
    /// There may be a part of something behind that.
    is_torn: bool,
    /// It holds the figures of the events up to this one.
    newest: u64,
    /// [`StandingFigures::removals`] then.
    removals: u64,
}

impl<F: Form> Derived<F> {
    pub(super) fn new(form: F) -> Self {
        Self {
            form,
            end: None,
            failing: None,
        }
    }

    /// Brings the file up to the newest event, unless that failed a moment ago. With `at_once` it is tried all the same.
    pub(super) fn bring_up(&mut self, log: &EventLog, context: &Context, job_id: &str, at_once: bool) {
        let waits = self.failing.is_some_and(|(_, again)| Instant::now() < again);
        if waits && !at_once {
            return;
        }
        let failure = match self.try_bring_up(log, context) {
            Ok(()) => {
                if self.failing.take().is_some() {
                    info!(
                        job_id,
                        file = F::NAME,
                        "the figures of a job are written again, and none is missing"
                    );
                }
                return;
            }
            Err(failure) => failure,
        };
        counter!(LEARNER_FIGURES_REFUSED, "file" => F::NAME).increment(1);
        let tries = self.failing.map_or(0, |(tries, _)| tries);
        if tries == 0 {
            let error = format!("{failure:#}");
            warn!(
                job_id,
                file = F::NAME,
                error,
                "the figures of a job cannot be written; they are once it works again"
            );
        }
        let pause = FIRST_PAUSE
            .saturating_mul(2_u32.saturating_pow(tries))
            .min(LONGEST_PAUSE);
        self.failing = Some((tries.saturating_add(1), Instant::now() + pause));
    }

    fn try_bring_up(&mut self, log: &EventLog, context: &Context) -> anyhow::Result<()> {
        let standing = log.standing();
        let goes_on = match &self.end {
            Some(end) if end.removals != standing.removals() => false,
            Some(end) => standing.newest() <= Some(end.newest) || end.is_whole()?,
            None => false,
        };
        if !goes_on {
            self.end = None;
            self.end = self.write_anew(log, context)?;
        }
        let Some(end) = &mut self.end else { return Ok(()) };
        loop {
            let events = match log.recent_after(end.newest, EVENTS_AT_A_TIME) {
                Some(events) => events,
                None => log.on_disk_after(end.newest).read(EVENTS_AT_A_TIME)?,
            };
            let Some(last) = events.last() else { return Ok(()) };
            let mut bytes = Vec::new();
            for event in &events {
                bytes.extend(encoded(&self.form, event, standing, context)?);
            }
            end.append(&bytes)
                .with_context(|| format!("write {}", end.path.display()))?;
            end.newest = last.number;
        }
    }

    fn write_anew(&self, log: &EventLog, context: &Context) -> anyhow::Result<Option<End>> {
        let standing = log.standing();
        let mut newest = 0;
        let mut fill = |form: &F, writer: &mut dyn Write| {
            log.on_disk_after(0).visit(|event| {
                newest = event.number;
                writer.write_all(&encoded(form, &event, standing, context)?)?;
                Ok(true)
            })
        };
        let Some((file, path)) = self.form.write_anew(standing, &mut fill)? else {
            return Ok(None);
        };
        let written = file
            .metadata()
            .with_context(|| format!("open {}", path.display()))?
            .len();
        Ok(Some(End {
            file,
            path,
            written,
            is_torn: false,
            newest,
            removals: standing.removals(),
        }))
    }

    /// Makes what is written survive a loss of power.
    pub(super) fn sync(&self) {
        if let Some(end) = &self.end
            && let Err(error) = end.file.sync_data()
        {
            // Whatever is lost with the power is made up for at the next start.
            warn!(path = %end.path.display(), %error, "the disk does not say that it has the figures of a job");
        }
    }
}

/// The bytes of an event; none where it has no figures that stand.
fn encoded<F: Form>(
    form: &F,
    event: &JobEvent,
    standing: &StandingFigures,
    context: &Context,
) -> anyhow::Result<Vec<u8>> {
    if !standing.holds(event) {
        return Ok(Vec::new());
    }
    match FiguresOf::event(event, context, standing.began()) {
        Some(figures) => form.encode(event, figures),
        None => Ok(Vec::new()),
    }
}

impl End {
    /// Whether the file is still in its place, with all that was written to it.
    fn is_whole(&self) -> anyhow::Result<bool> {
        let looking = || format!("look at {}", self.path.display());
        let here = self.file.metadata().with_context(looking)?;
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).with_context(looking),
        };
        Ok((here.dev(), here.ino()) == (there.dev(), there.ino()) && here.len() >= self.written)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.is_torn {
            // Cuts off only what this process began to write and will write again.
            self.file.set_len(self.written)?;
        }
        self.is_torn = true;
        self.file.write_all(bytes)?;
        self.is_torn = false;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
