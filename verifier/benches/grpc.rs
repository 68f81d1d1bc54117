//! The speed of the grader through gRPC on loopback: one server with one grading thread, one client with one thread.
//!
//! `cargo bench -p anytime-verifier --bench grpc [-- FILE]` prints pairs per second as JSON, and writes them to the
//! file: the labelled cases without the adversarial ones, in batches of 256, as calls of their own (four under way) and
//! as one stream, without a cache and with the default one. Each figure is the median of several rounds.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot reach its own server has nothing to go on with"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::num::NonZeroUsize;
use std::time::Instant;

use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{Extraction, VerdictKind, VerifyItem, VerifyRequest, VerifyResponse};
use anytime_service::security::ServerSecurity;
use anytime_verifier::limits::ServerLimits;
use anytime_verifier::serve;
use futures::{StreamExt as _, stream};
use serde_json::json;
use support::{Case, labelled};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Pairs in a batch.
const BATCH: usize = 256;
/// Pairs of a round.
const PAIRS: usize = 100_000;
/// Rounds of every figure, after one that warms up.
const ROUNDS: usize = 5;
/// Calls under way at a time.
const CALLS: usize = 4;

/// A batch and the labels of its pairs.
type Labelled = (VerifyRequest, Vec<bool>);

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let figures = runtime.block_on(measure());
    println!("{figures:#}");
    if let Some(file) = file {
        std::fs::write(&file, format!("{figures:#}\n")).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

async fn measure() -> serde_json::Value {
    let batches = batches();
    let mut figures = serde_json::Map::new();
    for (name, cache_bytes) in [("without_cache", 0), ("with_cache", 64 << 20)] {
        let mut limits = ServerLimits::with_threads(NonZeroUsize::MIN);
        limits.cache_bytes = cache_bytes;
        let (client, shutdown) = start(limits).await;
        let mut calls = Vec::new();
        let mut streams = Vec::new();
        for round in 0..=ROUNDS {
            let called = calls_per_second(&client, &batches).await;
            let streamed = stream_per_second(&client, &batches).await;
            if round > 0 {
                calls.push(called);
                streams.push(streamed);
            }
        }
        shutdown.cancel();
        figures.insert(
            name.to_owned(),
            json!({"calls_pairs_per_second": median(calls), "stream_pairs_per_second": median(streams)}),
        );
    }
    json!({"pairs": PAIRS, "batch": BATCH, "grading_threads": 1, "figures": figures})
}

/// The labelled cases again and again, in batches.
fn batches() -> Vec<Labelled> {
    let cases: Vec<Case> = labelled()
        .into_iter()
        .filter(|case| case.problem_kind != "adversarial")
        .collect();
    let pairs: Vec<&Case> = cases.iter().cycle().take(PAIRS).collect();
    let item = |case: &&Case| VerifyItem {
        response: case.response.clone(),
        ground_truths: vec![case.ground_truth.clone()],
    };
    let batch = |chunk: &[&Case]| {
        let request = VerifyRequest {
            items: chunk.iter().map(item).collect(),
            extraction: Extraction::Boxed.into(),
            conventions: None,
        };
        (request, chunk.iter().map(|case| case.expected).collect())
    };
    pairs.chunks(BATCH).map(batch).collect()
}

/// A server on a runtime of its own, as it runs in its process, and a client of it.
async fn start(limits: ServerLimits) -> (VerifierServiceClient<Channel>, CancellationToken) {
    let shutdown = CancellationToken::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let token = shutdown.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            serve::run(listener, token, limits, ServerSecurity::default())
                .await
                .unwrap();
        });
    });
    let client = VerifierServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    (client, shutdown)
}

async fn calls_per_second(client: &VerifierServiceClient<Channel>, batches: &[Labelled]) -> f64 {
    let started = Instant::now();
    let call = |(request, labels): Labelled| {
        let mut client = client.clone();
        async move { check(&client.verify(request).await.unwrap().into_inner(), &labels) }
    };
    stream::iter(batches.to_vec())
        .map(call)
        .buffered(CALLS)
        .collect::<Vec<()>>()
        .await;
    PAIRS as f64 / started.elapsed().as_secs_f64()
}

async fn stream_per_second(client: &VerifierServiceClient<Channel>, batches: &[Labelled]) -> f64 {
    let started = Instant::now();
    let requests: Vec<VerifyRequest> = batches.iter().map(|(request, _)| request.clone()).collect();
    let mut client = client.clone();
    let mut responses = client.verify_stream(stream::iter(requests)).await.unwrap().into_inner();
    for (_, labels) in batches {
        check(&responses.next().await.unwrap().unwrap(), labels);
    }
    PAIRS as f64 / started.elapsed().as_secs_f64()
}

/// A fast answer that is wrong counts for nothing.
fn check(response: &VerifyResponse, labels: &[bool]) {
    assert_eq!(response.verdicts.len(), labels.len());
    for (verdict, expected) in response.verdicts.iter().zip(labels) {
        assert_eq!(verdict.kind() == VerdictKind::Correct, *expected, "{verdict:?}");
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
