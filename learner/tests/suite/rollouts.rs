//! `RolloutService` over a whole server, with a fake trainer and fake actors.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anytime_learner::jobs::context::JobContext;
use anytime_learner::rollouts::retries::MAX_FAILURES;
use anytime_proto::v1::{self, JobState, PushStatus, WaitReason};
use redis::AsyncCommands as _;
use tempfile::TempDir;
use tonic::Code;

use crate::support::actor::{FakeActor, push_request};
use crate::support::eventually;
use crate::support::groups::{CountedProblems, group_for, plan, sequence_of};
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::{FakeTrainer, weights};

async fn lease(learner: &TestLearner, actor: &str, count: u32, wait_ms: u32) -> v1::LeaseResponse {
    let request = v1::LeaseRequest {
        actor_id: actor.to_owned(),
        max_groups: count,
        wait_ms,
        ..v1::LeaseRequest::default()
    };
    learner.rollouts().lease(request).await.unwrap().into_inner()
}

async fn push(learner: &TestLearner, group: v1::ScoredGroup) -> Result<PushStatus, tonic::Status> {
    Ok(learner
        .rollouts()
        .push(push_request(group))
        .await?
        .into_inner()
        .status())
}

async fn abandon(learner: &TestLearner, lease: &v1::Lease, actor: &str, reason: v1::AbandonReason) -> PushStatus {
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
    };
    learner.rollouts().push(request).await.unwrap().into_inner().status()
}

async fn start_training(trainer: &FakeTrainer) -> (RedisServer, TempDir, TestLearner) {
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
    // Nothing more was asked for than was trained or dropped, and Redis is clean.
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

fn opening(queue_groups: u32, batch: u32) -> anytime_learner::rollouts::group::TrainingOpening {
    anytime_learner::rollouts::group::TrainingOpening {
        problems: Box::new(CountedProblems),
        plan: plan(),
        batch,
        max_staleness: 0,
        queue_groups,
        lease_seconds: 60,
        seed: 0,
        next_sequence_from: 0,
        consumed: BTreeSet::new(),
        total_groups: 1000,
    }
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
        Ok(context.acknowledge(&groups.iter().map(|queued| queued.sequence).collect::<Vec<_>>())?)
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
async fn an_evaluation_comes_first_and_is_collected_in_order() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let collected = Arc::new(Mutex::new(Vec::new()));
    let seen = collected.clone();
    let learner = TestLearner::start(&redis.url(), runs.path(), move |context: &JobContext| {
        context.publish(weights(0));
        context.open_training(opening(10, 4))?;
        let groups = context.evaluate(evaluation_leases(context))?;
        seen.lock()
            .unwrap()
            .extend(groups.into_iter().map(|group| group.group_id));
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
    assert_eq!(*collected.lock().unwrap(), ["demo/evaluate/0", "demo/evaluate/1"]);
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
        let groups = context.evaluate(evaluation_leases(context))?;
        seen.lock()
            .unwrap()
            .extend(groups.into_iter().map(|group| group.group_id));
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
    assert_eq!(*collected.lock().unwrap(), ["demo/evaluate/1"]);
    learner.stop().await;
}

/// A lease request of a process that says what it has in hand.
async fn lease_with(
    learner: &TestLearner,
    incarnation: &str,
    number: u64,
    held: &[v1::Lease],
    count: u32,
) -> v1::LeaseResponse {
    let request = v1::LeaseRequest {
        actor_id: "a".to_owned(),
        max_groups: count,
        wait_ms: 0,
        incarnation: incarnation.to_owned(),
        held_group_ids: held.iter().map(|lease| lease.group_id.clone()).collect(),
        number,
    };
    learner.rollouts().lease(request).await.unwrap().into_inner()
}

fn sequences(leases: &[v1::Lease]) -> Vec<u64> {
    leases.iter().map(|lease| sequence_of(&lease.group_id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_starts_again_under_its_name_frees_its_old_leases_at_once() {
    let trainer = FakeTrainer {
        lease_seconds: 3600,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    let mut leases = Vec::new();
    eventually("everything is leased", async || {
        leases = lease_with(&learner, "first", 1, &[], 100).await.leases;
        !leases.is_empty()
    })
    .await;
    assert_eq!(leases.len(), 6);
    // Another process of the same name, and the stream of the first is still open for all anybody knows.
    let again = lease_with(&learner, "second", 1, &[], 100).await.leases;
    assert_eq!(sequences(&again), sequences(&leases));
    // What the first one still sends back is not taken for the second one's.
    let abandoned = v1::AbandonedGroup {
        job_id: leases[0].job_id.clone(),
        group_id: leases[0].group_id.clone(),
        actor_id: "a".to_owned(),
        reason: v1::AbandonReason::Shutdown.into(),
        incarnation: "first".to_owned(),
        ..v1::AbandonedGroup::default()
    };
    let request = v1::PushRequest {
        outcome: Some(v1::push_request::Outcome::Abandoned(abandoned)),
    };
    let status = learner.rollouts().push(request).await.unwrap().into_inner().status();
    assert_eq!(status, PushStatus::Unwanted);
    // But its groups are as good as any.
    assert_eq!(
        push(&learner, group_for(&leases[0], "a", 0)).await.unwrap(),
        PushStatus::Accepted
    );
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_new_process_frees_the_old_leases_too() {
    let trainer = FakeTrainer {
        lease_seconds: 3600,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    eventually("everything is leased", async || {
        !lease_with(&learner, "first", 1, &[], 100).await.leases.is_empty()
    })
    .await;
    let watch = v1::WatchWeightsRequest {
        actor_id: "a".to_owned(),
        incarnation: "second".to_owned(),
        ..v1::WatchWeightsRequest::default()
    };
    let mut client = learner.weights();
    let _stream = client.watch(watch).await.unwrap();
    assert_eq!(lease(&learner, "b", 100, 5000).await.leases.len(), 6);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_actor_lists_is_its_own_and_what_it_does_not_list_is_free() {
    let trainer = FakeTrainer {
        lease_seconds: 2,
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    let mut leases = Vec::new();
    eventually("everything is leased", async || {
        leases = lease_with(&learner, "first", 1, &[], 100).await.leases;
        !leases.is_empty()
    })
    .await;
    // The answer was lost but for four leases: the others are given again, and a late copy changes nothing.
    let (held, lost) = leases.split_at(4);
    let again = lease_with(&learner, "first", 3, held, 100).await.leases;
    assert_eq!(sequences(&again), sequences(lost));
    assert_eq!(lease_with(&learner, "first", 2, &[], 100).await.leases, []);
    // Renewed, all of them outlast their two seconds twice; a request with no room is enough.
    for number in 4..14 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(lease_with(&learner, "first", number, &leases, 0).await.leases, []);
        assert_eq!(lease(&learner, "b", 100, 0).await.leases, []);
    }
    eventually("silence ends them", async || {
        lease(&learner, "b", 100, 0).await.leases.len() == 6
    })
    .await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_have_generated_is_refused_by_name_and_the_job_goes_on() {
    let trainer = FakeTrainer {
        step_time: Duration::from_millis(1),
        ..FakeTrainer::default()
    };
    let (_redis, _runs, learner) = start_training(&trainer).await;
    let leases = lease(&learner, "a", 6, 5000).await.leases;
    let thinking = |group: &mut v1::ScoredGroup| group.traces[1].thinking.take().unwrap();
    let changes: [(&str, &dyn Fn(&mut v1::ScoredGroup)); 6] = [
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
    let nothing = v1::PushRequest { outcome: None };
    assert_eq!(
        learner.rollouts().push(nothing).await.unwrap_err().code(),
        Code::InvalidArgument
    );
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
