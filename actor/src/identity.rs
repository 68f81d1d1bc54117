//! Who this process is, to the learner.

use anytime_proto::ActorId;

/// The actor, and which of its processes this is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The actor's name in logs and leases.
    pub actor_id: ActorId,
    /// Drawn when the process starts, so that the learner can tell it from an earlier process of the same name.
    pub incarnation: String,
}

impl Identity {
    /// A process of this actor that starts now.
    pub fn new(actor_id: ActorId) -> Self {
        let incarnation = format!("{:032x}", rand::random::<u128>());
        Self { actor_id, incarnation }
    }
}
