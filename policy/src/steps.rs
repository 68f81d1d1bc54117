//! Steps with one new token for each row, in shapes that recur, so that a CUDA device can be given each as a whole.
//!
//! Rows are filled up to one of a few numbers, and so are branches; the filling reads and writes a row of the cache that
//! is nobody's. All numbers of a step go over in one transfer to one place, in an order that depends on the shape alone.
//! The second step of a shape is recorded, and every later one is one launch (see `operators::graph`). A recording is
//! over one decoder's weights: another decoder begins anew.

use std::collections::HashMap;

use tch::{Device, Tensor};

use crate::operators::graph::{Graph, Pool};
use crate::sequences::{SequencePlan, SequenceRow, Sequencing, StepShape};

/// One step of a shape: what differs from step to step, in host memory.
pub(crate) struct Step {
    pub(crate) shape: StepShape,
    /// Ids, positions, rows of the cache to write to and for each place of the result its token, `rows()` of each; then
    /// the numbers of `sequencing`.
    numbers: Vec<i64>,
    sequencing: Sequencing,
    /// Rows of the caller's.
    rows: usize,
}

/// A step's numbers on the device.
pub(crate) struct StepPlan {
    /// `[rows]` int64.
    pub(crate) ids: Tensor,
    /// `[rows]` int64.
    pub(crate) positions: Tensor,
    /// `[rows]` int64.
    pub(crate) writes: Tensor,
    /// For each of the caller's rows its place, then the places of the filling, `[rows]` int64.
    pub(crate) order: Tensor,
    pub(crate) sequences: SequencePlan,
}

/// A caller's row.
#[derive(Clone, Copy)]
pub(crate) struct StepRow {
    pub(crate) id: u32,
    pub(crate) position: usize,
    /// The row of the cache that its keys and values go to.
    pub(crate) write: i64,
    pub(crate) sequence: SequenceRow,
}

impl Step {
    /// `order` has the places of `rows` in the packed order, as attention over sequences needs it: branches last, those
    /// of one cut next to each other. `nobody` is a row of the cache that belongs to no slot, and
    /// `sequencing` makes the sequences of the packed rows for a shape.
    pub(crate) fn new(
        rows: &[StepRow],
        order: &[usize],
        nobody: i64,
        sequencing: impl FnOnce(&[SequenceRow], StepShape) -> Sequencing,
    ) -> Self {
        let sequences: Vec<SequenceRow> = order.iter().map(|&row| rows[row].sequence).collect();
        let shape = StepShape::of(&sequences);
        let filled = shape.rows();
        let mut numbers = vec![0; 4 * filled];
        let (ids, rest) = numbers.split_at_mut(filled);
        let (positions, rest) = rest.split_at_mut(filled);
        let (writes, places) = rest.split_at_mut(filled);
        writes.fill(nobody);
        // The filling of the rows without branches lies between them and the branches.
        let before = sequences.iter().filter(|row| row.prefix.is_none()).count();
        for (packed, &row) in order.iter().enumerate() {
            let place = if packed < before {
                packed
            } else {
                shape.thinkings + packed - before
            };
            ids[place] = i64::from(rows[row].id);
            positions[place] = rows[row].position as i64;
            writes[place] = rows[row].write;
            places[row] = place as i64;
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
        let filled = self.shape.rows() as i64;
        let part = |place: i64| numbers.narrow(0, place * filled, filled);
        let rest = numbers.narrow(0, 4 * filled, numbers.size()[0] - 4 * filled);
        StepPlan {
            ids: part(0),
            positions: part(1),
            writes: part(2),
            order: part(3),
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
