//! Everything that the engine's thread owns, and the changes to it that more than one part of the engine makes.
//!
//! The methods of [`EngineState`] are in the files that they belong to: the loop and the decoding step in `runner`,
//! admission in `admission`, known tokens in `prefill`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anytime_policy::{KvCache, Without};
use anytime_proto::v1::AbandonReason;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::cache::{SlotLengths, SlotMap};
use super::kept::KeptTraces;
use super::load::Load;
use super::messages::{EngineError, EngineLimits, Event, Installed, Model};
use super::meters::Meters;
use super::scheduler::Scheduler;
use super::sequence::{Sequence, Task, WeightsEpoch};

/// The key-value cache and the sequences that have its slots.
pub(crate) struct Memory {
    pub(crate) cache: KvCache,
    pub(crate) slots: SlotMap,
    /// How many sequences may run at the same time.
    pub(crate) row_limit: usize,
    /// How many bytes the cache could have had when it was allocated.
    pub(crate) allowed_bytes: usize,
    /// How much of what makes the device slower than it could be is in the log.
    pub(crate) told: usize,
}

impl Memory {
    /// Says in the log, once, what a CUDA device is without and could have.
    pub(crate) fn tell_of_slowness(&mut self) {
        let without = self.cache.without();
        for Without { what, reason } in &without[self.told.min(without.len())..] {
            warn!(reason, "generation is slower than it could be: {what}");
        }
        self.told = self.told.max(without.len());
    }

    /// How long the slots are.
    pub(crate) fn lengths(&self) -> SlotLengths {
        SlotLengths {
            prefix: self.cache.prefixes().capacity,
            branch: self.cache.branches().capacity,
        }
    }
}

/// The model, the cache, every sequence under way, and the engine's ends of its channels.
pub(crate) struct EngineState {
    pub(crate) limits: EngineLimits,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) installed: watch::Sender<Option<Installed>>,
    pub(crate) load: Arc<Load>,
    pub(crate) meters: Meters,
    /// `None` until the first weights have come.
    pub(crate) model: Option<Model>,
    pub(crate) epoch: WeightsEpoch,
    /// Whether the model's rows can be independent of each other, or why they cannot; none until somebody has asked.
    pub(crate) independence: Option<Result<(), String>>,
    /// `None` until the first group is admitted, and after weights of another job have come.
    pub(crate) memory: Option<Memory>,
    /// The sequences that run: the rows of a decoding step.
    pub(crate) rows: Vec<Sequence>,
    pub(crate) scheduler: Scheduler,
    /// Traces of served requests that may go on.
    pub(crate) kept: KeptTraces,
    /// Why the thread has to end.
    pub(crate) failure: Option<EngineError>,
}

impl EngineState {
    pub(crate) fn new(
        limits: EngineLimits,
        events: mpsc::UnboundedSender<Event>,
        installed: watch::Sender<Option<Installed>>,
        load: Arc<Load>,
    ) -> Self {
        Self {
            limits,
            events,
            installed,
            load,
            meters: Meters::new(),
            model: None,
            epoch: 0,
            independence: None,
            memory: None,
            rows: Vec::new(),
            scheduler: Scheduler::default(),
            kept: KeptTraces::default(),
            failure: None,
        }
    }

    /// Takes a row out of the batch and frees the branch slot of a summary. A trace's prefix slot stays for its
    /// summaries.
    pub(crate) fn remove_row(&mut self, row: usize) -> Sequence {
        let sequence = self.rows.swap_remove(row);
        if let (Task::Summary { .. }, Some(memory)) = (sequence.task, &mut self.memory) {
            memory.slots.release_branch(sequence.slot);
        }
        sequence
    }

    /// Forgets a group and everything that it holds.
    pub(crate) fn drop_group(&mut self, group: u64) {
        // One that has ended holds nothing, but its trace may be kept.
        if self.scheduler.request(group).is_none() {
            return;
        }
        self.scheduler.remove(group);
        for row in (0..self.rows.len()).rev() {
            if self.rows[row].key.group == group {
                self.remove_row(row);
            }
        }
        if let Some(memory) = &mut self.memory {
            memory.slots.release_group(group);
        }
    }

    pub(crate) fn fail_group(&mut self, group: u64, reason: AbandonReason, detail: String) {
        self.drop_group(group);
        self.emit(Event::GroupFailed { group, reason, detail });
    }

    pub(crate) fn emit(&self, event: Event) {
        // Without a receiver the process is ending; there is nobody left to tell.
        let _ = self.events.send(event);
    }

    pub(crate) fn publish_load(&mut self) {
        let (running, waiting) = (self.rows.len(), self.scheduler.waiting());
        let used = self.memory.as_ref().map_or(0, |memory| memory.slots.used());
        // A kept trace gives its slot to whoever needs it.
        let used = used.saturating_sub(self.kept.len());
        self.meters.running.set(running as f64);
        self.meters.waiting.set(waiting as f64);
        self.meters.slots_used.set(used as f64);
        self.load.show_slots_used(used);
        self.load.show_sequences(running + waiting);
    }

    pub(crate) fn publish_slots(&self, rows: usize, total: usize) {
        self.meters.slots_total.set(total as f64);
        self.load.slots.store(rows, Ordering::Release);
    }
}
