//! `anytime evaluate`: submits an evaluate job, watches it and prints the accuracy at every budget; or measures a server of
//! answers, without a learner, by the learner's program alone.

use anyhow::Context as _;
use anytime_proto::ShortName as _;
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use prost::Message as _;

use super::offline::{add, output_of_learner_with};
use super::remote::new_request_id;
use crate::arguments::{EvaluateArgs, EvaluateSettings};
use crate::display::{Display, Style};
use crate::follow::follow;
use crate::interrupt::{Interrupt, interrupted};
use crate::job_file;
use crate::job_view;
use crate::learner::Learner;
use crate::output::{print_json, print_line};
use crate::overrides::{OverrideArgs, apply_to_spec};
use crate::report::{Report, table};

pub(super) async fn run(arguments: EvaluateArgs, json: bool) -> anyhow::Result<()> {
    if let Some(endpoint) = &arguments.endpoint.endpoint {
        return measure(endpoint, &arguments, json).await;
    }
    let spec = specification(&arguments)?;
    let mut learner = Learner::try_new(&arguments.learner)?;
    let mut interrupt = Interrupt::try_new()?;
    let job = learner.submit(&new_request_id(), &spec).await?;
    let mut display = Display::new(Style::beside_document(json), &job);
    let ended = tokio::select! {
        ended = follow(&mut learner, &job.id, &mut display, arguments.follow.give_up_after) => ended?,
        signal = interrupt.wait() => {
            // Nobody else waits for this job, so it ends with the command.
            Learner::try_new(&arguments.learner)?.cancel(&job.id).await?;
            return Err(interrupted(format!("{signal}: job {} was cancelled", job.id)).into());
        }
    };
    drop(display);
    job_view::conclude(&ended)?;
    show(&ended, json)
}

fn show(ended: &v1::Job, json: bool) -> anyhow::Result<()> {
    let report = Report::new(ended, Vec::new());
    if json {
        return print_json(&report);
    }
    print_line(&table(&report))?;
    if let Some(measured) = report
        .after
        .as_ref()
        .filter(|measured| !measured.generations.is_empty())
    {
        print_line(&format!("generations: {}", measured.generations))?;
        print_line(&format!("read them: anytime show {}", ended.id))?;
    }
    Ok(())
}

/// Measures a server of answers. What comes of it is reported as a job that has been evaluated.
async fn measure(endpoint: &str, arguments: &EvaluateArgs, json: bool) -> anyhow::Result<()> {
    let mut spec = apply_to_spec(&from_arguments(arguments), &arguments.overrides.set)?;
    spec.model.get_or_insert_default().path = Some(endpoint.to_owned());
    let summaries = &mut spec.evaluation.get_or_insert_default().summaries;
    // Most servers answer once.
    *summaries = Some(summaries.unwrap_or(1));
    JobSettings::try_new(&spec).map_err(ExitError::configuration)?;
    let asked = &arguments.endpoint;
    let mut command = vec!["measure".into(), "--endpoint".into(), endpoint.into()];
    add(&mut command, "--endpoint-model", asked.endpoint_model.as_ref());
    add(
        &mut command,
        "--concurrency",
        asked.concurrency.map(|many| many.to_string()),
    );
    add(&mut command, "--budget-field", asked.budget_field.as_ref());
    add(&mut command, "--key-file", asked.key_file.as_ref());
    add(
        &mut command,
        "--timeout",
        asked.answer_timeout.map(|seconds| seconds.to_string()),
    );
    let output = output_of_learner_with(command, &spec.encode_to_vec()).await?;
    let result = v1::EvaluationResult::decode(output.as_slice()).context("what the learner's program measured")?;
    let measured = v1::Job {
        id: spec.name().to_owned(),
        seconds: result.seconds,
        state: v1::JobState::Succeeded.into(),
        spec: Some(spec),
        evaluations: vec![result],
        ..v1::Job::default()
    };
    show(&measured, json)
}

fn specification(arguments: &EvaluateArgs) -> Result<v1::JobSpec, ExitError> {
    let OverrideArgs { preset, set } = &arguments.overrides;
    let spec = match (&arguments.job_file, preset) {
        (None, None) => apply_to_spec(&from_arguments(arguments), set)?,
        _ => read_evaluate_job(arguments)?,
    };
    JobSettings::try_new(&spec).map_err(ExitError::configuration)?;
    Ok(spec)
}

/// Reads the job to evaluate. A preset is a train job, so its kind is changed to `evaluate`.
fn read_evaluate_job(arguments: &EvaluateArgs) -> Result<v1::JobSpec, ExitError> {
    let mut spec = job_file::read_one(arguments.job_file.as_ref(), &arguments.overrides)?;
    if arguments.overrides.preset.is_some() {
        spec.kind = Some(v1::JobKind::Evaluate.into());
    }
    if spec.kind() != v1::JobKind::Evaluate {
        let error = InvalidSetting::new(
            "kind",
            spec.kind().short_name(),
            "it must be evaluate, for this command",
        );
        let name = arguments.job_file.as_ref().map(|path| path.display().to_string());
        return Err(ExitError::configuration(format!(
            "{}: {error}",
            name.unwrap_or_default()
        )));
    }
    Ok(spec)
}

fn from_arguments(arguments: &EvaluateArgs) -> v1::JobSpec {
    let EvaluateSettings {
        name,
        budgets,
        samples,
        summaries,
        max_summary_tokens,
        temperature,
        top_p,
        top_k,
        seed,
        instruction,
        max_prompt_tokens,
        keep_generations,
        chat_template,
        markers_open,
        markers_end,
        markers_cut,
        markers_summary,
    } = arguments.settings.clone();
    v1::JobSpec {
        name: Some(name.unwrap_or_else(|| "evaluate".to_owned())),
        kind: Some(v1::JobKind::Evaluate.into()),
        model: Some(v1::ModelSpec {
            path: arguments.model.clone(),
            ..Default::default()
        }),
        data: Some(v1::DataSpec {
            instruction,
            chat_template,
            max_prompt_tokens,
            ..Default::default()
        }),
        markers: Some(v1::MarkerSpec {
            open: markers_open,
            end: markers_end,
            cut: markers_cut,
            summary: markers_summary,
        }),
        rollout: Some(v1::RolloutSpec {
            max_summary_tokens,
            ..Default::default()
        }),
        evaluation: Some(v1::EvaluationSpec {
            path: arguments.problems.clone().into_iter().collect(),
            budgets,
            samples,
            summaries,
            temperature,
            top_p,
            top_k,
            seed,
            keep_generations,
            ..Default::default()
        }),
        ..Default::default()
    }
}
