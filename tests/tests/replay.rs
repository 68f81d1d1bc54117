//! `training.keep_groups` and `anytime replay`: what a job trained, killed on the way, is trained again from its
//! directory alone, bit by bit; a group that was changed, a file that is damaged or missing, and a setting that is changed
//! are told apart. `anytime generate`: an actor alone generates the groups that the job trained.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use anytime_files::{PackedReader, write_packed};
use anytime_proto::v1::{self, JobSpec, JobState};
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::{Ended, Workplace};
use prost::Message as _;
use serde_json::Value;

const STEPS: u64 = 24;

/// The last recovery checkpoint but one.
const CHECKPOINT: u64 = 16;

/// A step between it and the last one.
const STEP: u64 = 19;

/// A train job on weights that are drawn at its start. Its objective rewards short traces among wrong ones, so that there
/// is a gradient though nothing is answered right.
fn job(workplace: &Workplace) -> JobSpec {
    let mut spec = workplace.train("kept", STEPS);
    spec.objective = Some(v1::ObjectiveSpec {
        settings: Some(v1::objective_spec::Settings::Kimi(v1::KimiSpec::default())),
        ..Default::default()
    });
    let training = spec.training.get_or_insert_default();
    training.keep_groups = Some(STEPS);
    training.minibatches = Some(2);
    spec.checkpoint.get_or_insert_default().recovery_every = Some(8);
    spec
}

fn read(path: &Path) -> (v1::KeptGroupsHead, Vec<v1::KeptGroup>) {
    let mut reader = PackedReader::open(path).unwrap();
    let head = v1::KeptGroupsHead::decode(reader.head()).unwrap();
    let mut groups = Vec::new();
    while let Some(content) = reader.read_next().unwrap() {
        groups.push(v1::KeptGroup::decode(content.as_slice()).unwrap());
    }
    (head, groups)
}

/// Reads a file of groups, changes it and writes it again, whole.
fn rewrite(path: &Path, change: impl FnOnce(&mut v1::KeptGroupsHead, &mut Vec<v1::KeptGroup>)) {
    let (mut head, mut groups) = read(path);
    change(&mut head, &mut groups);
    let contents = groups.iter().map(v1::KeptGroup::encode_to_vec);
    write_packed(path, &head.encode_to_vec(), contents).unwrap();
}

struct Replays<'a> {
    workplace: &'a Workplace,
    directory: PathBuf,
}

impl Replays<'_> {
    async fn run(&self, more: &[&str]) -> Ended {
        let directory = self.directory.display().to_string();
        let arguments = [&["replay", &directory, "--json"], more].concat();
        self.workplace.anytime(&arguments, 60).await
    }

    fn file(&self, step: u64) -> PathBuf {
        self.directory.join(format!("groups/step-{step:08}.groups"))
    }

    /// Expects a refusal with this exit code that says all of this.
    async fn refused(&self, more: &[&str], code: i32, says: &[&str]) {
        let ended = self.run(more).await.expect(code);
        for text in says {
            assert!(ended.stderr.contains(text), "{text:?} is not in {}", ended.stderr);
        }
    }
}

fn steps(document: &Value) -> Vec<u64> {
    let steps = document["steps"].as_array().unwrap();
    steps.iter().map(|step| step["step"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_killed_is_trained_again_from_its_groups_bit_by_bit() {
    within(150, async {
        let mut stack = Stack::start(1).await;
        let spec = job(&stack.workplace);
        let job = stack.submit("kept", spec).await;
        // Behind a checkpoint and well before the next one, so that steps are done again.
        eventually("a step between two checkpoints", 60, async || {
            let step = stack.job(&job.id).await?.step;
            (step > 8 && (1..=5).contains(&(step % 8))).then_some(())
        })
        .await;
        stack.learner.process.kill();
        stack.restart_learner().await;
        stack.wait_for_success(&job.id, 60).await;
        let history = stack.history(&job.id).await;
        assert!(!history.went_on().is_empty(), "some steps were done again");
        let moved = history.steps().iter().filter(|step| step.gradient_norm > 0.0).count();
        assert!(moved as u64 > STEPS / 2, "{moved} steps have a gradient");
        assert_eq!(stack.learner.process.terminate().await, 0);
        // Neither actors nor Redis are there while steps are trained again.
        let directory = stack.job_directory(&job.id);
        stack.actors.clear();
        stack.redis.kill();
        let replays = Replays {
            workplace: &stack.workplace,
            directory,
        };
        equal_as_it_was(&replays).await;
        changed_settings_show_what_they_do(&replays).await;
        what_is_missing_or_changed_is_named(&replays).await;
    })
    .await;
}

async fn equal_as_it_was(replays: &Replays<'_>) {
    // From the first weights, over the kill.
    let all = replays.run(&["--from", "1"]).await.expect(0).json();
    assert_eq!(steps(&all), (1..=STEPS).collect::<Vec<_>>());
    assert_eq!(
        (&all["equal"], &all["from_checkpoint"]),
        (&Value::Bool(true), &Value::Null)
    );

    // By its id, from a recovery checkpoint; the weights at the end are those that the job exported.
    let runs = replays.directory.parent().unwrap().display().to_string();
    let from = STEP.to_string();
    let by_id = ["replay", "kept", "--runs-dir", &runs, "--from", &from, "--out", "again"];
    let ended = replays.workplace.anytime(&by_id, 60).await.expect(0);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        lines[0].contains("from the recovery checkpoint of step 16 (cpu, threads 1)"),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines.iter().filter(|line| line.contains(": equal (loss ")).count() as u64,
        STEPS - CHECKPOINT
    );
    let weights = |path: PathBuf| std::fs::read(path.join("model.safetensors")).unwrap();
    let exported = weights(replays.directory.join("final"));
    assert!(weights(replays.workplace.path("again")) == exported, "the same weights");
    // Where a model of somebody else stands, none is written.
    let of_the_job = replays.directory.join("final").display().to_string();
    replays
        .refused(&["--from", &from, "--out", &of_the_job], 64, &["--out", "final"])
        .await;
    assert!(weights(replays.directory.join("final")) == exported);

    let two = replays.run(&["--from", &from, "--steps", "2"]).await.expect(0).json();
    assert_eq!(steps(&two), (CHECKPOINT + 1..STEP + 2).collect::<Vec<_>>());
}

async fn changed_settings_show_what_they_do(replays: &Replays<'_>) {
    let from = STEP.to_string();
    let set = ["--from", &from, "--set", "training.learning_rate=1e-3"];
    let changed = replays.run(&set).await.expect(0).json();
    assert_eq!(
        steps(&changed).len() as u64,
        STEPS - CHECKPOINT,
        "no difference ends it"
    );
    assert_eq!(changed["equal"], false);
    let first = &changed["steps"][0];
    assert_eq!(first["changed"], serde_json::json!(["training.learning_rate"]));
    // The same weights and groups give the same loss and gradient; the update is another one.
    assert_eq!(
        first["run"]["gradient_norm"].as_f64().map(|norm| norm > 0.0),
        Some(true)
    );
    assert_eq!(first["differs_in"].as_array().unwrap().last().unwrap(), "weights");
    // One setting that is written as it is anyway changes nothing.
    let same = [
        "--from",
        &from,
        "--set",
        "training.keep_groups=24",
        "--set",
        "training.learning_rate=3e-4",
    ];
    assert_eq!(replays.run(&same).await.expect(0).json()["equal"], true);

    let directory = replays.directory.display().to_string();
    let table = ["replay", &directory, "--from", &from, "--set", "training.clip=0.01"];
    let table = replays.workplace.anytime(&table, 60).await.expect(0).stdout;
    assert!(
        table.contains("changed: training.clip") && table.contains("norm: run"),
        "{table}"
    );

    let batch = ["--from", &from, "--set", "training.batch=2"];
    replays
        .refused(&batch, 64, &["training.batch", "training.learning_rate"])
        .await;
    let rate = ["--from", &from, "--set", "training.learning_rate=-1"];
    replays.refused(&rate, 64, &["training.learning_rate", "above 0"]).await;
    replays
        .refused(&["--from", &from, "--set", "training.rate=1"], 64, &["training.rate"])
        .await;
}

async fn what_is_missing_or_changed_is_named(replays: &Replays<'_>) {
    let from = STEP.to_string();
    let file = replays.file(STEP);
    let whole = std::fs::read(&file).unwrap();

    // Log-probabilities are others, in a file that is whole: the steps before are equal, this one is not.
    rewrite(&file, |_, groups| {
        let groups = groups.iter_mut().filter_map(|kept| kept.group.as_mut());
        for trace in groups.flat_map(|group| &mut group.traces) {
            for log_prob in &mut trace.thinking.as_mut().unwrap().log_probs {
                *log_prob -= 0.5;
            }
        }
    });
    let planted = replays.run(&["--from", &from]).await.expect(1);
    assert_eq!(
        steps(&planted.json()),
        (CHECKPOINT + 1..=STEP).collect::<Vec<_>>(),
        "it ends there"
    );
    let says = format!("step {STEP} differs from the run in");
    assert!(
        planted.stderr.contains(&says) && planted.stderr.contains("computed as in the run"),
        "{}",
        planted.stderr
    );

    std::fs::write(&file, &whole).unwrap();
    rewrite(&file, |head, _| head.job_id = "other".to_owned());
    replays
        .refused(&["--from", &from], 64, &["groups of another job", "of other"])
        .await;
    std::fs::write(&file, &whole).unwrap();
    rewrite(&file, |_, groups| groups[1].sequence += 1000);
    replays
        .refused(&["--from", &from], 70, &["sequence numbers", "step 19 trained"])
        .await;
    std::fs::copy(replays.file(STEP + 1), &file).unwrap();
    replays
        .refused(
            &["--from", &from],
            70,
            &["has the groups of step 20, and not of step 19"],
        )
        .await;

    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for bytes in [&damaged[..], &whole[..middle], b""] {
        std::fs::write(&file, bytes).unwrap();
        replays
            .refused(&["--from", &from], 70, &["step-00000019.groups", "damaged"])
            .await;
    }

    std::fs::remove_file(&file).unwrap();
    let missing = "the groups of step 19 are not kept (those of 1 to 18, 20 to 24 are)";
    replays.refused(&["--from", &from], 64, &[missing]).await;
    std::fs::write(&file, &whole).unwrap();
    replays.refused(&["--from", "25"], 64, &["no step 25", "1 to 24"]).await;
    replays
        .refused(&["--from", &from, "--steps", "9"], 64, &["no step 27"])
        .await;

    let nowhere = ["replay", "nowhere", "--from", "1"];
    let ended = replays.workplace.anytime(&nowhere, 30).await.expect(64);
    assert!(ended.stderr.contains("runs/nowhere"), "{}", ended.stderr);

    // Without a recovery checkpoint, only the first weights are left to begin with.
    std::fs::rename(replays.directory.join("recovery"), replays.workplace.path("aside")).unwrap();
    assert_eq!(
        replays.run(&["--from", &from, "--steps", "1"]).await.expect(0).json()["equal"],
        true
    );
    std::fs::remove_file(replays.file(1)).unwrap();
    let missing = ["the groups of step 1 are not kept", "there is none at all"];
    replays.refused(&["--from", &from], 64, &missing).await;
    std::fs::rename(replays.workplace.path("aside"), replays.directory.join("recovery")).unwrap();
    let weights = replays.directory.join("recovery/step-00000016/weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    replays
        .refused(&["--from", &from], 70, &["weights.safetensors is damaged"])
        .await;
    std::fs::remove_dir_all(replays.directory.join("groups")).unwrap();
    replays.refused(&["--from", &from], 64, &["training.keep_groups"]).await;
}

/// What was generated and how it was judged, without who did so and for which job.
fn generated(path: &Path) -> Vec<(u64, v1::ScoredGroup)> {
    let (head, groups) = read(path);
    assert_eq!(head.groups, groups.len() as u64);
    let plain = |kept: v1::KeptGroup| {
        let mut group = kept.group.unwrap();
        for trace in &mut group.traces {
            let summaries = trace.nodes.iter_mut().flat_map(|node| &mut node.summaries);
            let parts = summaries.filter_map(|summary| summary.generated.as_mut());
            for part in parts.chain(&mut trace.thinking) {
                part.versions.fill(0);
            }
        }
        (group.job_id, group.group_id, group.actor_id) = Default::default();
        group.weights.clear();
        (kept.sequence, group)
    };
    groups.into_iter().map(plain).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_alone_generates_the_groups_that_the_job_trained() {
    within(120, async {
        let mut stack = Stack::start(0).await;
        let mut spec = job(&stack.workplace);
        spec.rollout.get_or_insert_default().deterministic = Some(true);
        let training = spec.training.get_or_insert_default();
        (training.steps, training.max_staleness) = (Some(3), None);
        spec.checkpoint.get_or_insert_default().recovery_every = Some(1);
        let file = stack.workplace.write_job(&spec).display().to_string();
        let job = stack.submit("kept", spec).await;
        let directory = stack.job_directory(&job.id);
        a_disk_that_refuses_groups_pauses_the_job(&mut stack, &job.id).await;
        stack.wait_for_success(&job.id, 60).await;
        assert_eq!(stack.learner.process.terminate().await, 0);
        stack.actors.clear();
        stack.redis.kill();

        let workplace = &stack.workplace;
        let kept = |step: u64| directory.join(format!("groups/step-{step:08}.groups"));
        let verifier = format!("http://{}", stack.verifier.address);
        // Step 1 has the first weights, step 3 those of the recovery checkpoint of step 2.
        let command = [
            "generate",
            &file,
            "--out",
            "one.groups",
            "--verifier",
            &verifier,
            "--device",
            "cpu",
        ];
        workplace.anytime(&command, 60).await.expect(0);
        assert!(!workplace.path(".one.groups.leases").exists());
        assert_eq!(generated(&workplace.path("one.groups")), generated(&kept(1)));
        let runs = directory.parent().unwrap().display().to_string();
        let export = ["export", "kept", "--step", "2", "--runs-dir", &runs, "--output", "at-2"];
        workplace.anytime(&export, 60).await.expect(0);
        let command = [
            "generate",
            &file,
            "--model",
            "at-2",
            "--first",
            "8",
            "--groups",
            "2",
            "--out",
            "three.groups",
            "--device",
            "cpu",
        ];
        workplace.anytime(&command, 60).await.expect(0);
        let unjudged = generated(&workplace.path("three.groups"));
        let mut trained = generated(&kept(3));
        trained.truncate(2);
        assert_ne!(unjudged, trained, "without a verifier there is no verdict");
        let groups = trained.iter_mut().map(|(_, group)| group);
        for node in groups
            .flat_map(|group| &mut group.traces)
            .flat_map(|trace| &mut trace.nodes)
        {
            for summary in &mut node.summaries {
                (summary.verdict, summary.score) = (v1::VerdictKind::Unspecified.into(), 0.0);
            }
        }
        assert_eq!(unjudged, trained);

        // Both kinds of files are read as generations are.
        let kept_file = kept(3).display().to_string();
        let listed = workplace.anytime(&["show", &kept_file], 30).await.expect(0).stdout;
        assert!(listed.contains("job kept, step 3: 4 problems"), "{listed}");
        let page = [
            "show",
            "three.groups",
            "--model",
            "at-2",
            "--problem",
            "9",
            "--trace",
            "1",
        ];
        let page = workplace.anytime(&page, 30).await.expect(0).stdout;
        assert!(page.contains("trace 1:") && page.contains("unspecified"), "{page}");
        let json = workplace
            .anytime(&["show", &kept_file, "--problem", "9", "--json"], 30)
            .await
            .expect(0)
            .json();
        let thinking = &json["traces"][0];
        let (_, group) = &generated(&kept(3))[1];
        let ids = &group.traces[0].thinking.as_ref().unwrap().ids;
        assert_eq!(thinking["ids"], serde_json::json!(ids));
        assert_eq!(thinking["log_probs"].as_array().unwrap().len(), ids.len());
        what_cannot_be_generated_or_shown_is_refused(workplace, &file, &kept_file).await;
    })
    .await;
}

/// Nobody may write to the system's own files, so the first step cannot keep its groups until that is put right. Only
/// then are there actors, so that no step comes before.
async fn a_disk_that_refuses_groups_pauses_the_job(stack: &mut Stack, job_id: &str) {
    let place = stack.job_directory(job_id).join("groups");
    std::os::unix::fs::symlink("/sys", &place).unwrap();
    stack.add_actor();
    let paused = eventually("a pause", 60, async || {
        let job = stack.job(job_id).await?;
        (job.state() == JobState::Paused).then_some(job)
    })
    .await;
    assert!(paused.error.contains("step-00000001.groups"), "{}", paused.error);
    assert_eq!(paused.step, 0, "a step whose groups are not kept does not count");
    std::fs::remove_file(&place).unwrap();
    assert!(stack.resume(job_id).await);
    eventually("that it goes on", 30, async || {
        (stack.job(job_id).await?.state() != JobState::Paused).then_some(())
    })
    .await;
}

async fn what_cannot_be_generated_or_shown_is_refused(workplace: &Workplace, job_file: &str, kept: &str) {
    let sft = workplace.write_job(&workplace.sft(2)).display().to_string();
    std::fs::write(workplace.path("text"), "no groups").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["generate", &sft, "--out", "x"], 64, "it must be train or evaluate"),
        (&["generate", job_file, "--out", "/"], 64, "it must be a file"),
        (&["generate", job_file, "--out", "nowhere/x"], 70, "nowhere"),
        (
            &["generate", job_file, "--out", "x", "--model", "nowhere"],
            64,
            "nowhere",
        ),
        (
            &["generate", job_file, "--out", "x", "--set", "rollout.traces=0"],
            64,
            "rollout.traces",
        ),
        (&["show", kept, "--problem", "7"], 64, "has the places 8, 9, 10, 11"),
        (&["show", kept, "--model", "nowhere"], 64, "--model names the model"),
        (&["show", "text"], 70, "damaged"),
    ];
    for (command, code, says) in cases {
        let ended = workplace.anytime(command, 30).await.expect(code);
        assert!(ended.stderr.contains(says), "{command:?}: {}", ended.stderr);
        assert!(!workplace.path("x").exists(), "{command:?}");
    }
}
