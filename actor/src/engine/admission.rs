//! Admission: waiting sequences get slots, and what a slot already holds is shared or copied instead of computed.
//!
//! It cannot come to a deadlock. Summaries come before new thinkings and need a branch slot alone, since the prefix
//! slot of their trace is kept for them; every running sequence ends, since its tokens are bounded; so branch slots
//! become free, all summaries of a trace end, and its prefix slot goes to the next thinking.

use std::rc::Rc;

use anytime_policy::actor_memory::words;
use anytime_policy::{KvCache, Prefix, Slots};
use anytime_proto::v1::AbandonReason;
use tracing::info;

use super::cache::{SlotLengths, SlotMap, affordable_slots};
use super::cache_size::{allowance, refusal};
use super::messages::{EngineError, Event, ServedEvent};
use super::prefill::Prefill;
use super::scheduler::Waiting;
use super::sequence::{Sequence, Task};
use super::state::{EngineState, Memory};

/// A new row that takes over the shared prompt of another new row once that is computed.
struct Follower {
    leader: usize,
    row: usize,
}

impl EngineState {
    /// Gives slots to waiting sequences until there is no room. Afterwards the shared prompt of every new row is in
    /// its slot, with the hidden state that the row's first token is drawn from.
    pub(crate) fn admit(&mut self) {
        let earlier = self.rows.len();
        let mut prefills = Vec::new();
        let mut followers: Vec<Follower> = Vec::new();
        while let Some(waiting) = self.scheduler.peek() {
            if !self.make_room(waiting) {
                break;
            }
            let Some(mut sequence) = self.scheduler.take() else {
                break;
            };
            self.give_slot(&mut sequence, waiting.is_resumed, &mut prefills);
            let row = self.rows.len();
            let leader = (earlier..row).find(|&other| Rc::ptr_eq(&self.rows[other].prompt, &sequence.prompt));
            self.rows.push(sequence);
            match leader {
                Some(leader) => followers.push(Follower { leader, row }),
                None => prefills.extend(self.start_row(row, earlier)),
            }
        }

        let hidden = self.prefill(&prefills);
        for (prefill, hidden) in prefills.iter().zip(hidden) {
            let row = prefill.row.map(|row| &self.rows[row].prompt);
            if let Some(prompt) = row.or(prefill.for_later.as_ref()) {
                *prompt.last_hidden.borrow_mut() = Some((self.epoch, hidden));
            }
        }
        self.tell_started(earlier, &prefills);
        self.copy_to_followers(&followers);
    }

    /// Makes room for the sequence where that is possible. False where it has to wait.
    fn make_room(&mut self, waiting: Waiting) -> bool {
        if !self.fit_cache(waiting) {
            return false;
        }
        let Some(memory) = &self.memory else {
            return false;
        };
        if self.rows.len() >= memory.row_limit {
            return false;
        }
        match waiting.summary {
            Some(_) => memory.slots.has_branch(),
            None => waiting.is_resumed || memory.slots.has_prefix() || self.free_kept(),
        }
    }

    /// Tells of the served traces among the new rows.
    fn tell_started(&self, earlier: usize, prefills: &[Prefill]) {
        for (row, sequence) in self.rows.iter().enumerate().skip(earlier) {
            if sequence.task != Task::Thinking || sequence.plan.serving.is_none() {
                continue;
            }
            let of_row = prefills.iter().filter(|prefill| prefill.row == Some(row));
            let computed = of_row.map(|prefill| prefill.ids.len()).sum();
            let all = sequence.prompt.ids.len() + sequence.ids.len();
            self.emit(Event::Served(ServedEvent::Started {
                group: sequence.key.group,
                trace: sequence.key.trace,
                cached: all - computed,
                computed,
            }));
        }
    }

    /// Sees to it that the cache is long enough for the sequence, and not so long that it costs slots. A cache changes
    /// only while nothing runs.
    fn fit_cache(&mut self, waiting: Waiting) -> bool {
        let Some(need) = self
            .scheduler
            .request(waiting.key.group)
            .map(|request| SlotLengths::of(&request.plan))
        else {
            return false;
        };
        let is_thinking = waiting.summary.is_none();
        let all = self.scheduler.longest(need);
        match &self.memory {
            Some(memory) if need.fits(memory.lengths()) && (!is_thinking || !self.is_worth_shortening(memory, all)) => {
                return true;
            }
            // The cache that held its thinking is long enough for a summary: it is not replaced for one.
            _ if !is_thinking => return false,
            _ => {}
        }
        if !self.rows.is_empty() {
            return false;
        }
        self.allocate_cache(waiting.key.group, need, all)
    }

    /// Whether slots of `lengths` would leave room for clearly more of them than today's, or, while nothing runs, would
    /// give clearly more memory back. This shortens the slots of a training job again after an evaluation with large
    /// budgets: what runs ends, and nothing new begins before the cache is replaced.
    fn is_worth_shortening(&self, memory: &Memory, lengths: SlotLengths) -> bool {
        let Some(model) = &self.model else {
            return false;
        };
        let slots = |lengths: SlotLengths| {
            let slot_bytes = |capacity| KvCache::slot_bytes(&model.config, capacity, model.decoder.kind());
            (slot_bytes(lengths.prefix), slot_bytes(lengths.branch))
        };
        let ((prefix, branch), (held_prefix, held_branch)) = (slots(lengths), slots(memory.lengths()));
        if 4 * (2 * prefix + branch) > 3 * (2 * held_prefix + held_branch) {
            return false;
        }
        if self.rows.is_empty() {
            return true;
        }
        let affordable = affordable_slots(self.limits.slots, memory.allowed_bytes, prefix, branch);
        let is_clearly_more = |new: usize, old: usize| 4 * new >= 5 * old;
        affordable.is_some_and(|(prefixes, branches)| {
            is_clearly_more(prefixes, memory.cache.prefixes().count)
                || is_clearly_more(branches, memory.cache.branches().count)
        })
    }

    /// Replaces the cache by one that fits all groups under way or waiting (`all`), or at least `group` (`need`). No
    /// row may be running.
    fn allocate_cache(&mut self, group: u64, need: SlotLengths, all: SlotLengths) -> bool {
        let Some(model) = &self.model else {
            return false;
        };
        let (kind, device) = (model.decoder.kind(), model.decoder.device());
        let slot_bytes = |capacity| KvCache::slot_bytes(&model.config, capacity, kind);
        let limits = self.limits;
        let allowance = allowance(limits, &model.config, kind, device);
        let fitting = [all, need].into_iter().find_map(|lengths| {
            let (prefix, branch) = (slot_bytes(lengths.prefix), slot_bytes(lengths.branch));
            let affordable = affordable_slots(limits.slots, allowance.bytes, prefix, branch);
            affordable.map(|(prefixes, branches)| (lengths, prefixes, branches, prefixes * prefix + branches * branch))
        });
        let Some((lengths, prefixes, branches, bytes)) = fitting else {
            let (tokens, takes) = (
                need.prefix + need.branch,
                slot_bytes(need.prefix) + slot_bytes(need.branch),
            );
            let takes = words(takes as u64);
            let detail = format!(
                "a sequence of {tokens} tokens takes {takes} of the cache: {}",
                allowance.reason
            );
            self.fail_group(group, AbandonReason::Engine, detail);
            return false;
        };
        // The old cache goes first, because there may not be memory for both.
        self.kept.clear();
        self.memory = None;
        if let Some(reason) = refusal(bytes, device) {
            self.failure = Some(EngineError::NoRoom(reason));
            return false;
        }
        let slots = |count, capacity| Slots { count, capacity };
        let (prefix_slots, branch_slots) = (slots(prefixes, lengths.prefix), slots(branches, lengths.branch));
        let cache = match KvCache::try_with_branches(&model.config, prefix_slots, branch_slots, kind, device) {
            Ok(cache) => cache,
            Err(error) => {
                self.failure = Some(EngineError::of_text(&error.to_string()));
                return false;
            }
        };
        let row_limit = limits.slots.min(prefixes.max(branches));
        info!(
            capacity = lengths.prefix,
            branch_capacity = lengths.branch,
            prefixes,
            branches,
            slots = row_limit,
            bytes,
            allowed_bytes = allowance.bytes,
            "cache allocated"
        );
        let slots = SlotMap::new(prefixes, branches);
        self.publish_slots(row_limit, slots.total());
        self.memory = Some(Memory {
            cache,
            slots,
            row_limit,
            allowed_bytes: allowance.bytes,
            told: 0,
        });
        true
    }

    /// Gives a sequence the slot that `make_room` found. The first summary of a trace completes its thinking: the token
    /// drawn last has not been fed.
    fn give_slot(&mut self, sequence: &mut Sequence, is_resumed: bool, prefills: &mut Vec<Prefill>) {
        let Some(Memory { slots, .. }) = &mut self.memory else {
            return;
        };
        let key = sequence.key;
        let Task::Summary { seen, .. } = sequence.task else {
            // A thinking that goes on has its slot since it began.
            let held = slots.prefix_mut(key).filter(|_| is_resumed).map(|prefix| prefix.slot);
            sequence.slot = held
                .or_else(|| slots.take_prefix(key, self.epoch))
                .expect("room was made");
            return;
        };
        sequence.slot = slots.take_branch().expect("room was made");
        let prefix = slots
            .prefix_mut(key)
            .expect("a trace keeps its prefix for its summaries");
        sequence.prefix = Some(Prefix {
            slot: prefix.slot,
            length: seen,
        });
        let needed = self.scheduler.needed_of(key).unwrap_or_default();
        if prefix.length < needed.len() {
            prefills.push(Prefill {
                row: None,
                for_later: self.scheduler.prompt_for_later(key),
                slot: prefix.slot,
                prefix: None,
                start: prefix.length,
                ids: needed[prefix.length..].to_vec(),
            });
            prefix.length = needed.len();
        }
    }

    /// Copies as much of the new row's shared prompt as another slot holds, and returns what is left to compute.
    fn start_row(&mut self, row: usize, earlier: usize) -> Option<Prefill> {
        if self.rows[row].task == Task::Thinking && self.rows[row].plan.serving.is_some() {
            return self.start_served(row, earlier);
        }
        let new = &self.rows[row];
        let memory = self.memory.as_mut()?;
        let source = match new.task {
            // All traces of the group share the prompt, but a new thinking must not start on keys and values of old
            // weights.
            Task::Thinking => memory
                .slots
                .prefixes()
                .find(|(key, prefix)| {
                    let is_other = key.group == new.key.group && *key != new.key;
                    // Rows that are admitted together with this one become its followers instead.
                    let is_computed = prefix.length > 0 || self.rows[..earlier].iter().any(|row| row.key == *key);
                    is_other && is_computed && prefix.prompt_epoch == self.epoch
                })
                .map(|(_, prefix)| prefix.slot),
            Task::Summary { .. } => self.rows[..earlier]
                .iter()
                .find(|other| Rc::ptr_eq(&new.prompt, &other.prompt))
                .map(|other| other.slot),
        };
        // The last token has to be fed for its hidden state, even where its keys and values are there already.
        let length = new.prompt.ids.len();
        let most = if new.prompt.hidden_is_current(self.epoch) {
            length
        } else {
            length - 1
        };
        let start = if source.is_some() { most } else { 0 };
        if let Some(source) = source {
            match new.task {
                Task::Thinking => memory.cache.copy_prefix(source, &[new.slot], start),
                Task::Summary { .. } => memory.cache.copy_branch(source, &[new.slot], start),
            }
        }
        (start < length).then(|| Prefill {
            row: Some(row),
            for_later: None,
            slot: new.slot,
            prefix: new.prefix,
            start,
            ids: new.prompt.ids[start..].to_vec(),
        })
    }

    /// The same for the thinking of a served request: any prompt that begins alike serves as the source, and a thinking
    /// that goes on has all but, at most, its last token.
    fn start_served(&mut self, row: usize, earlier: usize) -> Option<Prefill> {
        let new = &self.rows[row];
        let (key, slot) = (new.key, new.slot);
        let ids = [new.prompt.ids.as_slice(), &new.ids].concat();
        let start = if new.has_begun() {
            let prefix = self.memory.as_mut()?.slots.prefix_mut(key)?;
            let held = prefix.length;
            // What a running thinking holds is known by its row.
            prefix.length = 0;
            if new.prompt.hidden_is_current(self.epoch) {
                return None;
            }
            held.min(ids.len() - 1)
        } else {
            // The last token has to be fed for its hidden state.
            match self.longest_shared(key, &ids, earlier) {
                Some((source, shared)) => {
                    let start = shared.min(ids.len() - 1);
                    self.memory.as_mut()?.cache.copy_prefix(source, &[slot], start);
                    start
                }
                None => 0,
            }
        };
        Some(Prefill {
            row: Some(row),
            for_later: None,
            slot,
            prefix: None,
            start,
            ids: ids[start..].to_vec(),
        })
    }

    fn copy_to_followers(&mut self, followers: &[Follower]) {
        let Some(memory) = &mut self.memory else {
            return;
        };
        for group in followers.chunk_by(|one, next| one.leader == next.leader) {
            let leader = &self.rows[group[0].leader];
            let length = leader.prompt.ids.len();
            let targets: Vec<usize> = group.iter().map(|follower| self.rows[follower.row].slot).collect();
            match leader.task {
                Task::Thinking => memory.cache.copy_prefix(leader.slot, &targets, length),
                Task::Summary { .. } => memory.cache.copy_branch(leader.slot, &targets, length),
            }
        }
    }
}
