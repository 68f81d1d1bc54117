//! Which slot of the key-value cache holds what.
//!
//! Running sequences fill the slots 0, 1, 2, … without a gap, because a decoding step reads a dense range in place. The
//! keys and values of a finished thinking are kept at the other end until its summaries have been started. One slot
//! always stays free, so that any two can change places and a held slot can get out of a new row's way.

use super::sequence::{Installation, TraceKey};

/// A finished thinking's keys and values, kept for its summaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) key: TraceKey,
    /// Tokens that stand in the slot.
    pub(crate) length: usize,
    pub(crate) prompt_of: Installation,
}

/// The first `length` tokens of one slot, to be copied to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) length: usize,
}

/// The allocation of all slots. It only decides; the caller carries the moves out, in order.
pub(crate) struct SlotMap {
    rows: usize,
    held: Vec<Option<Held>>,
}

impl SlotMap {
    /// # Panics
    /// With fewer than two slots: one to run in, one spare.
    pub(crate) fn new(slots: usize) -> Self {
        assert!(slots >= 2, "a cache of {slots} slots has no room for a row and a spare");
        Self {
            rows: 0,
            held: vec![None; slots],
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.rows + self.held().count()
    }

    pub(crate) fn held(&self) -> impl Iterator<Item = (usize, Held)> + '_ {
        self.held
            .iter()
            .enumerate()
            .filter_map(|(slot, held)| held.map(|held| (slot, held)))
    }

    /// Whether more than the spare is free.
    pub(crate) fn has_room(&self) -> bool {
        self.used() + 1 < self.held.len()
    }

    /// Takes the next slot for a row, unless only the spare is left. A held slot in the way is moved.
    pub(crate) fn push_row(&mut self) -> Option<(usize, Option<Move>)> {
        if !self.has_room() {
            return None;
        }
        let slot = self.rows;
        let mut moved = None;
        if let Some(held) = self.held[slot].take() {
            let to = self.highest_free()?;
            self.held[to] = Some(held);
            moved = Some(Move {
                from: slot,
                to,
                length: held.length,
            });
        }
        self.rows += 1;
        Some((slot, moved))
    }

    /// Gives up the slot of a row. The last row, of `last_length` tokens, takes its place; what is to be kept of the
    /// row moves away first.
    pub(crate) fn remove_row(&mut self, row: usize, keep: Option<Held>, last_length: usize) -> Vec<Move> {
        debug_assert!(row < self.rows);
        let mut moves = Vec::new();
        if let Some(held) = keep
            && let Some(to) = self.highest_free()
        {
            self.held[to] = Some(held);
            moves.push(Move {
                from: row,
                to,
                length: held.length,
            });
        }
        let last = self.rows - 1;
        if row != last {
            moves.push(Move {
                from: last,
                to: row,
                length: last_length,
            });
        }
        self.rows = last;
        moves
    }

    /// Frees the slot that holds this thinking.
    pub(crate) fn release(&mut self, key: TraceKey) {
        self.release_where(|held| held.key == key);
    }

    pub(crate) fn release_where(&mut self, mut matches: impl FnMut(&Held) -> bool) {
        for slot in &mut self.held {
            if slot.as_ref().is_some_and(&mut matches) {
                *slot = None;
            }
        }
    }

    fn highest_free(&self) -> Option<usize> {
        (self.rows..self.held.len())
            .rev()
            .find(|&slot| self.held[slot].is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(trace: usize) -> Held {
        Held {
            key: TraceKey { group: 1, trace },
            length: 10 + trace,
            prompt_of: 1,
        }
    }

    #[test]
    fn rows_stay_dense_and_one_slot_stays_free() {
        let mut slots = SlotMap::new(4);
        for row in 0..3 {
            assert_eq!(slots.push_row(), Some((row, None)));
        }
        assert_eq!(slots.push_row(), None);
        assert_eq!(
            slots.remove_row(0, None, 7),
            [Move {
                from: 2,
                to: 0,
                length: 7
            }]
        );
        assert_eq!(slots.push_row(), Some((2, None)));
    }

    #[test]
    fn what_is_kept_leaves_before_the_last_row_moves_in() {
        let mut slots = SlotMap::new(4);
        for _ in 0..3 {
            slots.push_row();
        }
        let moves = slots.remove_row(1, Some(held(5)), 7);
        assert_eq!(
            moves,
            [
                Move {
                    from: 1,
                    to: 3,
                    length: 15
                },
                Move {
                    from: 2,
                    to: 1,
                    length: 7
                }
            ]
        );
        assert_eq!(slots.used(), 3);
        assert_eq!(slots.push_row(), None, "the spare is not for rows");
        slots.release(held(5).key);
        assert_eq!(slots.push_row(), Some((2, None)));
    }

    #[test]
    fn a_held_slot_gets_out_of_the_way() {
        let mut slots = SlotMap::new(4);
        slots.push_row();
        slots.push_row();
        slots.push_row();
        slots.remove_row(2, Some(held(0)), 0);
        slots.remove_row(1, Some(held(1)), 0);
        slots.release(held(0).key);
        assert_eq!(slots.push_row(), Some((1, None)));
        // Slot 2 holds trace 1; the next row needs it.
        assert_eq!(slots.push_row(), None);
        slots.remove_row(1, None, 0);
        slots.remove_row(0, None, 0);
        assert_eq!(slots.push_row(), Some((0, None)));
        assert_eq!(slots.push_row(), Some((1, None)));
        assert_eq!(slots.held().next(), Some((2, held(1))));
        slots.remove_row(1, None, 0);
        assert_eq!(slots.used(), 2);
    }
}
