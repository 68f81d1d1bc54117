//! What becomes of a job that is stopped at the wrong moment, and of its model: evaluations that were interrupted are made
//! up for, the newest good checkpoint is gone on from, and every checkpoint can be had as a model.
#![allow(clippy::unwrap_used)]

use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{self, JobSpec, JobState};
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;

/// A train job that is evaluated after every so many steps; an evaluation takes a second or two.
fn evaluated(workplace: &Workplace, name: &str, steps: u64, every: u64) -> JobSpec {
    let mut spec = workplace.train(name, steps);
    spec.evaluation = Some(v1::EvaluationSpec {
        budgets: vec![6, 12],
        samples: Some(24),
        every: Some(every),
        before: Some(false),
        ..workplace.demo_train().evaluation.unwrap()
    });
    spec
}

/// Waits until the evaluation after this step is under way.
async fn wait_for_evaluation(stack: &Stack, job_id: &str, step: u64) {
    let request = v1::WatchJobRequest {
        job_id: job_id.to_owned(),
        after: 0,
    };
    let mut events = stack.jobs().watch(request).await.unwrap().into_inner();
    let mut last_step = 0;
    while let Some(event) = events.message().await.unwrap() {
        match event.event {
            Some(Event::Step(metrics)) => last_step = metrics.step,
            // The first says that it begins; the next comes half a second later, when it may be over on a fast machine.
            Some(Event::EvaluationProgress(progress)) if last_step == step => {
                assert!(progress.done_groups < progress.total_groups, "it is over already");
                return;
            }
            _ => {}
        }
    }
    panic!("{job_id} ended before step {step}");
}

fn evaluated_steps(job: &v1::Job) -> Vec<u64> {
    job.evaluations.iter().map(|result| result.step).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_evaluation_that_is_cut_off_is_made_up_for_and_costs_no_step() {
    within(150, async {
        let mut stack = Stack::start(1).await;
        let mut spec = evaluated(&stack.workplace, "killed", 15, 5);
        let checkpoint = spec.checkpoint.as_mut().unwrap();
        checkpoint.recovery_every = Some(5);
        checkpoint.export_every = Some(5);
        checkpoint.keep_last = Some(1);
        let killed = stack.submit("killed", spec).await;
        wait_for_evaluation(&stack, &killed.id, 5).await;
        stack.learner.process.kill();
        stack.restart_learner().await;
        let job = stack.wait_for_success(&killed.id, 60).await;
        assert_eq!(evaluated_steps(&job), [5, 10, 15]);
        stack.assert_trained_once_each(&killed.id).await;
        let names = |directory: &str, prefix: &str| {
            let listing = std::fs::read_dir(stack.job_directory(&killed.id).join(directory)).unwrap();
            let names = listing.flatten().map(|one| one.file_name().into_string().unwrap());
            names.filter(|name| name.starts_with(prefix)).collect::<Vec<_>>()
        };
        assert_eq!(
            names("", "step-"),
            ["step-00000010"],
            "the newest export of those on the way"
        );
        assert_eq!(names("", "best-").len(), 1, "one of the best evaluated weights");
        assert_eq!(names("recovery", "step-"), ["step-00000015"]);
        assert_eq!(names("", "."), Vec::<String>::new(), "nothing is left over");

        // No checkpoint is due for long; the one that SIGTERM writes holds the step before the evaluation.
        let mut spec = evaluated(&stack.workplace, "asked", 12, 4);
        spec.checkpoint.as_mut().unwrap().recovery_every = Some(100);
        let asked = stack.submit("asked", spec).await;
        wait_for_evaluation(&stack, &asked.id, 8).await;
        assert_eq!(stack.learner.process.terminate().await, 0);
        stack.restart_learner().await;
        let job = stack.wait_for_success(&asked.id, 60).await;
        assert_eq!(evaluated_steps(&job), [4, 8, 12]);
        let steps = stack.history(&asked.id).await.step_numbers();
        assert_eq!(steps, (1..=12).collect::<Vec<u64>>(), "no step was lost");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_checkpoint_is_gone_on_from_and_exported() {
    within(150, async {
        let mut stack = Stack::start(1).await;
        let mut spec = stack.workplace.train("stopped", 2000);
        spec.checkpoint.as_mut().unwrap().recovery_every = Some(3);
        let job = stack.submit("stopped", spec).await;
        stack.wait_for_step(&job.id, 7, 60).await;
        stack.learner.process.kill();
        let recovery = stack.job_directory(&job.id).join("recovery");
        let mut steps: Vec<_> = std::fs::read_dir(&recovery)
            .unwrap()
            .flatten()
            .map(|one| one.path())
            .collect();
        steps.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("step-"));
        steps.sort();
        assert_eq!(steps.len(), 2, "two are kept: {steps:?}");

        // The newest is cut short: the job goes on from the one before, and says so.
        let weights = steps[1].join("weights.safetensors");
        let length = std::fs::metadata(&weights).unwrap().len();
        std::fs::File::options()
            .write(true)
            .open(&weights)
            .unwrap()
            .set_len(length / 2)
            .unwrap();
        stack.restart_learner().await;
        let notice = eventually("a note about the checkpoint", 60, async || {
            let job = stack.job(&job.id).await?;
            assert_eq!(job.state(), JobState::Running, "{}", job.error);
            job.notices.iter().find(|notice| notice.topic == "checkpoint").cloned()
        })
        .await;
        assert!(notice.text.contains("weights.safetensors") && notice.text.contains("goes on from the one before"));
        let reached = stack.job(&job.id).await.unwrap().step;
        stack.wait_for_step(&job.id, reached + 4, 60).await;

        // Exported while it runs, by the learner; of a cancelled job too, and without a learner.
        let exported = stack
            .anytime(&["export", "stopped", "--json"], 60)
            .await
            .expect(0)
            .json();
        assert!(exported["step"].as_u64().unwrap() > 0);
        assert!(
            std::path::Path::new(exported["directory"].as_str().unwrap())
                .join("config.json")
                .is_file()
        );
        stack.anytime(&["cancel", "stopped"], 30).await.expect(0);
        eventually("the end", 30, async || {
            (stack.job(&job.id).await?.state() == JobState::Cancelled).then_some(())
        })
        .await;
        let taken = stack.workplace.path("data").display().to_string();
        let refused = stack
            .anytime(&["export", "stopped", "--output", &taken], 60)
            .await
            .expect(64);
        assert!(refused.stderr.contains("no export of this job"), "{}", refused.stderr);
        let refused = stack
            .anytime(&["export", "stopped", "--step", "1"], 60)
            .await
            .expect(64);
        assert!(refused.stderr.contains("it has those of"), "{}", refused.stderr);
        assert_eq!(stack.learner.process.terminate().await, 0);
        std::fs::rename(stack.workplace.path("model"), stack.workplace.path("gone")).unwrap();
        let runs = stack.workplace.path("runs").display().to_string();
        let offline = [
            "export",
            "stopped",
            "--runs-dir",
            &runs,
            "--output",
            "exported",
            "--json",
        ];
        let exported = stack.workplace.anytime(&offline, 60).await.expect(0).json();
        let model = stack.workplace.path("exported");
        assert_eq!(exported["directory"], model.display().to_string());

        // It is a model like any other.
        stack.restart_learner().await;
        let mut spec = stack.workplace.demo_train();
        spec.kind = Some(v1::JobKind::Evaluate.into());
        spec.name = Some("measured".to_owned());
        spec.model.as_mut().unwrap().path = Some(model.display().to_string());
        spec.training = None;
        spec.checkpoint = None;
        spec.data.as_mut().unwrap().path.clear();
        let measured = stack.submit("measured", spec).await;
        let job = stack.wait_for_success(&measured.id, 60).await;
        assert_eq!(job.evaluations.len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_at_the_output_is_never_replaced() {
    within(120, async {
        let mut stack = Stack::start(1).await;
        let notes = stack.workplace.path("notes");
        std::fs::create_dir(&notes).unwrap();
        std::fs::write(notes.join("thesis.txt"), "years of work").unwrap();
        let short = stack.workplace.sft(2);
        let with_output = |name: &str, output: &str| {
            let mut spec = short.clone();
            spec.name = Some(name.to_owned());
            spec.checkpoint.get_or_insert_default().output = Some(output.to_owned());
            v1::SubmitJobRequest {
                request_id: format!("{name} to {output}"),
                spec: Some(spec),
            }
        };
        for output in [
            "notes",
            "runs",
            ".",
            "model",
            "data",
            "/tmp",
            "runs/refused",
            "runs/refused/recovery",
            "/etc/anytime",
        ] {
            let refused = stack.jobs().submit(with_output("refused", output)).await.unwrap_err();
            let setting = anytime_proto::setting_of_status(&refused);
            assert_eq!(setting.as_deref(), Some("checkpoint.output"), "{output}: {refused}");
        }
        let first = stack
            .jobs()
            .submit(with_output("first", "trained"))
            .await
            .unwrap()
            .into_inner();
        stack.wait_for_success(&first.id, 60).await;
        let written = std::fs::read(stack.workplace.path("trained/model.safetensors")).unwrap();
        let again = stack.jobs().submit(with_output("second", "trained")).await.unwrap_err();
        assert!(again.message().contains("the model of job first"), "{again}");

        // It appears while the job runs: the job waits, and writes once it is moved away.
        let third = stack.jobs().submit(with_output("third", "late")).await;
        let third = third.unwrap().into_inner();
        let late = stack.workplace.path("late");
        std::fs::create_dir(&late).unwrap();
        std::fs::write(late.join("thesis.txt"), "years of work").unwrap();
        eventually("a pause", 60, async || {
            (stack.job(&third.id).await?.state() == JobState::Paused).then_some(())
        })
        .await;
        assert_eq!(
            std::fs::read_to_string(late.join("thesis.txt")).unwrap(),
            "years of work"
        );
        std::fs::rename(&late, stack.workplace.path("kept")).unwrap();
        stack.anytime(&["resume", &third.id], 30).await.expect(0);
        eventually("the end", 60, async || {
            (stack.job(&third.id).await?.state() == JobState::Succeeded).then_some(())
        })
        .await;
        assert!(late.join("anytime_export.json").is_file());
        assert_eq!(
            std::fs::read_to_string(notes.join("thesis.txt")).unwrap(),
            "years of work"
        );
        assert_eq!(
            std::fs::read(stack.workplace.path("trained/model.safetensors")).unwrap(),
            written
        );
    })
    .await;
}
