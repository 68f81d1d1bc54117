//! Who holds a lease: actors that start again, lists of what is in hand, and lost answers.

use std::time::Duration;

use anytime_proto::v1::{self, PushStatus};

use crate::rollouts::{lease, push, start_training};
use crate::support::eventually;
use crate::support::groups::{group_for, sequence_of};
use crate::support::learner::TestLearner;
use crate::support::trainer::FakeTrainer;

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
        report: None,
    };
    learner.rollouts().lease(request).await.unwrap().into_inner()
}

/// Leases all that there is to the process `first` of the actor `a`.
async fn lease_all(learner: &TestLearner) -> Vec<v1::Lease> {
    let mut leases = Vec::new();
    eventually("everything is leased", async || {
        leases = lease_with(learner, "first", 1, &[], 100).await.leases;
        !leases.is_empty()
    })
    .await;
    leases
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
    let leases = lease_all(&learner).await;
    assert_eq!(leases.len(), 6);
    // Another process of the same name, and the stream of the first is still open for all anybody knows.
    let again = lease_with(&learner, "second", 1, &[], 100).await.leases;
    assert_eq!(sequences(&again), sequences(&leases));
    // A group that the first process still gives back does not count as the second one's.
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
        lease_token: leases[0].token.clone(),
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
    lease_all(&learner).await;
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
    let leases = lease_all(&learner).await;
    // The answer was lost but for four leases: the others are given again, and a late copy changes nothing.
    let (held, lost) = leases.split_at(4);
    let again = lease_with(&learner, "first", 3, held, 100).await.leases;
    assert_eq!(sequences(&again), sequences(lost));
    assert_eq!(lease_with(&learner, "first", 2, &[], 100).await.leases, []);
    // Leases that are renewed outlast their two seconds twice. A request without room is enough to renew them.
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
