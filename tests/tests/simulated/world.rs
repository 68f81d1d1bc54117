//! What outlives the crashes of hosts: the learner's disk, the data of Redis, and what the invariants are held against.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Weak};
use std::time::Duration;

use anytime_learner::invariants::{
    Bounds, Held, History, Trained, accounted, acknowledged, admission, fresh, in_order, once,
};
use anytime_learner::rollouts::broker::RolloutBroker;
use anytime_proto::{EndedGroups, JobId};

use crate::simulated::learner::JOB;
use crate::simulated::redis::Store;

/// The job: four steps of two groups, a checkpoint after every other one.
pub(crate) const STEPS: u64 = 4;
pub(crate) const BATCH: u64 = 2;
pub(crate) const CHECKPOINT_EVERY: u64 = 2;
pub(crate) const MAX_STALENESS: u64 = 1;

/// An error that is planted, which must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A learner that goes on ignores which groups its checkpoint says have ended.
    TrainsTwice,
    /// Groups are acknowledged before the checkpoint that holds them.
    AcknowledgesFirst,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) step: u64,
    pub(crate) ended: EndedGroups,
}

#[derive(Default)]
struct Learned {
    checkpoints: Vec<Checkpoint>,
    history: History,
    undone: usize,
    newest_version: u64,
    is_done: bool,
    broken: Option<String>,
}

pub(crate) struct World {
    /// The learner's runs directory, for the key of its tokens.
    pub(crate) directory: PathBuf,
    pub(crate) plant: Option<Plant>,
    pub(crate) redis: Mutex<Store>,
    learned: Mutex<Learned>,
    /// That of the learner which runs, to tell what it waits for.
    pub(crate) broker: Mutex<Weak<RolloutBroker>>,
}

impl World {
    pub(crate) fn new(directory: &Path, plant: Option<Plant>) -> Self {
        Self {
            directory: directory.to_owned(),
            plant,
            redis: Mutex::default(),
            learned: Mutex::default(),
            broker: Mutex::default(),
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.learned().is_done
    }

    pub(crate) fn undone(&self) -> usize {
        self.learned().undone
    }

    pub(crate) fn progress(&self) -> String {
        let broker = self.broker.lock().unwrap().upgrade();
        let account = broker.and_then(|broker| broker.account(&JobId(JOB.to_owned())));
        format!(
            "{} steps, {account:?}, {:?}",
            self.learned().history.steps.len(),
            self.redis.lock().unwrap()
        )
    }

    /// Whether everything has held so far.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.learned().broken.clone().map_or(Ok(()), Err)
    }

    fn note(learned: &mut Learned, held: Held) {
        if let Err(broken) = held
            && learned.broken.is_none()
        {
            learned.broken = Some(broken.to_string());
        }
    }

    /// A learner goes on from the newest checkpoint. What was reported behind it is undone.
    pub(crate) fn go_on(&self) -> Checkpoint {
        let mut learned = self.learned();
        let checkpoint = learned.checkpoints.last().cloned().unwrap_or_default();
        let steps = checkpoint.step as usize;
        learned.undone += learned.history.steps.len() - steps;
        learned.history.steps.truncate(steps);
        learned.history.left_out.truncate(steps);
        checkpoint
    }

    /// A step is reported.
    pub(crate) fn report(&self, trained: Vec<Trained>, left_out: BTreeSet<u64>) {
        let mut learned = self.learned();
        learned.history.steps.push(trained);
        learned.history.left_out.push(left_out);
        let history = learned.history.clone();
        Self::note(&mut learned, once(&history));
        Self::note(&mut learned, in_order(&history));
        Self::note(&mut learned, fresh(&history, MAX_STALENESS));
    }

    pub(crate) fn save(&self, checkpoint: Checkpoint) {
        let mut learned = self.learned();
        let held = accounted(&learned.history, checkpoint.step as usize, &checkpoint.ended);
        Self::note(&mut learned, held);
        learned.checkpoints.push(checkpoint);
    }

    /// `out` groups are leased or trained while `version` is published.
    pub(crate) fn admits(&self, out: u64, version: u64) {
        let bounds = Bounds {
            batch: BATCH,
            max_staleness: MAX_STALENESS,
            total_groups: STEPS * BATCH,
        };
        let mut learned = self.learned();
        learned.newest_version = learned.newest_version.max(version);
        let held = admission(out, learned.newest_version, &bounds);
        Self::note(&mut learned, held);
    }

    /// Groups are about to leave Redis.
    pub(crate) fn acknowledges(&self, sequences: &[u64]) {
        let mut learned = self.learned();
        let newest = learned.checkpoints.last().cloned().unwrap_or_default();
        Self::note(&mut learned, acknowledged(sequences, &newest.ended));
    }

    pub(crate) fn finish(&self) {
        self.learned().is_done = true;
    }
}

/// Time since the start, by the clock of the simulation.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}
