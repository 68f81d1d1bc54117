//! The commands that talk to a learner about a job: submit, list, get, watch, cancel, resume, delete.

use anytime_proto::v1;

use crate::arguments::{DeleteArgs, FollowArgs, JobArgs, ListArgs, ResumeArgs, SubmitArgs, WatchArgs};
use crate::display::{Display, Style};
use crate::follow::follow;
use crate::interrupt::{Interrupt, interrupted};
use crate::job_view::{self, describe, job_json};
use crate::learner::Learner;
use crate::output::{print_json, print_line};
use crate::{job_file, overrides, report};

/// An id that no other submission has.
pub(super) fn new_request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

pub(super) async fn submit(arguments: SubmitArgs, json: bool) -> anyhow::Result<()> {
    let spec = job_file::read_one(arguments.job_file.as_ref(), &arguments.overrides)?;
    let mut learner = Learner::try_new(&arguments.learner)?;
    let request_id = arguments.request_id.unwrap_or_else(new_request_id);
    let job = learner.submit(&request_id, &spec).await?;
    if !arguments.watch {
        return if json {
            print_json(&job_json(&job))
        } else {
            print_line(&job.id)
        };
    }
    if json {
        // The first of the JSON lines; a script learns the job id from it.
        print_line(&job_json(&job).to_string())?;
    }
    watch_job(&mut learner, &job, &arguments.follow, json).await
}

pub(super) async fn list(arguments: &ListArgs, json: bool) -> anyhow::Result<()> {
    let most = arguments.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut learner = Learner::try_new(&arguments.learner)?;
    let jobs = learner.list_some(arguments.request(), most).await?;
    if json {
        return print_json(&jobs.iter().map(job_json).collect::<Vec<_>>());
    }
    print_line(&job_view::table(&jobs))
}

pub(super) async fn get(arguments: &JobArgs, json: bool) -> anyhow::Result<()> {
    let job = Learner::try_new(&arguments.learner)?.get(&arguments.job).await?;
    if json {
        print_json(&job_json(&job))
    } else {
        print_line(&describe(&job))
    }
}

pub(super) async fn cancel(arguments: &JobArgs, json: bool) -> anyhow::Result<()> {
    let job = Learner::try_new(&arguments.learner)?.cancel(&arguments.job).await?;
    if json {
        print_json(&job_json(&job))
    } else {
        print_line(&describe(&job))
    }
}

pub(super) async fn delete(arguments: &DeleteArgs, json: bool) -> anyhow::Result<()> {
    let id = &arguments.job.job;
    let mut learner = Learner::try_new(&arguments.job.learner)?;
    let models = learner.delete(id, arguments.with_models).await?;
    if json {
        return print_json(&serde_json::json!({ "id": id, "models": models }));
    }
    match models.as_slice() {
        [] => print_line(&format!("removed job {id}")),
        models => print_line(&format!("removed job {id} with its models {}", models.join(", "))),
    }
}

pub(super) async fn resume(arguments: &ResumeArgs, json: bool) -> anyhow::Result<()> {
    let id = &arguments.job.job;
    let mut learner = Learner::try_new(&arguments.job.learner)?;
    let spec = if arguments.set.is_empty() {
        None
    } else {
        let own = learner.get(id).await?.spec.unwrap_or_default();
        Some(overrides::apply_to_spec(&own, &arguments.set)?)
    };
    let job = learner.resume(id, spec).await?;
    if arguments.watch {
        return watch_job(&mut learner, &job, &arguments.follow, json).await;
    }
    if json {
        print_json(&job_json(&job))
    } else {
        print_line(&describe(&job))
    }
}

pub(super) async fn watch(arguments: &WatchArgs, json: bool) -> anyhow::Result<()> {
    let JobArgs { job, learner } = &arguments.job;
    let mut learner = Learner::try_new(learner)?;
    // A wrong id or address ends the command at once; only what was there once is waited for.
    let job = learner.get(job).await?;
    watch_job(&mut learner, &job, &arguments.follow, json).await
}

/// Watches a job of a learner that runs without us: a signal ends the watching, not the job.
async fn watch_job(learner: &mut Learner, job: &v1::Job, limits: &FollowArgs, json: bool) -> anyhow::Result<()> {
    let mut interrupt = Interrupt::try_new()?;
    let style = if json { Style::JsonLines } else { Style::for_people() };
    let mut display = Display::new(style, job);
    display.standing(job)?;
    let ended = tokio::select! {
        ended = follow(learner, &job.id, &mut display, limits.give_up_after) => ended?,
        signal = interrupt.wait() => {
            let message = format!("{signal}: no longer watching; job {} goes on (anytime cancel {})", job.id, job.id);
            return Err(interrupted(message).into());
        }
    };
    let steps = display.into_steps();
    if !json {
        print_line(&report::table(&report::Report::new(&ended, steps)))?;
    }
    Ok(job_view::conclude(&ended)?)
}
