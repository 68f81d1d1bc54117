//! What the trainer gives to the broker when it opens training, and what it gets back.

use std::time::Instant;

use anytime_proto::{ActorId, EndedGroups, v1};
use anytime_service::traces::SpanRef;

/// Stands in place of a token's version where the weights with the published version's number were others: those of
/// steps that a return to the recovery checkpoint undid. It is no real version, so the token is not fresh, and its age
/// counts as 0.
pub const OTHER_LINE: u64 = u64::MAX;

/// A scored group out of the replay queue. It stays in Redis until the trainer acknowledges it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueuedGroup {
    /// Its number in the order of training problems.
    pub sequence: u64,
    /// What the actor pushed. Tokens of weights that were replaced have the version [`OTHER_LINE`].
    pub group: v1::ScoredGroup,
    /// How it came here.
    pub journey: Journey,
}

/// Who generated a group, and when it came to the trainer.
#[derive(Clone, Debug, PartialEq)]
pub struct Journey {
    /// The actor.
    pub actor: ActorId,
    /// When the actor leased it; none where an earlier process of the learner gave the lease.
    pub leased: Option<Instant>,
    /// When the group came into the queue; none where an earlier process of the learner took it in.
    pub arrived: Option<Instant>,
    /// When the trainer took it.
    pub taken: Instant,
    /// The last span of its trace.
    pub span: SpanRef,
}

/// A scored group of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedGroup {
    /// The place of its lease among those of the evaluation, from 0.
    pub place: usize,
    /// What the actor pushed.
    pub group: v1::ScoredGroup,
}

/// Everything that is needed to lease training problems and to queue the groups that come back.
pub struct TrainingOpening {
    /// Gives the problem of each sequence number.
    pub problems: Box<dyn ProblemSource>,
    /// How every group is generated.
    pub plan: v1::RolloutPlan,
    /// Groups per step.
    pub batch: u32,
    /// A token may be at most this many versions older than the published one.
    pub max_staleness: u64,
    /// At most this many groups wait in the queue, besides those of the batch that is being taken.
    pub queue_groups: u32,
    /// How long an actor may keep a lease without saying that it has it.
    pub lease_seconds: u32,
    /// The seed from which every lease's seed is derived.
    pub seed: u64,
    /// The groups that have ended, as the recovery checkpoint says.
    pub ended: EndedGroups,
    /// Steps × batch. No more groups than this are leased, since no more can be trained.
    pub total_groups: u64,
}

/// The order of training problems. It must be a pure function of the number, so that a lease can be given again.
pub trait ProblemSource: Send {
    /// The problem with number `sequence`, counted from 0 in the order of training.
    fn problem(&self, sequence: u64) -> v1::Problem;
}
