//! `RolloutService` over a whole server, with a fake trainer and fake actors.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anytime_learner::jobs::context::JobContext;
use anytime_learner::rollouts::retries::MAX_FAILURES;
use anytime_proto::EndedGroups;
use anytime_proto::v1::{self, JobState, PushStatus, WaitReason};
use prost::Message as _;
use redis::AsyncCommands as _;
use tempfile::TempDir;
use tonic::Code;

use crate::support::actor::{FakeActor, push_request};
use crate::support::eventually;
use crate::support::groups::{CountedProblems, group_for, plan, sequence_of};
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::{FakeTrainer, weights};

pub(crate) async fn lease(learner: &TestLearner, actor: &str, count: u32, wait_ms: u32) -> v1::LeaseResponse {
    let request = v1::LeaseRequest {
        actor_id: actor.to_owned(),
        max_groups: count,
        wait_ms,
        ..v1::LeaseRequest::default()
    };
    learner.rollouts().lease(request).await.unwrap().into_inner()
}

pub(crate) async fn push(learner: &TestLearner, group: v1::ScoredGroup) -> Result<PushStatus, tonic::Status> {
    let token = learner.token(&group.job_id, &group.group_id, &group.actor_id);
    let response = learner.rollouts().push(push_request(group, token)).await?;
    Ok(response.into_inner().status())
}

pub(crate) async fn abandon(
    learner: &TestLearner,
    lease: &v1::Lease,
    actor: &str,
    reason: v1::AbandonReason,
) -> PushStatus {
    let abandoned = v1::AbandonedGroup {
        job_id: lease.job_id.clone(),
        group_id: lease.group_id.clone(),
        actor_id: actor.to_owned(),
        reason: reason.into(),
        detail: "because".to_owned(),
        ..v1::AbandonedGroup::default()
    };
    let request = v1::PushRequest {
        outcome: Some(v1::push_request::Outcome::Abandoned(abandoned)),
        lease_token: learner.token(&lease.job_id, &lease.group_id, actor),
    };
    learner.rollouts().push(request).await.unwrap().into_inner().status()
}

pub(crate) async fn start_training(trainer: &FakeTrainer) -> (RedisServer, TempDir, TestLearner) {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let trainer = trainer.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context| trainer.run(context)).await;
    learner.submit("request", spec("demo")).await.unwrap();
    (redis, runs, learner)
}

#[tokio::test(flavor = "multi_thread")]
async fn actors_and_trainer_finish_a_job_together() {
    let trainer = FakeTrainer {
        steps: 8,
        checkpoint_every: 3,
        ..FakeTrainer::default()
    };
    let (redis, _runs, learner) = start_training(&trainer).await;
    let actors = ["a", "b", "c"].map(|name| FakeActor::start(learner.address, name));
    let job = learner.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!(job.step, 8);
    let trained = trainer.trained.lock().unwrap().clone();
    assert_eq!(trained.len() as u64, trainer.total());
    assert_eq!(trained.iter().collect::<BTreeSet<_>>().len(), trained.len());
    // No more groups were accepted than were trained or dropped, and Redis is clean.
    let accepted: usize = actors.iter().map(|actor| actor.accepted.lock().unwrap().len()).sum();
    assert_eq!(accepted as u64, trainer.total() + *trainer.dropped.lock().unwrap());
    assert_eq!(
        redis.connection().await.keys::<_, Vec<String>>("*").await.unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(lease(&learner, "a", 1, 0).await.wait_reason(), WaitReason::NoJob);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_bounded_and_pushes_answered_by_what_they_are() {
    let trainer = FakeTrainer {
        queue_groups: 2,
        batch: 3,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    // Waits until there is something.
    let leases = lease(&learner, "a", 100, 5000).await.leases;
    assert_eq!(
        leases.iter().map(|it| sequence_of(&it.group_id)).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5]
    );
    assert_eq!(leases[0].group_id, "demo/train/00000000");
    let seeds: BTreeSet<u64> = leases.iter().map(|it| it.seed).collect();
    assert_eq!(seeds.len(), 6);
    let start = Instant::now();
    assert_eq!(lease(&learner, "b", 1, 200).await.wait_reason(), WaitReason::Staleness);
    assert!(start.elapsed() >= Duration::from_millis(200));

    let group = group_for(&leases[5], "a", 0);
    assert_eq!(push(&learner, group.clone()).await.unwrap(), PushStatus::Accepted);
    assert_eq!(push(&learner, group.clone()).await.unwrap(), PushStatus::Duplicate);

    // Unknown, or of another problem.
    let stranger = v1::ScoredGroup {
        job_id: "nobody".to_owned(),
        ..group.clone()
    };
    assert_eq!(push(&learner, stranger).await.unwrap(), PushStatus::Unwanted);
    let beyond = v1::ScoredGroup {
        group_id: "demo/train/00000999".to_owned(),
        ..group.clone()
    };
    assert_eq!(push(&learner, beyond).await.unwrap(), PushStatus::Unwanted);
    let mut mixed_up = group_for(&leases[4], "a", 0);
    mixed_up.group_id.clone_from(&leases[3].group_id);
    assert_eq!(push(&learner, mixed_up).await.unwrap(), PushStatus::Unwanted);

    // One that breaks an invariant frees its lease.
    let mut broken = group_for(&leases[4], "a", 0);
    broken.traces[0].nodes.clear();
    assert_eq!(push(&learner, broken).await.unwrap_err().code(), Code::InvalidArgument);
    let again = lease(&learner, "b", 1, 5000).await.leases;
    assert_eq!(again[0].group_id, leases[4].group_id);
    assert_eq!(again[0].seed, leases[4].seed);
    assert_eq!(again[0].problem, leases[4].problem);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_pushes_back() {
    // Takes nothing, so that the queue fills.
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        context.publish(weights(0));
        context.open_training(anytime_learner::rollouts::group::TrainingOpening {
            max_staleness: 2,
            ..opening(2, 2)
        })?;
        loop {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let leases = lease(&learner, "a", 8, 5000).await.leases;
    assert_eq!(leases.len(), 6);
    let push_all = async |numbers: std::ops::Range<usize>| {
        let mut statuses = Vec::new();
        for lease in &leases[numbers] {
            statuses.push(push(&learner, group_for(lease, "a", 0)).await.unwrap());
        }
        statuses
    };
    let (accepted, full) = (PushStatus::Accepted, PushStatus::QueueFull);
    assert_eq!(push_all(2..6).await, [accepted, accepted, full, full]);
    // The next step needs these: without them it would wait for ever.
    assert_eq!(push_all(0..2).await, [accepted, accepted]);
    assert_eq!(push_all(4..6).await, [full, full]);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_deterministic_plan_name_the_published_weights() {
    for is_deterministic in [false, true] {
        let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
        let learner = TestLearner::start(&redis.url(), runs.path(), move |context| {
            context.publish(weights(0));
            let plan = v1::RolloutPlan {
                deterministic: is_deterministic,
                ..plan()
            };
            context.open_training(anytime_learner::rollouts::group::TrainingOpening { plan, ..opening(2, 2) })?;
            loop {
                context.check()?;
                std::thread::sleep(Duration::from_millis(5));
            }
        })
        .await;
        learner.submit("request", spec("demo")).await.unwrap();
        let leases = lease(&learner, "a", 8, 5000).await.leases;
        assert_eq!(leases.len(), 2);
        let watch = v1::WatchWeightsRequest {
            actor_id: "a".to_owned(),
            ..v1::WatchWeightsRequest::default()
        };
        let mut announcements = learner.weights().watch(watch).await.unwrap().into_inner();
        let published = announcements.message().await.unwrap().unwrap().manifest_checksum;
        assert!(!published.is_empty());
        for lease in leases {
            let named = if is_deterministic { published.as_str() } else { "" };
            assert_eq!(lease.manifest_checksum, named);
        }
        learner.stop().await;
    }
}

pub(crate) fn opening(queue_groups: u32, batch: u32) -> anytime_learner::rollouts::group::TrainingOpening {
    anytime_learner::rollouts::group::TrainingOpening {
        problems: Box::new(CountedProblems),
        plan: plan(),
        batch,
        max_staleness: 0,
        queue_groups,
        lease_seconds: 60,
        seed: 0,
        ended: EndedGroups::default(),
        total_groups: 1000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_given_a_lease_can_neither_push_nor_give_back() {
    let (_redis, _runs, learner) = start_training(&FakeTrainer::default()).await;
    let leases = lease(&learner, "a", 1, 5000).await.leases;
    let group = group_for(&leases[0], "a", 0);
    let abandoned = v1::AbandonedGroup {
        job_id: leases[0].job_id.clone(),
        group_id: leases[0].group_id.clone(),
        actor_id: "a".to_owned(),
        reason: v1::AbandonReason::Engine.into(),
        ..v1::AbandonedGroup::default()
    };
    let outcomes = [
        v1::push_request::Outcome::Group(group.encode_to_vec().into()),
        v1::push_request::Outcome::Abandoned(abandoned),
    ];
    let of_another = learner.token(&leases[0].job_id, &leases[0].group_id, "b");
    for outcome in outcomes {
        for lease_token in [Vec::new(), vec![0; 32], of_another.clone(), vec![1; 1000]] {
            let request = v1::PushRequest {
                outcome: Some(outcome.clone()),
                lease_token,
            };
            let refused = learner.rollouts().push(request).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
    }
    // The lease is as it was.
    let request = push_request(group, leases[0].token.clone());
    let status = learner.rollouts().push(request).await.unwrap().into_inner().status();
    assert_eq!(status, PushStatus::Accepted);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_actor_gives_back_goes_to_another() {
    let (_redis, _runs, learner) = start_training(&FakeTrainer::default()).await;
    let leases = lease(&learner, "a", 1, 5000).await.leases;
    let status = abandon(&learner, &leases[0], "a", v1::AbandonReason::Shutdown).await;
    assert_eq!(status, PushStatus::Accepted);
    assert_eq!(
        abandon(&learner, &leases[0], "a", v1::AbandonReason::Shutdown).await,
        PushStatus::Unwanted
    );
    let again = lease(&learner, "b", 1, 0).await.leases;
    assert_eq!(again[0].group_id, leases[0].group_id);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_actors_groups_are_leased_again() {
    let trainer = FakeTrainer {
        lease_seconds: 3600,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    // It follows the weights, leases all there is, and dies.
    let watch = v1::WatchWeightsRequest {
        actor_id: "dead".to_owned(),
        job_id: String::new(),
        ..v1::WatchWeightsRequest::default()
    };
    let mut client = learner.weights();
    let stream = client.watch(watch).await.unwrap();
    assert_eq!(lease(&learner, "dead", 100, 5000).await.leases.len(), 6);
    drop(stream);
    let _actor = FakeActor::start(learner.address, "alive");
    learner.wait_for_state("demo", JobState::Succeeded).await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_an_earlier_learner_left_too_old_are_dropped_and_replaced() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let is_published = Arc::new(AtomicBool::new(false));
    let (seen, published) = (taken.clone(), is_published.clone());
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.open_training(anytime_learner::rollouts::group::TrainingOpening {
            total_groups: 4,
            ..opening(10, 4)
        })?;
        while context.queue_depth() < 2 {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        // Two are in the queue when a new version makes them too old.
        context.publish(weights(1));
        published.store(true, Ordering::Release);
        let groups = context.take_groups(4)?;
        seen.lock().unwrap().extend(groups.iter().map(|queued| queued.sequence));
        assert_eq!(context.dropped_groups(), 2);
        Ok(context.acknowledge(&groups.iter().map(|queued| queued.sequence).collect::<Vec<_>>(), 0)?)
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let first = lease(&learner, "a", 2, 5000).await.leases;
    for lease in &first {
        assert_eq!(
            push(&learner, group_for(lease, "a", 0)).await.unwrap(),
            PushStatus::Accepted
        );
    }
    eventually("the new version", async || is_published.load(Ordering::Acquire)).await;
    eventually("four fresh groups", async || {
        for lease in lease(&learner, "a", 4, 100).await.leases {
            push(&learner, group_for(&lease, "a", 1)).await.unwrap();
        }
        learner.get("demo").await.state() == JobState::Succeeded
    })
    .await;
    assert_eq!(*taken.lock().unwrap(), [2, 3, 4, 5]);
    learner.stop().await;
}

/// Two evaluation leases of this job's published weights.
fn evaluation_leases(context: &JobContext) -> Vec<v1::Lease> {
    let lease = |number: u32| v1::Lease {
        job_id: context.job_id().to_string(),
        group_id: format!("{}/evaluate/{number}", context.job_id()),
        purpose: v1::Purpose::Evaluate.into(),
        problem: Some(v1::Problem {
            id: number.to_string(),
            prompt_ids: vec![1],
            ground_truths: vec!["1".to_owned()],
        }),
        plan: Some(plan()),
        seed: u64::from(number),
        manifest_checksum: context.manifest_checksum(),
        seconds: 1,
        ..v1::Lease::default()
    };
    vec![lease(0), lease(1)]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_comes_first_and_hands_its_groups_over_as_they_come() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let collected = Arc::new(Mutex::new(Vec::new()));
    let seen = collected.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.open_training(opening(10, 4))?;
        context.evaluate(evaluation_leases(context), |taken| {
            seen.lock().unwrap().push((taken.place, taken.group.group_id));
        })?;
        loop {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let mut leases = Vec::new();
    eventually("the evaluation is leased", async || {
        for leased in lease(&learner, "a", 10, 100).await.leases {
            if leased.purpose() == v1::Purpose::Evaluate {
                leases.push(leased);
            } else {
                // Leased before the evaluation began.
                abandon(&learner, &leased, "a", v1::AbandonReason::Shutdown).await;
            }
        }
        leases.len() == 2
    })
    .await;
    // Meanwhile nothing is trained.
    assert_eq!(lease(&learner, "b", 10, 0).await.wait_reason(), WaitReason::AllLeased);
    assert_eq!(
        push(&learner, group_for(&leases[1], "a", 0)).await.unwrap(),
        PushStatus::Accepted
    );
    assert_eq!(
        push(&learner, group_for(&leases[1], "a", 0)).await.unwrap(),
        PushStatus::Duplicate
    );
    // The other one expires after its second, and is given to whoever asks.
    let again = lease(&learner, "b", 10, 5000).await.leases;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].group_id, leases[0].group_id);
    assert_eq!(
        push(&learner, group_for(&again[0], "b", 0)).await.unwrap(),
        PushStatus::Accepted
    );
    eventually("it is collected", async || collected.lock().unwrap().len() == 2).await;
    let in_order_of_arrival = [(1, "demo/evaluate/1".to_owned()), (0, "demo/evaluate/0".to_owned())];
    assert_eq!(*collected.lock().unwrap(), in_order_of_arrival);
    assert_eq!(
        push(&learner, group_for(&again[0], "b", 0)).await.unwrap(),
        PushStatus::Unwanted
    );
    assert_eq!(
        lease(&learner, "b", 1, 5000).await.leases[0].purpose(),
        v1::Purpose::Train
    );
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_leaves_out_what_keeps_failing_and_goes_on() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let collected = Arc::new(Mutex::new(Vec::new()));
    let seen = collected.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.evaluate(evaluation_leases(context), |taken| {
            seen.lock().unwrap().push((taken.place, taken.group.group_id));
        })?;
        Ok(())
    })
    .await;
    learner.submit("request", spec("demo")).await.unwrap();
    let mut failures = 0;
    eventually("the job has ended", async || {
        for leased in lease(&learner, "a", 1, 100).await.leases {
            if leased.group_id == "demo/evaluate/0" {
                failures += 1;
                abandon(&learner, &leased, "a", v1::AbandonReason::Verifier).await;
            } else {
                push(&learner, group_for(&leased, "a", 0)).await.unwrap();
            }
        }
        learner.get("demo").await.state() == JobState::Succeeded
    })
    .await;
    assert_eq!(failures, MAX_FAILURES);
    assert_eq!(*collected.lock().unwrap(), [(1, "demo/evaluate/1".to_owned())]);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_refused() {
    let (_redis, _runs, learner) = start_training(&FakeTrainer::default()).await;
    for (actor_id, max_groups) in [("", 1), ("a", 0)] {
        let request = v1::LeaseRequest {
            actor_id: actor_id.to_owned(),
            max_groups,
            wait_ms: 0,
            ..v1::LeaseRequest::default()
        };
        assert_eq!(
            learner.rollouts().lease(request).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
    let endless = "a".repeat(1000);
    for (actor_id, incarnation) in [(endless.clone(), String::new()), ("a".to_owned(), endless)] {
        let request = v1::LeaseRequest {
            actor_id,
            incarnation,
            max_groups: 1,
            ..v1::LeaseRequest::default()
        };
        let status = learner.rollouts().lease(request).await.unwrap_err();
        assert!(status.message().contains("1000 bytes"), "{}", status.message());
    }
    let nothing = v1::PushRequest::default();
    assert_eq!(
        learner.rollouts().push(nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
    learner.stop().await;
}
