//! The service over gRPC: batches, order, faults, health and drain.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

mod common;

use std::time::{Duration, Instant};

use anytime_proto::setting_of_status;
use anytime_proto::v1::{Conventions, VerdictKind, VerifyItem, VerifyRequest};
use anytime_verifier::limits::{MAX_BATCH_ITEMS, ServerLimits};
use common::{TestServer, item, limits, request};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const SERVICE: &str = "anytime.v1.VerifierService";

#[tokio::test]
async fn grades_batches_in_order() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let items: Vec<VerifyItem> = (0..3000).map(|index| item(index, index - index % 3)).collect();
    let response = client.verify(request(items)).await.unwrap().into_inner();
    assert_eq!(response.verdicts.len(), 3000);
    for (index, verdict) in response.verdicts.iter().enumerate() {
        let expected = if index % 3 == 0 {
            VerdictKind::Correct
        } else {
            VerdictKind::Wrong
        };
        assert_eq!(
            (verdict.kind(), verdict.extracted.as_str()),
            (expected, index.to_string().as_str())
        );
    }
    let empty = client.verify(request(Vec::new())).await.unwrap().into_inner();
    assert!(empty.verdicts.is_empty());
    server.stop().await;
}

#[tokio::test]
async fn answers_requests_side_by_side() {
    let server = TestServer::start(limits()).await;
    let client = server.client().await;
    let mut calls = tokio::task::JoinSet::new();
    for call in 0..20 {
        let mut client = client.clone();
        calls.spawn(async move {
            let items = (0..200)
                .map(|index| item(call * 1000 + index, call * 1000 + index))
                .collect();
            client.verify(request(items)).await.unwrap().into_inner()
        });
    }
    while let Some(response) = calls.join_next().await {
        assert!(
            response
                .unwrap()
                .verdicts
                .iter()
                .all(|verdict| verdict.kind() == VerdictKind::Correct)
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn refuses_what_cannot_be_graded() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let cases = [
        (
            request(vec![
                item(1, 1),
                VerifyItem {
                    response: String::new(),
                    ground_truths: Vec::new(),
                },
            ]),
            "items[1].ground_truths",
        ),
        (
            request(vec![VerifyItem {
                response: String::new(),
                ground_truths: vec!["1".to_owned(); 65],
            }]),
            "items[0].ground_truths",
        ),
        (request(vec![item(1, "1".repeat(5000))]), "items[0].ground_truths[0]"),
        (
            VerifyRequest {
                items: vec![item(1, 1)],
                extraction: 99,
                ..Default::default()
            },
            "extraction",
        ),
        (
            VerifyRequest {
                conventions: Some(Conventions {
                    units: 4,
                    ..Default::default()
                }),
                ..request(vec![item(1, 1)])
            },
            "conventions.units",
        ),
        (request(vec![item(1, 1); MAX_BATCH_ITEMS + 1]), "items"),
    ];
    for (refused, field) in cases {
        let status = client.verify(refused).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(field), "{status}");
        assert_eq!(setting_of_status(&status).as_deref(), Some(field));
    }
    server.stop().await;
}

#[tokio::test]
async fn the_bound_of_the_server_is_a_fault_and_no_wrong_answer() {
    let server = TestServer::start(ServerLimits {
        batch_time: Duration::ZERO,
        ..limits()
    })
    .await;
    let mut client = server.client().await;
    let response = client
        .verify(request(vec![item(1, 1), item(1, 2)]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.verdicts.len(), 2);
    assert!(
        response
            .verdicts
            .iter()
            .all(|verdict| verdict.kind() == VerdictKind::OutOfTime)
    );
    server.stop().await;
}

#[tokio::test]
async fn health_follows_the_server() {
    let server = TestServer::start(limits()).await;
    let mut health = HealthClient::new(server.channel().await);
    let check = HealthCheckRequest {
        service: SERVICE.to_owned(),
    };
    assert_eq!(
        health.check(check.clone()).await.unwrap().into_inner().status(),
        ServingStatus::Serving
    );
    let mut watch = health.watch(check).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let started = Instant::now();
    server.shutdown.cancel();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    // An open stream must not hold up the end of the process.
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_goes_away_is_no_fault_of_the_next_one() {
    let server = TestServer::start(limits()).await;
    for _ in 0..3 {
        let mut client = server.client().await;
        let call = async { client.verify(request(vec![item(1, 1); 20_000])).await };
        // Dropped while the batch is on its way or worked on.
        let _ = tokio::time::timeout(Duration::from_millis(3), call).await;
    }
    let verdicts = server.client().await.verify(request(vec![item(1, 1)])).await.unwrap();
    assert_eq!(verdicts.into_inner().verdicts[0].kind(), VerdictKind::Correct);
    server.stop().await;
}
