//! The replay queue against a real Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anytime_learner::queue::reader::GroupReader;
use anytime_learner::queue::redis::RedisConnection;
use anytime_learner::queue::stream::{GroupStream, PushOutcome, Settlement};
use anytime_proto::JobId;
use redis::AsyncCommands as _;

use crate::support::redis_server::RedisServer;

async fn stream_of(server: &RedisServer, owner: &str) -> GroupStream {
    let link = Arc::new(RedisConnection::connect(&server.url()).await.unwrap());
    GroupStream::new(link, &JobId("job".to_owned()), owner.to_owned())
}

async fn read_all(reader: &mut GroupReader) -> Vec<u64> {
    let mut sequences = Vec::new();
    while let Some(entry) = reader.front(10).await.unwrap() {
        sequences.push(entry.sequence.unwrap());
        reader.pop_front();
    }
    sequences
}

#[tokio::test]
async fn a_group_is_queued_once_and_never_beyond_the_bound() {
    let server = RedisServer::start();
    let stream = stream_of(&server, "one").await;
    stream.open().await.unwrap();
    assert_eq!(stream.push(0, b"zero", 2, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(
        stream.push(0, b"zero again", 2, 0).await.unwrap(),
        PushOutcome::Duplicate
    );
    assert_eq!(stream.push(1, b"one", 2, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(stream.push(2, b"two", 2, 0).await.unwrap(), PushOutcome::Full);
    // One that the trainer holds does not count.
    assert_eq!(stream.push(2, b"two", 2, 1).await.unwrap(), PushOutcome::Accepted);
    // Known to be there even where it is full.
    assert_eq!(stream.push(2, b"two", 0, 0).await.unwrap(), PushOutcome::Duplicate);

    // All at once: one is accepted.
    let pushes = (0..20).map(|_| stream.push(7, b"seven", 100, 0));
    let outcomes = futures::future::join_all(pushes).await;
    let accepted = outcomes
        .into_iter()
        .filter(|outcome| *outcome.as_ref().unwrap() == PushOutcome::Accepted);
    assert_eq!(accepted.count(), 1);
}

#[tokio::test]
async fn settled_groups_leave_the_queue_and_stay_known() {
    let server = RedisServer::start();
    let stream = stream_of(&server, "one").await;
    stream.open().await.unwrap();
    for sequence in 0..4 {
        stream.push(sequence, b"payload", 10, 0).await.unwrap();
    }
    let mut reader = GroupReader::new(stream.clone());
    assert_eq!(read_all(&mut reader).await, [0, 1, 2, 3]);
    stream.settle(&[0, 1], Settlement::Trained).await.unwrap();
    stream.settle(&[0, 1], Settlement::Trained).await.unwrap();
    stream.settle(&[2], Settlement::Stale).await.unwrap();
    stream.settle(&[3], Settlement::Forgotten).await.unwrap();
    stream.settle(&[9], Settlement::Skipped).await.unwrap();

    let survey = stream.open().await.unwrap();
    assert_eq!(survey.queued, BTreeSet::new());
    assert_eq!(survey.trained, BTreeSet::from([0, 1]));
    assert_eq!(survey.stale, BTreeSet::from([2]));
    assert_eq!(survey.skipped, BTreeSet::from([9]));
    let mut connection = server.connection().await;
    assert_eq!(connection.xlen::<_, u64>("anytime:job:groups").await.unwrap(), 0);
    let pending: redis::streams::StreamPendingReply =
        connection.xpending("anytime:job:groups", "learner").await.unwrap();
    assert_eq!(pending.count(), 0);

    for settled in [0, 1, 2, 9] {
        assert_eq!(
            stream.push(settled, b"late", 10, 0).await.unwrap(),
            PushOutcome::Duplicate
        );
    }
    assert_eq!(stream.push(3, b"again", 10, 0).await.unwrap(), PushOutcome::Accepted);
    stream.delete().await.unwrap();
    assert_eq!(
        connection.keys::<_, Vec<String>>("*").await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        stream.push(3, b"after the end", 10, 0).await.unwrap(),
        PushOutcome::KeysGone
    );
}

#[tokio::test]
async fn a_restarted_reader_gets_back_what_was_not_settled() {
    let server = RedisServer::start();
    let stream = stream_of(&server, "one").await;
    stream.open().await.unwrap();
    for sequence in 0..30 {
        stream
            .push(sequence, format!("payload {sequence}").as_bytes(), 100, 0)
            .await
            .unwrap();
    }
    let mut reader = GroupReader::new(stream.clone());
    for sequence in 0..20 {
        let entry = reader.front(1).await.unwrap().unwrap();
        assert_eq!(entry.sequence, Some(sequence));
        assert_eq!(entry.payload, format!("payload {sequence}").into_bytes());
        reader.pop_front();
    }
    stream.settle(&[0, 1, 2], Settlement::Trained).await.unwrap();
    drop(reader);

    let mut restarted = GroupReader::new(stream_of(&server, "one").await);
    assert_eq!(read_all(&mut restarted).await, (3..30).collect::<Vec<u64>>());
    assert_eq!(read_all(&mut restarted).await, Vec::<u64>::new());
}

#[tokio::test]
async fn what_a_dead_consumer_held_is_taken_over() {
    let server = RedisServer::start();
    let stream = stream_of(&server, "one").await;
    stream.open().await.unwrap();
    for sequence in 0..3 {
        stream.push(sequence, b"payload", 10, 0).await.unwrap();
    }
    let mut connection = server.connection().await;
    let _: redis::Value = redis::cmd("XREADGROUP")
        .arg(&[
            "GROUP",
            "learner",
            "another",
            "COUNT",
            "2",
            "STREAMS",
            "anytime:job:groups",
            ">",
        ])
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut reader = GroupReader::new(stream).claiming_after(Duration::from_millis(300));
    assert_eq!(read_all(&mut reader).await, [2]);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(read_all(&mut reader).await, [0, 1]);
}

#[tokio::test]
async fn a_new_job_of_the_same_name_starts_empty() {
    let server = RedisServer::start();
    let first = stream_of(&server, "one").await;
    first.open().await.unwrap();
    first.push(0, b"old", 10, 0).await.unwrap();
    let second = stream_of(&server, "two").await;
    assert_eq!(second.open().await.unwrap(), Default::default());
    assert_eq!(first.push(1, b"old", 10, 0).await.unwrap(), PushOutcome::KeysGone);
    assert_eq!(second.push(0, b"new", 10, 0).await.unwrap(), PushOutcome::Accepted);
}

#[tokio::test]
async fn an_outage_is_an_error_and_then_over() {
    let mut server = RedisServer::start();
    let stream = stream_of(&server, "one").await;
    stream.open().await.unwrap();
    // Otherwise Redis may answer before it has written, and the kill below takes the group along. The lease book is put
    // right then; this test is about the queue alone.
    let mut connection = server.connection().await;
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "appendfsync", "always"])
        .query_async(&mut connection)
        .await
        .unwrap();
    stream.push(0, b"payload", 10, 0).await.unwrap();
    let mut reader = GroupReader::new(stream.clone());
    server.kill();
    assert!(stream.push(1, b"payload", 10, 0).await.is_err());
    assert!(reader.front(1).await.is_err());
    server.restart();
    while stream.open().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stream.push(1, b"payload", 10, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(read_all(&mut reader).await, [0, 1]);
}

#[tokio::test]
async fn an_unreachable_redis_is_one_clear_error() {
    let mut server = RedisServer::start();
    server.kill();
    for url in [server.url(), "nonsense".to_owned()] {
        let error = RedisConnection::connect(&url).await.err().unwrap();
        assert_eq!(error.code, anytime_service::exit::CONFIGURATION);
        assert!(error.message.starts_with("--redis"), "{}", error.message);
    }
}
