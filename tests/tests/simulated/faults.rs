//! The weather of the simulated network, drawn from a seed: partitions of both ways or of one, messages that are held
//! back, hosts that crash and come back, and a Redis that comes back with less.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use turmoil::Sim;

use crate::simulated::redis::Store;
use crate::simulated::world::World;
use crate::simulated::{ACTORS, BAD_WEATHER};

/// Who talks to whom.
const LINKS: [(&str, &str); 5] = [
    ("learner", "redis"),
    ("actor-1", "learner"),
    ("actor-2", "learner"),
    ("actor-1", "verifier"),
    ("actor-2", "verifier"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Partition(&'static str, &'static str),
    /// From the first to the second alone.
    OneWay(&'static str, &'static str),
    HeldBack(&'static str, &'static str),
    Crash(&'static str),
}

pub(crate) struct Weather {
    random: ChaCha8Rng,
    next: Duration,
    /// The faults under way, and until when.
    now: Vec<(Fault, Duration)>,
    /// The older data with which Redis can come back.
    saved: Option<Store>,
    faults: usize,
}

impl Weather {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            next: Duration::from_millis(1500),
            now: Vec::new(),
            saved: None,
            faults: 0,
        }
    }

    pub(crate) fn faults(&self) -> usize {
        self.faults
    }

    fn milliseconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    /// Ends the faults that are over, and lets those strike that are due.
    pub(crate) fn change(&mut self, simulation: &mut Sim<'_>, world: &World) {
        let elapsed = simulation.elapsed();
        let (over, now): (Vec<_>, Vec<_>) = self.now.drain(..).partition(|(_, until)| *until <= elapsed);
        self.now = now;
        for (fault, _) in over {
            match fault {
                Fault::Partition(from, to) => simulation.repair(from, to),
                Fault::OneWay(from, to) => simulation.repair_oneway(from, to),
                Fault::HeldBack(from, to) => simulation.release(from, to),
                Fault::Crash(host) => simulation.bounce(host),
            }
        }
        if elapsed < self.next || elapsed > BAD_WEATHER {
            return;
        }
        self.next = elapsed + self.milliseconds(300..5000);
        let until = elapsed + self.milliseconds(200..9000);
        let (from, to) = LINKS[self.random.random_range(0..LINKS.len())];
        let fault = match self.random.random_range(0..9) {
            0 | 1 => Fault::Partition(from, to),
            2 => Fault::OneWay(from, to),
            3 => Fault::OneWay(to, from),
            4 => Fault::HeldBack(from, to),
            5 => Fault::Crash("learner"),
            6 => Fault::Crash("redis"),
            7 => Fault::Crash("verifier"),
            _ => Fault::Crash(ACTORS[self.random.random_range(0..ACTORS.len())]),
        };
        // At most one fault at a time strikes a link or a host.
        let touches = |fault: &Fault| match *fault {
            Fault::Partition(from, to) | Fault::HeldBack(from, to) => (from, to),
            Fault::OneWay(from, to) => (from.max(to), from.min(to)),
            Fault::Crash(host) => (host, ""),
        };
        let place = |fault: &Fault| {
            let (one, other) = touches(fault);
            (one.max(other), one.min(other))
        };
        if self.now.iter().any(|(other, _)| place(other) == place(&fault)) {
            return;
        }
        self.faults += 1;
        match fault {
            Fault::Partition(from, to) => simulation.partition(from, to),
            Fault::OneWay(from, to) => simulation.partition_oneway(from, to),
            Fault::HeldBack(from, to) => simulation.hold(from, to),
            Fault::Crash(host) => simulation.crash(host),
        }
        if fault == Fault::Crash("redis") {
            self.lose(world);
        }
        self.now.push((fault, until));
    }

    /// Redis comes back with all that it had, with what it had a while ago, or with nothing.
    fn lose(&mut self, world: &World) {
        let mut store = world.redis.lock().unwrap();
        let before = self.saved.replace(store.clone());
        match self.random.random_range(0..3) {
            0 => {}
            1 => *store = before.unwrap_or_default(),
            _ => *store = Store::default(),
        }
    }
}
