//! The replay queue against a real Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anytime_learner::queue::dead_letters::{DeadLetter, MAX_DEAD_LETTERS};
use anytime_learner::queue::fence::{Fence, LASTS, LearnerName};
use anytime_learner::queue::groups::{GroupQueue, PushOutcome, Settlement};
use anytime_learner::queue::reader::GroupReader;
use anytime_learner::queue::redis::RedisConnection;
use anytime_proto::JobId;
use anytime_service::exit;
use redis::AsyncCommands as _;

use crate::support::queues::{fence_of, queue_of, queue_with, readable};
use crate::support::redis_server::RedisServer;

#[tokio::test]
async fn of_two_learners_one_has_the_right_to_a_job() {
    let server = RedisServer::start();
    let (one, two) = (fence_of(&server, "one").await, fence_of(&server, "two").await);
    assert!(!one.is_certain(Instant::now()));
    one.take().await.unwrap().unwrap();
    assert!(one.is_certain(Instant::now()) && !one.is_certain(Instant::now() + LASTS));
    // A restarted process of the same learner has it at once.
    fence_of(&server, "one").await.take().await.unwrap().unwrap();
    let refused = two.take().await.unwrap().unwrap_err();
    assert_eq!(refused.address, "127.0.0.1:7100 on one");
    assert_eq!(two.lost_to(), Some(refused));

    // Nothing of the queue can be changed or read without the right.
    let mine = queue_with(&server, "owner", one.clone()).await;
    let theirs = queue_with(&server, "owner", two.clone()).await;
    mine.open().await.unwrap();
    mine.push(0, b"zero", 9, 0).await.unwrap();
    assert!(theirs.open().await.is_err());
    assert!(theirs.push(1, b"one", 9, 0).await.is_err());
    let error = theirs.settle(&[0], Settlement::Trained).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:7100 on one"), "{error}");
    theirs.delete().await.unwrap_err();
    assert_eq!(readable(&mut GroupReader::new(mine.clone())).await, [0]);
    assert!(GroupReader::new(theirs.clone()).read(0).await.is_err());

    // It runs out, and the other one takes it: the first one is out.
    two.give_back().await.unwrap();
    one.give_back().await.unwrap();
    two.take().await.unwrap().unwrap();
    assert!(mine.push(2, b"two", 9, 0).await.is_err());
    assert_eq!(one.lost_to().unwrap().address, "127.0.0.1:7100 on two");
    assert!(!one.is_certain(Instant::now()));
    theirs.open().await.unwrap();
    assert_eq!(readable(&mut GroupReader::new(theirs)).await, [0]);
}

#[tokio::test]
async fn a_right_runs_out_by_itself() {
    let server = RedisServer::start();
    fence_of(&server, "one").await.take().await.unwrap().unwrap();
    let mut connection = redis::Client::open(server.url())
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let left: i64 = connection.pttl("anytime:job:learner").await.unwrap();
    assert!(left > 0 && left <= LASTS.as_millis() as i64, "{left} ms");
}

#[tokio::test]
async fn learners_of_other_clusters_do_not_know_each_other() {
    let server = RedisServer::start();
    let redis = Arc::new(RedisConnection::connect(&server.url()).await.unwrap());
    let job_id = JobId("job".to_owned());
    for cluster in ["red", "blue"] {
        let name = LearnerName {
            id: cluster.to_owned(),
            address: cluster.to_owned(),
        };
        let fence = Arc::new(Fence::new(redis.clone(), cluster, &job_id, &name));
        fence.take().await.unwrap().unwrap();
        let queue = GroupQueue::new(redis.clone(), cluster, &job_id, cluster.to_owned(), fence);
        assert_eq!(queue.open().await.unwrap().queued, BTreeSet::new());
        queue.push(3, cluster.as_bytes(), 9, 0).await.unwrap();
        let group = GroupReader::new(queue).read(3).await.unwrap();
        assert_eq!(group.as_deref(), Some(cluster.as_bytes()));
    }
}

#[tokio::test]
async fn a_group_is_queued_once_and_never_beyond_the_bound() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    assert_eq!(queue.push(0, b"zero", 2, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(
        queue.push(0, b"zero again", 2, 0).await.unwrap(),
        PushOutcome::Duplicate
    );
    assert_eq!(queue.push(1, b"one", 2, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(queue.push(2, b"two", 2, 0).await.unwrap(), PushOutcome::Full);
    // One that the trainer holds does not count.
    assert_eq!(queue.push(2, b"two", 2, 1).await.unwrap(), PushOutcome::Accepted);
    // Known to be there even where it is full.
    assert_eq!(queue.push(2, b"two", 0, 0).await.unwrap(), PushOutcome::Duplicate);

    // All at once: one is accepted.
    let pushes = (0..20).map(|_| queue.push(7, b"seven", 100, 0));
    let outcomes = futures::future::join_all(pushes).await;
    let accepted = outcomes
        .into_iter()
        .filter(|outcome| *outcome.as_ref().unwrap() == PushOutcome::Accepted);
    assert_eq!(accepted.count(), 1);
}

#[tokio::test]
async fn settled_groups_leave_the_queue_and_stay_known() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    for sequence in 0..4 {
        queue.push(sequence, b"payload", 10, 0).await.unwrap();
    }
    let mut reader = GroupReader::new(queue.clone());
    assert_eq!(readable(&mut reader).await, [0, 1, 2, 3]);
    queue.settle(&[0, 1], Settlement::Trained).await.unwrap();
    queue.settle(&[0, 1], Settlement::Trained).await.unwrap();
    queue.settle(&[2], Settlement::Stale).await.unwrap();
    queue.settle(&[3], Settlement::Forgotten).await.unwrap();
    queue.settle(&[9], Settlement::Skipped).await.unwrap();

    let survey = queue.open().await.unwrap();
    assert_eq!(survey.queued, BTreeSet::new());
    assert_eq!(survey.trained, BTreeSet::from([0, 1]));
    assert_eq!(survey.stale, BTreeSet::from([2]));
    assert_eq!(survey.skipped, BTreeSet::from([9]));
    assert_eq!(readable(&mut reader).await, Vec::<u64>::new());
    assert_eq!(queue.length().await.unwrap(), 0);
    let mut connection = server.connection().await;
    assert_eq!(connection.hlen::<_, u64>("anytime:job:groups").await.unwrap(), 0);

    for settled in [0, 1, 2, 9] {
        assert_eq!(
            queue.push(settled, b"late", 10, 0).await.unwrap(),
            PushOutcome::Duplicate
        );
    }
    assert_eq!(queue.push(3, b"again", 10, 0).await.unwrap(), PushOutcome::Accepted);
    queue.delete().await.unwrap();
    assert_eq!(
        connection.keys::<_, Vec<String>>("*").await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(
        queue.push(3, b"after the end", 10, 0).await.unwrap(),
        PushOutcome::KeysGone
    );
}

#[tokio::test]
async fn groups_are_read_by_their_sequence_until_they_are_settled() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let mut reader = GroupReader::new(queue.clone());
    assert_eq!(reader.read(3).await.unwrap(), None);
    // Those that come last may be first.
    for sequence in (0..30).rev() {
        queue
            .push(sequence, format!("payload {sequence}").as_bytes(), 100, 0)
            .await
            .unwrap();
    }
    for sequence in 0..20 {
        let payload = reader.read(sequence).await.unwrap().unwrap();
        assert_eq!(payload, format!("payload {sequence}").into_bytes());
    }
    queue.settle(&[0, 1, 2], Settlement::Trained).await.unwrap();
    drop(reader);

    let mut restarted = GroupReader::new(queue_of(&server, "one").await);
    assert_eq!(readable(&mut restarted).await, (3..30).collect::<Vec<u64>>());
    // A group that could not be decoded comes again.
    queue.settle(&[3], Settlement::Forgotten).await.unwrap();
    queue.push(3, b"again", 100, 0).await.unwrap();
    assert_eq!(restarted.read(3).await.unwrap().unwrap(), b"again");
    // Another job of the same name has the keys now.
    queue_of(&server, "two").await.open().await.unwrap();
    assert_eq!(readable(&mut restarted).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_lost_answer_is_read_again() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    queue.push(0, b"payload", 10, 0).await.unwrap();
    let mut reader = GroupReader::new(queue.clone());
    // Redis answers when nobody waits any more.
    let mut connection = server.connection().await;
    let _: () = redis::cmd("CLIENT")
        .arg(&["PAUSE", "300", "ALL"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let unanswered = tokio::time::timeout(Duration::from_millis(50), reader.read(0)).await;
    assert!(unanswered.is_err());
    assert_eq!(reader.read(0).await.unwrap().unwrap(), b"payload");
    // And the connection breaks.
    let _: () = redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(reader.read(0).await.is_err());
    assert_eq!(reader.read(0).await.unwrap().unwrap(), b"payload");
}

#[tokio::test]
async fn each_group_is_sent_once() {
    const GROUPS: u64 = 200;
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let group = vec![7; 1 << 20];
    for sequence in 0..GROUPS {
        queue.push(sequence, &group, GROUPS, 0).await.unwrap();
    }
    let mut connection = server.connection().await;
    let mut reader = GroupReader::new(queue.clone());
    let sent_before = sent_bytes(&mut connection).await;
    for sequence in 0..GROUPS {
        assert_eq!(reader.read(sequence).await.unwrap().unwrap().len(), group.len());
    }
    let sent = sent_bytes(&mut connection).await - sent_before;
    let content = GROUPS * group.len() as u64;
    assert!(sent < content + content / 100, "{sent} bytes for {content}");
}

/// What the server has sent so far.
async fn sent_bytes(connection: &mut redis::aio::MultiplexedConnection) -> u64 {
    let sent = figure(connection, "stats", "total_net_output_bytes:").await;
    sent.unwrap()
}

async fn figure(connection: &mut redis::aio::MultiplexedConnection, section: &str, start: &str) -> Option<u64> {
    let info: String = redis::cmd("INFO").arg(section).query_async(connection).await.unwrap();
    let rest = info.lines().find_map(|line| line.strip_prefix(start))?;
    rest.split(',').next()?.parse().ok()
}

#[tokio::test]
async fn a_new_job_of_the_same_name_starts_empty() {
    let server = RedisServer::start();
    let first = queue_of(&server, "one").await;
    first.open().await.unwrap();
    first.push(0, b"old", 10, 0).await.unwrap();
    let second = queue_of(&server, "two").await;
    assert_eq!(second.open().await.unwrap(), Default::default());
    assert_eq!(first.push(1, b"old", 10, 0).await.unwrap(), PushOutcome::KeysGone);
    assert_eq!(second.push(0, b"new", 10, 0).await.unwrap(), PushOutcome::Accepted);
}

#[tokio::test]
async fn an_outage_is_an_error_and_then_over() {
    let mut server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    // Otherwise Redis may answer before it has written, and the kill below takes the group along. The lease table is
    // put right then; this test is about the queue alone.
    let mut connection = server.connection().await;
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "appendfsync", "always"])
        .query_async(&mut connection)
        .await
        .unwrap();
    queue.push(0, b"payload", 10, 0).await.unwrap();
    let mut reader = GroupReader::new(queue.clone());
    server.kill();
    assert!(queue.push(1, b"payload", 10, 0).await.is_err());
    assert!(reader.read(0).await.is_err());
    server.restart();
    while queue.open().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(queue.push(1, b"payload", 10, 0).await.unwrap(), PushOutcome::Accepted);
    assert_eq!(readable(&mut reader).await, [0, 1]);
}

#[tokio::test]
async fn an_unreachable_redis_and_a_refused_password_are_told_apart() {
    let mut server = RedisServer::start();
    let mut connection = server.connection().await;
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "secret"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let code_of = async |url: String| {
        let error = RedisConnection::connect(&url).await.err().unwrap();
        assert!(error.message.starts_with("--redis"), "{}", error.message);
        assert!(!error.message.contains("wrong"), "{}", error.message);
        error.code
    };
    let url = server.url();
    let with = |credentials: &str| url.replace("redis://", &format!("redis://{credentials}@"));
    assert!(RedisConnection::connect(&with(":secret")).await.is_ok());
    for refused in ["nonsense".to_owned(), url.clone(), with(":wrong"), with("nobody:wrong")] {
        assert_eq!(code_of(refused).await, exit::CONFIGURATION);
    }
    server.kill();
    assert_eq!(code_of(with(":secret")).await, exit::UNAVAILABLE);
}

#[tokio::test]
async fn a_redis_that_starts_late_or_hangs_is_waited_for() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let connecting = tokio::spawn(async move { RedisConnection::connect_within(Duration::from_secs(30), &url).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!connecting.is_finished());
    server.restart();
    assert!(connecting.await.unwrap().is_ok());

    // A stopped server accepts connections and answers nothing.
    server.stop_answering();
    let url = server.url();
    let connecting = tokio::spawn(async move { RedisConnection::connect_within(Duration::from_secs(30), &url).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!connecting.is_finished());
    server.answer_again();
    assert!(connecting.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_redis_that_stays_away_is_not_waited_for_beyond_the_patience() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let started = std::time::Instant::now();
    let patience = Duration::from_millis(500);
    let error = RedisConnection::connect_within(patience, &url).await.err().unwrap();
    assert_eq!(error.code, exit::UNAVAILABLE);
    assert!(started.elapsed() >= patience);
    // An error that waiting cannot mend is returned at once.
    server.restart();
    let mut connection = server.connection().await;
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "secret"])
        .query_async(&mut connection)
        .await
        .unwrap();
    let patience = Duration::from_secs(600);
    let error = RedisConnection::connect_within(patience, &url).await.err().unwrap();
    assert_eq!(error.code, exit::CONFIGURATION);
}

#[tokio::test]
async fn dead_letters_are_kept_bounded_and_outlast_the_queue_for_a_while() {
    let server = RedisServer::start();
    let fence = fence_of(&server, "learner").await;
    fence.take().await.unwrap().unwrap();
    let queue = queue_with(&server, "owner", fence.clone()).await;
    queue.open().await.unwrap();
    let letter = |sequence: u64| DeadLetter {
        sequence,
        problem_id: format!("problem {sequence}"),
        actor_id: "a".to_owned(),
        reason: "it cannot be".to_owned(),
        deliveries: 3,
        group: vec![7; 100],
    };
    // A group that the queue holds leaves it, and one that is said twice stands once.
    queue.push(0, b"zero", 9, 0).await.unwrap();
    for _ in 0..2 {
        queue.bury(&letter(0)).await.unwrap();
    }
    assert_eq!(queue.length().await.unwrap(), 0);
    assert_eq!(queue.push(0, b"zero", 9, 0).await.unwrap(), PushOutcome::Duplicate);
    let (listed, group) = queue.dead_letter(0).await.unwrap().unwrap();
    assert_eq!((listed.group_bytes, group), (100, vec![7; 100]));
    assert_eq!(
        listed.letter,
        DeadLetter {
            group: Vec::new(),
            ..letter(0)
        }
    );
    assert!(listed.unix_ms > 1_600_000_000_000);
    // What is dug up may come again.
    queue.dig_up(0).await.unwrap();
    assert_eq!(queue.dead_letters().await.unwrap(), []);
    assert_eq!(queue.push(0, b"zero", 9, 0).await.unwrap(), PushOutcome::Accepted);

    for sequence in 1..=MAX_DEAD_LETTERS as u64 + 6 {
        queue.bury(&letter(sequence)).await.unwrap();
    }
    let kept: Vec<u64> = queue.dead_sequences().await.unwrap().into_iter().collect();
    assert_eq!((kept.len(), kept[0]), (MAX_DEAD_LETTERS, 7));
    assert_eq!(queue.open().await.unwrap().skipped.len(), MAX_DEAD_LETTERS + 6);

    // Nobody without the right writes any; after the job's end everybody can read them, for a while.
    let rival = queue_with(&server, "owner", fence_of(&server, "rival").await).await;
    assert!(rival.bury(&letter(0)).await.is_err() && rival.dig_up(9).await.is_err());
    queue.delete().await.unwrap();
    assert_eq!(rival.dead_letters().await.unwrap().len(), MAX_DEAD_LETTERS);
    let mut redis = server.connection().await;
    let seconds: i64 = redis.ttl("anytime:job:dead").await.unwrap();
    assert!((600_000..=604_800).contains(&seconds), "{seconds}");
    queue.forget().await.unwrap();
    assert_eq!(rival.dead_letters().await.unwrap(), []);
    // A later job of the name has none of them.
    queue.open().await.unwrap();
    queue.bury(&letter(1)).await.unwrap();
    let later = queue_with(&server, "another owner", fence).await;
    later.open().await.unwrap();
    assert_eq!(later.dead_letters().await.unwrap(), []);
}

#[tokio::test]
async fn sequences_that_a_checkpoint_holds_are_not_remembered_one_by_one() {
    let server = RedisServer::start();
    let queue = queue_of(&server, "one").await;
    queue.open().await.unwrap();
    let mut connection = server.connection().await;
    let mut fields = async || connection.hlen::<_, u64>("anytime:job:seen").await.unwrap();
    for round in 0..40 {
        let batch: Vec<u64> = (0..25).map(|index| round * 25 + index).collect();
        for sequence in &batch {
            queue.push(*sequence, b"payload", 100, 0).await.unwrap();
        }
        queue.settle(&batch, Settlement::Trained).await.unwrap();
        queue.settle(&batch[3..4], Settlement::Skipped).await.unwrap();
        queue.forget_below(round * 25 + 25).await.unwrap();
        assert_eq!(fields().await, 1, "the owner alone");
    }
    // What lies above is not touched.
    for sequence in [1000, 1002] {
        queue.push(sequence, b"payload", 100, 0).await.unwrap();
    }
    queue.settle(&[1001], Settlement::Stale).await.unwrap();
    queue.forget_below(1000).await.unwrap();
    let survey = queue.open().await.unwrap();
    assert_eq!(survey.queued, BTreeSet::from([1000, 1002]));
    assert_eq!(
        (survey.trained, survey.stale),
        (BTreeSet::new(), BTreeSet::from([1001]))
    );

    // What is still in the queue stays, wherever its sequence lies.
    queue.forget_below(2000).await.unwrap();
    let survey = queue.open().await.unwrap();
    assert_eq!(
        (survey.queued, survey.stale),
        (BTreeSet::from([1000, 1002]), BTreeSet::new())
    );
    assert_eq!(queue.length().await.unwrap(), 2);
}
