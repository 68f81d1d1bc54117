//! A whole actor between a fake learner and a fake verifier.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod peers;
mod resources;

use std::time::Duration;

use anytime_actor::config::ActorConfig;
use anytime_actor::engine::{CacheLimit, EngineLimits};
use anytime_policy::{Weights, device};
use anytime_proto::v1::{AbandonReason, FinishReason, Lease, Problem, Purpose, RolloutPlan, ScoredGroup, VerdictKind};
use anytime_proto::{ActorId, check_group};
use anytime_service::security::CallSecurity;
use common::fakes::{FakeLearner, FakeVerifier, Mood, Version, is_right};
use common::{endless_plan, plan_message, tokenizer, weights};
use tch::{Device, Tensor};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

struct Scene {
    learner: FakeLearner,
    verifier: FakeVerifier,
    shutdown: CancellationToken,
    actor: JoinHandle<anyhow::Result<()>>,
}

fn actor_config(learner: String, verifier: String) -> ActorConfig {
    ActorConfig {
        learner,
        verifier,
        actor_id: ActorId("actor-1".to_owned()),
        device: Device::Cpu,
        threads: 1,
        limits: EngineLimits {
            slots: 16,
            cache: CacheLimit::Bytes(1 << 28),
        },
        step_timeout: Duration::ZERO,
        security: CallSecurity::default(),
    }
}

async fn scene(mood: Mood) -> Scene {
    scene_with(mood, |_| {}).await
}

/// A scene whose actor is configured otherwise.
async fn scene_with(mood: Mood, change: impl FnOnce(&mut ActorConfig)) -> Scene {
    device::set_threads(1);
    let stop = CancellationToken::new();
    let (learner, learner_address) = FakeLearner::start(ANY_PORT.into(), stop.clone()).await;
    let (verifier, verifier_address) = FakeVerifier::start(mood, stop).await;
    let shutdown = CancellationToken::new();
    let mut config = actor_config(learner_address, verifier_address);
    change(&mut config);
    let actor = tokio::spawn(anytime_actor::run(config, shutdown.clone()));
    Scene {
        learner,
        verifier,
        shutdown,
        actor,
    }
}

impl Scene {
    async fn end(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.actor).await;
        ended.expect("the drain is bounded").unwrap().unwrap();
    }
}

fn lease(job: &str, group: &str, plan: RolloutPlan) -> Lease {
    Lease {
        job_id: job.to_owned(),
        group_id: group.to_owned(),
        purpose: Purpose::Train.into(),
        problem: Some(Problem {
            id: format!("problem-{group}"),
            prompt_ids: vec![6, 7, 8],
            ground_truths: vec!["42".to_owned()],
        }),
        plan: Some(plan),
        seed: 11,
        min_weights_version: 0,
        manifest_checksum: String::new(),
        seconds: 60,
        token: group.as_bytes().to_vec(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen");
}

fn ids(group: &ScoredGroup) -> Vec<Vec<u32>> {
    let mut ids = Vec::new();
    for trace in &group.traces {
        ids.push(trace.thinking.as_ref().unwrap().ids.clone());
        for summary in trace.nodes.iter().flat_map(|node| &node.summaries) {
            ids.push(summary.generated.as_ref().unwrap().ids.clone());
        }
    }
    ids
}

/// Checks scores and flags by the paper's rules, from the answers that the fake verifier gives.
fn assert_scored(group: &ScoredGroup) {
    let tokenizer = tokenizer();
    for trace in &group.traces {
        let thinking = trace.thinking.as_ref().unwrap();
        for node in &trace.nodes {
            let is_last = node.cut as usize == thinking.ids.len();
            for summary in &node.summaries {
                let generated = summary.generated.as_ref().unwrap();
                let text_ids: Vec<u32> = match generated.finish() {
                    FinishReason::Eos => generated.ids[..generated.ids.len() - 1].to_vec(),
                    _ => generated.ids.clone(),
                };
                let text = tokenizer
                    .decode(&[node.inserted_ids.clone(), text_ids].concat())
                    .unwrap();
                let verdict = if is_right(&text) {
                    VerdictKind::Correct
                } else {
                    VerdictKind::Wrong
                };
                assert_eq!(summary.verdict(), verdict, "{text}");
                // One end marker is either generated or inserted; a second one can only be in the summary.
                assert_eq!(summary.formatted, !generated.ids.contains(&common::END));
                let broken_off = is_last && thinking.finish() == FinishReason::Eos;
                let expected = verdict == VerdictKind::Correct && summary.formatted && !broken_off;
                assert_eq!(summary.score, f32::from(u8::from(expected)));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_become_scored_groups() {
    let scene = scene(Mood::Works).await;
    scene.learner.state().full_pushes = 3;
    for number in 0..12 {
        let lease = lease("job", &format!("group-{number}"), plan_message());
        scene.learner.state().leases.push_back(lease);
    }
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    until("12 groups", || scene.learner.state().groups.len() == 12).await;
    let groups = scene.learner.state().groups.clone();
    for group in &groups {
        check_group(group).unwrap();
        assert_eq!(
            (group.traces.len(), group.budgets.len(), group.summaries_per_budget),
            (3, 3, 2)
        );
        assert_eq!(group.problem_id, format!("problem-{}", group.group_id));
        assert_eq!(group.actor_id, "actor-1");
        assert_scored(group);
    }
    // One seed and one problem: all twelve drew the same tokens, whatever batch they were in.
    assert!(groups.iter().all(|group| ids(group) == ids(&groups[0])));
    assert!(scene.learner.state().abandoned.is_empty());
    let requests = scene.verifier.requests.lock().unwrap().clone();
    assert!(
        requests
            .iter()
            .flat_map(|request| &request.items)
            .all(|item| item.ground_truths == ["42"])
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_names_the_weights_of_its_tokens() {
    let scene = scene(Mood::Works).await;
    let version = Version::new("job", 4, &weights(0));
    scene.learner.publish(version.clone());
    scene
        .learner
        .state()
        .leases
        .push_back(lease("job", "group", plan_message()));
    until("the group arrives", || scene.learner.state().groups.len() == 1).await;
    let group = scene.learner.state().groups[0].clone();
    let named: Vec<_> = group
        .weights
        .iter()
        .map(|weights| (weights.version, weights.manifest_checksum.clone()))
        .collect();
    assert_eq!(named, [(4, version.announcement().manifest_checksum)]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_weights_are_refused_and_fetched_again() {
    let scene = scene(Mood::Works).await;
    scene.learner.state().torn_fetches = 2;
    scene
        .learner
        .state()
        .leases
        .push_back(lease("job", "group", plan_message()));
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    until("the group arrives", || scene.learner.state().groups.len() == 1).await;
    assert_eq!(scene.learner.state().fetches.len(), 3);
    scene.end().await;
}

/// A group that only this version generates, from its first to its last token.
fn pinned(name: &str, version: &Version) -> Lease {
    let mut lease = lease("job", name, plan_message());
    lease.min_weights_version = version.manifest.version;
    lease.manifest_checksum = version.announcement().manifest_checksum;
    lease
}

/// Publishes both versions one after the other, has a group generated by each, and returns the second one.
async fn second_group(scene: &Scene, first: &Version, second: &Version) -> ScoredGroup {
    for (version, groups) in [(first, 1), (second, 2)] {
        scene.learner.publish(version.clone());
        let name = format!("group-{groups}");
        scene.learner.state().leases.push_back(pinned(&name, version));
        until(&name, || scene.learner.state().groups.len() == groups).await;
    }
    scene.learner.state().groups[1].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_weights_come_as_what_changed() {
    let (first, second) = (
        Version::new("job", 0, &weights(0)),
        Version::new("job", 1, &slightly_changed(&weights(0))),
    );
    // The yardstick: an actor that has only ever seen the second version.
    let plain = scene(Mood::Works).await;
    plain.learner.publish(second.clone());
    plain.learner.state().leases.push_back(pinned("group-2", &second));
    until("the group", || plain.learner.state().groups.len() == 1).await;
    let expected = ids(&plain.learner.state().groups[0]);
    assert_eq!(plain.learner.state().fetches[0].base, None);
    plain.end().await;

    for torn_deltas in [0, 1] {
        let scene = scene(Mood::Works).await;
        scene.learner.state().torn_deltas = torn_deltas;
        let group = second_group(&scene, &first, &second).await;
        assert_eq!(ids(&group), expected);
        let bases: Vec<_> = scene
            .learner
            .state()
            .fetches
            .iter()
            .map(|fetch| fetch.base.clone())
            .collect();
        let answered = scene.learner.state().answered_by_delta.clone();
        if torn_deltas == 0 {
            assert_eq!(bases, [None, Some(first.id())]);
            assert_eq!(answered, [false, true]);
        } else {
            // The full weights are asked for at once, without a base.
            assert_eq!(bases, [None, Some(first.id()), None]);
            assert_eq!(answered, [false, true, false]);
        }
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_started_again_sends_the_whole() {
    let scene = scene(Mood::Works).await;
    let first = Version::new("job", 1, &weights(0));
    let again = Version::new("job", 1, &weights(5));
    // The same number with another checksum takes the place of the first.
    let group = second_group(&scene, &first, &again).await;
    check_group(&group).unwrap();
    assert_eq!(scene.learner.state().fetches[1].base, Some(first.id()));
    assert_eq!(scene.learner.state().answered_by_delta, [false, false]);
    scene.end().await;
}

/// One element of every tensor by a little.
fn slightly_changed(weights: &Weights) -> Weights {
    let change = |tensor: &Tensor| {
        let changed = tensor.copy();
        let _ = changed.flatten(0, -1).get(0).g_add_scalar_(1e-3);
        changed
    };
    weights
        .iter()
        .map(|(name, tensor)| (name.clone(), change(tensor)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_waits_for_the_weights_that_it_asks_for() {
    let scene = scene(Mood::Works).await;
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    let mut newer = lease("job", "newer", plan_message());
    newer.min_weights_version = 2;
    let second = Version::new("job", 2, &weights(2));
    let mut evaluation = lease("job", "evaluation", plan_message());
    evaluation.manifest_checksum = second.announcement().manifest_checksum;
    evaluation.min_weights_version = 2;
    let mut impossible = lease("job", "impossible", plan_message());
    impossible.min_weights_version = 9;
    impossible.seconds = 1;
    scene
        .learner
        .state()
        .leases
        .extend([newer, evaluation, impossible, lease("job", "now", plan_message())]);
    until("one group and one lease given back", || {
        scene.learner.state().groups.len() == 1 && scene.learner.state().abandoned.len() == 1
    })
    .await;
    assert_eq!(scene.learner.state().groups[0].group_id, "now");
    assert_eq!(scene.learner.state().abandoned[0].group_id, "impossible");
    scene.learner.publish(second);
    until("the others arrive", || scene.learner.state().groups.len() == 3).await;
    for group in &scene.learner.state().groups[1..] {
        let versions = |trace: &anytime_proto::v1::Trace| trace.thinking.as_ref().unwrap().versions.clone();
        assert!(group.traces.iter().flat_map(versions).all(|version| version == 2));
    }
    let fetches = scene.learner.state().fetches.clone();
    assert_eq!(
        fetches.iter().map(|fetch| fetch.skip_assets).collect::<Vec<_>>(),
        [false, true]
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_job_takes_over() {
    let scene = scene(Mood::Works).await;
    scene.learner.publish(Version::new("first", 5, &weights(0)));
    scene
        .learner
        .state()
        .leases
        .push_back(lease("first", "old", endless_plan(3000)));
    until("the lease is taken", || scene.learner.state().leases.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    scene.learner.publish(Version::new("second", 0, &weights(1)));
    scene
        .learner
        .state()
        .leases
        .push_back(lease("second", "new", plan_message()));
    until("the new group", || scene.learner.state().groups.len() == 1).await;
    until("the old lease is given back", || {
        scene.learner.state().abandoned.len() == 1
    })
    .await;
    assert_eq!(scene.learner.state().abandoned[0].group_id, "old");
    assert_eq!(scene.learner.state().abandoned[0].reason(), AbandonReason::Shutdown);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_plan_is_given_back() {
    let scene = scene(Mood::Works).await;
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    let plan = RolloutPlan {
        budgets: vec![4, 4],
        ..plan_message()
    };
    scene.learner.state().leases.push_back(lease("job", "bad", plan));
    until("the lease is given back", || scene.learner.state().abandoned.len() == 1).await;
    assert_eq!(scene.learner.state().abandoned[0].reason(), AbandonReason::Engine);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_gives_the_leases_back() {
    let scene = scene(Mood::Works).await;
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    let mut waiting = lease("job", "waits", plan_message());
    waiting.min_weights_version = 7;
    scene
        .learner
        .state()
        .leases
        .extend([lease("job", "runs", endless_plan(3000)), waiting]);
    until("the leases are taken", || scene.learner.state().leases.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let learner = scene.learner.clone();
    scene.end().await;
    let mut given_back: Vec<String> = learner
        .state()
        .abandoned
        .iter()
        .map(|abandoned| abandoned.group_id.clone())
        .collect();
    given_back.sort();
    assert_eq!(given_back, ["runs", "waits"]);
    assert!(
        learner
            .state()
            .abandoned
            .iter()
            .all(|abandoned| abandoned.reason() == AbandonReason::Shutdown)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_restarts_is_waited_for() {
    device::set_threads(1);
    let stop = CancellationToken::new();
    let (first_stop, second_stop) = (CancellationToken::new(), CancellationToken::new());
    let (learner, address) = FakeLearner::start(ANY_PORT.into(), first_stop.clone()).await;
    let (_verifier, verifier_address) = FakeVerifier::start(Mood::Works, stop).await;
    let shutdown = CancellationToken::new();
    let config = actor_config(address.clone(), verifier_address);
    let actor = tokio::spawn(anytime_actor::run(config, shutdown.clone()));
    learner.publish(Version::new("job", 0, &weights(0)));
    learner.state().leases.push_back(lease("job", "before", plan_message()));
    until("the first group", || learner.state().groups.len() == 1).await;

    // Long-lived streams would keep a graceful stop waiting; the connection itself is what has to be lost.
    first_stop.cancel();
    let port = address.trim_start_matches("http://").parse().unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let again = learner.serve(port, second_stop).await;
    assert_eq!(again, address);
    learner.state().leases.push_back(lease("job", "after", plan_message()));
    until("the second group", || learner.state().groups.len() == 2).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(10), actor)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
