//! Jobs that really train: the learner's own job on the demo's tiny model, whose groups come from the test. What happens
//! to them is what no trainer that pretends can show: gradients that are not finite, evaluations that fail within
//! training, the measurement of the starting weights that is cut off. Longer than 500 lines because all cases share one
//! small job.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::run::{UpdatePlace, run_job, validate};
use anytime_policy::memory::DeviceMemory;
use anytime_proto::LOWEST_LOG_PROB;
use anytime_proto::settings::parse_job_file;
use anytime_proto::v1::{self, JobState, Purpose, job_event::Event};
use tempfile::TempDir;

use crate::rollouts::{abandon, lease, push};
use crate::support::eventually;
use crate::support::groups::group_for;
use crate::support::learner::TestLearner;
use crate::support::redis_server::RedisServer;

/// What a test does with a group.
pub(crate) enum Answer {
    Push(Box<v1::ScoredGroup>),
    /// An actor could not generate it.
    GiveBack,
    /// An actor has it in hand and does not come back.
    Hold,
}

/// The demo's model, some problems, and a directory for jobs.
pub(crate) struct Place {
    directory: TempDir,
    redis: RedisServer,
}

impl Place {
    pub(crate) fn new(problems: usize) -> Self {
        let directory = TempDir::new().unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/model");
        fs::create_dir(directory.path().join("model")).unwrap();
        for entry in fs::read_dir(demo).unwrap().flatten() {
            fs::copy(entry.path(), directory.path().join("model").join(entry.file_name())).unwrap();
        }
        let rows =
            (0..problems).map(|number| format!("{{\"problem\": \"{number}+1=\", \"answer\": {}}}\n", number + 1));
        fs::write(directory.path().join("data.jsonl"), rows.collect::<String>()).unwrap();
        let redis = RedisServer::start();
        Self { directory, redis }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A learner that runs real jobs, over this directory of jobs.
    pub(crate) async fn learner(&self, runs: &str) -> TestLearner {
        let validate = |spec: &v1::JobSpec, inputs: &[v1::HubInput], root: &Path| -> Result<CheckedJob, _> {
            validate(spec, inputs, root, UpdatePlace::all_of(tch::Device::Cpu))
        };
        let runs = self.path(runs);
        TestLearner::start_checking(
            "127.0.0.1:0",
            &self.redis.url(),
            &runs,
            std::sync::Arc::new(validate),
            run_job,
        )
        .await
    }

    /// A small train job; `more` are further lines of its file.
    pub(crate) fn job(&self, name: &str, more: &str) -> v1::JobSpec {
        let (model, data) = (self.path("model"), self.path("data.jsonl"));
        let file = format!(
            "name = {name:?}\nkind = \"train\"\nmodel = {{ path = {model:?}, initialise = true }}\nmarkers = {{ cut = \"...\", \
             summary = \"=\" }}\ndata = {{ path = {data:?}, instruction = \"\" }}\nrollout = {{ budgets = [6, 12], traces = 4, \
             summaries = 1, max_summary_tokens = 4 }}\n{more}"
        );
        parse_job_file(&file).unwrap()
    }
}

/// Works as an actor, except that the test decides about each group: one call of `lease` and its answers.
async fn work(learner: &TestLearner, answer: &mut impl FnMut(&v1::Lease) -> Answer) {
    for leased in lease(learner, "a", 32, 50).await.leases {
        match answer(&leased) {
            Answer::Push(mut group) => {
                // Where the job has stopped meanwhile, its groups are wanted no more.
                if let Some(weights) = used_weights(learner).await {
                    group.weights = vec![weights];
                    push(learner, *group).await.unwrap();
                }
            }
            Answer::GiveBack => {
                abandon(learner, &leased, "a", v1::AbandonReason::Engine).await;
            }
            Answer::Hold => {}
        }
    }
}

/// The weights that are published now, as a group names those that generated it. None where no job publishes any.
async fn used_weights(learner: &TestLearner) -> Option<v1::UsedWeights> {
    let watch = v1::WatchWeightsRequest {
        actor_id: "a".to_owned(),
        ..v1::WatchWeightsRequest::default()
    };
    let mut announcements = learner.weights().watch(watch).await.unwrap().into_inner();
    let published = tokio::time::timeout(Duration::from_secs(5), announcements.message()).await;
    let published = published.ok()?.unwrap().unwrap();
    Some(v1::UsedWeights {
        version: published.version,
        manifest_checksum: published.manifest_checksum,
    })
}

/// Works until the job is in this state.
pub(crate) async fn work_until(
    learner: &TestLearner,
    job_id: &str,
    state: JobState,
    mut answer: impl FnMut(&v1::Lease) -> Answer,
) -> v1::Job {
    eventually(&format!("{job_id} is {state:?}"), async || {
        work(learner, &mut answer).await;
        let job = learner.get(job_id).await;
        let goes_on = matches!(job.state(), JobState::Queued | JobState::Running) || job.state() == state;
        assert!(goes_on, "{:?} at step {}: {}", job.state(), job.step, job.error);
        job.state() == state
    })
    .await;
    learner.get(job_id).await
}

/// A group in which only the first trace is right, so that there is something to learn.
pub(crate) fn good(lease: &v1::Lease) -> Box<v1::ScoredGroup> {
    let mut group = Box::new(group_for(lease, "a", lease.min_weights_version));
    for trace in &mut group.traces[1..] {
        for summary in trace.nodes.iter_mut().flat_map(|node| &mut node.summaries) {
            summary.verdict = v1::VerdictKind::Wrong.into();
            summary.score = 0.0;
        }
    }
    group
}

/// The same by an actor that computes something else: it says of the tokens of wrong traces that they were next to
/// impossible. By the trainer's own figures they are e⁷⁶ times as likely, and the square of such a gradient has no f32.
fn poisoned(lease: &v1::Lease) -> Box<v1::ScoredGroup> {
    let mut group = good(lease);
    for trace in &mut group.traces[1..] {
        trace.thinking.as_mut().unwrap().log_probs.fill(LOWEST_LOG_PROB);
    }
    group
}

async fn events(learner: &TestLearner, job_id: &str) -> Vec<Event> {
    let request = v1::WatchJobRequest {
        job_id: job_id.to_owned(),
        after: 0,
    };
    let mut stream = learner.jobs().watch(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(event) = stream.message().await.unwrap() {
        events.extend(event.event);
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_are_not_finite_are_left_out_and_too_many_in_a_row_pause_the_job() {
    let place = Place::new(20);
    let learner = place.learner("runs").await;
    let settings = "training = { steps = 8, batch = 2, minibatches = 1, max_staleness = 0, gradient_clip = 0.0, \
                    max_skipped_updates = 3 }\nevaluation = { before = false }\n";
    learner.submit("request", place.job("unfit", settings)).await.unwrap();

    // One bad step among good ones costs only itself. From version 3 on all are bad.
    let is_bad = |lease: &v1::Lease| lease.min_weights_version == 1 || lease.min_weights_version >= 3;
    let paused = work_until(&learner, "unfit", JobState::Paused, |lease| {
        Answer::Push(if is_bad(lease) { poisoned(lease) } else { good(lease) })
    })
    .await;
    assert_eq!(paused.step, 6, "steps 4, 5 and 6 in a row");
    assert_eq!(paused.retry_at, None, "it waits for a person");
    for part in [
        "gradients of the last 3 updates were not finite, up to step 6",
        "training.max_skipped_updates",
        "`anytime resume unfit`",
    ] {
        assert!(paused.error.contains(part), "{part}: {}", paused.error);
    }
    let noticed = |job: &v1::Job| -> Vec<u64> {
        let of_updates = job.notices.iter().filter(|notice| notice.topic == "skipped_update");
        of_updates.map(|notice| notice.step).collect()
    };
    assert_eq!(noticed(&paused), [2, 4, 5, 6]);

    // Whoever resumes it gives it another chance: it counts anew, and goes on where it was.
    learner.resume("unfit", None).await.unwrap();
    let ended = work_until(&learner, "unfit", JobState::Succeeded, |lease| {
        Answer::Push(good(lease))
    })
    .await;
    assert_eq!((ended.step, ended.error.as_str()), (8, ""));
    let steps: Vec<(u64, u32, bool)> = events(&learner, "unfit")
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::Step(step) => Some((step.step, step.skipped_updates, step.update_size > 0.0)),
            _ => None,
        })
        .collect();
    assert_eq!(steps.len(), 8, "{steps:?}");
    for (step, skipped, has_moved) in &steps[..6] {
        let is_bad = [2, 4, 5, 6].contains(step);
        assert_eq!((*skipped, *has_moved), (u32::from(is_bad), !is_bad), "step {step}");
    }
    // A group of the next step may have been on its way when the job paused.
    assert_eq!((steps[7].1, steps[7].2), (0, true), "{steps:?}");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_that_fails_costs_its_result_and_not_the_training() {
    let place = Place::new(2);
    let learner = place.learner("runs").await;
    let settings = format!(
        "training = {{ steps = 3, batch = 2, max_staleness = 0 }}\nevaluation = {{ path = {:?}, every = 1, before = false, \
         samples = 2 }}\n",
        place.path("data.jsonl")
    );
    learner
        .submit("request", place.job("evaluated", &settings))
        .await
        .unwrap();
    let is_evaluation_after = |lease: &v1::Lease, step: &str| {
        lease.purpose() == Purpose::Evaluate && lease.group_id.contains(&format!("/{step}/"))
    };
    let mut given_back = 0;
    let job = work_until(&learner, "evaluated", JobState::Succeeded, |lease| {
        if is_evaluation_after(lease, "1") {
            given_back += 1;
            return Answer::GiveBack;
        }
        Answer::Push(good(lease))
    })
    .await;
    assert_eq!(given_back, 10, "two groups, five tries each");
    assert_eq!(job.step, 3);
    let evaluated: Vec<u64> = job.evaluations.iter().map(|result| result.step).collect();
    assert_eq!(evaluated, [2, 3], "the next ones are made");
    let notice = job
        .notices
        .iter()
        .find(|notice| notice.topic == "evaluation_failed")
        .unwrap();
    assert!(
        notice
            .text
            .contains("the evaluation after step 1 failed, and training goes on without it")
            && notice.text.contains("all 2 groups failed too often"),
        "{}",
        notice.text
    );
    learner.stop().await;
}

/// More problems than are measured together.
const MEASURED: usize = 515;

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_whose_generations_cannot_be_written_is_worth_as_much() {
    let place = Place::new(2);
    let learner = place.learner("runs").await;
    let settings = format!(
        "training = {{ steps = 1, batch = 2 }}\nevaluation = {{ path = {:?}, every = 1, before = false, keep_generations = \
         true }}\n",
        place.path("data.jsonl")
    );
    learner.submit("request", place.job("kept", &settings)).await.unwrap();
    // This file stands where the directory should be. Nothing is evaluated before this test has pushed a step's groups.
    fs::write(place.path("runs").join("kept").join("generations"), "").unwrap();
    let job = work_until(&learner, "kept", JobState::Succeeded, |lease| Answer::Push(good(lease))).await;
    let [evaluated] = job.evaluations.as_slice() else {
        panic!("{:?}", job.evaluations);
    };
    assert_eq!(evaluated.problems, 2);
    assert_eq!(evaluated.generations, "");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_accuracies_that_were_measured_before_a_crash_are_not_measured_again() {
    let place = Place::new(MEASURED);
    let learner = place.learner("runs").await;
    let settings = "objective = { adaptthink = { reference_samples = 1 } }\ntraining = { steps = 1, batch = 2 }\n";
    learner
        .submit("request", place.job("compared", settings))
        .await
        .unwrap();

    // The actor gets stuck in the second part.
    let (mut pushed, mut held) = (BTreeSet::new(), BTreeSet::new());
    eventually("the second part is under way", async || {
        work(&learner, &mut |lease| {
            assert!(lease.group_id.contains("/reference/"), "{}", lease.group_id);
            let problem = lease.problem.clone().unwrap().id;
            if pushed.len() == 512 {
                held.insert(problem);
                return Answer::Hold;
            }
            pushed.insert(problem);
            Answer::Push(Box::new(group_for(lease, "a", 0)))
        })
        .await;
        held.len() == MEASURED - 512
    })
    .await;
    // The disk as a crash leaves it now.
    copy(&place.path("runs"), &place.path("crashed"));
    learner.stop().await;
    assert_eq!(kept(&place.path("crashed/compared")), pushed);

    let learner = place.learner("crashed").await;
    let mut measured = Vec::new();
    work_until(&learner, "compared", JobState::Succeeded, |lease| {
        if lease.group_id.contains("/reference/") {
            measured.push(lease.problem.clone().unwrap().id);
        }
        Answer::Push(good(lease))
    })
    .await;
    assert_eq!(measured.len(), held.len(), "each once: {measured:?}");
    assert_eq!(measured.into_iter().collect::<BTreeSet<_>>(), held);
    assert_eq!(kept(&place.path("crashed/compared")).len(), MEASURED);
    learner.stop().await;
}

/// The problems whose reference accuracy is on the disk.
fn kept(job_directory: &Path) -> BTreeSet<String> {
    let bytes = fs::read(job_directory.join("references.json")).unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    kept["references"].as_object().unwrap().keys().cloned().collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A learner whose job has trained three steps of six, and waits for an actor.
pub(crate) async fn interrupted(place: &Place, name: &str) -> TestLearner {
    let learner = place.learner("runs").await;
    let settings = "training = { steps = 6, batch = 2, max_staleness = 0 }\nevaluation = { before = false }\n\
                    checkpoint = { recovery_every = 1 }\n";
    learner.submit(name, place.job(name, settings)).await.unwrap();
    eventually("three steps", async || {
        work(&learner, &mut |lease| {
            if lease.min_weights_version < 3 {
                return Answer::Push(good(lease));
            }
            Answer::Hold
        })
        .await;
        learner.get(name).await.recovery_step == Some(3)
    })
    .await;
    learner
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_recovery_checkpoints_are_gone_does_not_start_over_in_silence() {
    let place = Place::new(20);
    let learner = interrupted(&place, "bereft").await;
    learner.stop().await;
    let (recovery, aside) = (place.path("runs/bereft/recovery"), place.path("aside"));
    fs::rename(&recovery, &aside).unwrap();

    let learner = place.learner("runs").await;
    let paused = learner.wait_for_state("bereft", JobState::Paused).await;
    assert_eq!((paused.step, paused.retry_at), (3, None), "it waits for a person");
    for part in [
        "its recovery checkpoint of step 3 was written to",
        recovery.to_str().unwrap(),
        "`anytime resume bereft`",
        "job.toml",
    ] {
        assert!(paused.error.contains(part), "{part}: {}", paused.error);
    }
    // Resuming alone changes nothing, and the next job is not held up.
    learner.resume("bereft", None).await.unwrap();
    learner.wait_for_state("bereft", JobState::Paused).await;

    fs::rename(&aside, &recovery).unwrap();
    learner.resume("bereft", None).await.unwrap();
    let job = work_until(&learner, "bereft", JobState::Succeeded, |lease| {
        Answer::Push(good(lease))
    })
    .await;
    assert_eq!(noticed(&job), [], "it went on where it was");
    let steps = events(&learner, "bereft").await;
    let steps = steps.iter().filter(|event| matches!(event, Event::Step(_)));
    assert_eq!(steps.count(), 6, "no step was made twice");
    learner.stop().await;
}

/// Topic and text of every notice but that of the marker, which opens no answer's block in these jobs.
fn noticed(job: &v1::Job) -> Vec<(&str, &str)> {
    let notices = job.notices.iter().filter(|notice| notice.topic != "summary_marker");
    notices
        .map(|notice| (notice.topic.as_str(), notice.text.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_newest_recovery_checkpoint_is_gone_says_so() {
    let place = Place::new(20);
    let learner = interrupted(&place, "set-back").await;
    learner.stop().await;
    fs::remove_dir_all(place.path("runs/set-back/recovery/step-00000003")).unwrap();
    let learner = place.learner("runs").await;
    let job = work_until(&learner, "set-back", JobState::Succeeded, |lease| {
        Answer::Push(good(lease))
    })
    .await;
    let texts: Vec<&str> = noticed(&job).into_iter().map(|(_, text)| text).collect();
    assert_eq!(
        texts,
        ["the recovery checkpoint of step 3 was written and is gone; the job goes on from the one of step 2"]
    );
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_while_a_job_waits_are_named_when_it_starts() {
    let place = Place::new(20);
    let learner = place.learner("runs").await;
    let settings = "training = { steps = 1, batch = 2 }\nevaluation = { before = false }\n";
    for name in ["first", "second"] {
        learner.submit(name, place.job(name, settings)).await.unwrap();
    }
    // The first one runs, and waits for an actor; meanwhile somebody adds a row.
    learner.wait_for_state("first", JobState::Running).await;
    let data = place.path("data.jsonl");
    let rows = fs::read_to_string(&data).unwrap();
    fs::write(&data, format!("{rows}{{\"problem\": \"2+2=\", \"answer\": 4}}\n")).unwrap();
    learner.cancel("first").await;
    let job = work_until(&learner, "second", JobState::Succeeded, |lease| {
        Answer::Push(good(lease))
    })
    .await;
    let says = format!(
        "data.path: {} changed after the job was submitted and checked; all was checked again, and the job works with what \
         is there now",
        data.display()
    );
    assert_eq!(noticed(&job), [("changed_files", says.as_str())]);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_whose_updates_no_memory_of_this_machine_could_hold_is_refused_at_submission() {
    let has = DeviceMemory::ask(tch::Device::Cpu).unwrap().total;
    // 97 billion parameters, of sixteen bytes each with gradients and moments; more would be refused as a typing error.
    if has > 15 * 97_000_000_000 {
        return eprintln!("not tested: this machine has {has} bytes");
    }
    let place = Place::new(2);
    let learner = place.learner("runs").await;
    let config = place.path("model/config.json");
    let text = fs::read_to_string(&config).unwrap();
    let large = text
        .replace("\"hidden_size\": 96", "\"hidden_size\": 32768")
        .replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 45")
        .replace("\"num_attention_heads\": 4", "\"num_attention_heads\": 256");
    fs::write(&config, large).unwrap();
    let spec = place.job("large", "training = { steps = 1, batch = 2 }\n");
    let request = v1::CheckJobRequest {
        spec: Some(spec.clone()),
    };
    let (refused, checked) = (
        learner.submit("request", spec).await.unwrap_err(),
        learner.jobs().check(request).await.unwrap_err(),
    );
    for status in [refused, checked] {
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(anytime_proto::setting_of_status(&status).as_deref(), Some("model.path"));
        for part in [
            "can be trained on cpu: one update needs",
            "GiB",
            "a smaller model need less",
        ] {
            assert!(status.message().contains(part), "{part}: {}", status.message());
        }
    }
    learner.stop().await;
}
