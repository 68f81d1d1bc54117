//! `WeightsService` over a whole server: what an actor fetches is what the trainer published.

use std::sync::mpsc;
use std::time::Duration;

use anytime_learner::jobs::context::JobContext;
use anytime_learner::weights::published::PublishedWeights;
use anytime_proto::v1;
use prost::Message as _;
use tempfile::TempDir;
use tonic::{Code, Streaming};

use crate::support::actor::{Fetched, fetch, fetch_onto};
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::{weights, weights_of};

/// A job that publishes what it is told to, until the sender is gone.
fn publisher() -> (
    mpsc::Sender<PublishedWeights>,
    impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
) {
    let (sender, receiver) = mpsc::channel();
    let receiver = std::sync::Mutex::new(receiver);
    let run_job = move |context: &JobContext| -> anyhow::Result<()> {
        loop {
            context.check()?;
            match receiver.lock().unwrap().recv_timeout(Duration::from_millis(10)) {
                Ok(weights) => {
                    context.publish(weights);
                    assert_eq!(context.manifest_checksum().len(), 64);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    };
    (sender, run_job)
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_announced_fetched_and_match_their_checksums() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (publish, run_job) = publisher();
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job).await;
    let mut client = learner.weights();
    let watch = |job_id: &str| v1::WatchWeightsRequest {
        actor_id: "a".to_owned(),
        job_id: job_id.to_owned(),
        ..v1::WatchWeightsRequest::default()
    };
    // Before there is any job.
    let mut any_job = client.watch(watch("")).await.unwrap().into_inner();
    let mut other_job = client.watch(watch("other")).await.unwrap().into_inner();
    learner.submit("request", spec("demo")).await.unwrap();

    publish.send(weights(0)).unwrap();
    let zero = any_job.message().await.unwrap().unwrap();
    assert_eq!((zero.job_id.as_str(), zero.version), ("demo", 0));
    let fetched = fetch(&mut client, &zero, false).await.unwrap();
    assert_eq!(
        blake3::hash(&fetched.manifest.encode_to_vec()).to_hex().as_str(),
        zero.manifest_checksum
    );
    let listed: Vec<&v1::WeightsEntry> = fetched
        .manifest
        .assets
        .iter()
        .chain(&fetched.manifest.tensors)
        .collect();
    assert_eq!(listed.len(), 4);
    for (entry, bytes) in listed.iter().zip(&fetched.entries) {
        assert_eq!(entry.bytes, bytes.len() as u64);
        assert_eq!(entry.checksum, blake3::hash(bytes).to_hex().as_str(), "{}", entry.name);
    }
    // Without assets the manifest is the same and chunks are numbered from the first tensor.
    let tensors_only = fetch(&mut client, &zero, true).await.unwrap();
    assert_eq!(tensors_only.manifest, fetched.manifest);
    assert_eq!(tensors_only.entries, fetched.entries[1..]);

    publish.send(weights(1)).unwrap();
    let one = any_job.message().await.unwrap().unwrap();
    assert_eq!(one.version, 1);
    assert_ne!(one.manifest_checksum, zero.manifest_checksum);
    // The one before can still be fetched.
    assert_eq!(
        fetch(&mut client, &zero, true).await.unwrap().entries,
        tensors_only.entries
    );
    publish.send(weights(2)).unwrap();
    assert_eq!(any_job.message().await.unwrap().unwrap().version, 2);
    assert_eq!(
        fetch(&mut client, &zero, true).await.err().unwrap().code(),
        Code::NotFound
    );

    // A trainer that goes back to its checkpoint publishes lower versions, which are announced as well.
    publish.send(weights(1)).unwrap();
    assert_eq!(any_job.message().await.unwrap().unwrap().version, 1);
    let nothing = tokio::time::timeout(Duration::from_millis(50), other_job.message()).await;
    assert!(nothing.is_err());

    drop(publish);
    learner.wait_for_state("demo", v1::JobState::Succeeded).await;
    assert_eq!(
        fetch(&mut client, &one, true).await.err().unwrap().code(),
        Code::NotFound
    );
    learner.stop().await;
    assert_eq!(any_job.message().await.err().unwrap().code(), Code::Unavailable);
}

/// Contents that share nothing with any others.
fn noise(seed: u8) -> impl Fn(usize) -> Vec<u8> {
    move |length| {
        let mut contents = vec![0; length];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut contents);
        contents
    }
}

/// The weights that an actor holds, its announcement first.
type Held = (v1::WeightsAnnouncement, Fetched);

async fn next_whole(learner: &TestLearner, announcements: &mut Streaming<v1::WeightsAnnouncement>) -> Held {
    let announced = announcements.message().await.unwrap().unwrap();
    let fetched = fetch(&mut learner.weights(), &announced, true).await.unwrap();
    assert!(!fetched.as_delta);
    (announced, fetched)
}

/// Fetches `target` as an actor that holds `base`, and compares with the full weights. Returns the bytes that it took,
/// and None where the full weights came.
async fn delta_bytes(learner: &TestLearner, base: &Held, target: &Held) -> Option<usize> {
    let held = (&base.0, base.1.entries.as_slice());
    let fetched = fetch_onto(&mut learner.weights(), &target.0, true, Some(held))
        .await
        .unwrap();
    assert_eq!(fetched.manifest, target.1.manifest);
    assert!(fetched.entries == target.1.entries, "not the published bytes");
    fetched.as_delta.then_some(fetched.received)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_sent_to_who_holds_the_base() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (publish, run_job) = publisher();
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job).await;
    learner.submit("request", spec("demo")).await.unwrap();
    let mut announcements = watch(&learner).await;
    let mut versions = Vec::new();
    for version in 0..6 {
        publish.send(weights(version)).unwrap();
        versions.push(next_whole(&learner, &mut announcements).await);
    }
    let whole: usize = versions[5].1.received;
    for behind in 1..=4 {
        let bytes = delta_bytes(&learner, &versions[5 - behind], &versions[5]).await;
        assert!(
            bytes.is_some_and(|bytes| bytes < whole / 100),
            "{behind} behind: {bytes:?}"
        );
    }
    assert_eq!(delta_bytes(&learner, &versions[0], &versions[5]).await, None, "too old");
    // The version before the current one is held as well, and so are the deltas to it. No delta leads back.
    assert!(delta_bytes(&learner, &versions[3], &versions[4]).await.is_some());
    assert_eq!(delta_bytes(&learner, &versions[5], &versions[4]).await, None);

    // Assets come only with the full weights.
    let held = (&versions[4].0, versions[4].1.entries.as_slice());
    let with_assets = fetch_onto(&mut learner.weights(), &versions[5].0, false, Some(held))
        .await
        .unwrap();
    assert!(!with_assets.as_delta);
    assert_eq!(with_assets.entries[1..], versions[5].1.entries);

    // Weights that did not change at all are a delta without blocks.
    publish.send(weights_of(6, |length| vec![5; length])).unwrap();
    versions.push(next_whole(&learner, &mut announcements).await);
    assert_eq!(delta_bytes(&learner, &versions[5], &versions[6]).await, Some(0));
    // Noise on noise: the delta is as large as the full weights, and ends the deltas that lead past it.
    for version in [7, 8] {
        publish.send(weights_of(version, noise(version as u8))).unwrap();
        versions.push(next_whole(&learner, &mut announcements).await);
    }
    assert_eq!(delta_bytes(&learner, &versions[7], &versions[8]).await, None);
    publish.send(weights_of(9, noise(8))).unwrap();
    versions.push(next_whole(&learner, &mut announcements).await);
    assert_eq!(delta_bytes(&learner, &versions[8], &versions[9]).await, Some(0));
    assert_eq!(delta_bytes(&learner, &versions[7], &versions[9]).await, None);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_tensors_are_sent_whole() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (publish, run_job) = publisher();
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job).await;
    learner.submit("request", spec("demo")).await.unwrap();
    let mut announcements = watch(&learner).await;
    publish.send(weights(0)).unwrap();
    let before = next_whole(&learner, &mut announcements).await;
    let mut other = weights(1);
    other.tensors[2].name = "renamed".to_owned();
    publish.send(other).unwrap();
    let after = next_whole(&learner, &mut announcements).await;
    assert_eq!(delta_bytes(&learner, &before, &after).await, None);
    learner.stop().await;
}

/// A learner that goes back to its recovery checkpoint publishes the same version numbers with other weights.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_never_leads_to_a_delta_against_the_wrong_base() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let (publish, run_job) = publisher();
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job).await;
    learner.submit("request", spec("demo")).await.unwrap();
    let mut announcements = watch(&learner).await;
    let mut before = Vec::new();
    for version in 0..3 {
        publish.send(weights(version)).unwrap();
        before.push(next_whole(&learner, &mut announcements).await);
    }
    // Within one process: version 1 again, with other weights, and the next one.
    for (version, contents) in [(1, 101), (2, 102)] {
        publish
            .send(weights_of(version, move |length| vec![contents; length]))
            .unwrap();
        before.push(next_whole(&learner, &mut announcements).await);
    }
    let newest = &before[4];
    assert_ne!(before[2].0.manifest_checksum, newest.0.manifest_checksum);
    for base in &before[..4] {
        // Whatever version it was that the base had, what results is what was published.
        assert!(delta_bytes(&learner, base, newest).await.is_some());
    }
    // A base with the right number and another checksum is unknown.
    let mut stranger = (before[3].0.clone(), before[3].1.entries.clone());
    stranger.0.manifest_checksum = "0".repeat(64);
    let held = (&stranger.0, stranger.1.as_slice());
    let fetched = fetch_onto(&mut learner.weights(), &newest.0, true, Some(held))
        .await
        .unwrap();
    assert!(!fetched.as_delta);
    learner.stop().await;

    // A process that starts anew knows no base.
    let (publish, run_job) = publisher();
    let learner = TestLearner::start(&redis.url(), runs.path(), run_job).await;
    let mut announcements = watch(&learner).await;
    for (version, contents) in [(1, 201), (2, 202)] {
        publish
            .send(weights_of(version, move |length| vec![contents; length]))
            .unwrap();
        before.push(next_whole(&learner, &mut announcements).await);
    }
    let newest = &before[6];
    for base in &before[..5] {
        assert_eq!(delta_bytes(&learner, base, newest).await, None);
    }
    assert!(delta_bytes(&learner, &before[5], newest).await.is_some());
    learner.stop().await;
}

async fn watch(learner: &TestLearner) -> Streaming<v1::WeightsAnnouncement> {
    let request = v1::WatchWeightsRequest {
        actor_id: "a".to_owned(),
        job_id: String::new(),
        ..v1::WatchWeightsRequest::default()
    };
    learner.weights().watch(request).await.unwrap().into_inner()
}
