//! The order in which problems are trained: a pure function of seed and sequence number, so that a lease can be given
//! again and a restarted learner goes on where it was.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// How many permutations are kept. Around the end of an epoch, leases, pushes and groups ask for problems of both
/// epochs in turn, while they hold a lock.
const KEPT_EPOCHS: usize = 2;

/// The endless order in which the rows of a data set are trained: a permutation of its own for every epoch.
pub struct TrainingOrder {
    rows: usize,
    seed: u64,
    /// Epochs with their permutations, the one that was asked about last in front.
    permutations: Vec<(u64, Vec<usize>)>,
}

impl TrainingOrder {
    /// The order of a data set with this many rows, at least one.
    pub fn new(rows: usize, seed: u64) -> Self {
        Self {
            rows,
            seed,
            permutations: Vec::new(),
        }
    }

    /// The row with this number in the endless order.
    pub fn row(&mut self, sequence: u64) -> usize {
        let epoch = sequence / self.rows as u64;
        match self.permutations.iter().position(|(kept, _)| *kept == epoch) {
            Some(place) => self.permutations[..=place].rotate_right(1),
            None => {
                self.permutations.truncate(KEPT_EPOCHS - 1);
                self.permutations.insert(0, (epoch, self.permutation(epoch)));
            }
        }
        let (_, permutation) = &self.permutations[0];
        permutation[(sequence % self.rows as u64) as usize]
    }

    fn permutation(&self, epoch: u64) -> Vec<usize> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(epoch);
        let mut permutation: Vec<usize> = (0..self.rows).collect();
        permutation.shuffle(&mut generator);
        permutation
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

    #[test]
    fn an_epochs_end_shuffles_nothing_twice() {
        let mut order = TrainingOrder::new(50, 7);
        let expected: Vec<usize> = (45..55).map(|sequence| order.row(sequence)).collect();
        for _ in 0..3 {
            let again: Vec<usize> = (45..55).rev().map(|sequence| order.row(sequence)).collect();
            assert_eq!(again.into_iter().rev().collect::<Vec<_>>(), expected);
            let kept: Vec<u64> = order.permutations.iter().map(|(epoch, _)| *epoch).collect();
            assert_eq!(kept, [0, 1]);
        }
        order.row(120);
        assert_eq!(order.permutations.len(), KEPT_EPOCHS);
    }
}
