//! Jobs whose model and data are on the hub: what is recorded of them, and what a start reads weeks later.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anytime_hub::{Patience, Settings};
use anytime_learner::hub::{Ears, HubSource, fetch, in_place};
use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_proto::setting_of_status;
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;
use tempfile::TempDir;

use super::hub_server::{COMMIT, FakeHub, Fault};
use super::support::learner::{TestLearner, spec};
use super::support::redis_server::RedisServer;

/// A hub with a model and a data set, and a cache.
struct World {
    hub: FakeHub,
    cache: TempDir,
    redis: RedisServer,
    runs: TempDir,
}

impl World {
    fn new() -> Self {
        let hub = FakeHub::start();
        hub.add("owner/model", "config.json", "{}");
        hub.add("owner/model", "model.safetensors", vec![7; 5000]);
        hub.add("owner/model", "README.md", "---\nlicense: mit\n---\n");
        hub.add("owner/model", "pytorch_model.bin", "pickled");
        hub.add("datasets/owner/rows", "train-1.jsonl", "{}");
        hub.add("datasets/owner/rows", "train-2.jsonl", "{}");
        Self {
            hub,
            cache: TempDir::new().unwrap(),
            redis: RedisServer::start(),
            runs: TempDir::new().unwrap(),
        }
    }

    fn source(&self) -> HubSource {
        HubSource::Fixed(Box::new(Settings {
            endpoint: self.hub.endpoint().parse().unwrap(),
            token: None,
            cache: self.cache.path().to_owned(),
            offline: false,
            patience: Patience {
                first_pause: Duration::from_millis(5),
                ..Patience::default()
            },
        }))
    }

    async fn learner(&self) -> TestLearner {
        let validate = |spec: &v1::JobSpec, inputs: &[v1::HubInput], _: &Path| -> Result<CheckedJob, InvalidSetting> {
            let mut checked = CheckedJob::from(JobSettings::try_new(spec)?);
            checked.found.hub = inputs.to_vec();
            Ok(checked)
        };
        TestLearner::start_with(
            "127.0.0.1:0",
            &self.redis.url(),
            self.runs.path(),
            (Arc::new(validate), self.source()),
            None,
            read_and_fail,
        )
        .await
    }
}

/// A job that reads what it names, says what that was, and fails.
fn read_and_fail(context: &JobContext) -> anyhow::Result<()> {
    let ears = Ears {
        stop: &|| context.check().is_err(),
        say: &|_| {},
    };
    let inputs = fetch(context.hub(), context.settings(), &context.job().hub, &ears)?;
    let here = in_place(context.settings(), &inputs);
    let weights = std::fs::read(Path::new(&here.model.path).join("model.safetensors"))?;
    let fetched: u64 = inputs.iter().map(|input| input.fetched_bytes).sum();
    anyhow::bail!(
        "{} bytes of weights, {} files, {fetched} fetched",
        weights.len(),
        here.data.path.len()
    );
}

fn of_hub(name: &str) -> v1::JobSpec {
    let mut spec = spec(name);
    spec.model.as_mut().unwrap().path = Some("hf://owner/model".to_owned());
    spec.data.as_mut().unwrap().path = vec!["hf://datasets/owner/rows@main/train-*".to_owned()];
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_to_the_commit_of_its_submission() {
    let world = World::new();
    let learner = world.learner().await;
    let job = learner.submit("request", of_hub("demo")).await.unwrap();
    let spec = job.spec.clone().unwrap();
    let model = format!("hf://owner/model@{COMMIT}");
    assert_eq!(spec.model.as_ref().unwrap().path(), model);
    assert_eq!(
        spec.data.as_ref().unwrap().path,
        [format!("hf://datasets/owner/rows@{COMMIT}/train-*")]
    );
    let [of_model, of_data] = &job.hub[..] else {
        panic!("{:?}", job.hub);
    };
    assert_eq!(
        (of_model.asked.as_str(), of_model.commit.as_str()),
        ("hf://owner/model", COMMIT)
    );
    let paths: Vec<&str> = of_model.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["README.md", "config.json", "model.safetensors"]);
    assert_eq!((of_data.setting.as_str(), of_data.files.len()), ("data.path", 2));
    let failed = learner.wait_for_state("demo", v1::JobState::Failed).await;
    assert_eq!(failed.error, "5000 bytes of weights, 2 files, 0 fetched");

    // Weeks later the cache is gone, and the branches have moved on; also over a restart.
    learner.stop().await;
    std::fs::remove_dir_all(world.cache.path().join("models--owner--model")).unwrap();
    std::fs::remove_dir_all(world.cache.path().join("datasets--owner--rows")).unwrap();
    world.hub.state().revisions.insert("main".to_owned(), "f".repeat(40));
    let learner = world.learner().await;
    let mut again = of_hub("demo");
    again.training.as_mut().unwrap().micro_batch_tokens = Some(512);
    // The job's own file still names the branch, and means the commit that it was.
    learner.resume("demo", Some(again)).await.unwrap();
    let failed = learner.wait_for_state("demo", v1::JobState::Failed).await;
    assert_eq!(
        failed.error, "5000 bytes of weights, 2 files, 0 fetched",
        "the check of the settings fetched them"
    );
    assert_eq!(failed.hub[0].commit, COMMIT);
    std::fs::remove_dir_all(world.cache.path().join("models--owner--model")).unwrap();
    learner.resume("demo", None).await.unwrap();
    let is_told =
        |job: &v1::Job| job.error.starts_with("5000 bytes of weights, 2 files, 5") && job.error.ends_with("fetched");
    super::support::eventually("it is fetched again", async || is_told(&learner.get("demo").await)).await;
    let asked = world.hub.seen();
    let asked_for = |path: &str| asked.iter().filter(|request| request.path.ends_with(path)).count();
    assert_eq!(
        asked_for("/revision/main"),
        2,
        "each branch was asked for once, at submission"
    );
    // Another commit is another model.
    let mut other = of_hub("demo");
    other.model.as_mut().unwrap().path = Some(format!("hf://owner/model@{}", "f".repeat(40)));
    learner.wait_for_state("demo", v1::JobState::Failed).await;
    let refused = learner.resume("demo", Some(other)).await.unwrap_err();
    assert_eq!(setting_of_status(&refused).as_deref(), Some("model.path"), "{refused}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched_is_refused_with_its_setting_and_makes_no_job() {
    let world = World::new();
    let learner = world.learner().await;
    let refused = |spec: v1::JobSpec| {
        let learner = &learner;
        async move {
            let refused = learner.submit("", spec).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::InvalidArgument);
            (
                setting_of_status(&refused).unwrap_or_default(),
                refused.message().to_owned(),
            )
        }
    };
    let mut spec = of_hub("absent");
    spec.model.as_mut().unwrap().path = Some("hf://owner/absent".to_owned());
    let (setting, says) = refused(spec).await;
    assert_eq!(setting, "model.path");
    assert!(
        says.starts_with("model.path is \"hf://owner/absent\"; http://127.0.0.1:"),
        "{says}"
    );
    assert!(
        says.contains("has not the model owner/absent, or does not show it without a token"),
        "{says}"
    );
    let mut spec = of_hub("absent");
    spec.data.as_mut().unwrap().path = vec!["hf://datasets/owner/rows/test-*".to_owned()];
    let (setting, says) = refused(spec).await;
    assert_eq!(setting, "data.path");
    assert!(
        says.contains("has no file of rows (JSON, JSONL, Parquet) that test-* matches"),
        "{says}"
    );
    world.hub.fail("/revision/main", [Fault::Status(403, "GatedRepo")]);
    let (_, says) = refused(of_hub("gated")).await;
    assert!(says.contains("it is gated; accept its terms"), "{says}");
    // What is wrong with the settings themselves is said before anything is asked for.
    let before = world.hub.seen().len();
    let mut spec = of_hub("wrong");
    spec.training.as_mut().unwrap().steps = Some(0);
    assert_eq!(refused(spec).await.0, "training.steps");
    assert_eq!(world.hub.seen().len(), before);
    let jobs = learner.jobs().list(v1::ListJobsRequest::default()).await.unwrap();
    assert!(jobs.into_inner().jobs.is_empty());
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_holds_up_no_other_call_and_ends_with_the_process() {
    let world = World::new();
    world
        .hub
        .fail("model.safetensors", [Fault::Slow(1, Duration::from_millis(50))]);
    let learner = world.learner().await;
    let mut jobs = learner.jobs();
    let slow = tokio::spawn(async move {
        let request = v1::CheckJobRequest {
            spec: Some(of_hub("slow")),
        };
        jobs.check(request).await
    });
    super::support::eventually("it is fetched", async || {
        !world.hub.seen_of("model.safetensors").is_empty()
    })
    .await;
    // Files that are here are checked meanwhile.
    let request = v1::CheckJobRequest {
        spec: Some(spec("local")),
    };
    let checked = tokio::time::timeout(Duration::from_secs(5), learner.jobs().check(request)).await;
    checked.unwrap().unwrap();
    let stopped = tokio::time::timeout(Duration::from_secs(5), learner.stop()).await;
    stopped.expect("it ends in time");
    assert!(slow.await.unwrap().is_err());
}
