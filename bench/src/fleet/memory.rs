//! What grows, and what does not: memory while the trainer stands still and the actors go on, and over many pushes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use super::actors::Fleet;
use super::groups::{GroupMaker, Shape};
use super::stack::{Job, Place, Redis, Stack};
use super::table::{print, rounded};

/// Groups per step, and steps per checkpoint. After their product, `ROUND`, everything has been acknowledged.
const BATCH: u32 = 32;
const RECOVERY_EVERY: u64 = 5;
const ROUND: u64 = BATCH as u64 * RECOVERY_EVERY;

/// The bound of the queue while the trainer stands still.
const QUEUE_GROUPS: u32 = 64;

/// How the memory is measured.
#[derive(Clone, Debug, Args)]
pub struct MemoryCase {
    /// Small groups that are pushed; 0 leaves the case out
    #[arg(long, default_value_t = 60_000)]
    pub pushes: u64,
    /// How often the memory is looked at on the way
    #[arg(long, default_value_t = 10)]
    pub looks: u64,
    /// Seconds for which the trainer stands still while large groups are pushed; 0 leaves the case out
    #[arg(long, default_value_t = 20.0)]
    pub held_seconds: f64,
    /// Actors that push to the trainer that stands still
    #[arg(long, default_value_t = 512)]
    pub held_actors: usize,
    /// MiB by which a process may have grown from the first look to the last
    #[arg(long, default_value_t = 32.0)]
    pub growth_mib: f64,
    /// Where processes keep their files.
    #[command(flatten)]
    pub place: Place,
}

/// Measures both, prints a line for each look, and fails where something grows.
///
/// # Errors
/// If a bound does not hold, or a process fails.
pub async fn measure(shape: &Shape, case: &MemoryCase) -> anyhow::Result<()> {
    if case.held_seconds > 0.0 {
        hold(shape, case).await?;
    }
    if case.pushes > 0 {
        push_many(case).await?;
    }
    Ok(())
}

/// What both processes hold.
async fn look(stack: &Stack) -> anyhow::Result<Value> {
    let account = stack.account().await?;
    let mut looked = stack.redis_sizes()?;
    looked["learner_mib"] = mib(stack.learner()?.resident as f64);
    looked["redis_mib"] = mib(stack.redis.info("memory", "used_memory")?);
    looked["queued"] = json!(account.queued.len());
    looked["leased"] = json!(account.leased.len());
    looked["waiting"] = json!(account.waiting.len());
    looked["taken"] = json!(account.taken.len());
    Ok(looked)
}

fn mib(bytes: f64) -> Value {
    json!(rounded(bytes / 1_048_576.0))
}

fn number(looked: &Value, name: &str) -> f64 {
    looked[name].as_f64().unwrap_or(f64::NAN)
}

/// The trainer stands still: the queue fills up to its bound, actors keep what they have, and no process grows.
async fn hold(shape: &Shape, case: &MemoryCase) -> anyhow::Result<()> {
    let job = Job {
        batch: BATCH,
        max_staleness: 16,
        queue_groups: QUEUE_GROUPS,
        recovery_every: RECOVERY_EVERY,
        is_held: true,
        weights_mib: 0,
    };
    let stack = Stack::start(Redis::start(&case.place).await?, shape, &job).await?;
    let fleet = Fleet::start(&stack, case.held_actors, &Arc::new(GroupMaker::new(shape)), u64::MAX)?;
    let bound = u64::from(QUEUE_GROUPS) + u64::from(BATCH);
    let started = Instant::now();
    // It is full, and every other actor has been told so.
    tokio::time::sleep(Duration::from_secs_f64(case.held_seconds / 3.0)).await;
    let mut looks = Vec::new();
    let mut before = (Instant::now(), stack.learner()?.cpu_seconds);
    while started.elapsed().as_secs_f64() < case.held_seconds {
        tokio::time::sleep(Duration::from_secs_f64(case.held_seconds / 9.0)).await;
        let mut looked = look(&stack).await?;
        let after = (Instant::now(), stack.learner()?.cpu_seconds);
        let cores = (after.1 - before.1) / after.0.duration_since(before.0).as_secs_f64();
        before = after;
        looked["actors"] = json!(case.held_actors);
        looked["learner_cores"] = json!(rounded(cores));
        looked["seconds"] = json!(rounded(started.elapsed().as_secs_f64()));
        looked["bound"] = json!(bound);
        print("held", looked.clone());
        ensure!(
            number(&looked, "stored") <= bound as f64,
            "the queue is beyond its bound: {looked}"
        );
        looks.push(looked);
    }
    let first_step = stack.step().await?;
    ensure!(first_step == 0, "the trainer was to stand still");
    check_growth(&looks, case.growth_mib)?;
    let before = fleet.take_seen();
    ensure!(
        before.errors == 0,
        "{} calls failed while the trainer stood still",
        before.errors
    );
    // What was kept is pushed as soon as there is room.
    stack.hold(false)?;
    let mut steps = 0;
    for _ in 0..600 {
        steps = stack.step().await?;
        if steps >= RECOVERY_EVERY {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(steps >= RECOVERY_EVERY, "the trainer did not go on: {steps} steps");
    fleet.stop().await;
    Ok(())
}

/// Pushes many groups in rounds. After each everything has been trained and acknowledged, so that nothing is to be left
/// of it.
async fn push_many(case: &MemoryCase) -> anyhow::Result<()> {
    let shape = Shape::small();
    let job = Job {
        batch: BATCH,
        max_staleness: 8,
        // Room for all that is admitted: an actor that finds the queue full comes back after seconds.
        queue_groups: 10 * BATCH,
        recovery_every: RECOVERY_EVERY,
        is_held: false,
        weights_mib: 0,
    };
    let stack = Stack::start(Redis::start(&case.place).await?, &shape, &job).await?;
    let fleet = Fleet::start(&stack, 16, &Arc::new(GroupMaker::new(&shape)), 0)?;
    let round = (case.pushes / case.looks.max(1)).div_ceil(ROUND) * ROUND;
    let started = Instant::now();
    let mut looks = Vec::new();
    let mut pushed = 0;
    for _ in 0..case.looks.max(1) {
        fleet.allow(round);
        pushed += round;
        until_acknowledged(&stack, pushed).await?;
        let seen = fleet.take_seen();
        ensure!(seen.others == 0, "{} groups were not accepted", seen.others);
        let mut looked = look(&stack).await?;
        looked["pushes"] = json!(pushed);
        looked["seconds"] = json!(rounded(started.elapsed().as_secs_f64()));
        print("many", looked.clone());
        for (name, most) in [
            // The name of the job's owner.
            ("seen", 1.0),
            ("stored", 0.0),
            ("queued", 0.0),
            ("leased", 0.0),
            ("waiting", 0.0),
            ("taken", 0.0),
            // The hash of what is known, and the learner's right.
            ("keys", 2.0),
        ] {
            let size = number(&looked, name);
            ensure!(
                size <= most,
                "after {pushed} groups, {name} has {size} entries and not {most}"
            );
        }
        looks.push(looked);
    }
    check_growth(&looks, case.growth_mib)?;
    fleet.stop().await;
    Ok(())
}

async fn until_acknowledged(stack: &Stack, groups: u64) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(600);
    while Instant::now() < deadline {
        let steps = stack.step().await?;
        if steps * u64::from(BATCH) >= groups {
            let account = stack.account().await?;
            if account.taken.is_empty() && account.queued.is_empty() {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("{groups} groups were not trained in 600 s")
}

fn check_growth(looks: &[Value], most: f64) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else {
        return Ok(());
    };
    for name in ["learner_mib", "redis_mib"] {
        let growth = number(last, name) - number(first, name);
        ensure!(
            growth <= most,
            "{name} has grown by {growth:.1}; at most {most} are allowed"
        );
    }
    Ok(())
}
