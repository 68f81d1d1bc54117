//! What each of several ranks holds of what they divide among them (ZeRO, arXiv 1910.02054): one run of the elements of every
//! tensor, so that all hold the same share however large single tensors are.

use tch::Tensor;

/// Parts begin at multiples of this many elements, so that the vector instructions of an update go over the same groups of
/// elements as in the whole tensor.
const ALIGNMENT: i64 = 64;

/// The part of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    rank: usize,
    world: usize,
}

impl Shard {
    /// The part of a rank that divides nothing.
    pub const WHOLE: Self = Self { rank: 0, world: 1 };

    /// The part of one of so many ranks.
    pub fn of(rank: usize, world: usize) -> Self {
        Self {
            rank,
            world: world.max(1),
        }
    }

    /// Whether it is all there is.
    pub fn is_whole(self) -> bool {
        self.world == 1
    }

    /// Start and length of the part of a tensor of so many elements. The last ranks may have none of a small tensor.
    pub fn range(self, elements: i64) -> (i64, i64) {
        if self.is_whole() {
            return (0, elements);
        }
        let world = i64::try_from(self.world).unwrap_or(i64::MAX);
        let share = elements.div_euclid(world) + i64::from(elements % world > 0);
        let share = share.div_euclid(ALIGNMENT) + i64::from(share % ALIGNMENT > 0);
        let share = share * ALIGNMENT;
        let rank = i64::try_from(self.rank).unwrap_or(i64::MAX);
        let start = share.saturating_mul(rank).min(elements);
        (start, share.min(elements - start))
    }

    /// The part of a contiguous tensor, in its own memory: of the whole its own shape, else `[length]`.
    pub fn part(self, tensor: &Tensor) -> Tensor {
        if self.is_whole() {
            return tensor.shallow_clone();
        }
        let (start, length) = self.range(tensor.numel() as i64);
        tensor.view(-1).narrow(0, start, length)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn parts_cover_every_tensor_once() {
        for elements in [0, 1, 63, 64, 65, 576, 1000, 28_311_552] {
            for world in 1..10 {
                let mut next = 0;
                for rank in 0..world {
                    let (start, length) = Shard::of(rank, world).range(elements);
                    assert_eq!(start, next, "{elements} elements, rank {rank} of {world}");
                    assert!(length >= 0 && (length == 0 || start % ALIGNMENT == 0));
                    assert!(length <= elements / world as i64 + ALIGNMENT, "no rank has much more");
                    next += length;
                }
                assert_eq!(next, elements, "{world} ranks");
            }
        }
    }

    #[test]
    fn a_part_is_the_tensors_own_memory() {
        let tensor = Tensor::zeros([3, 100], (Kind::Float, Device::Cpu));
        let _ = Shard::of(1, 2).part(&tensor).fill_(1.0);
        assert_eq!(tensor.sum(Kind::Float).double_value(&[]), 300.0 - 192.0);
        assert_eq!(Shard::WHOLE.part(&tensor).size(), [3, 100]);
    }
}
