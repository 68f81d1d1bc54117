//! The replay queue where somebody else has changed what Redis holds, and where a push is not accepted.

use std::collections::BTreeSet;

use anytime_learner::queue::groups::{PushOutcome, Settlement};
use anytime_learner::queue::reader::GroupReader;
use redis::AsyncCommands as _;

use crate::support::queues::{fence_of, queue_of, readable};
use crate::support::redis_server::RedisServer;

#[tokio::test]
async fn groups_that_somebody_added_are_deleted_at_the_next_opening() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let mut connection = server.connection().await;
    let mut add = async |name: &str| {
        let _: () = connection.hset("anytime:job:groups", name, "another").await.unwrap();
    };
    for sequence in 0..20 {
        add(&format!("what {sequence}")).await;
        queue.push(sequence, b"payload", 100, 0).await.unwrap();
        add(&(1000 + sequence).to_string()).await;
    }
    assert_eq!(queue.length().await.unwrap(), 60);
    let survey = queue.open().await.unwrap();
    assert_eq!(survey.queued, (0..20).collect());
    assert_eq!(queue.length().await.unwrap(), 20);
    let mut reader = GroupReader::new(queue.clone());
    assert_eq!(reader.read(3).await.unwrap().unwrap(), b"payload");
    assert_eq!(reader.read(1003).await.unwrap(), None);
}

#[tokio::test]
async fn a_group_that_is_not_accepted_leaves_nothing_in_redis() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    queue.push(0, b"zero", 1, 0).await.unwrap();
    queue.settle(&[1], Settlement::Trained).await.unwrap();
    assert_eq!(queue.push(0, b"another", 9, 0).await.unwrap(), PushOutcome::Duplicate);
    assert_eq!(queue.push(1, b"trained", 9, 0).await.unwrap(), PushOutcome::Duplicate);
    assert_eq!(queue.push(2, b"too many", 1, 0).await.unwrap(), PushOutcome::Full);
    let fence = fence_of(&server, "rival").await;
    fence.take().await.unwrap().unwrap();
    assert!(queue.push(3, b"without the right", 9, 0).await.is_err());
    assert!(queue.push(0, b"without the right", 9, 0).await.is_err());
    fence.give_back().await.unwrap();
    // A later job of the same name has a group at the same place, and none at another.
    let mut reader = GroupReader::new(queue.clone());
    assert_eq!(reader.read(0).await.unwrap().unwrap(), b"zero");
    let later = queue_of(&server, "two").await;
    later.open().await.unwrap();
    later.push(0, b"later", 9, 0).await.unwrap();
    for sequence in [0, 4] {
        let refused = queue.push(sequence, b"former", 9, 0).await.unwrap();
        assert_ne!(refused, PushOutcome::Accepted);
    }
    assert_eq!(
        GroupReader::new(later.clone()).read(0).await.unwrap().unwrap(),
        b"later"
    );
    let mut connection = server.connection().await;
    let left: Vec<String> = connection.hkeys("anytime:job:groups").await.unwrap();
    assert_eq!(left, ["0"]);
}

#[tokio::test]
async fn a_group_that_somebody_put_in_the_place_of_a_push_is_not_taken_for_it() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let mut connection = server.connection().await;
    let _: () = connection
        .hset("anytime:job:groups", 5, "not what was pushed")
        .await
        .unwrap();
    assert_eq!(queue.push(5, b"pushed", 9, 0).await.unwrap(), PushOutcome::KeysGone);
    assert_eq!(queue.push(5, b"pushed", 9, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(GroupReader::new(queue).read(5).await.unwrap().unwrap(), b"pushed");
}

#[tokio::test]
async fn scripts_that_redis_has_forgotten_are_loaded_again() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let mut connection = server.connection().await;
    for sequence in 0..3 {
        let _: () = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!(
            queue.push(sequence, b"payload", 9, 0).await.unwrap(),
            PushOutcome::Accepted
        );
    }
    assert_eq!(queue.length().await.unwrap(), 3);
}

#[tokio::test]
async fn a_redis_that_is_full_takes_nothing_and_says_so() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let mut connection = server.connection().await;
    let set = async |connection: &mut redis::aio::MultiplexedConnection, bytes: &str| {
        let _: () = redis::cmd("CONFIG")
            .arg(&["SET", "maxmemory", bytes])
            .query_async(connection)
            .await
            .unwrap();
    };
    set(&mut connection, "1").await;
    let error = queue.push(0, b"payload", 9, 0).await.unwrap_err().to_string();
    assert!(error.contains("OOM"), "{error}");
    set(&mut connection, "0").await;
    assert_eq!(queue.length().await.unwrap(), 0);
    assert_eq!(queue.push(0, b"payload", 9, 0).await.unwrap(), PushOutcome::Accepted);
}

#[tokio::test]
async fn the_queue_of_an_earlier_version_is_deleted_and_its_groups_come_again() {
    let server = RedisServer::start();
    let mut connection = server.connection().await;
    // It kept groups in a queue, and the ids of their entries.
    let id: String = connection
        .xadd("anytime:job:groups", "*", &[("sequence", "7"), ("group", "payload")])
        .await
        .unwrap();
    let seen = [("owner", "1.5-one"), ("7", id.as_str()), ("6", "trained")];
    let _: () = connection.hset_multiple("anytime:job:seen", &seen).await.unwrap();
    let queue = queue_of(&server, "1.5-one").await;
    let survey = queue.open().await.unwrap();
    assert_eq!((survey.queued, survey.trained), (BTreeSet::new(), BTreeSet::from([6])));
    assert_eq!(queue.push(7, b"again", 9, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(GroupReader::new(queue).read(7).await.unwrap().unwrap(), b"again");
}

#[tokio::test]
async fn a_redis_that_lost_its_data_unnoticed_hides_no_group() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    queue.push(0, b"payload", 10, 0).await.unwrap();
    let mut reader = GroupReader::new(queue.clone());
    assert_eq!(readable(&mut reader).await, [0]);
    // The connection holds. The keys are opened again.
    let mut connection = server.connection().await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    assert_eq!(readable(&mut reader).await, Vec::<u64>::new());
    assert_eq!(queue.push(1, b"payload", 10, 0).await.unwrap(), PushOutcome::KeysGone);
    assert_eq!(queue.length().await.unwrap(), 0);
    for sequence in [1, 2] {
        queue.clone().open().await.unwrap();
        queue.push(sequence, b"payload", 10, 0).await.unwrap();
    }
    assert_eq!(readable(&mut reader).await, [1, 2]);
}

#[tokio::test]
async fn groups_that_somebody_deleted_are_not_surveyed() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "1.5-a").await;
    queue.open().await.unwrap();
    for sequence in 0..4 {
        queue.push(sequence, b"payload", 10, 0).await.unwrap();
    }
    queue.settle(&[3], Settlement::Trained).await.unwrap();
    let mut connection = server.connection().await;
    let _: () = connection.hdel("anytime:job:groups", 1).await.unwrap();
    let survey = queue.open().await.unwrap();
    assert_eq!(survey.queued, BTreeSet::from([0, 2]));
    assert_eq!(survey.trained, BTreeSet::from([3]));
    assert_eq!(queue.push(1, b"again", 10, 0).await.unwrap(), PushOutcome::Accepted);

    let _: () = connection.del("anytime:job:groups").await.unwrap();
    let survey = queue.open().await.unwrap();
    assert_eq!((survey.queued, survey.trained), (BTreeSet::new(), BTreeSet::from([3])));
}
