//! `[training.lora]`: a job that trains adapters publishes, keeps and exports them and not its base, goes on after a kill, is
//! trained again bit by bit, and is what other jobs start from; merged they are the same model. A base that is another than
//! they were trained on is refused.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use anytime_proto::v1::{self, JobSpec, JobState};
use anytime_service::metric_names::ACTOR_WEIGHTS_BYTES;
use anytime_tests::metrics::{scrape, sum};
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};

const STEPS: u64 = 12;

/// A train job of adapters on a model.
fn job(stack: &Stack, name: &str, model: &str) -> JobSpec {
    let mut spec = stack.workplace.train(name, STEPS);
    spec.model = Some(v1::ModelSpec {
        path: Some(stack.workplace.path(model).display().to_string()),
        ..Default::default()
    });
    let training = spec.training.get_or_insert_default();
    training.learning_rate = Some(3e-3);
    training.keep_groups = Some(STEPS);
    training.lora = Some(v1::LoraSpec {
        rank: Some(4),
        alpha: Some(8.0),
        ..Default::default()
    });
    let rollout = spec.rollout.get_or_insert_default();
    rollout.traces = Some(6);
    let checkpoint = spec.checkpoint.get_or_insert_default();
    checkpoint.recovery_every = Some(4);
    checkpoint.output = Some(format!("out/{name}"));
    spec.evaluation = Some(v1::EvaluationSpec {
        budgets: vec![6, 12],
        samples: Some(2),
        ..stack.workplace.demo_train().evaluation.unwrap()
    });
    spec
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

/// Accuracies at every budget of a checkpoint.
async fn accuracy(stack: &Stack, model: &str) -> serde_json::Value {
    let model = stack.workplace.path(model).display().to_string();
    let problems = stack.workplace.path("data/test.jsonl").display().to_string();
    let arguments = [
        ["evaluate", "--json"],
        ["--model", &model],
        ["--problems", &problems],
        ["--budgets", "6,12"],
        ["--max-summary-tokens", "4"],
        ["--instruction", ""],
        ["--chat-template", "false"],
        ["--markers-cut", "..."],
        ["--markers-summary", "\n\n**Final Answer**\n\\boxed{"],
    ]
    .concat();
    stack.anytime(&arguments, 60).await.expect(0).json()["after"]["accuracy"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adapters_are_trained_kept_and_taken_away() {
    within(170, async {
        let mut stack = Stack::start(0).await;
        let warm = stack.submit("warm", stack.workplace.sft(80)).await;
        stack.wait_for_success(&warm.id, 90).await;
        let base = stack.workplace.path("sft");
        let whole = bytes(&base.join("model.safetensors"));

        stack.add_actor();
        let submitted = stack.submit("adapters", job(&stack, "adapters", "sft")).await;
        let id = submitted.id.clone();
        stack.wait_for_step(&id, 5, 60).await;
        stack.learner.process.kill();
        a_base_that_is_another_is_refused(&mut stack, &id, &base).await;
        let ended = stack.wait_for_success(&id, 90).await;
        stack.assert_trained_once_each(&id).await;

        // Actors mean the same policy, and get megabytes, here some hundred kilobytes, only once.
        let history = stack.history(&id).await;
        // Of a single unlikely token the rounding of f32 alone may be 1e-5, by the processor.
        let steps = history.steps();
        let worst = |of: &dyn Fn(&v1::StepMetrics) -> f64| steps.iter().map(of).fold(0.0, f64::max);
        let (mean, largest) = (
            worst(&|step| step.fresh_log_prob_gap),
            worst(&|step| step.largest_log_prob_gap),
        );
        assert!(mean < 1e-6 && largest < 5e-5, "{mean}, {largest}");
        let samples = scrape(&stack.actors[0].metrics_address).await.unwrap();
        let later = sum(&samples, ACTOR_WEIGHTS_BYTES, "delta");
        assert!(
            later > 0.0 && later / (STEPS as f64) < 0.5 * whole as f64,
            "{later} bytes of {whole}"
        );

        let target = stack.workplace.path("out/adapters");
        let names = files(&target);
        for name in [
            "adapter_config.json",
            "adapter_model.safetensors",
            "tokenizer.json",
            "README.md",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
        }
        assert!(!names.iter().any(|name| name == "model.safetensors"), "{names:?}");
        assert!(bytes(&target.join("adapter_model.safetensors")) * 4 < whole);
        let recovery = stack.job_directory(&id).join(format!("recovery/step-{STEPS:08}"));
        assert!(bytes(&recovery.join("weights.safetensors")) * 4 < whole);
        assert!(bytes(&recovery.join("optimiser.safetensors")) * 2 < whole);

        // Trained again from its groups.
        let directory = stack.job_directory(&id).display().to_string();
        for from in ["1", "10"] {
            let replay = ["replay", &directory, "--from", from, "--json"];
            let replayed = stack.workplace.anytime(&replay, 60).await.expect(0).json();
            assert_eq!(replayed["equal"], true, "{replayed}");
        }

        let other = ["replay", &directory, "--from", "10", "--set", "model.dtype=bf16"];
        let refused = stack.workplace.anytime(&other, 60).await.expect(64);
        assert!(
            refused
                .stderr
                .contains("the base is kept in the type that the job computed in"),
            "{}",
            refused.stderr
        );

        // Merged it is the same model, and of the type that its base has.
        let merge = ["merge", "out/adapters", "--output", "out/merged"];
        stack.workplace.anytime(&merge, 30).await.expect(0);
        assert!(bytes(&stack.workplace.path("out/merged/model.safetensors")) == whole);
        let again = stack.workplace.anytime(&merge, 30).await.expect(64);
        assert!(
            again.stderr.contains("it is not empty, and nothing is replaced"),
            "{}",
            again.stderr
        );
        let not = ["merge", "sft", "--output", "out/nothing"];
        let not = stack.workplace.anytime(&not, 30).await.expect(64);
        assert!(not.stderr.contains("it is no directory of adapters"), "{}", not.stderr);
        let last = ended.evaluations.last().unwrap();
        let (one, other) = (
            accuracy(&stack, "out/adapters").await,
            accuracy(&stack, "out/merged").await,
        );
        assert_eq!(one, other);
        assert_ne!(one, accuracy(&stack, "sft").await, "{:?}", last.accuracy);

        others_start_from_it(&mut stack, &id).await;
    })
    .await;
}

/// While the learner is away, the model that the job names becomes another one.
async fn a_base_that_is_another_is_refused(stack: &mut Stack, id: &str, base: &Path) {
    let path = base.join("model.safetensors");
    let good = std::fs::read(&path).unwrap();
    let mut other = good.clone();
    let last = other.len() - 3;
    other[last] ^= 1;
    std::fs::write(&path, other).unwrap();
    stack.restart_learner().await;
    let refused = eventually("the job is refused", 30, async || {
        let job = stack.job(id).await?;
        (!job.error.is_empty()).then_some(job)
    })
    .await;
    assert!(
        refused
            .error
            .contains("are not those that the job's adapters were trained on; put them back"),
        "{}",
        refused.error
    );
    assert!(matches!(refused.state(), JobState::Failed | JobState::Paused));
    std::fs::write(&path, good).unwrap();
    assert!(stack.resume(id).await);
}

/// Adapters are gone on with, and trained as a whole model.
async fn others_start_from_it(stack: &mut Stack, id: &str) {
    let mut further = job(stack, "further", "sft");
    further.model = Some(v1::ModelSpec {
        from_job: Some(id.to_owned()),
        ..Default::default()
    });
    further.training.get_or_insert_default().steps = Some(2);
    further.evaluation = None;
    let further = stack.submit("further", further).await;
    // Meanwhile: what adapters of another size say.
    let mut other = job(stack, "other", "out/adapters");
    other.training.get_or_insert_default().lora.get_or_insert_default().rank = Some(8);
    let file = stack.workplace.write_job(&other);
    let refused = stack.anytime(&["submit", file.to_str().unwrap()], 20).await.expect(64);
    assert!(refused.stderr.contains("rank = 4, alpha = 8.0"), "{}", refused.stderr);

    other.training.get_or_insert_default().lora = None;
    other.model.get_or_insert_default().initialise = Some(true);
    let file = stack.workplace.write_job(&other);
    let refused = stack.anytime(&["submit", file.to_str().unwrap()], 20).await.expect(64);
    assert!(
        refused.stderr.contains("it must be false for adapters"),
        "{}",
        refused.stderr
    );

    let mut whole = job(stack, "whole", "out/adapters");
    whole.training.get_or_insert_default().lora = None;
    whole.training.get_or_insert_default().steps = Some(2);
    whole.evaluation = None;
    let whole = stack.submit("whole", whole).await;
    let mut merged = job(stack, "as-one", "out/adapters");
    let training = merged.training.get_or_insert_default();
    training.steps = Some(2);
    training.lora.get_or_insert_default().merge = Some(true);
    merged.evaluation = None;
    let merged = stack.submit("as-one", merged).await;
    for (job, has_adapters) in [(&further, true), (&whole, false), (&merged, false)] {
        stack.wait_for_success(&job.id, 60).await;
        let target = stack
            .workplace
            .path(&format!("out/{}", job.spec.as_ref().unwrap().name()));
        assert_eq!(target.join("adapter_model.safetensors").exists(), has_adapters);
        assert_eq!(target.join("model.safetensors").exists(), !has_adapters);
    }
    // What the exports of a job name as their base lies in its own directory, and does not go with it silently.
    let mut own_base = job(stack, "own-base", "sft");
    own_base.model = Some(v1::ModelSpec {
        from_job: Some(whole.id.clone()),
        ..Default::default()
    });
    let training = own_base.training.get_or_insert_default();
    training.steps = Some(1);
    training.lora.get_or_insert_default().dropout = Some(0.1);
    own_base.evaluation = None;
    let own_base = stack.submit("own-base", own_base).await;
    let ended = stack.wait_for_success(&own_base.id, 60).await;
    let is_said = |notice: &v1::Notice| {
        notice
            .text
            .starts_with("training.lora.dropout is 0.1: the policy that is trained")
    };
    assert!(ended.notices.iter().any(is_said), "{:?}", ended.notices);
    let deleted = stack.anytime(&["delete", &own_base.id], 20).await;
    assert!(
        deleted.code != 0 && deleted.stderr.contains("start"),
        "{} {}",
        deleted.code,
        deleted.stderr
    );

    // A checkpoint of adapters is exported as what the job's setting says.
    for (job, has_adapters) in [(&further, true), (&merged, false)] {
        let target = format!("out/exported-{has_adapters}");
        stack
            .anytime(&["export", &job.id, "--output", &target], 30)
            .await
            .expect(0);
        assert_eq!(
            stack.workplace.path(&target).join("adapter_model.safetensors").exists(),
            has_adapters
        );
    }
}

/// Two ranks in bf16: the base travels to the second one as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranks_train_adapters() {
    within(120, async {
        let mut stack = Stack::start(0).await;
        let warm = stack.submit("warm", stack.workplace.sft(20)).await;
        stack.wait_for_success(&warm.id, 60).await;
        stack.add_ranks(1).await;
        let mut spec = stack.workplace.sft(6);
        spec.name = Some("ranks".to_owned());
        spec.model = Some(v1::ModelSpec {
            path: Some(stack.workplace.path("sft").display().to_string()),
            dtype: Some(v1::Dtype::Bf16.into()),
            ..Default::default()
        });
        spec.checkpoint = Some(v1::CheckpointSpec {
            output: Some("out/ranks".to_owned()),
            ..Default::default()
        });
        spec.training.get_or_insert_default().lora = Some(v1::LoraSpec {
            dropout: Some(0.1),
            targets: vec!["q_proj".to_owned(), "v_proj".to_owned()],
            ..Default::default()
        });
        let job = stack.submit("ranks", spec).await;
        stack.wait_for_success(&job.id, 60).await;
        let config = std::fs::read(stack.workplace.path("out/ranks/adapter_config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["target_modules"], serde_json::json!(["q_proj", "v_proj"]));
        assert_eq!(
            (&config["r"], &config["lora_alpha"], &config["lora_dropout"]),
            (&16.into(), &32.0.into(), &0.1.into())
        );
    })
    .await;
}
