//! The state of the model: what is on disk, in Redis, in the learner's memory, at the actors and on its way.

use std::collections::{BTreeMap, BTreeSet};

use anytime_learner::invariants::{Broken, Held, History, Trained};
use anytime_learner::rollouts::lease_table::LeaseTable;
use anytime_proto::EndedGroups;

use super::Faults;
use crate::models::redis_model::RedisModel;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(super) checkpoints: Vec<Checkpoint>,
    /// What the events of the steps that count say.
    pub(super) reports: Vec<Report>,
    pub(super) redis: RedisModel,
    /// The older data with which Redis can come back.
    pub(super) saved: Option<RedisModel>,
    pub(super) learner: Option<Learner>,
    pub(super) actors: Vec<Actor>,
    /// Lease requests under way, in the order in which they were sent.
    pub(super) asks: Vec<Ask>,
    /// Pushes under way.
    pub(super) pushes: BTreeSet<Push>,
    pub(super) faults: Faults,
    pub(super) newest_version: u64,
    /// What one of the last action's own checks found.
    pub(super) broken: Option<(&'static str, String)>,
}

/// The event of one step. What it replayed was left out before its own groups were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Report {
    pub(super) trained: Vec<Trained>,
    pub(super) left_out: BTreeSet<u64>,
    pub(super) replayed: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Checkpoint {
    pub(super) step: u64,
    pub(super) ended: EndedGroups,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Learner {
    pub(super) table: LeaseTable,
    pub(super) step: u64,
    pub(super) ended: EndedGroups,
    pub(super) batch: Vec<Trained>,
    /// Of the step that is trained and not reported.
    pub(super) report: Report,
    pub(super) unacknowledged: Vec<u64>,
    pub(super) left_out: BTreeSet<u64>,
    /// Replayed since the last step.
    pub(super) replayed: BTreeSet<u64>,
    /// How often something was replayed since the start.
    pub(super) replays: u64,
    /// Its letter is out of Redis, and it is to be leased again.
    pub(super) dug_up: Option<u64>,
    /// Skipped, of which Redis has no letter yet.
    pub(super) letters: BTreeSet<u64>,
    pub(super) phase: Phase,
    pub(super) is_up: bool,
    pub(super) monitor: Monitor,
    pub(super) admitted: Vec<Admitted>,
    /// The processes of each actor that were heard of.
    pub(super) known: BTreeSet<(usize, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Takes,
    Reports,
    Saves,
    Settles,
    Notes,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Monitor {
    Idle,
    Looked(BTreeSet<u64>),
    Opened(BTreeSet<u64>, BTreeSet<u64>, BTreeSet<u64>),
}

/// A push that the table has admitted, on its way through Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Admitted {
    pub(super) push: Push,
    pub(super) bound: u64,
    pub(super) taken: u64,
    pub(super) outcome: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Accepted,
    Duplicate,
    Full,
    KeysGone,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    pub(super) incarnation: u8,
    /// The version of the weights that it holds.
    pub(super) weights: u64,
    pub(super) held: BTreeMap<u64, Work>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Work {
    pub(super) min_version: u64,
    /// The version that generated it, once it is generated.
    pub(super) version: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    pub(super) actor: usize,
    pub(super) incarnation: u8,
    pub(super) held: BTreeSet<u64>,
    /// The actor waits for the answer.
    pub(super) is_awaited: bool,
    /// A later one of the same process has been heard.
    pub(super) is_overtaken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Push {
    pub(super) actor: usize,
    pub(super) incarnation: u8,
    pub(super) sequence: u64,
    pub(super) version: u64,
}

impl World {
    /// What the first steps say together.
    pub(super) fn history(&self, steps: usize) -> History {
        let mut history = History::default();
        for report in self.reports.iter().take(steps) {
            for earlier in &mut history.left_out {
                *earlier = earlier.difference(&report.replayed).copied().collect();
            }
            history.steps.push(report.trained.clone());
            history.left_out.push(report.left_out.clone());
            history.replayed.extend(&report.replayed);
        }
        history
    }

    pub(super) fn note(&mut self, held: Held) {
        if let Err(Broken { invariant, what }) = held {
            self.broken = Some((invariant, what));
        }
    }

    pub(super) fn ask(&mut self, index: usize) {
        let actor = &self.actors[index];
        self.asks.push(Ask {
            actor: index,
            incarnation: actor.incarnation,
            held: actor.held.keys().copied().collect(),
            is_awaited: true,
            is_overtaken: false,
        });
    }

    /// Tells the actor what became of its group, if the actor is still there.
    pub(super) fn conclude(&mut self, push: Push) {
        let actor = &mut self.actors[push.actor];
        if actor.incarnation == push.incarnation {
            actor.held.remove(&push.sequence);
        }
    }
}
