//! What a CUDA device has recorded of steps that recur, so that it is given each of them in one launch.
//!
//! The second step of a shape is recorded, and every later one is a copy of its numbers and one launch (see
//! `operators::graph`). A recording is over one decoder's weights: another decoder begins anew.

use std::collections::{HashMap, HashSet};

use tch::{Device, Kind, Tensor};

use crate::operators::graph::{Graph, Pool};

/// The shape of a step: steps with the same one differ in nothing but their numbers.
pub(crate) type Key = [usize; 5];

/// A step.
pub(crate) struct Recordable<'a> {
    pub(crate) key: Key,
    /// What differs from step to step, as many for every step of a key.
    pub(crate) numbers: &'a [i64],
    /// Rows of the result that count.
    pub(crate) rows: i64,
}

/// The most recordings of a cache. Each holds a few megabytes of the device's memory.
const MOST_RECORDED: usize = 64;

/// The recorded steps of one cache.
#[derive(Default)]
pub(crate) struct Recordings {
    /// The decoder that they are of.
    decoder: u64,
    pool: Option<Anchored>,
    /// Why no more steps are recorded.
    problem: Option<String>,
    /// Shapes that came once.
    seen: HashSet<Key>,
    recorded: HashMap<Key, Recorded>,
    /// Counts launches, so that the recording used last is known.
    clock: u64,
}

/// Memory that recordings share. libtorch forgets it with the last recording in it; the first one, of next to nothing,
/// stays, so that there is always one.
struct Anchored {
    pool: Pool,
    _anchor: Graph,
}

impl Anchored {
    /// `None` where work cannot be recorded at all, and why not where it could be.
    fn try_new(device: Device) -> Option<Result<Self, String>> {
        let pool = Pool::try_new(device)?;
        let nothing = || Tensor::zeros([1], (Kind::Float, device));
        Some(Graph::record(device, pool, nothing).map(|(_anchor, _)| Self { pool, _anchor }))
    }
}

struct Recorded {
    graph: Graph,
    input: Tensor,
    output: Tensor,
    used: u64,
}

impl Recordings {
    /// What `work` makes of the step's numbers, `[n, hidden]` for the caller's rows; `decoder` tells decoders apart.
    pub(crate) fn run(
        &mut self,
        decoder: u64,
        step: &Recordable<'_>,
        device: Device,
        mut work: impl FnMut(&Tensor) -> Tensor,
    ) -> Tensor {
        if self.decoder != decoder {
            *self = Self {
                decoder,
                pool: self.pool.take(),
                problem: self.problem.take(),
                ..Self::default()
            };
        }
        let numbers = Tensor::from_slice(step.numbers);
        let rows = step.rows;
        self.clock += 1;
        if let Some(recorded) = self.recorded.get_mut(&step.key) {
            recorded.used = self.clock;
            recorded.input.copy_(&numbers);
            recorded.graph.launch();
            // The next launch writes over the result.
            return recorded.output.narrow(0, 0, rows).copy();
        }
        let input = numbers.to_device(device);
        let is_first = self.seen.insert(step.key);
        if is_first || self.problem.is_some() {
            return work(&input).narrow(0, 0, rows);
        }
        if self.pool.is_none() {
            match Anchored::try_new(device) {
                Some(Ok(anchored)) => self.pool = Some(anchored),
                Some(Err(problem)) => self.problem = Some(problem),
                None => {}
            }
        }
        let Some(pool) = self.pool.as_ref().map(|anchored| anchored.pool) else {
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
                self.recorded.insert(step.key, recorded);
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
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            self.recorded.remove(&key);
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
