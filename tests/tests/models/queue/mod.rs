//! The replay queue of one job: a learner that is killed and goes on from its checkpoint, actors that die and come back,
//! messages that are late, lost or come twice, and a Redis that forgets or comes back older. The lease table, what
//! training is opened with, the corrections of the queue and the list of ended groups are the code itself; Redis, the
//! network, the actors and the order of the trainer's loop (`learner/src/run/train.rs`) are modelled.

mod learner;
mod possible;
mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anytime_learner::invariants::{Broken, Held, accounted, admission, fresh, in_order, once, sound};
use anytime_learner::queue::groups::{PushOutcome, Survey};
use anytime_learner::rollouts::actors::Holder;
use anytime_learner::rollouts::lease_table::LeaseRules;
use anytime_proto::ActorId;

use self::possible::push_of;
pub(crate) use self::world::World;
use self::world::{Actor, Learner, Monitor, Outcome, Phase, Push};
use crate::models::explore::{Goal, Model};
use crate::models::redis_model::RedisModel;

/// An error that is planted, which the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    /// Groups are acknowledged before the checkpoint that holds them.
    AcknowledgesFirst,
    /// A learner that goes on does not look at what its checkpoint says has ended above the watermark.
    ForgetsWhatEnded,
    /// Groups that Redis lost stay queued in the table.
    MissesLostGroups,
    /// A checkpoint's watermark is one too high.
    WatermarkTooHigh,
    /// A checkpoint's watermark is one lower than that of the checkpoint before.
    WatermarkBack,
    /// The trainer takes whatever the queue holds.
    TakesAnyGroup,
    /// Versions of pushed groups are not looked at, and actors do not wait for weights.
    TrainsOldTokens,
    /// An actor that has not heard that the learner went back is counted as failing.
    BlamesActors,
    /// An actor whose group a replay has moved to a later step is counted as failing.
    BlamesTheOutrun,
    /// A dead letter is replayed while the queue is brought in line.
    ReplaysAtAnyTime,
    /// No event says what was replayed.
    ForgetsTheReplay,
    /// A lease is given as if the next version were out.
    AdmitsTooMany,
}

/// How often each fault may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) learner_kills: u8,
    pub(crate) damaged_checkpoints: u8,
    pub(crate) actor_deaths: u8,
    /// Redis loses everything.
    pub(crate) redis_forgets: u8,
    /// Redis comes back with older data.
    pub(crate) redis_goes_back: u8,
    pub(crate) lost_answers: u8,
    /// A lease request that its actor waits for no longer arrives all the same.
    pub(crate) late_requests: u8,
    pub(crate) doubled_pushes: u8,
    /// A group that actors give up again and again, until it is skipped.
    pub(crate) given_up: u8,
    /// A delivered group that cannot be trained, again and again, until it becomes a dead letter.
    pub(crate) refused: u8,
    /// Dead letters that a person has replayed.
    pub(crate) replays: u8,
    /// Leases that run out while their actor still works at the group.
    pub(crate) slow_actors: u8,
}

#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) rules: LeaseRules,
    /// Steps between two recovery checkpoints.
    pub(crate) checkpoint_every: u64,
    pub(crate) actors: usize,
    /// Groups that an actor has room for.
    pub(crate) room: usize,
    pub(crate) faults: Faults,
    pub(crate) plant: Plant,
    /// Every moment is this one, or a later one when a lease is given: pauses are over then.
    pub(crate) origin: Instant,
}

const LATER: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    /// The learner dies while it opens training, after this many of the two corrections.
    StartAndDie(u8),
    Kill,
    DamageNewestCheckpoint,
    ActorDies(usize),
    RedisIsSaved,
    RedisForgets,
    RedisGoesBack,
    Ask(usize),
    /// A request and its answer at once, where none is ever late.
    Lease {
        actor: usize,
        is_lost: bool,
    },
    AskTimesOut(usize),
    Answer {
        ask: usize,
        is_lost: bool,
    },
    Follow(usize),
    Generate(usize, u64),
    Send(usize, u64),
    /// The group is sent, and the learner hears it at once, where none is ever on its way for long.
    Push(usize, u64),
    Admit {
        push: usize,
        comes_again: bool,
    },
    Store(usize),
    Conclude {
        admitted: usize,
        is_lost: bool,
    },
    GiveUp(usize, u64),
    /// The weights that a lease asks for do not come: its learner went back to a checkpoint.
    WaitInVain(usize, u64),
    /// All leases of an actor's process run out.
    Expire {
        actor: usize,
        incarnation: u8,
        is_early: bool,
    },
    Refuse(usize, u64),
    Bury,
    DigUp(u64),
    Replay,
    Look,
    Open,
    Reconcile,
    Take,
    Train,
    Report,
    Save,
    Settle {
        is_lost: bool,
    },
    Note,
}

impl Model for Queue {
    type State = World;
    type Action = Action;

    fn initial(&self) -> World {
        World {
            checkpoints: Vec::new(),
            reports: Vec::new(),
            redis: RedisModel::default(),
            saved: None,
            learner: None,
            actors: vec![Actor::default(); self.actors],
            asks: Vec::new(),
            pushes: BTreeSet::new(),
            faults: self.faults,
            newest_version: 0,
            broken: None,
        }
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        let mut actions = Vec::new();
        match &world.learner {
            Some(learner) => {
                self.learner_actions(world, learner, &mut actions);
                for ask in 0..world.asks.len() {
                    actions.push(Action::Answer { ask, is_lost: false });
                    if world.faults.lost_answers > 0 {
                        actions.push(Action::Answer { ask, is_lost: true });
                    }
                }
            }
            None => {
                actions.push(Action::Start);
                if world.faults.learner_kills > 0 {
                    actions.extend([0, 1].map(Action::StartAndDie));
                }
                if world.faults.damaged_checkpoints > 0 && world.checkpoints.len() == 2 {
                    actions.push(Action::DamageNewestCheckpoint);
                }
            }
        }
        for index in 0..world.actors.len() {
            self.actor_actions(world, index, &mut actions);
        }
        if world.faults.redis_forgets > 0 && world.redis.is_open {
            actions.push(Action::RedisForgets);
        }
        if world.faults.redis_goes_back > 0 {
            match &world.saved {
                None => actions.push(Action::RedisIsSaved),
                Some(saved) if *saved != world.redis => actions.push(Action::RedisGoesBack),
                Some(_) => {}
            }
        }
        actions
    }

    fn next(&self, before: &World, action: &Action) -> World {
        let mut world = before.clone();
        world.broken = None;
        match *action {
            Action::Start => self.start(&mut world, None),
            Action::StartAndDie(after) => {
                world.faults.learner_kills -= 1;
                self.start(&mut world, Some(after));
            }
            Action::Kill => {
                world.faults.learner_kills -= 1;
                world.learner = None;
                // Whoever waits for an answer sees the connection break; what was sent and not read is lost with it.
                world.asks.clear();
                world.pushes.clear();
            }
            Action::DamageNewestCheckpoint => {
                world.faults.damaged_checkpoints -= 1;
                world.checkpoints.pop();
            }
            Action::ActorDies(actor) => {
                world.faults.actor_deaths -= 1;
                let actor = &mut world.actors[actor];
                actor.incarnation += 1;
                actor.held.clear();
            }
            Action::RedisIsSaved => world.saved = Some(world.redis.clone()),
            Action::RedisForgets => {
                world.faults.redis_forgets -= 1;
                world.redis = RedisModel::default();
            }
            Action::RedisGoesBack => {
                world.faults.redis_goes_back -= 1;
                world.redis = world.saved.take().unwrap_or_default();
            }
            Action::Ask(index) => world.ask(index),
            Action::Lease { actor, is_lost } => {
                world.faults.lost_answers -= u8::from(is_lost);
                world.ask(actor);
                self.answer(&mut world, 0, is_lost);
            }
            Action::AskTimesOut(index) => {
                world.faults.late_requests -= 1;
                for ask in world.asks.iter_mut().filter(|ask| ask.actor == index) {
                    ask.is_awaited = false;
                }
            }
            Action::Answer { ask, is_lost } => {
                world.faults.lost_answers -= u8::from(is_lost);
                self.answer(&mut world, ask, is_lost);
            }
            Action::Follow(actor) => {
                let step = world.learner.as_ref().map_or(0, |learner| learner.step);
                world.actors[actor].weights = step;
            }
            Action::Generate(index, sequence) => {
                let actor = &mut world.actors[index];
                let version = actor.weights;
                if let Some(work) = actor.held.get_mut(&sequence) {
                    work.version = Some(version);
                }
            }
            Action::Send(index, sequence) => {
                let actor = &world.actors[index];
                let version = actor.held.get(&sequence).and_then(|work| work.version);
                let push = version.map(|version| push_of(index, actor, sequence, version));
                world.pushes.extend(push);
            }
            Action::Push(index, sequence) => {
                let actor = &world.actors[index];
                let version = actor.held.get(&sequence).and_then(|work| work.version);
                let push = version.map(|version| push_of(index, actor, sequence, version));
                if let Some(push) = push {
                    self.admit(&mut world, push);
                }
            }
            Action::Admit { push, comes_again } => {
                world.faults.doubled_pushes -= u8::from(comes_again);
                if let Some(push) = before.pushes.iter().nth(push) {
                    if !comes_again {
                        world.pushes.remove(push);
                    }
                    self.admit(&mut world, *push);
                }
            }
            Action::Store(index) => {
                if let Some(learner) = &mut world.learner {
                    let admitted = &mut learner.admitted[index];
                    let Push { sequence, version, .. } = admitted.push;
                    let outcome = world.redis.push(sequence, version, admitted.bound, admitted.taken);
                    admitted.outcome = Some(match outcome {
                        PushOutcome::Accepted => Outcome::Accepted,
                        PushOutcome::Duplicate => Outcome::Duplicate,
                        PushOutcome::Full => Outcome::Full,
                        PushOutcome::KeysGone => Outcome::KeysGone,
                    });
                }
            }
            Action::Conclude { admitted, is_lost } => {
                world.faults.lost_answers -= u8::from(is_lost);
                self.conclude(&mut world, admitted, is_lost);
            }
            Action::GiveUp(actor, sequence) => {
                world.faults.given_up -= 1;
                self.give_up(&mut world, actor, sequence);
            }
            Action::WaitInVain(actor, sequence) => self.wait_in_vain(&mut world, actor, sequence),
            Action::Expire {
                actor,
                incarnation,
                is_early,
            } => {
                world.faults.slow_actors -= u8::from(is_early);
                if let Some(learner) = &mut world.learner {
                    learner
                        .table
                        .take_back_from(&Self::holder(actor, incarnation), self.origin);
                    let unnamed = Holder::unnamed(&ActorId(actor.to_string()));
                    learner.table.take_back_from(&unnamed, self.origin);
                }
            }
            Action::Refuse(actor, sequence) => {
                world.faults.refused -= 1;
                self.refuse(&mut world, actor, sequence);
            }
            Action::Bury => self.bury(&mut world),
            Action::DigUp(sequence) => {
                world.faults.replays -= 1;
                self.dig_up(&mut world, sequence);
            }
            Action::Replay => self.replay(&mut world),
            Action::Look => {
                if let Some(learner) = &mut world.learner {
                    learner.monitor = Monitor::Looked(learner.table.queued().clone());
                }
            }
            Action::Open => {
                if let Some(learner) = &mut world.learner
                    && let Monitor::Looked(before) = &learner.monitor
                {
                    let Survey { queued, skipped, .. } = world.redis.open();
                    learner.monitor = Monitor::Opened(before.clone(), queued, skipped);
                }
            }
            Action::Reconcile => self.reconcile(&mut world),
            Action::Take => self.take(&mut world),
            Action::Train => self.train(&mut world),
            Action::Report => self.report(&mut world),
            Action::Save => self.save(&mut world),
            Action::Settle { is_lost } => {
                world.faults.lost_answers -= u8::from(is_lost);
                self.settle(&mut world, is_lost);
            }
            Action::Note => self.note(&mut world),
        }
        world
    }

    fn check(&self, world: &World) -> Held {
        if let Some((invariant, what)) = &world.broken {
            return Err(Broken {
                invariant,
                what: what.clone(),
            });
        }
        let history = world.history(usize::MAX);
        once(&history)?;
        in_order(&history)?;
        fresh(&history, self.rules.max_staleness)?;
        let mut watermark = 0;
        for checkpoint in &world.checkpoints {
            // Steps beyond the newest one are undone, and the checkpoints of them were read by nobody.
            let steps = checkpoint.step as usize;
            accounted(&world.history(steps), steps, &checkpoint.ended)?;
            if checkpoint.ended.consumed_below < watermark {
                let now = checkpoint.ended.consumed_below;
                return Err(Broken {
                    invariant: "watermark",
                    what: format!("a later checkpoint has {now} and an earlier one {watermark}"),
                });
            }
            watermark = checkpoint.ended.consumed_below;
        }
        if let Some(learner) = &world.learner {
            let standing = learner.table.standing();
            sound(0, &standing)?;
            // A skip that Redis and the checkpoint have both forgotten is taken back, and so is one that is replayed.
            let skipped = |faults: &Faults| faults.given_up + faults.refused;
            let taken_back = u64::from(skipped(&self.faults) - skipped(&world.faults));
            let out = learner.table.admitted().saturating_sub(taken_back);
            admission(out, world.newest_version, &self.rules.bounds())?;
        }
        Ok(())
    }

    fn goals(&self) -> Vec<Goal<Self>> {
        vec![Goal {
            name: "the job can finish",
            is_reached: |world| {
                let is_done = |learner: &Learner| learner.phase == Phase::Done;
                world.learner.as_ref().is_some_and(is_done)
            },
            may_happen: |action| {
                !matches!(
                    action,
                    Action::StartAndDie(_)
                        | Action::Kill
                        | Action::DamageNewestCheckpoint
                        | Action::ActorDies(_)
                        | Action::RedisIsSaved
                        | Action::RedisForgets
                        | Action::RedisGoesBack
                        | Action::AskTimesOut(_)
                        | Action::Answer { is_lost: true, .. }
                        | Action::Lease { is_lost: true, .. }
                        | Action::Expire { is_early: true, .. }
                        | Action::Admit { comes_again: true, .. }
                        | Action::Conclude { is_lost: true, .. }
                        | Action::Settle { is_lost: true }
                        | Action::GiveUp(..)
                        | Action::Refuse(..)
                        | Action::DigUp(_)
                )
            },
        }]
    }
}
