//! Jobs that start from another job's recovery checkpoint (`model.from_job`), with the learner's own jobs on the demo's tiny
//! model: supervised ones, which need no actor.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::run::{UpdatePlace, run_job, validate};
use anytime_proto::setting_of_status;
use anytime_proto::settings::parse_job_file;
use anytime_proto::v1::{self, JobState};
use tempfile::TempDir;
use tonic::Code;

use crate::support::eventually;
use crate::support::learner::TestLearner;
use crate::support::redis_server::RedisServer;

/// The demo's model, a few rows, and a learner whose job `gate` holds the others up until the test opens it.
struct Place {
    directory: TempDir,
    redis: RedisServer,
    is_open: Arc<AtomicBool>,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/model");
        fs::create_dir(directory.path().join("model")).unwrap();
        for entry in fs::read_dir(demo).unwrap().flatten() {
            fs::copy(entry.path(), directory.path().join("model").join(entry.file_name())).unwrap();
        }
        let row = |number: u32| format!("{{\"prompt\": \"{number}+1=\", \"completion\": \"{}\"}}\n", number + 1);
        fs::write(directory.path().join("data.jsonl"), (0..8).map(row).collect::<String>()).unwrap();
        Self {
            directory,
            redis: RedisServer::start(),
            is_open: Arc::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn learner(&self) -> TestLearner {
        let validate = |spec: &v1::JobSpec, inputs: &[v1::HubInput], root: &Path| -> Result<CheckedJob, _> {
            validate(spec, inputs, root, UpdatePlace::all_of(tch::Device::Cpu))
        };
        let is_open = self.is_open.clone();
        let run = move |context: &JobContext| {
            if context.job_id().as_str() != "gate" {
                return run_job(context);
            }
            while !is_open.load(Ordering::Relaxed) {
                context.check()?;
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        };
        let (redis, runs) = (self.redis.url(), self.path("runs"));
        TestLearner::start_checking("127.0.0.1:0", &redis, &runs, Arc::new(validate), run).await
    }

    /// A supervised job of this model; the learning rate is high enough that every step is another model.
    fn job(&self, name: &str, model: &str, steps: u32) -> v1::JobSpec {
        let data = self.path("data.jsonl");
        let file = format!(
            "name = {name:?}\nkind = \"sft\"\nmodel = {{ {model} }}\ndata = {{ path = {data:?}, instruction = \"\" }}\n\
             training = {{ steps = {steps}, batch = 4, learning_rate = 1e-2 }}\n\
             checkpoint = {{ recovery_every = 1, keep_last = 2 }}\n"
        );
        parse_job_file(&file).unwrap()
    }

    /// The job `base` of four steps, from weights drawn anew; its last two checkpoints stay.
    async fn base(&self, learner: &TestLearner) {
        let model = format!("path = {:?}, initialise = true", self.path("model"));
        learner.submit("base", self.job("base", &model, 4)).await.unwrap();
        learner.wait_for_state("base", JobState::Succeeded).await;
    }
}

async fn delete(learner: &TestLearner, job_id: &str) {
    let request = v1::DeleteJobRequest {
        job_id: job_id.to_owned(),
        with_models: true,
    };
    learner.jobs().delete(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_starts_at_the_checkpoint_though_the_other_job_is_deleted_and_the_learner_restarted() {
    let place = Place::new();
    let learner = place.learner().await;
    place.base(&learner).await;
    // What the fork has to come to: the same steps from the model that the other job exported.
    let exported = format!("path = {:?}", place.path("runs/base/final"));
    learner
        .submit("control", place.job("control", &exported, 2))
        .await
        .unwrap();
    let control = learner.wait_for_state("control", JobState::Succeeded).await;

    let gate = place.job("gate", &exported, 2);
    learner.submit("gate", gate).await.unwrap();
    learner.wait_for_state("gate", JobState::Running).await;
    let fork = learner
        .submit("fork", place.job("fork", "from_job = \"base\"", 2))
        .await
        .unwrap();
    let earlier = learner
        .submit("earlier", place.job("earlier", "from_job = \"base\", from_step = 3", 2))
        .await
        .unwrap();
    let from = fork.forked_from.clone().unwrap();
    assert_eq!((from.job_id.as_str(), from.step, from.checksum.len()), ("base", 4, 64));
    assert_eq!(
        fork.spec.as_ref().unwrap().model.as_ref().unwrap().from_step,
        Some(4),
        "kept with its step"
    );
    assert_eq!(earlier.forked_from.unwrap().step, 3);
    let waiting = earlier.waiting.unwrap();
    assert_eq!(
        waiting.reason,
        "position 2 of 2 on cpu; waits for job gate, which is running"
    );

    delete(&learner, "base").await;
    eventually("nothing is left of the other job", async || {
        let names = fs::read_dir(place.path("runs")).unwrap().flatten();
        names
            .map(|entry| entry.file_name().into_string().unwrap())
            .all(|name| name != "base" && !name.starts_with(".removed-") && !name.starts_with(".submitting-"))
    })
    .await;
    learner.stop().await;
    place.is_open.store(true, Ordering::Relaxed);
    let learner = place.learner().await;
    let fork = learner.wait_for_state("fork", JobState::Succeeded).await;
    let earlier = learner.wait_for_state("earlier", JobState::Succeeded).await;
    assert_eq!(fork.forked_from, Some(from.clone()));
    let loss = |job: &v1::Job| job.last_step.as_ref().unwrap().loss;
    assert_eq!(
        loss(&fork),
        loss(&control),
        "the very weights, and an optimiser that begins anew"
    );
    assert_ne!(loss(&earlier), loss(&control));
    let noticed: Vec<&str> = fork.notices.iter().map(|notice| notice.topic.as_str()).collect();
    assert_eq!(noticed, ["fork"], "{:?}", fork.notices);
    let says = format!("step 4 of job base (BLAKE3 {})", from.checksum);
    assert!(fork.notices[0].text.contains(&says), "{}", fork.notices[0].text);
    let card = fs::read_to_string(place.path("runs/fork/final/README.md")).unwrap();
    assert!(card.contains("fine-tuned from step 4 of job `base`"), "{card}");
    assert!(card.contains(&from.checksum), "{card}");
    let base_card = fs::read_to_string(place.path("runs/fork/final/BASE_MODEL_README.md")).unwrap();
    assert!(base_card.contains("| steps | 4 of 4 |"), "{base_card}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_damaged_while_a_fork_waits_are_not_trained_on() {
    let place = Place::new();
    let learner = place.learner().await;
    place.base(&learner).await;
    let exported = format!("path = {:?}", place.path("runs/base/final"));
    learner.submit("gate", place.job("gate", &exported, 1)).await.unwrap();
    learner.wait_for_state("gate", JobState::Running).await;
    learner
        .submit("fork", place.job("fork", "from_job = \"base\"", 1))
        .await
        .unwrap();
    let path = place.path("runs/fork/start/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    place.is_open.store(true, Ordering::Relaxed);
    let failed = learner.wait_for_state("fork", JobState::Failed).await;
    assert!(
        failed.error.contains("start/model.safetensors is damaged"),
        "{}",
        failed.error
    );

    // The same file, by its other name: the checkpoint of the other job is damaged, and the one before it is taken.
    let fork = learner
        .submit("again", place.job("again", "from_job = \"base\"", 1))
        .await
        .unwrap();
    assert_eq!(fork.forked_from.unwrap().step, 3);
    let says = "its newest good recovery checkpoint: the recovery checkpoint of step 4: weights.safetensors is damaged";
    assert!(
        fork.notices.iter().any(|notice| notice.text.contains(says)),
        "{:?}",
        fork.notices
    );
    learner.wait_for_state("again", JobState::Succeeded).await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_a_refusal_leave_nothing_behind_and_a_resumed_fork_keeps_its_start() {
    let place = Place::new();
    let learner = place.learner().await;
    place.base(&learner).await;
    let check = async |model: &str| {
        let request = v1::CheckJobRequest {
            spec: Some(place.job("fork", model, 2)),
        };
        learner.jobs().check(request).await.map(tonic::Response::into_inner)
    };
    let found = check("from_job = \"base\"").await.unwrap();
    assert!(
        found.notices[0].text.contains("step 4 of job base"),
        "{:?}",
        found.notices
    );
    for (model, setting, says) in [
        (
            "from_job = \"nobody\"",
            "model.from_job",
            "must be a job of this learner",
        ),
        (
            "from_job = \"base\", from_step = 1",
            "model.from_step",
            "it has those of 3, 4",
        ),
    ] {
        let refused = check(model).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert_eq!(setting_of_status(&refused).as_deref(), Some(setting), "{refused}");
        assert!(refused.message().contains(says), "{refused}");
        let refused = learner.submit("", place.job("fork", model, 2)).await.unwrap_err();
        assert_eq!(setting_of_status(&refused).as_deref(), Some(setting), "{refused}");
    }
    let staged = || -> Vec<String> {
        let names = fs::read_dir(place.path("runs")).unwrap().flatten();
        let names = names.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".submitting-")).collect()
    };
    assert_eq!(staged(), Vec::<String>::new());

    // A fork that is set back: its data are gone when its turn comes, and come back.
    let exported = format!("path = {:?}", place.path("runs/base/final"));
    learner.submit("gate", place.job("gate", &exported, 1)).await.unwrap();
    learner.wait_for_state("gate", JobState::Running).await;
    let spec = place.job("fork", "from_job = \"base\"", 2);
    learner.submit("fork", spec.clone()).await.unwrap();
    delete(&learner, "base").await;
    let (data, aside) = (place.path("data.jsonl"), place.path("aside.jsonl"));
    fs::rename(&data, &aside).unwrap();
    place.is_open.store(true, Ordering::Relaxed);
    learner.wait_for_state("fork", JobState::Paused).await;
    fs::rename(&aside, &data).unwrap();
    // The job's own file leaves the step open; another job to start from is another job.
    let mut changed = spec.clone();
    changed.training.as_mut().unwrap().gradient_clip = Some(0.5);
    let mut other = changed.clone();
    other.model.as_mut().unwrap().from_job = Some("gate".to_owned());
    let refused = learner.resume("fork", Some(other)).await.unwrap_err();
    assert_eq!(
        setting_of_status(&refused).as_deref(),
        Some("model.from_job"),
        "{refused}"
    );
    learner.resume("fork", Some(changed)).await.unwrap();
    let fork = learner.wait_for_state("fork", JobState::Succeeded).await;
    assert_eq!(fork.forked_from.unwrap().step, 4);
    learner.stop().await;
}
