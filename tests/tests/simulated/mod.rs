//! Learner, actors, verifier and Redis as hosts of a simulated network with a clock of its own (turmoil). The services of
//! the learner, its broker and its monitor, and the actor's loops (lease, push, grade, follow the weights) are the code
//! itself, over real gRPC; Redis is modelled, what generates and what trains only takes its time. While a seed draws
//! partitions, delays, crashes and a Redis that loses data, the invariants of `learner/src/invariants.rs` hold, and
//! afterwards the job comes to its end.
//!
//! `SIMULATION_SEED=7` runs one seed again, and
//!
//! ```sh
//! cargo test --workspace --test system simulated:: -- --ignored --nocapture
//! ```
//!
//! 200 of them, from `SIMULATION_SEED` on. The seed draws faults and delays. What the libraries draw by themselves (pauses
//! before tries, which of two ready futures goes first) is not drawn from it, so that a second run is alike and not the
//! same.
#![allow(clippy::unwrap_used)]

mod actor;
mod faults;
mod learner;
mod network;
mod redis;
mod verifier;
mod world;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use crate::simulated::faults::Weather;
use crate::simulated::world::World;

/// How long faults strike, by the clock of the simulation.
const BAD_WEATHER: Duration = Duration::from_secs(40);

/// The job must have come to its end by then.
const LONGEST: Duration = Duration::from_secs(600);

/// How far the clock goes at a time.
const TICK: Duration = Duration::from_millis(25);

const ACTORS: [&str; 2] = ["actor-1", "actor-2"];

/// Runs one seed, and says how long the job took.
fn simulate(seed: u64, plant: Option<world::Plant>) -> Result<Duration, String> {
    let directory = tempfile::tempdir().unwrap();
    let world = Arc::new(World::new(directory.path(), plant));
    let mut simulation = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(200))
        .simulation_duration(LONGEST * 2)
        .tcp_capacity(4096)
        .build();
    let of = world.clone();
    simulation.host("redis", move || redis::serve(of.clone()));
    let of = world.clone();
    simulation.host("learner", move || learner::serve(of.clone()));
    simulation.host("verifier", verifier::serve);
    for name in ACTORS {
        let of = world.clone();
        simulation.host(name, move || actor::work(name, of.clone()));
    }
    let mut weather = Weather::new(seed);
    while !world.is_done() {
        weather.change(&mut simulation, &world);
        let stepped = simulation.step();
        stepped.map_err(|error| format!("a host ended: {error}"))?;
        world.check()?;
        if simulation.elapsed() > LONGEST {
            return Err(format!("the job has not come to its end: {}", world.progress()));
        }
    }
    world.check()?;
    let took = simulation.elapsed();
    println!(
        "seed {seed}: {took:.0?}, {} faults, {} undone steps",
        weather.faults(),
        world.undone()
    );
    Ok(took)
}

/// A panic in a task of a host would be taken for a lost connection, so panics are collected here. All hosts of a
/// simulation run on one thread.
fn panics() -> &'static Mutex<Vec<(ThreadId, String)>> {
    static PANICS: Mutex<Vec<(ThreadId, String)>> = Mutex::new(Vec::new());
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((std::thread::current().id(), panic.to_string()));
            hook(panic);
        }));
    });
    &PANICS
}

fn first_seed() -> Option<u64> {
    std::env::var("SIMULATION_SEED").ok().and_then(|text| text.parse().ok())
}

fn run(seeds: impl Iterator<Item = u64>) {
    let panics = panics();
    for seed in seeds {
        if let Err(problem) = simulate(seed, None) {
            panic!("SIMULATION_SEED={seed}: {problem}");
        }
        let own = std::thread::current().id();
        let panicked = panics
            .lock()
            .unwrap()
            .iter()
            .find(|(thread, _)| *thread == own)
            .cloned();
        assert_eq!(panicked, None, "SIMULATION_SEED={seed}");
    }
}

#[test]
fn the_job_comes_to_its_end_in_any_weather() {
    match first_seed() {
        Some(seed) => run(seed..=seed),
        None => run(0..20),
    }
}

#[test]
fn planted_errors_are_found() {
    for (plant, says) in [
        (world::Plant::TrainsTwice, "once"),
        (world::Plant::AcknowledgesFirst, "acknowledged"),
    ] {
        let found = (0..40).find_map(|seed| simulate(seed, Some(plant)).err());
        let found = found.unwrap_or_else(|| panic!("{plant:?} is not found"));
        assert!(found.contains(says), "{plant:?}: {found}");
    }
}

#[test]
#[ignore = "takes minutes"]
fn two_hundred_seeds() {
    let first = first_seed().unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("from seed {first}");
    run(first..first + 200);
}
