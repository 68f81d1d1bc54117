//! How much the engine has to do, as counters that both sides of its border read and write.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

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
    /// Slots of the cache that are taken, those aside that kept traces give to whoever needs them.
    slots_used: AtomicUsize,
    /// Grows by one whenever the engine begins or ends a step or a command: odd while it is inside one.
    pub(super) turns: AtomicU64,
    /// Tokens that were generated.
    tokens: AtomicU64,
    /// Whether leases wait for weights. An idle engine is not short of leases then, but of weights.
    pub(crate) waits_for_weights: AtomicBool,
    /// Whether the verifier is away, once there is one. No leases are asked for then, and an idle engine waits for it.
    verifier_is_away: OnceLock<Arc<AtomicBool>>,
    /// Wakes the lease loop when something ended or began.
    pub(crate) changed: Notify,
}

/// What an idle engine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShortOf {
    /// Weights: there are none, or leases wait for newer ones.
    Weights,
    /// The verifier.
    Verifier,
    /// Leases.
    Leases,
}

impl Load {
    /// From now on the engine knows by this flag whether the verifier is away. Only the first call counts.
    pub(crate) fn watch_verifier(&self, is_away: Arc<AtomicBool>) {
        self.verifier_is_away.get_or_init(|| is_away);
    }

    /// What an idle engine waits for.
    pub(crate) fn short_of(&self, has_weights: bool) -> ShortOf {
        if !has_weights || self.waits_for_weights.load(Ordering::Acquire) {
            return ShortOf::Weights;
        }
        let is_away = self.verifier_is_away.get();
        if is_away.is_some_and(|is_away| is_away.load(Ordering::Acquire)) {
            return ShortOf::Verifier;
        }
        ShortOf::Leases
    }

    /// Counts the sequences that run, wait, or are on their way to the engine.
    pub fn outstanding(&self) -> usize {
        self.sequences.load(Ordering::Acquire) + self.requested.load(Ordering::Acquire)
    }

    /// How many sequences can run at the same time.
    pub fn slots(&self) -> usize {
        self.slots.load(Ordering::Acquire)
    }

    /// How many slots of the cache sequences have.
    pub fn slots_used(&self) -> usize {
        self.slots_used.load(Ordering::Acquire)
    }

    /// Sets how many slots of the cache sequences have.
    pub(super) fn show_slots_used(&self, used: usize) {
        self.slots_used.store(used, Ordering::Release);
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

    /// The engine has generated so many more tokens.
    pub(super) fn generated(&self, tokens: u64) {
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// How many tokens were generated.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_engine_waits_for_weights_then_for_the_verifier_and_else_for_leases() {
        let (load, is_away) = (Load::default(), Arc::new(AtomicBool::new(true)));
        assert_eq!(
            load.short_of(true),
            ShortOf::Leases,
            "nobody has said where the verifier is"
        );
        load.watch_verifier(is_away.clone());
        assert_eq!(load.short_of(true), ShortOf::Verifier);
        assert_eq!(load.short_of(false), ShortOf::Weights);
        load.waits_for_weights.store(true, Ordering::Release);
        assert_eq!(load.short_of(true), ShortOf::Weights);
        load.waits_for_weights.store(false, Ordering::Release);
        is_away.store(false, Ordering::Release);
        assert_eq!(load.short_of(true), ShortOf::Leases);
    }
}
