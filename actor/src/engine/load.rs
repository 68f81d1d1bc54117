//! How much the engine has to do, as counters that both sides of its border read and write.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How much the engine has to do, readable from any thread. The lease loop decides by it whether to ask for more work.
#[derive(Default)]
pub struct Load {
    /// Running and waiting sequences.
    pub(super) sequences: AtomicUsize,
    /// Traces of groups that were sent to the engine and that it has not read yet.
    pub(super) requested: AtomicUsize,
    /// Sequences that can run at the same time.
    pub(super) slots: AtomicUsize,
    /// Grows by one whenever the engine begins or ends a step or a command: odd while it is inside one.
    pub(super) turns: AtomicU64,
    /// Whether leases wait for weights. An idle engine is not short of leases then, but of weights.
    pub(crate) waits_for_weights: AtomicBool,
    /// Wakes the lease loop when something ended or began.
    pub(crate) changed: Notify,
}

impl Load {
    /// Counts the sequences that run, wait, or are on their way to the engine.
    pub fn outstanding(&self) -> usize {
        self.sequences.load(Ordering::Acquire) + self.requested.load(Ordering::Acquire)
    }

    /// How many sequences can run at the same time.
    pub fn slots(&self) -> usize {
        self.slots.load(Ordering::Acquire)
    }

    /// The engine has read a request for a group of so many traces.
    pub fn has_read(&self, traces: usize) {
        self.requested.fetch_sub(traces, Ordering::AcqRel);
    }

    /// Sets how many sequences run or wait in the engine now. Whoever waits for room is told of a change.
    pub fn show_sequences(&self, sequences: usize) {
        let before = self.sequences.swap(sequences, Ordering::AcqRel);
        if before != sequences {
            self.changed.notify_one();
        }
    }

    /// The engine begins a step, or begins to carry out commands.
    pub(super) fn begin_turn(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
    }

    /// The engine has ended what it began last.
    pub(super) fn end_turn(&self) {
        self.turns.fetch_add(1, Ordering::AcqRel);
    }
}
