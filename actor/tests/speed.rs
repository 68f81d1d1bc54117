//! How fast a tiny model generates, where the overhead of a step counts and not the arithmetic.
//!
//! `cargo test --release -p anytime-actor --test speed -- --ignored --nocapture`
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Instant;

use anytime_actor::engine::sampler::{Draw, sample};
use anytime_actor::engine::{self, CacheLimit, Command, EngineLimits, Event};
use anytime_actor::plan::Plan;
use anytime_policy::{Extension, KvCache, ModelConfig, device};
use anytime_proto::v1;
use common::{config_json, endless_plan, model_of, plan_message, request};
use tch::Device;

/// Tokens per second of 64 rows over `groups` groups of the plan.
fn measure(name: &str, hidden: usize, layers: usize, vocabulary: u32, plan: &v1::RolloutPlan, groups: u64) {
    device::set_threads(1);
    let config = ModelConfig::from_json(&config_json(hidden, layers, vocabulary)).unwrap();
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let (engine, thread) = engine::spawn(
        EngineLimits {
            slots: 64,
            cache: CacheLimit::Bytes(1 << 31),
        },
        sender,
    )
    .unwrap();
    engine.send(Command::SwapWeights(Box::new(model_of(config, 0))));
    let started = Instant::now();
    for number in 0..groups {
        engine.send(Command::AddGroup(request(number, plan)));
    }
    let (mut thinking_tokens, mut summary_tokens, mut finished) = (0, 0, 0);
    while finished < groups {
        match events.blocking_recv().unwrap() {
            Event::TraceFinished { thinking, .. } => thinking_tokens += thinking.ids.len(),
            Event::NodeFinished { summaries, .. } => {
                summary_tokens += summaries.iter().map(|summary| summary.ids.len()).sum::<usize>();
            }
            Event::GroupFinished { .. } => finished += 1,
            Event::GroupFailed { detail, .. } => panic!("{detail}"),
            Event::Served(event) => panic!("nobody is served: {event:?}"),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let processor_seconds = engine_seconds();
    let tokens = (thinking_tokens + summary_tokens) as f64;
    println!(
        "{name}: {layers} layers, hidden {hidden}, vocabulary {vocabulary}: {:.0} tokens/s in {seconds:.2} s; per second \
         of processor time {:.0} tokens/s, {:.3} ms for 64 tokens ({thinking_tokens} thinking, {summary_tokens} summary)",
        tokens / seconds,
        tokens / processor_seconds,
        processor_seconds / tokens * 64_000.0,
    );
    engine.send(Command::Shutdown);
    thread.join().unwrap().unwrap();
}

#[test]
#[ignore = "a measurement"]
fn tokens_per_second() {
    // Only decoding: all rows think for as long.
    let mut decode = endless_plan(512);
    (decode.traces, decode.summaries, decode.max_summary_tokens) = (64, 1, 1);
    for hidden in [64, 128] {
        measure("decode", hidden, 2, 30, &decode, 1);
    }
    measure("decode", 128, 2, 1024, &decode, 1);
    // What a demonstration does: short traces of uneven lengths, 16 summaries of 6 tokens each.
    let mut demo = plan_message();
    (demo.traces, demo.summaries, demo.budgets) = (8, 4, vec![16, 32, 48, 64]);
    demo.sampling = Some(v1::Sampling {
        temperature: 4.0,
        top_p: 1.0,
        top_k: 0,
    });
    measure("demo", 128, 2, 30, &demo, 60);
    demo.sampling = Some(v1::Sampling {
        temperature: 4.0,
        top_p: 0.95,
        top_k: 20,
    });
    measure("demo with top-k and top-p", 128, 2, 30, &demo, 60);
}

/// Seconds that the engine's thread has run.
fn engine_seconds() -> f64 {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let directory = task.unwrap().path();
        if std::fs::read_to_string(directory.join("comm")).unwrap().trim() == "engine" {
            return nanoseconds(&directory.join("schedstat")) as f64 / 1e9;
        }
    }
    panic!("there is no engine thread");
}

fn nanoseconds(schedstat: &Path) -> u64 {
    let text = std::fs::read_to_string(schedstat).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// Nanoseconds that this thread has run: on a machine that others use too, wall time says little.
fn thread_nanoseconds() -> u64 {
    nanoseconds(Path::new("/proc/thread-self/schedstat"))
}

#[test]
#[ignore = "a measurement"]
fn parts_of_a_step() {
    device::set_threads(1);
    let _guard = tch::no_grad_guard();
    for (hidden, vocabulary) in [(64, 30), (128, 30), (128, 1024)] {
        let config = ModelConfig::from_json(&config_json(hidden, 2, vocabulary)).unwrap();
        let model = model_of(config, 0);
        let decoder = &model.decoder;
        let mut cache = KvCache::new(&model.config, 129, 600, decoder.kind(), Device::Cpu);
        let sampling = Plan::try_new(&plan_message()).unwrap().sampling;
        let draws: Vec<Draw> = (0..64)
            .map(|row| Draw {
                sampling,
                uniform: (f64::from(row) + 0.5) / 64.0,
            })
            .collect();
        let steps = 256;
        let (mut extend, mut logits_time, mut sampling_time) = (0, 0, 0);
        for step in 0..steps {
            let rows: Vec<Extension<'_>> = (0..64)
                .map(|slot| Extension {
                    slot,
                    start: step + slot % 7,
                    ids: &[9],
                    prefix: None,
                })
                .collect();
            let at = thread_nanoseconds();
            let states = decoder.extend(&mut cache, &rows);
            let then = thread_nanoseconds();
            let logits = decoder.logits(&states);
            let later = thread_nanoseconds();
            sample(&logits, &draws);
            sampling_time += thread_nanoseconds() - later;
            logits_time += later - then;
            extend += then - at;
        }
        let per_step = |time: u64| time as f64 / 1e6 / steps as f64;
        println!(
            "64 rows, positions up to {steps}, hidden {hidden}, vocabulary {vocabulary}: \
             extend {:.3} ms, logits {:.3} ms, sample {:.3} ms of processor time",
            per_step(extend),
            per_step(logits_time),
            per_step(sampling_time),
        );
    }
}
