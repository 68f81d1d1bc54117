//! Jobs and their events as JSON and as lines for people.

use anytime_proto::ShortName;
use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;
use anytime_service::exit::{ExitError, FAILED, INTERRUPTED};
use serde_json::{Value, json};

use crate::accuracy::{anytime_interval, intervals, with_interval};

/// Whether the job has ended, in whatever way.
pub fn has_ended(job: &v1::Job) -> bool {
    matches!(
        job.state(),
        v1::JobState::Succeeded | v1::JobState::Failed | v1::JobState::Cancelled
    )
}

/// Whether the job is paused and goes on only when somebody resumes it.
pub fn waits_for_person(job: &v1::Job) -> bool {
    job.state() == v1::JobState::Paused && job.retry_at.is_none()
}

/// Turns the end of a job that was followed into the end of the client.
///
/// # Errors
/// [`ExitError`] of a job that failed, was cancelled, or waits for a person.
pub fn conclude(job: &v1::Job) -> Result<(), ExitError> {
    match job.state() {
        v1::JobState::Failed => Err(ExitError {
            code: FAILED,
            message: format!(
                "job {} failed: {}; `anytime resume {}` goes on from its newest checkpoint, once the reason is gone",
                job.id, job.error, job.id
            ),
        }),
        v1::JobState::Paused => Err(ExitError {
            code: FAILED,
            message: format!("job {} is paused: {}", job.id, job.error),
        }),
        v1::JobState::Cancelled => Err(ExitError {
            code: INTERRUPTED,
            message: format!("job {} was cancelled", job.id),
        }),
        _ => Ok(()),
    }
}

/// The kind of a job; unspecified if the learner did not say.
pub fn kind(job: &v1::Job) -> v1::JobKind {
    job.spec.as_ref().map(v1::JobSpec::kind).unwrap_or_default()
}

/// The number of steps that the job will have done at its end.
pub fn total_steps(job: &v1::Job) -> u64 {
    if job.total_steps > 0 {
        return job.total_steps;
    }
    let training = job.spec.as_ref().and_then(|spec| spec.training.clone());
    training.and_then(|training| training.steps).unwrap_or_default()
}

/// A job as one JSON object.
pub fn job_json(job: &v1::Job) -> Value {
    let name = job.spec.as_ref().map(|spec| spec.name().to_owned());
    let (priority, labels) = job.spec.as_ref().map(|spec| (spec.priority(), &spec.labels)).unzip();
    json!({
        "id": job.id,
        "name": name,
        "kind": kind(job).short_name(),
        "state": job.state().short_name(),
        "error": job.error,
        "created": job.created.as_ref().map(ToString::to_string),
        "started": job.started.as_ref().map(ToString::to_string),
        "ended": job.ended.as_ref().map(ToString::to_string),
        "step": job.step,
        "total_steps": total_steps(job),
        "seconds": job.seconds,
        "checkpoint": job.checkpoint,
        "retry_at": job.retry_at.as_ref().map(ToString::to_string),
        "notices": job.notices,
        "evaluations": job.evaluations,
        "last_step": job.last_step,
        "hub": job.hub,
        "priority": priority,
        "labels": labels,
        "forked_from": job.forked_from.as_ref().map(forked_from_json),
        "waiting": job.waiting,
        "spec": job.spec,
    })
}

/// The recovery checkpoint that a job started from, as one JSON object.
pub fn forked_from_json(from: &v1::ForkedFrom) -> Value {
    json!({
        "job_id": from.job_id,
        "created": from.created.as_ref().map(ToString::to_string),
        "step": from.step,
        "checksum": from.checksum,
    })
}

/// An event as one JSON object: its number, its time, its kind and the kind's own fields.
pub fn event_json(event: &v1::JobEvent) -> Value {
    let (kind, body) = match &event.event {
        Some(Event::State(state)) => (
            "state",
            json!({
                "state": state.state().short_name(),
                "error": state.error,
                "retry_at": state.retry_at.as_ref().map(ToString::to_string),
            }),
        ),
        Some(Event::Step(step)) => ("step", json!(step)),
        Some(Event::Evaluation(evaluation)) => ("evaluation", json!(evaluation)),
        Some(Event::EvaluationProgress(progress)) => (
            "evaluation_progress",
            json!({ "done_groups": progress.done_groups, "total_groups": progress.total_groups }),
        ),
        Some(Event::Notice(notice)) => ("notice", json!(notice)),
        Some(Event::WentOn(went_on)) => ("went_on", json!({ "step": went_on.step })),
        None => ("unknown", json!({})),
    };
    let mut object = json!({
        "number": event.number,
        "time": event.time.as_ref().map(ToString::to_string),
        "event": kind,
    });
    if let (Value::Object(target), Value::Object(fields)) = (&mut object, body) {
        target.extend(fields);
    }
    object
}

/// A notice in a line.
pub fn notice_line(notice: &v1::Notice) -> String {
    format!("note at step {}: {}", notice.step, notice.text)
}

/// A job's new state in a line, with the reason and the time of the next try where there is one.
pub fn state_line(change: &v1::StateChanged) -> String {
    let mut line = change.state().short_name();
    if !change.error.is_empty() {
        line.push_str(&format!(": {}", change.error));
    }
    if let Some(time) = &change.retry_at {
        line.push_str(&format!(" (next try at {time})"));
    }
    line
}

/// One step's figures in a line, without those that this kind of job does not have.
pub fn step_line(step: &v1::StepMetrics) -> String {
    let mut parts = Vec::new();
    if !step.reward_per_budget.is_empty() {
        let rewards: Vec<String> = step
            .reward_per_budget
            .iter()
            .map(|reward| format!("{reward:.2}"))
            .collect();
        parts.push(format!("reward {}", rewards.join(" ")));
        parts.push(format!("thinking {:.1}", step.mean_thinking_tokens));
        parts.push(format!("{:.0} tokens/s", step.generated_tokens_per_second));
        parts.push(format!("queue {}", step.queue_depth));
        parts.push(format!("staleness {:.2}", step.mean_staleness));
        if step.dropped_groups > 0 {
            parts.push(format!("dropped {}", step.dropped_groups));
        }
        if step.step_seconds > 0.0 {
            parts.push(format!("waited {:.1} of {:.1} s", step.wait_seconds, step.step_seconds));
        }
        return parts.join("  ");
    }
    parts.push(format!("loss {:.4}", step.loss));
    parts.push(format!("learning rate {:.2e}", step.learning_rate));
    if step.step_seconds > 0.0 {
        parts.push(format!(
            "{:.0} tokens/s",
            step.trained_tokens as f64 / step.step_seconds
        ));
    }
    parts.join("  ")
}

/// An evaluation in a line.
pub fn evaluation_line(evaluation: &v1::EvaluationResult) -> String {
    let mut parts = Vec::new();
    let measured = evaluation.accuracy.iter().zip(intervals(evaluation));
    for (budget, (accuracy, interval)) in evaluation.budgets.iter().zip(measured) {
        parts.push(format!("{budget}: {}", with_interval(*accuracy, interval)));
    }
    let anytime = with_interval(evaluation.anytime, anytime_interval(evaluation));
    parts.push(format!("anytime {anytime}"));
    parts.push(format!("thinking {:.1}", evaluation.mean_thinking_tokens));
    format!("evaluation at step {}  {}", evaluation.step, parts.join("  "))
}

/// A job in lines for people.
pub fn describe(job: &v1::Job) -> String {
    let mut lines = vec![
        format!("job         {}", job.id),
        format!("kind        {}", kind(job).short_name()),
        format!("state       {}", job.state().short_name()),
        format!("step        {} of {}", job.step, total_steps(job)),
        format!("seconds     {:.1}", job.seconds),
    ];
    if let Some(waiting) = &job.waiting {
        lines.push(format!("waits       {}", waiting.reason));
    }
    if let Some(priority) = job.spec.as_ref().map(v1::JobSpec::priority).filter(|it| *it != 0) {
        lines.push(format!("priority    {priority}"));
    }
    if let Some(labels) = job.spec.as_ref().map(|spec| &spec.labels).filter(|it| !it.is_empty()) {
        let labels: Vec<String> = labels.iter().map(|(name, text)| format!("{name}={text}")).collect();
        lines.push(format!("labels      {}", labels.join(" ")));
    }
    if let Some(from) = &job.forked_from {
        lines.push(format!(
            "starts from step {} of job {} (BLAKE3 {})",
            from.step, from.job_id, from.checksum
        ));
    }
    if !job.error.is_empty() {
        lines.push(format!("error       {}", job.error));
    }
    if let Some(time) = &job.retry_at {
        lines.push(format!("next try    {time}"));
    }
    if !job.checkpoint.is_empty() {
        lines.push(format!("checkpoint  {}", job.checkpoint));
    }
    if let Some(step) = &job.last_step {
        lines.push(format!("last step   {}", step_line(step)));
    }
    lines.extend(job.evaluations.iter().map(evaluation_line));
    lines.extend(job.notices.iter().map(notice_line));
    lines.join("\n")
}

/// Jobs as a table, one line each under a heading.
pub fn table(jobs: &[v1::Job]) -> String {
    let id_width = jobs.iter().map(|job| job.id.len()).max().unwrap_or(0).max("JOB".len());
    let mut lines = vec![format!(
        "{:id_width$}  {:9} {:10} {:>15}  CREATED",
        "JOB", "KIND", "STATE", "STEP"
    )];
    for job in jobs {
        // Why a job stands still is what somebody who lists them wants to know.
        let waits = job.waiting.as_ref().map_or("", |waiting| &waiting.reason);
        let reason = match job.error.lines().next().unwrap_or(waits) {
            "" => String::new(),
            reason => format!("  {reason}"),
        };
        let steps = format!("{}/{}", job.step, total_steps(job));
        let created = job.created.as_ref().map(ToString::to_string).unwrap_or_default();
        let (kind, state) = (kind(job).short_name(), job.state().short_name());
        lines.push(format!(
            "{:id_width$}  {kind:9} {state:10} {steps:>15}  {created}{reason}",
            job.id
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_waits_says_for_whom_and_a_fork_where_it_starts() {
        let reason = "position 2 of 3 on cuda:0; waits for job a, which is running";
        let spec = v1::JobSpec {
            name: Some("fork".to_owned()),
            priority: Some(-3),
            labels: [("team".to_owned(), "math".to_owned())].into(),
            ..v1::JobSpec::default()
        };
        let job = v1::Job {
            id: "fork-2".to_owned(),
            state: v1::JobState::Queued.into(),
            spec: Some(spec),
            forked_from: Some(v1::ForkedFrom {
                job_id: "base".to_owned(),
                step: 20,
                checksum: "ab12".to_owned(),
                ..v1::ForkedFrom::default()
            }),
            waiting: Some(v1::Waiting {
                position: 2,
                reason: reason.to_owned(),
                ..v1::Waiting::default()
            }),
            ..v1::Job::default()
        };
        let listed = table(std::slice::from_ref(&job));
        assert!(listed.ends_with(reason), "{listed}");
        let described = describe(&job);
        for line in [
            &format!("waits       {reason}"),
            "priority    -3",
            "labels      team=math",
            "starts from step 20 of job base (BLAKE3 ab12)",
        ] {
            assert!(described.lines().any(|found| found == line), "{line}: {described}");
        }
        let document = job_json(&job);
        assert_eq!(document["waiting"]["position"], 2);
        assert_eq!(document["forked_from"]["step"], 20);
        assert_eq!(
            (&document["priority"], &document["labels"]["team"]),
            (&json!(-3), &json!("math"))
        );
        // Why a job stands still comes before what it waits for.
        let failed = v1::Job {
            error: "the disk is full\nin every corner".to_owned(),
            ..job
        };
        assert!(table(&[failed]).ends_with("  the disk is full"));
    }
}
