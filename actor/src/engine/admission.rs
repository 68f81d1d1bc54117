//! Admission: waiting sequences get slots, and what stands in a slot already is copied instead of computed.
//!
//! It cannot come to a deadlock. Any sequence can start in any one free slot, because its prefix can be computed from
//! its tokens alone; held thinkings only save that work, and give way whenever fewer than three quarters of the rows
//! run. And every running sequence ends, since its tokens are bounded.

use std::rc::Rc;

use anytime_policy::KvCache;
use anytime_proto::v1::AbandonReason;
use tracing::info;

use super::cache::SlotMap;
use super::runner::{Memory, Prefill, Runner};
use super::scheduler::Waiting;
use super::sequence::{Installation, Task, TraceKey};

/// A slot that starts with the same tokens as a new sequence.
#[derive(Clone, Copy)]
struct Source {
    slot: usize,
    /// Tokens that both have in common and that stand in the slot.
    common: usize,
    prompt_of: Installation,
}

/// New rows that wait for another new row of the same prefix.
struct Follower {
    leader: usize,
    row: usize,
}

impl Runner {
    /// Gives slots to waiting sequences until there is no room. Afterwards the prefix of every new row stands in its
    /// slot and has the hidden state that its first token is drawn from.
    pub(crate) fn admit(&mut self) {
        let earlier = self.rows.len();
        let mut prefills = Vec::new();
        let mut followers: Vec<Follower> = Vec::new();
        let mut served = Vec::new();
        while let Some(waiting) = self.scheduler.peek() {
            if !self.make_room(waiting) {
                break;
            }
            let Some((sequence, was_last)) = self.scheduler.take() else {
                break;
            };
            let Some(memory) = &mut self.memory else {
                break;
            };
            let (row, moved) = memory.slots.push_row().expect("room was made");
            memory.carry_out(moved);
            if was_last {
                served.push(sequence.key);
            }
            self.rows.push(sequence);
            let prefix = &self.rows[row].prefix;
            let leader = (earlier..row).find(|&other| Rc::ptr_eq(&self.rows[other].prefix, prefix));
            match leader {
                Some(leader) => followers.push(Follower { leader, row }),
                None => prefills.extend(self.start_row(row, earlier)),
            }
        }

        let hidden = self.prefill(&prefills);
        for (prefill, hidden) in prefills.iter().zip(hidden) {
            *self.rows[prefill.row].prefix.last_hidden.borrow_mut() = Some((self.installation, hidden));
        }
        self.copy_to_followers(&followers);
        // Only now: the rows above may have copied from these slots.
        if let Some(memory) = &mut self.memory {
            for key in served {
                memory.slots.release(key);
            }
        }
    }

    /// Sees to it that the sequence can have a slot. False: not now.
    fn make_room(&mut self, waiting: Waiting) -> bool {
        if !self.fit_cache(waiting) {
            return false;
        }
        let Some(memory) = &mut self.memory else {
            return false;
        };
        let running = self.rows.len();
        if running >= memory.row_limit {
            return false;
        }
        while !memory.slots.has_room() {
            let may_evict = waiting.summary.is_some() && running < (memory.row_limit * 3 / 4).max(1);
            let held: Vec<TraceKey> = memory.slots.held().map(|(_, held)| held.key).collect();
            let Some(evicted) = self.scheduler.last_in_turn(&held).filter(|_| may_evict) else {
                return false;
            };
            memory.slots.release(evicted);
        }
        true
    }

    /// Sees to it that the cache is long enough for the sequence. A cache only grows while nothing runs.
    fn fit_cache(&mut self, waiting: Waiting) -> bool {
        let group = waiting.key.group;
        let (Some(order), Some(model)) = (self.scheduler.order(group), &self.model) else {
            return false;
        };
        let needed = order.plan.longest_sequence();
        if self
            .memory
            .as_ref()
            .is_some_and(|memory| memory.cache.capacity() >= needed)
        {
            return true;
        }
        if !self.rows.is_empty() {
            return false;
        }
        let (kind, device) = (model.decoder.kind(), model.decoder.device());
        let affordable = self.limits.cache_bytes / KvCache::slot_bytes(&model.config, needed, kind).max(1);
        // No trace is admitted while summaries wait, so at most all rows turn into held thinkings: with as many slots
        // again, none ever has to give way.
        let total = (2 * self.limits.slots + 1).min(affordable);
        if total < 2 {
            let detail = format!("a sequence of {needed} tokens does not fit the cache");
            self.fail_group(group, AbandonReason::Engine, detail);
            return false;
        }
        // The old one goes first: both together may be more than there is.
        self.memory = None;
        let cache = KvCache::new(&model.config, total, needed, kind, device);
        // Where memory is short, a fifth of it is for held thinkings and the spare.
        let row_limit = self.limits.slots.min((total * 4 / 5).saturating_sub(1)).max(1);
        info!(capacity = needed, slots = row_limit, "cache allocated");
        self.memory = Some(Memory {
            cache,
            slots: SlotMap::new(total),
            row_limit,
        });
        self.publish_slots(row_limit, total);
        true
    }

    /// Copies what another slot has of the new row's prefix, and returns what is left to compute.
    fn start_row(&mut self, row: usize, earlier: usize) -> Option<Prefill> {
        let source = self.best_source(row, earlier);
        let installation = self.installation;
        let sequence = &mut self.rows[row];
        let prefix = Rc::clone(&sequence.prefix);
        sequence.prompt_of = source.map_or(installation, |source| source.prompt_of);

        let is_known = prefix.hidden_is_current(installation);
        // The last token has to be fed for its hidden state, even where its keys and values stand already.
        let most = if is_known {
            prefix.ids.len()
        } else {
            prefix.ids.len() - 1
        };
        let start = source.map_or(0, |source| source.common.min(most));
        if let (Some(source), Some(memory)) = (source, &mut self.memory) {
            memory.cache.copy_prefix(source.slot, &[row], start);
        }
        (start < prefix.ids.len()).then(|| Prefill {
            row,
            start,
            ids: prefix.ids[start..].to_vec(),
        })
    }

    /// The slot that has most of a new row's prefix.
    fn best_source(&self, row: usize, earlier: usize) -> Option<Source> {
        let new = &self.rows[row];
        let prompt_tokens = self
            .scheduler
            .order(new.key.group)
            .map_or(0, |order| order.prompt_ids.len());
        let of_group = |key: TraceKey, prompt_of: Installation| {
            // Another trace has the prompt in common, but a new thinking should not start on old keys and values.
            if key.group == new.key.group && prompt_of == self.installation {
                prompt_tokens
            } else {
                0
            }
        };
        let mut best: Option<Source> = None;
        let mut consider = |slot, common, prompt_of| {
            if common > best.map_or(0, |best| best.common) {
                best = Some(Source {
                    slot,
                    common,
                    prompt_of,
                });
            }
        };
        for (slot, other) in self.rows[..earlier].iter().enumerate() {
            let common = match (new.task, other.task) {
                (Task::Summary { .. }, _) if Rc::ptr_eq(&new.prefix, &other.prefix) => new.prefix.ids.len(),
                (Task::Summary { shared, .. }, Task::Summary { shared: of_other, .. }) if new.key == other.key => {
                    shared.min(of_other)
                }
                _ => of_group(other.key, other.prompt_of),
            };
            consider(slot, common, other.prompt_of);
        }
        let held = self.memory.iter().flat_map(|memory| memory.slots.held());
        for (slot, held) in held {
            let common = match new.task {
                Task::Summary { shared, .. } if new.key == held.key => shared.min(held.length),
                _ => of_group(held.key, held.prompt_of),
            };
            consider(slot, common, held.prompt_of);
        }
        best
    }

    fn copy_to_followers(&mut self, followers: &[Follower]) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        for group in followers.chunk_by(|one, next| one.leader == next.leader) {
            let leader = group[0].leader;
            let (length, prompt_of) = (self.rows[leader].prefix.ids.len(), self.rows[leader].prompt_of);
            let targets: Vec<usize> = group.iter().map(|follower| follower.row).collect();
            memory.cache.copy_prefix(leader, &targets, length);
            for target in targets {
                self.rows[target].prompt_of = prompt_of;
            }
        }
    }
}
