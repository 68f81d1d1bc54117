//! Random faults of real processes and of the connections between them, from a seed: the same seed injects the same
//! faults, but what they hit depends on time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::link::{Link, Weather};
use crate::process::Process;
use crate::stack::Stack;

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The learner.
    Learner,
    /// An actor, by its index.
    Actor(usize),
    /// The verifier.
    Verifier,
    /// Redis.
    Redis,
    /// The connection between learner and Redis.
    RedisLink,
    /// The connections between actors and learner.
    LearnerLink,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL; a supervisor starts it again.
    Kill,
    /// SIGTERM; a supervisor starts it again.
    Term,
    /// SIGSTOP, for a while.
    Stop,
    /// The connection is refused, for a while.
    Refuse,
    /// Nothing goes through, for a while.
    BlackHole,
    /// Everything comes late, for a while.
    Slow,
}

/// How long faults last and how they follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The shortest and the longest time between two faults.
    pub between: (Duration, Duration),
    /// How long a process stands still or a connection is disturbed, at least and at most.
    pub lasts: (Duration, Duration),
    /// After how long a supervisor starts a process again.
    pub restart: Duration,
}

/// Faults under way, and those that were injected.
pub struct Chaos {
    random: ChaCha8Rng,
    pace: Pace,
    next: Instant,
    /// When each target under a fault is healed, and of what.
    healing: BTreeMap<Target, (Instant, Kind)>,
    /// How many of each were injected.
    pub injected: BTreeMap<(Kind, &'static str), usize>,
    /// How often a process ended by itself and was started again, with its exit status.
    pub ended_by_itself: Vec<String>,
}

impl Chaos {
    /// Nothing has happened yet.
    pub fn new(seed: u64, pace: Pace) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            pace,
            next: Instant::now(),
            healing: BTreeMap::new(),
            injected: BTreeMap::new(),
            ended_by_itself: Vec::new(),
        }
    }

    /// How many faults were injected.
    pub fn count(&self) -> usize {
        self.injected.values().sum()
    }

    /// Injects a fault where one is due, heals what is to heal, and starts again what ended by itself, as a supervisor
    /// does.
    pub async fn tick(&mut self, stack: &mut Stack, to_redis: &Link, to_learner: &Link) {
        self.heal(stack, to_redis, to_learner, false).await;
        self.supervise(stack);
        if Instant::now() >= self.next {
            self.inject(stack, to_redis, to_learner);
            let (least, most) = self.pace.between;
            self.next = Instant::now() + self.random.random_range(least..=most);
        }
    }

    /// Heals what is to heal and starts again what ended by itself, without a new fault.
    pub async fn heal_due(&mut self, stack: &mut Stack, to_redis: &Link, to_learner: &Link) {
        self.heal(stack, to_redis, to_learner, false).await;
        self.supervise(stack);
    }

    /// Heals everything.
    pub async fn end(&mut self, stack: &mut Stack, to_redis: &Link, to_learner: &Link) {
        self.heal(stack, to_redis, to_learner, true).await;
        self.supervise(stack);
    }

    fn inject(&mut self, stack: &mut Stack, to_redis: &Link, to_learner: &Link) {
        let mut targets = vec![
            Target::Learner,
            Target::Verifier,
            Target::Redis,
            Target::RedisLink,
            Target::LearnerLink,
        ];
        targets.extend((0..stack.actors.len()).map(Target::Actor));
        targets.retain(|target| !self.healing.contains_key(target));
        let Some(target) = targets.choose(&mut self.random).copied() else {
            return;
        };
        let kinds: &[Kind] = match target {
            Target::RedisLink | Target::LearnerLink => &[Kind::Refuse, Kind::BlackHole, Kind::Slow],
            _ => &[Kind::Kill, Kind::Term, Kind::Stop],
        };
        let kind = kinds.choose(&mut self.random).copied().unwrap_or(Kind::Stop);
        let (least, most) = self.pace.lasts;
        let lasts = match kind {
            Kind::Kill | Kind::Term => self.pace.restart,
            _ => self.random.random_range(least..=most),
        };
        match target {
            Target::RedisLink => to_redis.set(weather_of(kind)),
            Target::LearnerLink => to_learner.set(weather_of(kind)),
            _ => {
                let process = process_of(stack, target);
                // A process that has just ended by itself is left to the supervisor, which starts it again.
                if process.exit_status().is_some() {
                    return;
                }
                match kind {
                    Kind::Kill => process.kill(),
                    Kind::Term => process.signal(Signal::SIGTERM),
                    _ => process.signal(Signal::SIGSTOP),
                }
            }
        }
        *self.injected.entry((kind, name_of(target))).or_default() += 1;
        self.healing.insert(target, (Instant::now() + lasts, kind));
    }

    async fn heal(&mut self, stack: &mut Stack, to_redis: &Link, to_learner: &Link, all: bool) {
        let now = Instant::now();
        let due: Vec<(Target, Kind)> = self
            .healing
            .iter()
            .filter(|(_, (at, _))| all || *at <= now)
            .map(|(target, (_, kind))| (*target, *kind))
            .collect();
        for (target, kind) in due {
            match (target, kind) {
                (Target::RedisLink, _) => to_redis.set(Weather::Fair),
                (Target::LearnerLink, _) => to_learner.set(Weather::Fair),
                (_, Kind::Stop) => process_of(stack, target).signal(Signal::SIGCONT),
                (_, Kind::Term) => {
                    // It has ten seconds; a supervisor waits for its end.
                    if process_of(stack, target).exit_status().is_none() && !all {
                        continue;
                    }
                    let code = process_of(stack, target).exit_code(15).await;
                    assert_eq!(code, 0, "{target:?} after SIGTERM");
                    start_again(stack, target);
                }
                _ => start_again(stack, target),
            }
            self.healing.remove(&target);
        }
    }

    fn supervise(&mut self, stack: &mut Stack) {
        let mut targets = vec![Target::Learner, Target::Verifier, Target::Redis];
        targets.extend((0..stack.actors.len()).map(Target::Actor));
        for target in targets {
            if self.healing.contains_key(&target) {
                continue;
            }
            if let Some(status) = process_of(stack, target).exit_status() {
                self.ended_by_itself.push(format!("{} ({status})", name_of(target)));
                start_again(stack, target);
            }
        }
    }
}

fn weather_of(kind: Kind) -> Weather {
    match kind {
        Kind::Refuse => Weather::Refused,
        Kind::BlackHole => Weather::BlackHole,
        _ => Weather::Slow,
    }
}

fn name_of(target: Target) -> &'static str {
    match target {
        Target::Learner => "learner",
        Target::Actor(_) => "actor",
        Target::Verifier => "verifier",
        Target::Redis => "redis",
        Target::RedisLink => "learner–redis",
        Target::LearnerLink => "actor–learner",
    }
}

fn process_of(stack: &mut Stack, target: Target) -> &mut Process {
    match target {
        Target::Learner | Target::RedisLink | Target::LearnerLink => &mut stack.learner.process,
        Target::Actor(index) => &mut stack.actors[index].process,
        Target::Verifier => &mut stack.verifier.process,
        Target::Redis => &mut stack.redis,
    }
}

fn start_again(stack: &mut Stack, target: Target) {
    match target {
        Target::Learner => stack.spawn_learner(),
        Target::Actor(index) => stack.spawn_actor(index),
        Target::Verifier => stack.spawn_verifier(),
        Target::Redis => stack.spawn_redis(),
        Target::RedisLink | Target::LearnerLink => {}
    }
}
