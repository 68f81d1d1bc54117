//! What it costs to bring new weights of a real model to an actor that generates: bytes, times, and the engine's pause.
//!
//! `ANYTIME_SMOLLM2=DIR cargo test --release -p anytime-tests --test system weights:: -- --ignored --nocapture --test-threads
//! 1`, where DIR is the directory of SmolLM2-135M-Instruct. Everything is real but for what the groups are about:
//! trainer, weights service on loopback, follower, engine. The last line is one JSON object.
#![allow(clippy::unwrap_used)]

mod generation;
mod trainer;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anytime_policy::{ModelConfig, device, expected_tensors};
use anytime_proto::v1::CachePolicy;
use anytime_proto::v1::job_service_client::JobServiceClient;
use anytime_proto::{JobId, v1};
use anytime_service::channel::PeerChannel;
use anytime_service::metric_names as names;
use anytime_service::security::ServerSecurity;
use anytime_service::telemetry::{self, LogFormat, TelemetryArgs};
use anytime_tests::metrics::{Sample, scrape, sum};
use anytime_tests::ports::free_address;
use anytime_tests::stack::start_redis;
use anytime_tests::workplace::Workplace;
use generation::Generation;
use trainer::{Order, TestTrainer};

/// Updates that are measured in each state of the masters.
const UPDATES: u64 = 6;
/// How long the engine's speed is measured while nothing else happens.
const ALONE: Duration = Duration::from_secs(8);

/// The bounds that must hold.
const MOST_BYTES: f64 = 0.2;
const LONGEST_PAUSE_MS: f64 = 50.0;

/// The values of the process's metrics at one moment.
struct Moment {
    at: Instant,
    samples: Vec<Sample>,
}

impl Moment {
    async fn now(address: &str) -> Self {
        let samples = scrape(address).await.unwrap();
        Self {
            at: Instant::now(),
            samples,
        }
    }

    fn value(&self, name: &str, label: &str) -> f64 {
        sum(&self.samples, name, label)
    }
}

/// The cost of bringing one version to the engine.
struct Transfer {
    bytes: f64,
    encode: f64,
    decode: f64,
    pause_ms: f64,
    /// Seconds from the start of the publication to the swap.
    seconds: f64,
    tokens: f64,
}

struct Scene {
    trainer: TestTrainer,
    generation: Generation,
    metrics: String,
    version: u64,
}

impl Scene {
    /// Publishes the trainer's weights and waits until the engine generates with them.
    async fn transfer(&mut self) -> Transfer {
        self.version += 1;
        let before = Moment::now(&self.metrics).await;
        self.trainer.have(Order::Publish(self.version)).await;
        self.generation.installed(self.version).await;
        let after = Moment::now(&self.metrics).await;
        // The engine records its pause only after it has told of the swap.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let later = Moment::now(&self.metrics).await;
        let grown = |name: &str, label: &str| later.value(name, label) - before.value(name, label);
        let summed = |name: &str| grown(&format!("{name}_sum"), "");
        assert_eq!(grown(names::ACTOR_DELTA_FALLBACKS, ""), 0.0);
        assert_eq!(grown(&format!("{}_count", names::ACTOR_WEIGHTS_PAUSE), ""), 1.0);
        assert_eq!(grown(names::ACTOR_WEIGHTS_BYTES, "whole"), 0.0);
        Transfer {
            bytes: grown(names::ACTOR_WEIGHTS_BYTES, "delta"),
            encode: summed(names::LEARNER_DELTA_SECONDS),
            decode: summed(names::ACTOR_DELTA_SECONDS),
            pause_ms: 1e3 * summed(names::ACTOR_WEIGHTS_PAUSE),
            seconds: (after.at - before.at).as_secs_f64(),
            tokens: after.value(names::ACTOR_TOKENS, "") - before.value(names::ACTOR_TOKENS, ""),
        }
    }

    async fn updates(&mut self, what: &str, updates: u64, whole: f64) -> Vec<Transfer> {
        let mut transfers = Vec::new();
        for update in 1..=updates {
            self.trainer.have(Order::Update).await;
            let transfer = self.transfer().await;
            print(&format!("{what}, update {update}"), &transfer, whole);
            transfers.push(transfer);
        }
        transfers
    }

    /// Tokens per second while nothing is trained or sent.
    async fn speed_alone(&self) -> f64 {
        let before = Moment::now(&self.metrics).await;
        tokio::time::sleep(ALONE).await;
        let after = Moment::now(&self.metrics).await;
        let tokens = after.value(names::ACTOR_TOKENS, "") - before.value(names::ACTOR_TOKENS, "");
        tokens / (after.at - before.at).as_secs_f64()
    }
}

/// One row of the table.
fn print(what: &str, transfer: &Transfer, whole: f64) {
    println!(
        "| {what} | {:.0} | {:.2} % | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
        transfer.bytes,
        100.0 * transfer.bytes / whole,
        transfer.encode,
        transfer.decode,
        transfer.seconds,
        transfer.pause_ms,
        transfer.tokens / transfer.seconds,
    );
}

fn largest(transfers: &[Transfer], value: impl Fn(&Transfer) -> f64) -> f64 {
    transfers.iter().map(value).fold(0.0, f64::max)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; needs a SmolLM2 directory in ANYTIME_SMOLLM2"]
async fn weights_to_actors() {
    let model = PathBuf::from(std::env::var_os("ANYTIME_SMOLLM2").expect("ANYTIME_SMOLLM2 names the model directory"));
    device::set_threads(1);
    let metrics = free_address();
    let arguments = TelemetryArgs {
        metrics_address: Some(metrics.parse().unwrap()),
        log_format: LogFormat::Text,
        otlp_endpoint: None,
    };
    let _sending = telemetry::start("weights", &arguments, &ServerSecurity::default()).unwrap();
    let workplace = Workplace::new();
    let (_redis, redis_url) = start_redis(&workplace).await;
    let config = ModelConfig::load(&model).unwrap();
    let vocabulary = config.vocab_size as u32;
    let elements: i64 = expected_tensors(&config)
        .iter()
        .map(|(_, shape)| shape.iter().product::<i64>())
        .sum();
    let whole = 2.0 * elements as f64;
    let trainer = TestTrainer::start(&redis_url, &workplace.path(""), model).await;
    let job = job(&trainer).await;
    let channel = PeerChannel::over(trainer.channel.clone());
    let generation = Generation::start(channel, job, vocabulary);
    let mut scene = Scene {
        trainer,
        generation,
        metrics,
        version: 0,
    };

    scene.trainer.have(Order::Load).await;
    let started = Instant::now();
    scene.trainer.have(Order::Publish(0)).await;
    scene.generation.installed(0).await;
    let first = Moment::now(&scene.metrics).await;
    let fetched = first.value(names::ACTOR_WEIGHTS_BYTES, "whole");
    println!(
        "{whole:.0} bytes of weights in bf16; the whole with its assets: {fetched:.0} bytes, {:.2} s",
        started.elapsed().as_secs_f64()
    );
    println!(
        "{} rows at a time, prompts of {} tokens, thinking of {}; an update over {} x {} tokens at {:e}",
        generation::ROWS,
        generation::PROMPT_TOKENS,
        generation::THINKING_TOKENS,
        trainer::ROWS,
        trainer::ROW_TOKENS,
        trainer::LEARNING_RATE,
    );
    println!("| masters | bytes | of the whole | encode s | apply s | publish to exchange s | pause ms | tokens/s |");
    println!("|---|---|---|---|---|---|---|---|");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let alone = scene.speed_alone().await;
    let fresh = scene.updates("as loaded", UPDATES, whole).await;
    scene.trainer.have(Order::Spread).await;
    print("the spreading itself", &scene.transfer().await, whole);
    let spread = scene.updates("spread", UPDATES, whole).await;
    let alone = (alone + scene.speed_alone().await) / 2.0;
    let kept: Vec<Transfer> = fresh.into_iter().chain(spread).collect();

    // Half of what a sequence gets: the rows that are computed again.
    scene.generation.begin_again_with(CachePolicy::Recompute);
    let half = f64::from(generation::ROWS * generation::THINKING_TOKENS / 2);
    let generated = async || Moment::now(&scene.metrics).await.value(names::ACTOR_TOKENS, "");
    let start = generated().await;
    while generated().await < start + half {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let recomputed = scene.updates("spread, recompute", 1, whole).await;

    let seconds: f64 = kept.iter().map(|transfer| transfer.seconds).sum();
    let beside = kept.iter().map(|transfer| transfer.tokens).sum::<f64>() / seconds;
    let ratio = |transfer: &Transfer| transfer.bytes / whole;
    let result = serde_json::json!({
        "weight_bytes": largest(&kept, ratio),
        "weight_pause_ms": largest(&kept, |transfer| transfer.pause_ms),
        "weight_pause_recompute_ms": largest(&recomputed, |transfer| transfer.pause_ms),
        "weight_encode_s": largest(&kept, |transfer| transfer.encode),
        "weight_apply_s": largest(&kept, |transfer| transfer.decode),
        "weight_whole_bytes": whole,
        "weight_tokens_per_s_alone": alone,
        "weight_tokens_per_s_transfer": beside,
    });
    assert!(largest(&kept, ratio) <= MOST_BYTES, "{result}");
    assert!(
        largest(&kept, |transfer| transfer.pause_ms) <= LONGEST_PAUSE_MS,
        "{result}"
    );
    assert!(kept.iter().all(|transfer| transfer.bytes > 0.0), "{result}");
    drop(scene.generation);
    scene.trainer.stop().await;
    println!("{result}");
}

/// The one job of the learner.
async fn job(trainer: &TestTrainer) -> JobId {
    let jobs = JobServiceClient::new(trainer.channel.clone())
        .list(v1::ListJobsRequest::default())
        .await;
    JobId(jobs.unwrap().into_inner().jobs.remove(0).id)
}
