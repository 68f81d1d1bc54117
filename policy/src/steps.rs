//! Steps with one new token for each row, and of branches with a few more, in shapes that recur, so that a CUDA device
//! can be given each as a whole.
//!
//! Rows are filled up to one of a few numbers, and so are branches and their tokens; the filling reads and writes a row
//! of the cache that is nobody's. All numbers of a step go over in one transfer to one place, in an order that depends on the shape alone.
//! The second step of a shape is recorded, and every later one is one launch (see `operators::graph`). A recording is
//! over one decoder's weights: another decoder begins anew.

use std::collections::HashMap;

use tch::{Device, Tensor};

use crate::operators::graph::{Graph, Pool};
use crate::sequences::{SequencePlan, SequenceRow, Sequencing, StepShape};

/// One step of a shape: what differs from step to step, in host memory.
pub(crate) struct Step {
    pub(crate) shape: StepShape,
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

/// The most recordings of a cache. Each holds a few megabytes of the device's memory.
const MOST_RECORDED: usize = 64;

/// The steps of one cache that are recorded.
#[derive(Default)]
pub(crate) struct Steps {
    /// The decoder that they are of.
    decoder: u64,
    pool: Option<Pool>,
    /// Why no more steps are recorded.
    problem: Option<String>,
    /// Shapes that came once.
    seen: HashMap<StepShape, ()>,
    recorded: HashMap<StepShape, Recorded>,
    /// Counts launches, so that the recording used last is known.
    clock: u64,
}

struct Recorded {
    graph: Graph,
    input: Tensor,
    output: Tensor,
    used: u64,
}

impl Steps {
    /// What `work` makes of the step's numbers, `[n, hidden]` for the caller's rows; `decoder` tells decoders apart.
    pub(crate) fn run(
        &mut self,
        decoder: u64,
        step: &Step,
        device: Device,
        mut work: impl FnMut(&Tensor) -> Tensor,
    ) -> Tensor {
        if self.decoder != decoder {
            *self = Self {
                decoder,
                pool: self.pool.or_else(|| Pool::try_new(device)),
                problem: self.problem.take(),
                ..Self::default()
            };
        }
        let numbers = Tensor::from_slice(&step.numbers);
        let rows = step.rows as i64;
        self.clock += 1;
        if let Some(recorded) = self.recorded.get_mut(&step.shape) {
            recorded.used = self.clock;
            let _ = recorded.input.copy_(&numbers);
            recorded.graph.launch();
            // The next launch writes over the result.
            return recorded.output.narrow(0, 0, rows).copy();
        }
        let input = numbers.to_device(device);
        let is_first = self.seen.insert(step.shape, ()).is_none();
        let pool = self.pool.filter(|_| !is_first && self.problem.is_none());
        let Some(pool) = pool else {
            return work(&input).narrow(0, 0, rows);
        };
        self.make_room();
        match Graph::record(device, pool, || work(&input)) {
            Ok((graph, output)) => {
                graph.launch();
                let result = output.narrow(0, 0, rows).copy();
                let used = self.clock;
                let recorded = Recorded {
                    graph,
                    input,
                    output,
                    used,
                };
                self.recorded.insert(step.shape, recorded);
                result
            }
            Err(problem) => {
                self.problem = Some(problem);
                work(&input).narrow(0, 0, rows)
            }
        }
    }

    fn make_room(&mut self) {
        while self.recorded.len() >= MOST_RECORDED {
            let oldest = self.recorded.iter().min_by_key(|(_, recorded)| recorded.used);
            let Some(shape) = oldest.map(|(shape, _)| *shape) else {
                return;
            };
            self.recorded.remove(&shape);
        }
    }

    /// How many steps are recorded, or why none are any more.
    pub(crate) fn recorded(&self) -> Result<usize, &str> {
        match &self.problem {
            Some(problem) => Err(problem),
            None => Ok(self.recorded.len()),
        }
    }
}
