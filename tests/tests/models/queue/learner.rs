//! What the learner does with what it hears, and the order of its trainer's loop.

use std::collections::BTreeSet;

use anytime_learner::invariants::{Trained, acknowledged, lease_admitted};
use anytime_learner::queue::groups::Settlement;
use anytime_learner::rollouts::actors::Holder;
use anytime_learner::rollouts::inventory::{Corrections, Inventory};
use anytime_learner::rollouts::lease_table::{GivenBack, LeaseTable, NextToTrain, PushCheck};
use anytime_proto::{ActorId, EndedGroups, WeightsVersion};

use super::world::{Admitted, Checkpoint, Learner, Monitor, Outcome, Phase, Push, Report, Work, World};
use super::{LATER, Plant, Queue};

impl Queue {
    pub(super) fn steps(&self) -> u64 {
        self.rules.total_groups / self.rules.batch
    }

    pub(super) fn holder(actor: usize, incarnation: u8) -> Holder {
        Holder {
            actor: ActorId(actor.to_string()),
            incarnation: incarnation.to_string(),
        }
    }

    /// A learner that goes on from the newest checkpoint. With `dies_after` it dies after that many corrections of the
    /// queue.
    pub(super) fn start(&self, world: &mut World, dies_after: Option<u8>) {
        let checkpoint = world.checkpoints.last().cloned().unwrap_or(Checkpoint {
            step: 0,
            ended: EndedGroups::default(),
        });
        let Checkpoint { step, mut ended } = checkpoint;
        // Steps that were reported after the checkpoint are undone.
        world.reports.truncate(step as usize);
        if self.plant == Plant::ForgetsWhatEnded {
            ended.consumed.clear();
            ended.consumed_below = ended.consumed_below.min(1);
            ended.left_out_below = 0;
        }
        let survey = world.redis.open();
        let corrections = Corrections::of(&ended, &survey);
        let settlements = [
            (&corrections.ended, Settlement::Trained),
            (&corrections.forgotten, Settlement::Forgotten),
        ];
        let done = dies_after.map_or(settlements.len(), usize::from);
        for (sequences, settlement) in settlements.into_iter().take(done) {
            // The keys are open.
            let _ = world.redis.settle(sequences, settlement);
        }
        if dies_after.is_some() {
            return;
        }
        let mut table = LeaseTable::new(self.rules.clone(), Inventory::of(&ended, &survey, &world.redis.dead));
        table.set_version(WeightsVersion(step));
        world.newest_version = world.newest_version.max(step);
        let left_out = survey.stale.union(&survey.skipped).copied();
        let is_open = |sequence: &u64| !ended.holds(*sequence) && !ended.replayed.contains(sequence);
        world.learner = Some(Learner {
            table,
            left_out: left_out.filter(is_open).collect(),
            step,
            ended,
            batch: Vec::new(),
            report: Report::default(),
            unacknowledged: Vec::new(),
            replayed: BTreeSet::new(),
            replays: 0,
            dug_up: None,
            letters: BTreeSet::new(),
            phase: if step < self.steps() { Phase::Takes } else { Phase::Done },
            is_up: true,
            monitor: Monitor::Idle,
            admitted: Vec::new(),
            known: BTreeSet::new(),
        });
    }

    /// The learner hears a lease request.
    pub(super) fn answer(&self, world: &mut World, index: usize, is_lost: bool) {
        let ask = world.asks.remove(index);
        let left_out_before: BTreeSet<u64> = world.history(usize::MAX).left_out.into_iter().flatten().collect();
        let Some(learner) = &mut world.learner else {
            return;
        };
        let holder = Self::holder(ask.actor, ask.incarnation);
        if learner.known.insert((ask.actor, ask.incarnation)) {
            for (actor, incarnation) in &learner.known {
                if *actor == ask.actor && *incarnation < ask.incarnation {
                    learner
                        .table
                        .take_back_from(&Self::holder(*actor, *incarnation), self.origin);
                }
            }
        }
        if !ask.is_overtaken {
            learner.table.renew(&holder, &ask.held, self.origin);
        }
        for earlier in world.asks.iter_mut().take(index) {
            earlier.is_overtaken |= earlier.actor == ask.actor && earlier.incarnation == ask.incarnation;
        }
        let has_room = ask.held.len() < self.room;
        if !learner.is_up || !has_room {
            return;
        }
        if self.plant == Plant::AdmitsTooMany {
            learner.table.set_version(WeightsVersion(learner.step + 1));
        }
        let leased = learner.table.lease(&holder, self.origin + LATER);
        learner.table.set_version(WeightsVersion(learner.step));
        let Ok(sequence) = leased else {
            return;
        };
        let standing = learner.table.standing();
        let before: BTreeSet<u64> = left_out_before.difference(&learner.report.replayed).copied().collect();
        let now = before.union(&learner.report.left_out).copied();
        let left_out: BTreeSet<u64> = now.filter(|one| !learner.replayed.contains(one)).collect();
        let left_out_below = left_out
            .union(&learner.left_out)
            .filter(|lower| **lower < sequence)
            .count() as u64;
        debug_assert!(standing.leased.contains(&sequence));
        let admitted = lease_admitted(sequence, left_out_below, learner.step, &self.rules.bounds());
        let min_version = learner.table.min_version(sequence).0;
        world.note(admitted);
        let actor = &mut world.actors[ask.actor];
        if !is_lost && ask.is_awaited && actor.incarnation == ask.incarnation {
            actor.held.insert(
                sequence,
                Work {
                    min_version,
                    version: None,
                },
            );
        }
    }

    /// The learner hears a push, and its table decides.
    pub(super) fn admit(&self, world: &mut World, push: Push) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let actor = ActorId(push.actor.to_string());
        let sequence = push.sequence;
        match learner.table.check_push(sequence, &actor, self.origin) {
            PushCheck::Duplicate | PushCheck::Unwanted => return world.conclude(push),
            PushCheck::Admit => {}
        }
        let newest = learner.step.max(learner.table.step_of(sequence));
        let oldest = learner.table.min_version(sequence).0;
        if push.version > newest && self.plant != Plant::BlamesActors {
            // Its version is of weights from before the learner went back to its checkpoint, which is nobody's fault.
            let unnamed = Holder::unnamed(&actor);
            learner.table.give_back(sequence, &unnamed, false, self.origin);
            return world.conclude(push);
        }
        let is_outrun =
            push.version + learner.replays.div_ceil(self.rules.batch) >= oldest || learner.table.is_of_before(sequence);
        if push.version < oldest && is_outrun && self.plant != Plant::BlamesTheOutrun {
            // A replay has moved the group to a later step than its lease was for.
            let unnamed = Holder::unnamed(&actor);
            learner.table.give_back(sequence, &unnamed, false, self.origin);
            return world.conclude(push);
        }
        if (push.version > newest || push.version < oldest) && self.plant != Plant::TrainsOldTokens {
            learner
                .table
                .give_back(sequence, &Holder::unnamed(&actor), true, self.origin);
            let (version, step) = (push.version, learner.step);
            world.broken = Some((
                "honest",
                format!(
                    "sequence {sequence} by version {version} is refused under version {step}, which takes {oldest} to {newest}"
                ),
            ));
            return world.conclude(push);
        }
        learner.admitted.push(Admitted {
            push,
            bound: learner.table.queue_bound(sequence),
            taken: learner.table.taken_groups(),
            outcome: None,
        });
    }

    pub(super) fn conclude(&self, world: &mut World, index: usize, is_lost: bool) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let admitted = learner.admitted.remove(index);
        let sequence = admitted.push.sequence;
        match admitted.outcome {
            // The answer of Redis is lost: the learner does not know what became of it.
            _ if is_lost => learner.is_up = false,
            Some(Outcome::Accepted | Outcome::Duplicate) => {
                learner.table.accepted(sequence);
                world.conclude(admitted.push);
            }
            Some(Outcome::Full) => learner.table.kept_by_actor(sequence, self.origin),
            Some(Outcome::KeysGone) | None => learner.is_up = false,
        }
    }

    pub(super) fn give_up(&self, world: &mut World, actor: usize, sequence: u64) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let holder = Self::holder(actor, world.actors[actor].incarnation);
        let held: BTreeSet<u64> = world.actors[actor].held.keys().copied().collect();
        loop {
            match learner.table.give_back(sequence, &holder, true, self.origin) {
                GivenBack::NotHeld => break,
                GivenBack::Again => {
                    learner.table.renew(&holder, &held, self.origin);
                }
                GivenBack::Skipped(_) => {
                    learner.left_out.insert(sequence);
                    learner.letters.insert(sequence);
                    break;
                }
            }
        }
        world.actors[actor].held.remove(&sequence);
    }

    /// A lease is given back whose weights have not come.
    pub(super) fn wait_in_vain(&self, world: &mut World, actor: usize, sequence: u64) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let holder = Self::holder(actor, world.actors[actor].incarnation);
        if let GivenBack::Skipped(_) = learner.table.give_back(sequence, &holder, true, self.origin) {
            learner.left_out.insert(sequence);
            learner.letters.insert(sequence);
        }
        world.actors[actor].held.remove(&sequence);
    }

    /// An actor delivers a group that cannot be trained, again and again, until it becomes a dead letter.
    pub(super) fn refuse(&self, world: &mut World, actor: usize, sequence: u64) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let holder = Self::holder(actor, world.actors[actor].incarnation);
        let held: BTreeSet<u64> = world.actors[actor].held.keys().copied().collect();
        loop {
            match learner.table.refuse(sequence, &holder, self.origin) {
                GivenBack::NotHeld => break,
                GivenBack::Again => {
                    learner.table.renew(&holder, &held, self.origin);
                }
                GivenBack::Skipped(_) => {
                    learner.left_out.insert(sequence);
                    learner.letters.insert(sequence);
                    break;
                }
            }
        }
        world.actors[actor].held.remove(&sequence);
    }

    pub(super) fn bury(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        for sequence in std::mem::take(&mut learner.letters) {
            // Where that fails they are leased again after a restart.
            if world.redis.bury(sequence).is_err() {
                learner.is_up = false;
            }
        }
    }

    /// A person has a dead letter replayed: it leaves Redis first.
    pub(super) fn dig_up(&self, world: &mut World, sequence: u64) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        match world.redis.dig_up(sequence) {
            Ok(()) => learner.dug_up = Some(sequence),
            Err(_) => learner.is_up = false,
        }
    }

    pub(super) fn replay(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let Some(sequence) = learner.dug_up.take() else {
            return;
        };
        let is_replayed = !learner.letters.contains(&sequence) && learner.table.replay(sequence);
        if is_replayed {
            learner.replays += 1;
            learner.left_out.remove(&sequence);
            if self.plant != Plant::ForgetsTheReplay {
                learner.replayed.insert(sequence);
            }
        }
    }

    pub(super) fn reconcile(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let Monitor::Opened(mut before, in_queue, skipped) = std::mem::replace(&mut learner.monitor, Monitor::Idle)
        else {
            return;
        };
        if self.plant == Plant::MissesLostGroups {
            before.clear();
        }
        for sequence in learner.table.replayed_among(&skipped) {
            if world.redis.dig_up(sequence).is_err() {
                learner.is_up = false;
                return;
            }
        }
        let reconciled = learner.table.reconcile(&before, &in_queue, self.origin);
        for (sequence, ending) in reconciled.ended {
            if world.redis.settle(&[sequence], ending.into()).is_err() {
                learner.is_up = false;
                return;
            }
        }
        learner.is_up = true;
    }

    pub(super) fn take(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let mut next = learner.table.next_to_train();
        if self.plant == Plant::TakesAnyGroup
            && let Some(any) = learner.table.queued().last()
        {
            next = NextToTrain::Queued(*any);
        }
        let NextToTrain::Queued(sequence) = next else {
            return;
        };
        let Some(version) = world.redis.read(sequence) else {
            learner.is_up = false;
            return;
        };
        let is_too_old = learner.step.saturating_sub(version) > self.rules.max_staleness;
        let is_too_new = version > learner.step;
        let is_leased_again = is_too_new || (is_too_old && learner.replays > 0);
        if is_leased_again && self.plant != Plant::TrainsOldTokens {
            if world.redis.settle(&[sequence], Settlement::Forgotten).is_ok() {
                learner.table.lost(sequence, self.origin);
            }
            return;
        }
        if is_too_old && self.plant != Plant::TrainsOldTokens {
            if world.redis.settle(&[sequence], Settlement::Stale).is_ok() {
                learner.table.dropped_as_stale(sequence);
                learner.left_out.insert(sequence);
            }
            return;
        }
        learner.table.taken(sequence);
        learner.batch.push(Trained {
            sequence,
            oldest_version: version,
        });
    }

    pub(super) fn train(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        learner.step += 1;
        learner.report = Report {
            trained: std::mem::take(&mut learner.batch),
            left_out: std::mem::take(&mut learner.left_out),
            replayed: std::mem::take(&mut learner.replayed),
        };
        let Report {
            trained,
            left_out,
            replayed,
        } = &learner.report;
        let sequences: Vec<u64> = trained.iter().map(|group| group.sequence).collect();
        learner.ended.replay(replayed.iter().copied());
        learner
            .ended
            .finish(sequences.iter().copied(), left_out.iter().copied());
        learner.unacknowledged.extend(sequences);
        learner.table.set_version(WeightsVersion(learner.step));
        world.newest_version = world.newest_version.max(learner.step);
        learner.phase = Phase::Reports;
    }

    pub(super) fn report(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        world.reports.push(std::mem::take(&mut learner.report));
        let is_due = learner.step.is_multiple_of(self.checkpoint_every) || learner.step == self.steps();
        learner.phase = match (is_due, self.plant) {
            (false, _) => Phase::Takes,
            (true, Plant::AcknowledgesFirst) => Phase::Settles,
            (true, _) => Phase::Saves,
        };
    }

    pub(super) fn save(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let mut ended = learner.ended.clone();
        let before = world.checkpoints.last().map_or(0, |one| one.ended.consumed_below);
        match self.plant {
            Plant::WatermarkTooHigh => ended.consumed_below += 1,
            Plant::WatermarkBack => ended.consumed_below = before.saturating_sub(1),
            _ => {}
        }
        world.checkpoints.retain(|one| one.step < learner.step);
        world.checkpoints.push(Checkpoint {
            step: learner.step,
            ended,
        });
        let surplus = world.checkpoints.len().saturating_sub(2);
        world.checkpoints.drain(..surplus);
        learner.phase = Phase::Settles;
    }

    pub(super) fn settle(&self, world: &mut World, is_lost: bool) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let newest = world
            .checkpoints
            .last()
            .map(|one| one.ended.clone())
            .unwrap_or_default();
        match world.redis.settle(&learner.unacknowledged, Settlement::Trained) {
            Ok(()) if !is_lost => learner.phase = Phase::Notes,
            _ => learner.is_up = false,
        }
        let held = acknowledged(&learner.unacknowledged, &newest);
        world.note(held);
    }

    pub(super) fn note(&self, world: &mut World) {
        let Some(learner) = &mut world.learner else {
            return;
        };
        let sequences = std::mem::take(&mut learner.unacknowledged);
        learner.table.acknowledged(&sequences);
        learner.phase = if self.plant == Plant::AcknowledgesFirst
            && !world.checkpoints.iter().any(|one| one.step == learner.step)
        {
            Phase::Saves
        } else if learner.step < self.steps() {
            Phase::Takes
        } else {
            Phase::Done
        };
    }
}
