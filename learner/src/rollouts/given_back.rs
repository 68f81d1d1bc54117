//! The lease table where something fails: leases that are given back, delivered groups that cannot be trained, sequences that
//! are dropped for it, and those that a person has trained after all.

#![deny(clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use super::actors::Holder;
use super::answers::GivenBack;
use super::lease_table::{LeaseTable, Waiting};
use super::retries::{MAX_FAILURES, MAX_REFUSALS, pause_after};

impl LeaseTable {
    /// An actor gives a lease back. It is leased again: at once, or after a pause where the actor `failed` to use it.
    /// A holder whose process is not named may be any process of its actor.
    pub fn give_back(&mut self, sequence: u64, holder: &Holder, failed: bool, now: Instant) -> GivenBack {
        let failures = match self.leased.get(&sequence) {
            Some(leased) if leased.holder.may_be(holder) => leased.failures + u32::from(failed),
            _ => return GivenBack::NotHeld,
        };
        self.leased.remove(&sequence);
        if failures >= MAX_FAILURES {
            self.skip(sequence);
            return GivenBack::Skipped(failures);
        }
        let pause = if failed { pause_after(failures) } else { Duration::ZERO };
        self.wait(sequence, now + pause, failures);
        GivenBack::Again
    }

    /// A delivered group cannot be trained. The lease is given back where the pusher holds it; after
    /// [`MAX_REFUSALS`] such groups the sequence is dropped.
    pub fn refuse(&mut self, sequence: u64, holder: &Holder, now: Instant) -> GivenBack {
        if !(self.leased.get(&sequence)).is_some_and(|leased| leased.holder.may_be(holder)) {
            return GivenBack::NotHeld;
        }
        match self.count_refusal(sequence) {
            refusals if refusals >= MAX_REFUSALS => {
                self.leased.remove(&sequence);
                self.skip(sequence);
                GivenBack::Skipped(refusals)
            }
            _ => self.give_back(sequence, holder, true, now),
        }
    }

    /// The queue holds a group that cannot be trained, although it could when it was pushed: it is leased again, or
    /// dropped after [`MAX_REFUSALS`] such groups.
    pub fn unreadable(&mut self, sequence: u64, now: Instant) -> GivenBack {
        if !self.queued.remove(&sequence) {
            return GivenBack::NotHeld;
        }
        match self.count_refusal(sequence) {
            refusals if refusals >= MAX_REFUSALS => {
                self.skip(sequence);
                GivenBack::Skipped(refusals)
            }
            refusals => {
                self.wait(sequence, now + pause_after(refusals), 0);
                GivenBack::Again
            }
        }
    }

    /// Replays a sequence that was dropped because it could not be trained: it is leased next, and those behind it move
    /// back by one place each. Returns whether it had been dropped for that.
    pub fn replay(&mut self, sequence: u64) -> bool {
        let was_skipped = self.progress.replay(sequence);
        if was_skipped {
            self.skipped_in_a_row = 0;
            self.waiting.insert(sequence, Waiting::default());
            self.assert_sound(0);
        }
        was_skipped
    }

    fn count_refusal(&mut self, sequence: u64) -> u32 {
        let refusals = self.refusals.entry(sequence).or_insert(0);
        *refusals += 1;
        *refusals
    }

    fn skip(&mut self, sequence: u64) {
        let before = self.progress.finished_below();
        self.skipped_in_a_row += 1;
        self.refusals.remove(&sequence);
        self.given.remove(&sequence);
        self.progress.skip(sequence);
        self.assert_sound(before);
    }
}
