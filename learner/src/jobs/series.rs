//! What other tools read of a job: its figures as lines of JSON and as TensorBoard's event file. Both are derived from the
//! events that stand (`standing_figures`), so they can be made again at any time, and what happens to them costs the job
//! nothing. A write that the disk refuses is counted, said once, and made up for.
//!
//! As long as every figure stands, an event adds its own to the ends of the files. Where steps are undone, and when a job
//! is first touched in a process, which may follow on a kill, the files are written anew from the events.

mod context;
mod derived;
mod figures;
mod form;
mod lines;
mod tensorboard;

use std::path::Path;

use anytime_proto::v1;

use self::context::Context;
use self::derived::Derived;
use self::lines::Lines;
use self::tensorboard::TensorBoard;
use super::events::EventLog;

/// The files of one job.
pub(super) struct Series {
    /// What the job's settings say; none before they are looked at.
    context: Option<Context>,
    lines: Derived<Lines>,
    tensorboard: Derived<TensorBoard>,
}

impl Series {
    /// Those of the job in this directory. Nothing is read or written before the first event.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            context: None,
            lines: Derived::new(Lines::new(directory)),
            tensorboard: Derived::new(TensorBoard::new(directory)),
        }
    }

    /// Looks at the job's settings again, which may have changed while it did not run.
    pub(super) fn begin(&mut self) {
        self.context = None;
    }

    /// Brings the files up to the newest event. Never fails: what cannot be written is tried again with a later event.
    pub(super) fn follow(&mut self, log: &EventLog, job: &v1::Job) {
        self.bring_up(log, job, false);
    }

    /// The same for the last events of a job: a pause after a failure is not waited for, and what is written survives a
    /// loss of power.
    pub(super) fn conclude(&mut self, log: &EventLog, job: &v1::Job) {
        self.bring_up(log, job, true);
        self.lines.sync();
        self.tensorboard.sync();
    }

    fn bring_up(&mut self, log: &EventLog, job: &v1::Job, at_once: bool) {
        if self.context.is_none() {
            self.context = Context::of(job);
        }
        let Some(context) = &self.context else { return };
        self.lines.bring_up(log, context, &job.id, at_once);
        if context.tensorboard {
            self.tensorboard.bring_up(log, context, &job.id, at_once);
        }
    }

    /// Makes up for what an earlier process could not write of a job that is over. Files that are complete are left
    /// alone, and so are jobs of versions that wrote none.
    pub(super) fn make_up(&mut self, log: &EventLog, job: &v1::Job) {
        if self.lines.form.newest() != log.standing().newest() && self.lines.form.exists() {
            self.conclude(log, job);
        }
    }
}
