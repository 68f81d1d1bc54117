//! What requests have that are served beside training groups: traces that go on in a later request, an end that is
//! asked for, and tokens that must not be drawn.

#![deny(clippy::disallowed_methods)]

use anytime_policy::{Decoder, Tokenizer};
use tch::{IndexOp as _, Tensor};

use super::kept::KeptTrace;
use super::messages::{Event, GroupRequest, ServedEvent};
use super::sampler::{Drawn, sample, sample_each};
use super::sequence::{Sequence, Task, TraceKey};
use super::state::EngineState;

/// How many tokens are refused at one place of a summary before the next is taken as it comes.
const MOST_REFUSED: usize = 64;

impl EngineState {
    /// Takes up the kept trace that a request goes on from. None where it names none, or where it cannot: then the event
    /// has said so, and the request is over.
    ///
    /// # Errors
    /// Nothing but that it cannot.
    pub(crate) fn resume(&mut self, request: &GroupRequest) -> Result<Option<Sequence>, ()> {
        let Some(earlier) = request.plan.serving.as_ref().and_then(|serving| serving.continues) else {
            return Ok(None);
        };
        match self.kept.take(earlier, &request.plan.budgets) {
            Ok(KeptTrace { mut sequence, .. }) => {
                let key = TraceKey {
                    group: request.number,
                    trace: 0,
                };
                if let Some(memory) = &mut self.memory {
                    memory.slots.rename(sequence.key, key);
                }
                sequence.go_on(key, request.plan.clone());
                Ok(Some(sequence))
            }
            Err(reason) => {
                let group = request.number;
                self.emit(Event::Served(ServedEvent::NotContinued { group, reason }));
                Err(())
            }
        }
    }

    /// Keeps a trace whose request is over. Its prefix slot stays its own.
    pub(crate) fn keep(&mut self, kept: KeptTrace) {
        self.kept.insert(kept);
    }

    /// Ends a served request where it is and keeps its trace.
    pub(crate) fn stop_group(&mut self, group: u64) {
        // One that has ended by itself has said so, and its trace is kept already.
        if self.scheduler.request(group).is_none() {
            return;
        }
        let mut thinking = None;
        for row in (0..self.rows.len()).rev() {
            if self.rows[row].key.group != group {
                continue;
            }
            let sequence = self.remove_row(row);
            if sequence.task == Task::Thinking && sequence.key.trace == 0 && sequence.has_begun() {
                thinking = Some(sequence);
            }
        }
        let cached = thinking.as_ref().map(Sequence::cached);
        let kept = self.scheduler.stop(group, thinking);
        if let Some(memory) = &mut self.memory {
            let first = TraceKey { group, trace: 0 };
            if let (Some(cached), Some(prefix)) = (cached, memory.slots.prefix_mut(first)) {
                prefix.length = cached;
            }
            let is_kept = |key: TraceKey| kept.is_some() && key == first;
            memory.slots.release_group_but(group, is_kept);
        }
        if let Some(kept) = kept {
            self.keep(kept);
        }
        self.emit(Event::GroupFinished { group });
    }

    /// Gives up one trace of a request. Its slots are free for the next step.
    pub(crate) fn prune_trace(&mut self, key: TraceKey) {
        let Some(events) = self.scheduler.prune(key) else {
            return;
        };
        for row in (0..self.rows.len()).rev() {
            if self.rows[row].key == key {
                self.remove_row(row);
            }
        }
        if let Some(memory) = &mut self.memory {
            memory.slots.release_trace(key);
        }
        for event in events {
            self.emit(event);
        }
    }

    /// Frees the prefix slot of the kept trace whose last use was longest ago. False where none is kept.
    pub(crate) fn free_kept(&mut self) -> bool {
        let (Some(key), Some(memory)) = (self.kept.forget_oldest(), &mut self.memory) else {
            return false;
        };
        memory.slots.release_trace(key);
        true
    }

    /// Forgets every kept trace.
    pub(crate) fn forget_kept(&mut self) {
        while self.free_kept() {}
    }

    /// The slot whose first tokens are those of a prompt, and how many: of requests under way their prompts are looked
    /// at, of kept traces the thinking too. `earlier` is the number of rows whose prompts are computed.
    pub(crate) fn longest_shared(&mut self, key: TraceKey, prompt: &[u32], earlier: usize) -> Option<(usize, usize)> {
        let memory = self.memory.as_ref()?;
        let mut best: Option<(usize, usize, u64)> = None;
        for (other, prefix) in memory.slots.prefixes() {
            let is_computed = prefix.length > 0 || self.rows[..earlier].iter().any(|row| row.key == other);
            if other == key || !is_computed || prefix.prompt_epoch != self.epoch {
                continue;
            }
            let shared = match self.kept.tokens(other) {
                Some((first, then)) => {
                    let held = first.iter().chain(then).take(prefix.length);
                    held.zip(prompt).take_while(|(one, two)| one == two).count()
                }
                None => match self.scheduler.request(other.group) {
                    Some(request) => {
                        let held = request.prompt_ids.iter();
                        held.zip(prompt).take_while(|(one, two)| one == two).count()
                    }
                    None => 0,
                },
            };
            if shared > best.map_or(0, |(_, shared, _)| shared) {
                best = Some((prefix.slot, shared, other.group));
            }
        }
        let (slot, shared, group) = best?;
        self.kept.touch(group);
        Some((slot, shared))
    }
}

/// Draws again for a row of a served request until the token is one that it may have. `hidden` is [1, hidden].
pub(crate) fn draw_allowed(
    decoder: &Decoder,
    hidden: &Tensor,
    row: &mut Sequence,
    first: Drawn,
    tokenizer: &Tokenizer,
) -> Drawn {
    let mut drawn = first;
    let mut refused = Vec::new();
    while row.must_not_draw(drawn.id, tokenizer) && refused.len() < MOST_REFUSED {
        refused.push(drawn.id);
        let logits = decoder.logits(hidden);
        for id in &refused {
            let _ = logits.i((0, i64::from(*id))).fill_(f64::NEG_INFINITY);
        }
        let draws = [row.draw()];
        let again = if decoder.is_row_independent() {
            sample_each(&logits, &draws)
        } else {
            sample(&logits, &draws)
        };
        // Where nothing else has any probability, the first token it is.
        match again.into_iter().next().flatten() {
            Some(again) => drawn = again,
            None => break,
        }
    }
    drawn
}
