//! What becomes of pushed groups: refused for their values, waited for, trained in order.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anytime_learner::jobs::context::JobContext;
use anytime_learner::rollouts::retries::MAX_FAILURES;
use anytime_proto::v1::{self, JobState, PushStatus};
use prost::Message as _;
use redis::AsyncCommands as _;
use tempfile::TempDir;
use tonic::Code;

use crate::rollouts::{lease, opening, push, start_training};
use crate::support::actor::FakeActor;
use crate::support::eventually;
use crate::support::groups::{group_for, sequence_of};
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::{FakeTrainer, weights};

type Change<'a> = &'a dyn Fn(&mut v1::ScoredGroup);

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_have_generated_is_refused_by_name_and_the_job_goes_on() {
    let trainer = FakeTrainer {
        step_time: Duration::from_millis(1),
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    let leases = lease(&learner, "a", 6, 5000).await.leases;
    let thinking = |group: &mut v1::ScoredGroup| group.traces[1].thinking.take().unwrap();
    let changes: [(&str, Change<'_>); 6] = [
        ("token id", &|group| {
            let mut changed = thinking(group);
            changed.ids[0] = 10;
            group.traces[1].thinking = Some(changed);
        }),
        ("version 1", &|group| {
            let mut changed = thinking(group);
            changed.versions[0] = 1;
            group.traces[1].thinking = Some(changed);
        }),
        ("log-probability", &|group| {
            let mut changed = thinking(group);
            changed.log_probs[0] = -1e30;
            group.traces[1].thinking = Some(changed);
        }),
        ("score", &|group| group.traces[0].nodes[0].summaries[0].score = f32::NAN),
        ("inserted", &|group| group.traces[0].nodes[0].inserted_ids = vec![1]),
        ("max_summary_tokens", &|group| {
            let summary = &mut group.traces[0].nodes[0].summaries[0];
            let generated = summary.generated.as_mut().unwrap();
            generated.ids = vec![3; 4];
            generated.log_probs = vec![-0.5; 4];
            generated.versions = vec![0; 4];
        }),
    ];
    for ((reason, change), lease) in changes.iter().zip(&leases) {
        let mut group = group_for(lease, "a", 0);
        change(&mut group);
        let status = push(&learner, group).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(reason), "{reason}: {}", status.message());
    }
    let _actor = FakeActor::start(learner.address, "honest");
    learner.wait_for_state("demo", JobState::Succeeded).await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_group_are_refused_and_what_is_queued_is_what_came() {
    let (redis, _runs, learner) = start_training(&FakeTrainer::default()).await;
    let leases = lease(&learner, "a", 6, 5000).await.leases;
    let group = group_for(&leases[4], "a", 0);
    let push_bytes = async |wire: Vec<u8>| {
        let request = v1::PushRequest {
            outcome: Some(v1::push_request::Outcome::Group(wire.into())),
            lease_token: leases[4].token.clone(),
        };
        learner
            .rollouts()
            .push(request)
            .await
            .map(|it| it.into_inner().status())
    };
    let wire = group.encode_to_vec();
    let mut padded = wire.clone();
    // Field 2000, a megabyte long.
    padded.extend_from_slice(&[0x82, 0x7d, 0x80, 0x80, 0x40]);
    padded.extend_from_slice(&vec![0; 1 << 20]);
    let mut broken = wire.clone();
    // The last trace claims to be longer than the message.
    broken.extend_from_slice(&[0x42, 0x7f, 0x00]);
    for wire in [padded, broken, vec![0xff; 64]] {
        let refused = push_bytes(wire).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    // An actor may encode the fields in any order.
    let head = v1::ScoredGroup {
        traces: Vec::new(),
        ..group.clone()
    };
    let traces = v1::ScoredGroup {
        traces: group.traces.clone(),
        ..v1::ScoredGroup::default()
    };
    let turned = [traces.encode_to_vec(), head.encode_to_vec()].concat();
    assert_ne!(turned, wire);
    eventually("the group was leased again and is accepted", async || {
        lease(&learner, "a", 6, 50).await;
        matches!(push_bytes(turned.clone()).await, Ok(PushStatus::Accepted))
    })
    .await;
    let mut connection = redis.connection().await;
    let groups: Vec<Vec<u8>> = connection.hvals("anytime:demo:groups").await.unwrap();
    assert!(groups.contains(&turned), "{} groups", groups.len());
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_would_swell_is_refused_before_it_is_decoded() {
    let (_redis, _runs, learner) = start_training(&FakeTrainer::default()).await;
    let leased = lease(&learner, "a", 1, 5000).await.leases.remove(0);
    // 5 MiB on the wire.
    let mut group = group_for(&leased, "a", 0);
    group.traces = vec![v1::Trace::default(); 2_500_000];
    // The caller's own work, which takes as long as the machine is busy with others.
    let encoding = Instant::now();
    drop(prost::Message::encode_to_vec(&group));
    let encoding = encoding.elapsed();
    let started = Instant::now();
    let status = push(&learner, group).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("ScoredGroup would take"), "{status}");
    let allowed = Duration::from_secs(5) + 2 * encoding;
    assert!(started.elapsed() < allowed, "{:?} of {allowed:?}", started.elapsed());
    // Every service has the same codec.
    let request = v1::LeaseRequest {
        actor_id: "a".to_owned(),
        held_group_ids: vec![String::new(); 12_000_000],
        ..v1::LeaseRequest::default()
    };
    let status = learner
        .rollouts()
        .max_encoding_message_size(usize::MAX)
        .lease(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    // The lease is still the actor's.
    assert_eq!(
        push(&learner, group_for(&leased, "a", 0)).await.unwrap(),
        PushStatus::Accepted
    );
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_whose_weights_are_always_too_old_is_refused_and_cannot_stop_the_others() {
    let trainer = FakeTrainer {
        max_staleness: 0,
        steps: 6,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    let mut refused = None;
    eventually(
        "a step was made with honest groups and a stale one was refused",
        async || {
            for leased in lease(&learner, "stale", 1, 50).await.leases {
                match push(&learner, group_for(&leased, "stale", 0)).await {
                    Ok(status) => assert_eq!(status, PushStatus::Accepted, "version 0 is the newest"),
                    Err(status) => refused = Some(status),
                }
            }
            refused.is_some()
        },
    )
    .await;
    let status = refused.unwrap();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(
        status.message().contains("its lease asks for version 1"),
        "{}",
        status.message()
    );
    let _actor = FakeActor::start(learner.address, "honest");
    learner.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(*trainer.dropped.lock().unwrap(), 0);
    learner.stop().await;
}

/// Found by the model of the queue: a learner that goes back to its recovery checkpoint, and whose Redis has lost the groups
/// since, leases them to actors that may still hold newer weights than are published again.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_heard_that_the_learner_went_back_is_refused_and_not_at_fault() {
    let trainer = FakeTrainer::default();
    let (_redis, _runs, learner) = start_training(&trainer).await;
    for _ in 0..2 * MAX_FAILURES {
        let leased = lease(&learner, "late", 1, 5000).await.leases;
        assert_eq!(sequence_of(&leased[0].group_id), 0);
        let refused = push(&learner, group_for(&leased[0], "late", 2)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("version 2"), "{refused}");
    }
    let _actor = FakeActor::start(learner.address, "honest");
    learner.wait_for_state("demo", JobState::Succeeded).await;
    let trained = trainer.trained.lock().unwrap().clone();
    assert!(trained.contains(&0), "nothing was left out: {trained:?}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_groups_are_waited_for_and_none_is_dropped() {
    let trainer = FakeTrainer {
        steps: 12,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    // One actor holds back every group for as long as others have anything to do.
    let _fast = ["b", "c"].map(|name| FakeActor::start(learner.address, name));
    let mut held_back = Vec::new();
    eventually("the job has ended", async || {
        let leased = lease(&learner, "slow", 1, 50).await.leases;
        let is_idle = leased.is_empty();
        held_back.extend(leased);
        if is_idle && !held_back.is_empty() {
            // By weights that were the newest when it was leased.
            let lease = held_back.remove(0);
            let version = lease.min_weights_version;
            push(&learner, group_for(&lease, "slow", version)).await.unwrap();
        }
        learner.get("demo").await.state() == JobState::Succeeded
    })
    .await;
    let trained = trainer.trained.lock().unwrap().clone();
    assert_eq!(trained, (0..trainer.total()).collect::<Vec<u64>>());
    assert_eq!(*trainer.dropped.lock().unwrap(), 0);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_former_line_are_not_fresh() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let seen = taken.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.open_training(opening(10, 3))?;
        let groups = context.take_groups(3)?;
        let version_of = |group: &v1::ScoredGroup| group.traces[0].thinking.as_ref().unwrap().versions[0];
        let versions = groups.iter().map(|queued| version_of(&queued.group));
        seen.lock().unwrap().extend(versions);
        Ok(())
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let watch = v1::WatchWeightsRequest {
        actor_id: "a".to_owned(),
        ..v1::WatchWeightsRequest::default()
    };
    let mut announcements = learner.weights().watch(watch).await.unwrap().into_inner();
    let published = announcements.message().await.unwrap().unwrap();
    let leases = lease(&learner, "a", 3, 5000).await.leases;
    let used = |checksums: &[&str]| -> Vec<v1::UsedWeights> {
        let named = checksums.iter().map(|checksum| v1::UsedWeights {
            version: 0,
            manifest_checksum: (*checksum).to_owned(),
        });
        named.collect()
    };
    let current = published.manifest_checksum.as_str();
    for (lease, checksums) in leases.iter().zip([&[current][..], &["former"], &["former", current]]) {
        let mut group = group_for(lease, "a", 0);
        group.weights = used(checksums);
        assert_eq!(push(&learner, group).await.unwrap(), PushStatus::Accepted);
    }
    learner.wait_for_state("demo", JobState::Succeeded).await;
    let other_line = anytime_learner::rollouts::group::OTHER_LINE;
    assert_eq!(*taken.lock().unwrap(), [0, other_line, other_line]);
    learner.stop().await;
}
