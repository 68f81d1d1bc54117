//! Steps with one new token for each row, and of branches with a few more, in shapes that recur, so that a CUDA device
//! can be given each as a whole.
//!
//! Rows are filled up to one of a few numbers, and so are branches and their tokens; the filling reads and writes a row
//! of the cache that is nobody's. All numbers of a step go over in one transfer to one place, in an order that depends on
//! the shape alone, so that a device can record the step (see `recordings`).

use tch::Tensor;

use crate::recordings::Recordable;
use crate::sequences::{SequencePlan, Sequencing};
use crate::shapes::{SequenceRow, StepShape};

/// One step of a shape: what differs from step to step, in host memory.
pub(crate) struct Step {
    shape: StepShape,
    /// Ids, positions and rows of the cache to write to, `tokens()` of each; for each row its last token, `rows()`; then
    /// the numbers of `sequencing`.
    numbers: Vec<i64>,
    sequencing: Sequencing,
    /// Rows of the caller's.
    rows: usize,
}

/// A step's numbers on the device.
pub(crate) struct StepPlan {
    /// `[tokens]` int64.
    pub(crate) ids: Tensor,
    /// `[tokens]` int64.
    pub(crate) positions: Tensor,
    /// `[tokens]` int64.
    pub(crate) writes: Tensor,
    /// For each of the caller's rows the place of its last token, then 0 for the filling, `[rows]` int64.
    pub(crate) last: Tensor,
    pub(crate) sequences: SequencePlan,
}

/// A caller's row.
#[derive(Clone, Copy)]
pub(crate) struct StepRow<'a> {
    pub(crate) ids: &'a [u32],
    /// The first one's position.
    pub(crate) position: usize,
    /// The row of the cache that the first one's keys and values go to.
    pub(crate) write: i64,
    pub(crate) sequence: SequenceRow,
}

impl Step {
    /// `order` has the places of `rows` in the packed order, as attention over sequences needs it: branches last, those
    /// of one cut next to each other, those with several tokens after the others. `nobody` is a row of the cache that
    /// belongs to no slot, and `sequencing` makes the sequences of the packed rows for a shape.
    pub(crate) fn new(
        rows: &[StepRow<'_>],
        order: &[usize],
        nobody: i64,
        sequencing: impl FnOnce(&[SequenceRow], StepShape) -> Sequencing,
    ) -> Self {
        let sequences: Vec<SequenceRow> = order.iter().map(|&row| rows[row].sequence).collect();
        let shape = StepShape::of(&sequences);
        let filled = shape.tokens();
        let mut numbers = vec![0; 3 * filled + shape.rows()];
        let (ids, rest) = numbers.split_at_mut(filled);
        let (positions, rest) = rest.split_at_mut(filled);
        let (writes, last) = rest.split_at_mut(filled);
        writes.fill(nobody);
        // The filling of each part lies behind it.
        let mut next = shape.starts();
        for &row in order {
            let StepRow {
                ids: new,
                position,
                write,
                sequence,
            } = rows[row];
            let next = &mut next[sequence.part()];
            for (offset, &id) in new.iter().enumerate() {
                ids[*next + offset] = i64::from(id);
                positions[*next + offset] = (position + offset) as i64;
                writes[*next + offset] = write + offset as i64;
            }
            *next += new.len();
            last[row] = *next as i64 - 1;
        }
        let sequencing = sequencing(&sequences, shape);
        numbers.extend(sequencing.in_pairs());
        Self {
            shape,
            numbers,
            sequencing,
            rows: rows.len(),
        }
    }

    /// The step for a device to record.
    pub(crate) fn recordable(&self) -> Recordable<'_> {
        Recordable {
            key: self.shape.key(),
            numbers: &self.numbers,
            rows: self.rows as i64,
        }
    }

    /// The plan whose numbers lie in `numbers` on the device.
    pub(crate) fn on_device(&self, numbers: &Tensor) -> StepPlan {
        let (filled, rows) = (self.shape.tokens() as i64, self.shape.rows() as i64);
        let part = |place: i64| numbers.narrow(0, place * filled, filled);
        let start = 3 * filled + rows;
        let rest = numbers.narrow(0, start, numbers.size()[0] - start);
        StepPlan {
            ids: part(0),
            positions: part(1),
            writes: part(2),
            last: numbers.narrow(0, 3 * filled, rows),
            sequences: self.sequencing.on_device(&rest),
        }
    }
}
