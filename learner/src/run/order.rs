//! The order in which problems are trained: a pure function of seed and sequence number, so that a lease can be given
//! again and a restarted learner goes on where it was.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The endless order in which the rows of a data set are trained: a permutation of its own for every epoch.
pub struct TrainingOrder {
    rows: usize,
    seed: u64,
    epoch: u64,
    permutation: Vec<usize>,
}

impl TrainingOrder {
    /// The order of a data set with this many rows, at least one.
    pub fn new(rows: usize, seed: u64) -> Self {
        let mut order = Self {
            rows,
            seed,
            epoch: 0,
            permutation: Vec::new(),
        };
        order.shuffle(0);
        order
    }

    /// The row with this number in the endless order.
    pub fn row(&mut self, sequence: u64) -> usize {
        let epoch = sequence / self.rows as u64;
        if epoch != self.epoch {
            self.shuffle(epoch);
        }
        self.permutation[(sequence % self.rows as u64) as usize]
    }

    fn shuffle(&mut self, epoch: u64) {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(epoch);
        self.epoch = epoch;
        self.permutation = (0..self.rows).collect();
        self.permutation.shuffle(&mut generator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_holds_every_row_once_in_another_order() {
        let mut order = TrainingOrder::new(50, 7);
        let epochs: Vec<Vec<usize>> = (0..3)
            .map(|epoch| (0..50).map(|index| order.row(epoch * 50 + index)).collect())
            .collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        // A lease of an earlier epoch can be given again.
        assert_eq!(order.row(3), epochs[0][3]);
        assert_ne!(TrainingOrder::new(50, 8).row(0), 50);
    }
}
