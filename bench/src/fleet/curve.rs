//! How many groups a second one learner and one Redis take in, by the number of actors, beside `redis-benchmark`'s XADD
//! on the same Redis.
//!
//! Two windows are measured for each number of actors. In the first the trainer stands still, and there is room in the
//! queue for all that comes: what is pushed is what XADD does too. In the second the trainer takes groups meanwhile, so
//! that each goes through Redis and is deleted there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use super::actors::{Fleet, Seen, percentile};
use super::groups::{GroupMaker, Shape};
use super::peer::{self, Peer};
use super::stack::{Job, Place, Redis, Stack, Usage};
use super::table::{print, rounded};

/// Bytes of a mebibyte.
const MIB: f64 = 1_048_576.0;

/// Groups per step of the job.
const BATCH: u32 = 64;

/// How the curve is measured.
#[derive(Clone, Debug, Args)]
pub struct CurveCase {
    /// Numbers of actors
    #[arg(long, value_delimiter = ',', default_value = "1,8,64,512")]
    pub actors: Vec<usize>,
    /// Seconds of each window
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Entries that redis-benchmark adds before and after; 0 leaves it out
    #[arg(long, default_value_t = 600)]
    pub peer_entries: u64,
    /// Where processes keep their files.
    #[command(flatten)]
    pub place: Place,
}

/// Measures every number of actors, and prints a line for each window and each run of the peer.
///
/// # Errors
/// If a process fails.
pub async fn measure(shape: &Shape, case: &CurveCase) -> anyhow::Result<()> {
    let maker = Arc::new(GroupMaker::new(shape));
    for actors in &case.actors {
        measure_one(shape, case, &maker, *actors).await?;
    }
    Ok(())
}

async fn measure_one(shape: &Shape, case: &CurveCase, maker: &Arc<GroupMaker>, actors: usize) -> anyhow::Result<()> {
    let redis = Redis::start(&case.place).await?;
    let payload = maker
        .group(&Default::default(), "fleet-000", &Default::default(), 0)
        .wire;
    let add = async |redis: &Redis| match case.peer_entries {
        0 => Ok(None),
        entries => peer::xadd(redis, &payload, actors, entries.max(2 * actors as u64)).await,
    };
    let before = add(&redis).await?;
    let job = Job {
        batch: BATCH,
        // Room for all that is pushed while the trainer stands still.
        max_staleness: 1_000,
        queue_groups: BATCH * 1_000,
        recovery_every: 4,
        is_held: true,
        weights_mib: 0,
    };
    let stack = Stack::start(redis, shape, &job).await?;
    let fleet = Fleet::start(&stack, actors, maker, u64::MAX)?;
    // Connections are made, and every actor has pushed.
    settle(&fleet, actors).await?;
    let pushed = window(&stack, &fleet, case.seconds).await?;
    stack.hold(false)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first_step = stack.step().await?;
    let through = window(&stack, &fleet, case.seconds).await?;
    let steps = stack.step().await? - first_step;
    let trained = (steps * u64::from(BATCH)) as f64 / through.seconds;
    fleet.stop().await;
    let Stack { redis, .. } = stack;
    redis.ask::<String>("FLUSHALL", &[])?;
    let after = add(&redis).await?;

    let xadd: Vec<Peer> = [before, after].into_iter().flatten().collect();
    let rate = xadd.iter().map(|peer| peer.rate).sum::<f64>() / xadd.len().max(1) as f64;
    let mut line = pushed.figures(actors);
    line["redis_sync"] = json!(case.place.redis_sync);
    if !xadd.is_empty() {
        line["xadd_per_second"] = json!(xadd.iter().map(|peer| rounded(peer.rate)).collect::<Vec<_>>());
        line["of_xadd"] = json!(rounded(pushed.rate() / rate));
        let mean = |of: fn(&Peer) -> f64| rounded(xadd.iter().map(of).sum::<f64>() / xadd.len() as f64);
        line["xadd_p50_ms"] = json!(mean(|peer| peer.p50_ms));
        line["xadd_p99_ms"] = json!(mean(|peer| peer.p99_ms));
        line["xadd_redis_cpu_ms"] = json!(mean(|peer| peer.redis_cpu_seconds * 1000.0));
    }
    print("push", line);
    let mut line = through.figures(actors);
    line["redis_sync"] = json!(case.place.redis_sync);
    line["trained_groups_per_second"] = json!(rounded(trained));
    print("through", line);
    Ok(())
}

/// Waits until a few more groups were accepted than there are actors, so that nearly every actor has pushed one. Fails
/// after a minute.
async fn settle(fleet: &Fleet, actors: usize) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut accepted = 0;
    while accepted < actors as u64 + 8 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        accepted += fleet.take_seen().accepted;
        anyhow::ensure!(
            Instant::now() < deadline,
            "only {accepted} groups were accepted in 60 s"
        );
    }
    Ok(())
}

/// What happened in a window.
struct Window {
    seconds: f64,
    seen: Seen,
    learner: f64,
    redis: f64,
    fleet: f64,
    learner_resident: u64,
    redis_memory: f64,
}

async fn window(stack: &Stack, fleet: &Fleet, seconds: f64) -> anyhow::Result<Window> {
    let own = std::process::id();
    let before = (stack.learner()?, stack.redis.usage()?, Usage::of(own)?);
    fleet.take_seen();
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    let seen = fleet.take_seen();
    let seconds = started.elapsed().as_secs_f64();
    let after = (stack.learner()?, stack.redis.usage()?, Usage::of(own)?);
    let memory = stack.redis.info("memory", "used_memory").context("memory of redis")?;
    Ok(Window {
        seconds,
        seen,
        learner: after.0.cpu_seconds - before.0.cpu_seconds,
        redis: after.1.cpu_seconds - before.1.cpu_seconds,
        fleet: after.2.cpu_seconds - before.2.cpu_seconds,
        learner_resident: after.0.resident,
        redis_memory: memory,
    })
}

impl Window {
    fn rate(&self) -> f64 {
        self.seen.accepted as f64 / self.seconds
    }

    fn figures(&self, actors: usize) -> Value {
        let (mut lease, mut push) = (self.seen.lease_ms.clone(), self.seen.push_ms.clone());
        let groups = self.seen.accepted.max(1) as f64;
        let each = |cpu_seconds: f64| rounded(cpu_seconds * 1000.0 / groups);
        json!({
            "actors": actors,
            "seconds": rounded(self.seconds),
            "groups": self.seen.accepted,
            "groups_per_second": rounded(self.rate()),
            "megabytes_per_second": rounded(self.seen.bytes as f64 / 1e6 / self.seconds),
            "group_bytes": self.seen.bytes / self.seen.accepted.max(1),
            "lease_p50_ms": rounded(percentile(&mut lease, 0.5)),
            "lease_p99_ms": rounded(percentile(&mut lease, 0.99)),
            "push_p50_ms": rounded(percentile(&mut push, 0.5)),
            "push_p99_ms": rounded(percentile(&mut push, 0.99)),
            "learner_cpu_ms": each(self.learner),
            "redis_cpu_ms": each(self.redis),
            "fleet_cpu_ms": each(self.fleet),
            "learner_mib": rounded(self.learner_resident as f64 / MIB),
            "redis_mib": rounded(self.redis_memory / MIB),
            "without_lease": self.seen.without_lease,
            "not_accepted": self.seen.others,
            "errors": self.seen.errors,
        })
    }
}
