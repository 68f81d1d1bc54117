//! What an actor says to its learner, and what a verifier that fails costs.

use anytime_proto::v1::{AbandonReason, LeaseRequest, VerifyRequest};
use tonic::Code;

use super::common::fakes::{Mood, Version};
use super::common::{endless_plan, plan_message, weights};
use super::{assert_scored, lease, scene, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_judges_nothing_costs_waiting_and_no_group() {
    const GROUPS: usize = 60;
    for mood in [Mood::Refuses, Mood::Broken, Mood::OutOfTime, Mood::Short] {
        let scene = scene(mood).await;
        for number in 0..GROUPS {
            let lease = lease("job", &format!("group-{number}"), plan_message());
            scene.learner.state().leases.push_back(lease);
        }
        scene.learner.publish(Version::new("job", 0, &weights(0)));
        let tried = || scene.verifier.requests.lock().unwrap().len();
        let taken = || GROUPS - scene.learner.state().leases.len();
        // By then the actor knows that the verifier is away. How much it had taken before depends on the machine.
        until("a few tries", || tried() > 10).await;
        let before = taken();
        assert!(before < GROUPS, "{mood:?}: the actor took all leases before it knew");
        // More failures than the tries that a fault of an answer gets.
        let tries = tried() + anytime_actor::grade::FAULT_TRIES as usize + 10;
        until("many tries", || tried() > tries).await;
        assert!(scene.learner.state().abandoned.is_empty(), "{mood:?}");
        assert!(scene.learner.state().groups.is_empty(), "{mood:?}");
        assert_eq!(
            taken(),
            before,
            "{mood:?}: the actor asks for more work than it had when the verifier failed"
        );

        *scene.verifier.mood.lock().unwrap() = Mood::Works;
        until("all groups", || scene.learner.state().groups.len() == GROUPS).await;
        let groups = scene.learner.state().groups.clone();
        groups.iter().for_each(assert_scored);
        assert!(scene.learner.state().abandoned.is_empty(), "{mood:?}");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_at_which_the_verifier_keeps_failing_is_given_up_and_no_other() {
    for mood in [Mood::FailsAt42, Mood::Refuses42] {
        let scene = scene(mood).await;
        scene.learner.publish(Version::new("job", 0, &weights(0)));
        let mut other = lease("job", "other", plan_message());
        if let Some(problem) = &mut other.problem {
            problem.ground_truths = vec!["43".to_owned()];
        }
        scene
            .learner
            .state()
            .leases
            .extend([lease("job", "at-fault", plan_message()), other]);
        until("the group is given back", || {
            !scene.learner.state().abandoned.is_empty()
        })
        .await;
        {
            let state = scene.learner.state();
            assert_eq!(state.abandoned[0].group_id, "at-fault");
            assert_eq!(state.abandoned[0].reason(), AbandonReason::Verifier);
            assert!(state.abandoned[0].thinking_tokens > 0);
        }
        until("the other group arrives", || scene.learner.state().groups.len() == 1).await;
        assert_eq!(scene.learner.state().groups[0].group_id, "other");
        // Where it is alone, an item of the actor's own shows that the verifier judges.
        scene
            .learner
            .state()
            .leases
            .push_back(lease("job", "alone", plan_message()));
        until("it is given back too", || scene.learner.state().abandoned.len() == 2).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_is_not_sent_to_the_verifier_any_more() {
    let scene = scene(Mood::FailsAt42).await;
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    // One that can be judged, so that the fault is the answer's.
    let mut other = lease("job", "other", plan_message());
    other.problem.as_mut().unwrap().ground_truths = vec!["43".to_owned()];
    scene
        .learner
        .state()
        .leases
        .extend([lease("job", "given-up", plan_message()), other]);
    until("it is given back", || !scene.learner.state().abandoned.is_empty()).await;
    assert_eq!(scene.learner.state().abandoned[0].group_id, "given-up");
    // What is refused is tried again without end, as long as somebody waits for it.
    *scene.verifier.mood.lock().unwrap() = Mood::Refuses;
    let is_of = |request: &VerifyRequest, truth: &str| request.items.iter().any(|item| item.ground_truths == [truth]);
    let tried = |truth: &str| {
        let requests = scene.verifier.requests.lock().unwrap();
        requests.iter().filter(|request| is_of(request, truth)).count()
    };
    // The calls that were under way.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let (before, of_next) = (tried("42"), tried("43"));
    let mut next = lease("job", "next", plan_message());
    next.problem.as_mut().unwrap().ground_truths = vec!["43".to_owned()];
    scene.learner.state().leases.push_back(next);
    until("the next one is tried again and again", || tried("43") > of_next + 5).await;
    assert_eq!(tried("42"), before);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_fault_of_the_verifier_is_survived() {
    let scene = scene(Mood::Refuses).await;
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    scene
        .learner
        .state()
        .leases
        .push_back(lease("job", "group", plan_message()));
    until("the first try", || !scene.verifier.requests.lock().unwrap().is_empty()).await;
    *scene.verifier.mood.lock().unwrap() = Mood::Works;
    until("the group arrives", || scene.learner.state().groups.len() == 1).await;
    assert_scored(&scene.learner.state().groups[0]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_says_all_the_time_what_it_has_in_hand() {
    // What is generated cannot be judged at first, so that it stays in hand however fast the machine is.
    let scene = scene(Mood::Refuses).await;
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    let mut long = lease("job", "long", endless_plan(1000));
    long.seconds = 1;
    let mut waits = lease("job", "waits", plan_message());
    waits.min_weights_version = 7;
    waits.seconds = 60;
    scene.learner.state().leases.extend([waits, long]);
    let lists_both = |request: &LeaseRequest| request.held_group_ids == ["long", "waits"];
    until("both are listed again and again", || {
        let state = scene.learner.state();
        state
            .lease_requests
            .iter()
            .filter(|request| lists_both(request))
            .count()
            >= 3
    })
    .await;
    let requests = scene.learner.state().lease_requests.clone();
    assert!(!requests[0].incarnation.is_empty());
    assert!(
        requests
            .iter()
            .all(|request| request.incarnation == requests[0].incarnation)
    );
    let numbers: Vec<u64> = requests.iter().map(|request| request.number).collect();
    assert_eq!(numbers, (1..=requests.len() as u64).collect::<Vec<u64>>());

    *scene.verifier.mood.lock().unwrap() = Mood::Works;
    scene.learner.publish(Version::new("job", 7, &weights(7)));
    until("both groups arrive", || {
        let state = scene.learner.state();
        let has_come = |id: &str| state.groups.iter().any(|group| group.group_id == id);
        has_come("waits") && has_come("long")
    })
    .await;
    until("nothing is listed any more", || {
        let state = scene.learner.state();
        let last = state.lease_requests.last();
        last.is_some_and(|request| request.held_group_ids.is_empty())
    })
    .await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_refused_for_good_is_given_back() {
    for code in [Code::InvalidArgument, Code::OutOfRange, Code::ResourceExhausted] {
        let scene = scene(Mood::Works).await;
        scene.learner.state().refuses_groups = Some(code);
        scene.learner.publish(Version::new("job", 0, &weights(0)));
        scene
            .learner
            .state()
            .leases
            .push_back(lease("job", "group", plan_message()));
        until("the group is given back", || {
            !scene.learner.state().abandoned.is_empty()
        })
        .await;
        let abandoned = scene.learner.state().abandoned[0].clone();
        assert_eq!(abandoned.reason(), AbandonReason::Refused);
        assert_eq!(abandoned.detail, "the message size is too large");
        assert!(abandoned.thinking_tokens > 0);
        assert_eq!(
            abandoned.incarnation,
            scene.learner.state().lease_requests[0].incarnation
        );
        scene.end().await;
    }
}
