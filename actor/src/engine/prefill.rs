//! Prefill: feeds tokens that are known before anything is drawn, in calls of bounded size.

use std::rc::Rc;

use anytime_policy::{Extension, Prefix};
use tch::Tensor;

use super::sequence::{SharedPrompt, Task};
use super::state::{EngineState, Memory};

/// The most tokens of one prefill call. It bounds the call's activations and the mask of a piece of a long prompt.
const PREFILL_TOKENS: usize = 4096;

/// Tokens that are still to be fed, from position `start` of a slot on.
pub(crate) struct Prefill {
    /// The row whose shared prompt they are; `None` for a thinking whose row has ended.
    pub(crate) row: Option<usize>,
    /// Where the last hidden state is kept for a thinking that may go on.
    pub(crate) for_later: Option<Rc<SharedPrompt>>,
    pub(crate) slot: usize,
    pub(crate) prefix: Option<Prefix>,
    pub(crate) start: usize,
    pub(crate) ids: Vec<u32>,
}

impl EngineState {
    /// Feeds tokens and returns the hidden state of each one's last token, [1, hidden]. A thinking comes before the
    /// summaries that read it.
    pub(crate) fn prefill(&mut self, prefills: &[Prefill]) -> Vec<Tensor> {
        let (Some(model), Some(memory)) = (&self.model, &mut self.memory) else {
            return Vec::new();
        };
        let mut hidden = Vec::with_capacity(prefills.len());
        for call in prefill_calls(prefills, PREFILL_TOKENS) {
            let extensions: Vec<Extension<'_>> = call
                .iter()
                .map(|piece| {
                    let Prefill { slot, prefix, .. } = prefills[piece.prefill];
                    Extension {
                        slot,
                        start: prefills[piece.prefill].start + piece.tokens.start,
                        ids: &prefills[piece.prefill].ids[piece.tokens.clone()],
                        prefix,
                    }
                })
                .collect();
            let last = model.decoder.extend(&mut memory.cache, &extensions);
            for (row, piece) in call.iter().enumerate() {
                if piece.tokens.end == prefills[piece.prefill].ids.len() {
                    hidden.push(last.narrow(0, row as i64, 1));
                }
            }
        }
        hidden
    }

    /// Computes the keys and values of the running rows, and of the thinkings that are kept for summaries, again where
    /// their plan says so.
    pub(super) fn recompute_caches(&mut self) -> usize {
        let epoch = self.epoch;
        let mut thinkings = Vec::new();
        let mut summaries = Vec::new();
        for sequence in self.rows.iter().filter(|sequence| sequence.plan.recompute) {
            let of_sort = match sequence.task {
                Task::Thinking => &mut thinkings,
                Task::Summary { .. } => &mut summaries,
            };
            of_sort.push(Prefill {
                row: None,
                for_later: None,
                slot: sequence.slot,
                prefix: sequence.prefix,
                start: 0,
                ids: sequence.cached_ids(),
            });
        }
        let scheduler = &self.scheduler;
        if let Some(Memory { slots, .. }) = &mut self.memory {
            let recomputed: Vec<_> = slots
                .prefixes()
                .filter(|(key, _)| {
                    scheduler
                        .request(key.group)
                        .is_some_and(|request| request.plan.recompute)
                })
                .collect();
            for (key, prefix) in recomputed {
                if let Some(needed) = scheduler.needed_of(key) {
                    thinkings.push(Prefill {
                        row: None,
                        for_later: None,
                        slot: prefix.slot,
                        prefix: None,
                        start: 0,
                        ids: needed[..prefix.length.min(needed.len())].to_vec(),
                    });
                }
                if let Some(prefix) = slots.prefix_mut(key) {
                    prefix.prompt_epoch = epoch;
                }
            }
        }
        thinkings.append(&mut summaries);
        self.prefill(&thinkings).len()
    }
}

/// A run of the tokens of one prefill.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    prefill: usize,
    tokens: std::ops::Range<usize>,
}

/// Arranges the prefills, in order, in calls of at most `most` tokens. Each piece of a longer prefill has a call of its
/// own.
fn prefill_calls(prefills: &[Prefill], most: usize) -> Vec<Vec<Piece>> {
    let mut calls: Vec<Vec<Piece>> = Vec::new();
    let mut room = 0;
    for (index, prefill) in prefills.iter().enumerate() {
        let length = prefill.ids.len();
        let pieces = (0..length).step_by(most).map(|start| Piece {
            prefill: index,
            tokens: start..length.min(start + most),
        });
        for piece in pieces {
            // Pieces of one prefill follow each other: a slot is extended once in a call.
            if piece.tokens.len() > room || length > most {
                calls.push(Vec::new());
                room = most;
            }
            room -= piece.tokens.len();
            if let Some(call) = calls.last_mut() {
                call.push(piece);
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prefills_come_in_pieces_and_short_ones_together() {
        let of_length = |length: usize| Prefill {
            row: None,
            for_later: None,
            slot: 0,
            prefix: None,
            start: 0,
            ids: vec![7; length],
        };
        let prefills: Vec<Prefill> = [3, 4, 5, 23, 1, 10].map(of_length).into();
        let calls = prefill_calls(&prefills, 10);
        let shape: Vec<Vec<(usize, usize)>> = calls
            .iter()
            .map(|call| call.iter().map(|piece| (piece.prefill, piece.tokens.len())).collect())
            .collect();
        let expected = vec![
            vec![(0, 3), (1, 4)],
            vec![(2, 5)],
            vec![(3, 10)],
            vec![(3, 10)],
            vec![(3, 3), (4, 1)],
            vec![(5, 10)],
        ];
        assert_eq!(shape, expected);
        let fed: usize = calls.iter().flatten().map(|piece| piece.tokens.len()).sum();
        assert_eq!(fed, 46);
    }
}
