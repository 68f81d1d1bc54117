//! How much of a GPU a process may take. Learner and actor plan by it, and `anytime check --gpus` answers by it.

/// What CUDA's context, the libraries' workspaces and fragmentation take of a device, beside a twenty-fifth of it.
const RESERVED_BYTES: u64 = 1 << 30;

/// The share of a GPU that an actor takes where nothing says otherwise.
pub const ACTOR_SHARE: f64 = 0.9;

/// Bytes that a rank of a learner may plan with, of a GPU of `total` bytes of which it can reach so many.
pub fn learner_bytes(total: u64, within_reach: u64) -> u64 {
    within_reach.saturating_sub(RESERVED_BYTES + total / 25)
}
