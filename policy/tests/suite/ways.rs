//! The ways in which generation attends, for tests that hold for each of them.

use anytime_policy::{KvCache, ModelConfig, Slots};
use tch::{Device, Kind, Tensor};

pub(crate) const TOLERANCE: f64 = 1e-5;

/// How generation attends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    /// Token by token, in f32 on the CPU.
    Reads,
    /// Under masks, in f64 on the CPU as in f32 on CUDA.
    Groups,
    /// Without masks, as in bf16 on CUDA: in f64 by plain operators.
    Sequences,
    /// As on CUDA in bf16, with the kernels that a device has for it.
    Kernels,
}

pub(crate) const WAYS: [Way; 4] = [Way::Reads, Way::Groups, Way::Sequences, Way::Kernels];

impl Way {
    pub(crate) fn kind(self) -> Kind {
        match self {
            Way::Reads => Kind::Float,
            Way::Groups | Way::Sequences => Kind::Double,
            Way::Kernels => Kind::BFloat16,
        }
    }

    pub(crate) fn cache(self, config: &ModelConfig, prefixes: Slots, branches: Slots) -> KvCache {
        let make = match self {
            Way::Reads | Way::Groups => KvCache::with_branches,
            Way::Sequences | Way::Kernels => KvCache::by_token,
        };
        let cache = make(config, prefixes, branches, self.kind(), Device::Cpu);
        match self {
            Way::Kernels => cache.with_kernels(),
            _ => cache,
        }
    }

    /// The largest difference of two hidden states of about 1.
    pub(crate) fn tolerance(self) -> f64 {
        match self {
            // A few of the 8 bits that a number has.
            Way::Kernels => 0.1,
            _ => TOLERANCE,
        }
    }
}

/// The last of several hidden states, [1, hidden].
pub(crate) fn last(states: &Tensor) -> Tensor {
    states.narrow(0, states.size()[0] - 1, 1)
}
