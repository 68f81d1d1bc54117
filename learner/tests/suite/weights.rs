//! `WeightsService` over a whole server: what an actor fetches is what the trainer published.

use std::sync::mpsc;
use std::time::Duration;

use anytime_learner::desk::JobContext;
use anytime_proto::v1;
use prost::Message as _;
use tempfile::TempDir;
use tonic::Code;

use crate::support::actor::fetch;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;
use crate::support::trainer::weights;

/// A job that publishes what it is told to, until the sender is gone.
fn publisher() -> (
    mpsc::Sender<u64>,
    impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
) {
    let (sender, receiver) = mpsc::channel();
    let receiver = std::sync::Mutex::new(receiver);
    let run_job = move |context: &JobContext| -> anyhow::Result<()> {
        loop {
            context.check()?;
            match receiver.lock().unwrap().recv_timeout(Duration::from_millis(10)) {
                Ok(version) => {
                    context.publish(weights(version));
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
    };
    // Before there is any job.
    let mut any_job = client.watch(watch("")).await.unwrap().into_inner();
    let mut other_job = client.watch(watch("other")).await.unwrap().into_inner();
    learner.submit("request", spec("demo")).await.unwrap();

    publish.send(0).unwrap();
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

    publish.send(1).unwrap();
    let one = any_job.message().await.unwrap().unwrap();
    assert_eq!(one.version, 1);
    assert_ne!(one.manifest_checksum, zero.manifest_checksum);
    // The one before can still be fetched.
    assert_eq!(
        fetch(&mut client, &zero, true).await.unwrap().entries,
        tensors_only.entries
    );
    publish.send(2).unwrap();
    assert_eq!(any_job.message().await.unwrap().unwrap().version, 2);
    assert_eq!(
        fetch(&mut client, &zero, true).await.err().unwrap().code(),
        Code::NotFound
    );

    // A trainer that goes back to its checkpoint publishes lower versions, which are announced as well.
    publish.send(1).unwrap();
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
