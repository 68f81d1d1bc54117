//! How fast a tiny model generates, where the overhead of a step counts and not the arithmetic.
//!
//! `cargo test --release -p anytime-actor --test speed -- --ignored --nocapture`

mod common;

use std::time::Instant;

use anytime_actor::engine::{self, Command, EngineLimits, Event};
use anytime_policy::{Config, device};
use anytime_proto::v1;
use common::{config_json, endless_plan, model_of, order, plan_message};

/// Tokens per second of 64 rows over `groups` groups of the plan.
fn measure(name: &str, hidden: usize, layers: usize, vocabulary: u32, plan: &v1::RolloutPlan, groups: u64) {
    device::set_threads(1);
    let config = Config::from_json(&config_json(hidden, layers, vocabulary)).unwrap();
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let (engine, _thread) = engine::spawn(
        EngineLimits {
            slots: 64,
            cache_bytes: 1 << 31,
        },
        sender,
    )
    .unwrap();
    engine.send(Command::SwapWeights(Box::new(model_of(config, 0))));
    let started = Instant::now();
    for number in 0..groups {
        engine.send(Command::AddGroup(order(number, plan)));
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
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let tokens = (thinking_tokens + summary_tokens) as f64;
    println!(
        "{name}: {layers} layers, hidden {hidden}, vocabulary {vocabulary}: {:.0} tokens/s, {:.3} ms for 64 tokens \
         ({thinking_tokens} thinking, {summary_tokens} summary, {seconds:.2} s)",
        tokens / seconds,
        seconds / tokens * 64_000.0,
    );
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
