//! A stream of batches: its order, its back-pressure, and what ends it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

mod common;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anytime_proto::setting_of_status;
use anytime_proto::v1::{VerdictKind, VerifyItem, VerifyRequest, VerifyResponse};
use anytime_verifier::limits::ServerLimits;
use common::{TestServer, item, limits, request};
use futures::{StreamExt as _, stream};
use tonic::{Code, Request};

/// A batch that is recognised by its answers.
fn numbered(number: usize) -> VerifyRequest {
    request(
        (0..number % 40)
            .map(|index| item(number * 100 + index, number * 100))
            .collect(),
    )
}

fn assert_answers(response: &VerifyResponse, number: usize) {
    assert_eq!(response.verdicts.len(), number % 40);
    for (index, verdict) in response.verdicts.iter().enumerate() {
        assert_eq!(verdict.extracted, (number * 100 + index).to_string());
        assert_eq!(verdict.kind() == VerdictKind::Correct, index == 0);
    }
}

#[tokio::test]
async fn responses_answer_the_requests_in_their_places() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let requests = stream::iter((0..500).map(numbered));
    let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
    for number in 0..500 {
        assert_answers(&responses.message().await.unwrap().unwrap(), number);
    }
    assert!(responses.message().await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_request_is_answered_before_the_next_one_comes() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    sender.send(numbered(1)).await.unwrap();
    let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
    assert_answers(&responses.message().await.unwrap().unwrap(), 1);
    sender.send(numbered(2)).await.unwrap();
    assert_answers(&responses.message().await.unwrap().unwrap(), 2);
    drop(sender);
    assert!(responses.message().await.unwrap().is_none());
    server.stop().await;
}

#[tokio::test]
async fn a_bad_request_ends_the_stream_after_the_earlier_responses() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let without_ground_truth = request(vec![VerifyItem::default()]);
    let requests = (0..20)
        .map(numbered)
        .chain([without_ground_truth])
        .chain((21..30).map(numbered));
    let mut responses = client.verify_stream(stream::iter(requests)).await.unwrap().into_inner();
    for number in 0..20 {
        assert_answers(&responses.message().await.unwrap().unwrap(), number);
    }
    let status = responses.message().await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(setting_of_status(&status).as_deref(), Some("items[0].ground_truths"));
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from() {
    let server = TestServer::start(ServerLimits {
        stream_batches: NonZeroUsize::new(2).unwrap(),
        ..limits()
    })
    .await;
    let mut client = server.client().await;
    const BATCHES: usize = 400;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    // Requests and responses of about 400 KB: a few fill all buffers in between.
    let requests = stream::iter(0..BATCHES).map(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        request(vec![item("1".repeat(4000), 1); 100])
    });
    let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
    let mut before = usize::MAX;
    while sent.load(Ordering::SeqCst) != before {
        before = sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert!(
        before < BATCHES / 4,
        "{before} batches were taken from a client that reads nothing"
    );
    let mut answered = 0;
    while let Some(response) = responses.message().await.unwrap() {
        assert_eq!(response.verdicts.len(), 100);
        answered += 1;
    }
    assert_eq!((answered, sent.load(Ordering::SeqCst)), (BATCHES, BATCHES));
    server.stop().await;
}

#[tokio::test]
async fn an_idle_stream_is_sent_elsewhere_at_the_shutdown() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let requests = stream::iter((0..5).map(numbered)).chain(stream::pending());
    let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
    for number in 0..5 {
        assert_answers(&responses.message().await.unwrap().unwrap(), number);
    }
    server.shutdown.cancel();
    let status = responses.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    server.stop().await;
}

#[tokio::test]
async fn every_batch_has_the_bound_of_the_server() {
    let server = TestServer::start(ServerLimits {
        batch_time: Duration::ZERO,
        ..limits()
    })
    .await;
    let mut client = server.client().await;
    let requests = stream::iter((0..3).map(|_| request(vec![item(1, 1)])));
    let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
    for _ in 0..3 {
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!(response.verdicts[0].kind(), VerdictKind::OutOfTime);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_deadline_of_the_call_holds_for_its_batches() {
    let server = TestServer::start(limits()).await;
    let mut client = server.client().await;
    let late = stream::once(async {
        tokio::time::sleep(Duration::from_millis(950)).await;
        request(vec![item(1, 1)])
    });
    // A client that wants the last verdicts after 1 s does this: the server keeps a tenth of the time for their way
    // back.
    let mut call = Request::new(late);
    call.metadata_mut().insert("grpc-timeout", "1000m".parse().unwrap());
    let mut responses = client.verify_stream(call).await.unwrap().into_inner();
    let response = responses.message().await.unwrap().unwrap();
    assert_eq!(response.verdicts[0].kind(), VerdictKind::OutOfTime);
    server.stop().await;
}
