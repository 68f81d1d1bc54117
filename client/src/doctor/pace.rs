//! Where nothing is wrong: what the job does, and what it waits for.

use anytime_proto::v1::{self, Activity, ActorWait, JobState};

use super::reports::report_of;
use super::words::{counted, time};

/// From this share of a step on the wait for its groups is what bounds the pace.
const MOSTLY: f64 = 0.5;

/// The verdict where nothing is wrong.
pub(super) fn in_words(diagnosis: &v1::Diagnosis) -> String {
    let running = diagnosis.jobs.iter().find(|job| job.state() == JobState::Running);
    let Some(job) = running else {
        return match diagnosis.jobs.first() {
            None => "healthy; there is no job".to_owned(),
            Some(job) if job.state() == JobState::Queued => {
                format!("healthy; job {} is queued and begins at once", job.job_id)
            }
            Some(job) => format!(
                "healthy; nothing runs, and job {} {}",
                job.job_id,
                match job.state() {
                    JobState::Succeeded => "has succeeded",
                    _ => "was cancelled",
                }
            ),
        };
    };
    let id = &job.job_id;
    match job.activity() {
        Activity::Prepares => format!(
            "healthy; job {id} reads model and data, for {}",
            time(job.activity_seconds)
        ),
        Activity::Evaluates => {
            let evaluating = job.evaluating.unwrap_or_default();
            format!(
                "healthy; job {id} evaluates, {} of {} groups are there",
                evaluating.done_groups, evaluating.total_groups
            )
        }
        _ => format!(
            "healthy; job {id} is at step {} of {}; {}",
            job.step,
            job.total_steps,
            bottleneck(job, diagnosis)
        ),
    }
}

/// What bounds the pace of a job that trains.
fn bottleneck(job: &v1::JobStanding, diagnosis: &v1::Diagnosis) -> String {
    let Some(queue) = &job.queue else {
        return "the learner computes all the time".to_owned();
    };
    let Some(step) = job.last_step.as_ref().filter(|step| step.step_seconds > 0.0) else {
        return "the first step is under way".to_owned();
    };
    let share = step.wait_seconds / step.step_seconds;
    if share < MOSTLY {
        return format!(
            "training is the bottleneck: the learner computes {:.0} % of a step's time, and {} wait",
            (1.0 - share) * 100.0,
            counted(queue.queued, "group")
        );
    }
    let waits = format!("the learner waits for groups {:.0} % of a step's time", share * 100.0);
    let reports: Vec<&v1::ActorReport> = diagnosis.actors.iter().filter_map(report_of).collect();
    let waiting = |wait: ActorWait| reports.iter().filter(|report| report.waits_for() == wait).count();
    let half = reports.len().div_ceil(2).max(1);
    if waiting(ActorWait::Weights) >= half {
        return format!("{waits}, and the actors wait for weights: they do not arrive fast enough");
    }
    if waiting(ActorWait::Leases) >= half {
        let holder = match queue.next_actor_id.as_str() {
            "" => String::new(),
            actor => format!(", which {actor} has had for {}", time(queue.next_held_seconds)),
        };
        return format!(
            "{waits}, and the actors for leases: all hangs on group {}{holder}",
            queue.next
        );
    }
    format!("generation is the bottleneck: {waits}, and the actors are busy; more actors would help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(wait: f64, waits_for: ActorWait) -> v1::Diagnosis {
        let actor = v1::ActorStanding {
            actor_id: "actor-1".to_owned(),
            presence: v1::Presence::There.into(),
            report: Some(v1::ActorReport {
                waits_for: waits_for.into(),
                ..v1::ActorReport::default()
            }),
            ..v1::ActorStanding::default()
        };
        let job = v1::JobStanding {
            job_id: "a".to_owned(),
            state: JobState::Running.into(),
            activity: Activity::Computes.into(),
            queue: Some(v1::QueueStanding {
                next: 7,
                next_actor_id: "actor-1".to_owned(),
                next_held_seconds: 90.0,
                ..v1::QueueStanding::default()
            }),
            last_step: Some(v1::StepMetrics {
                step_seconds: 10.0,
                wait_seconds: wait,
                ..v1::StepMetrics::default()
            }),
            ..v1::JobStanding::default()
        };
        v1::Diagnosis {
            actors: vec![actor],
            jobs: vec![job],
            ..v1::Diagnosis::default()
        }
    }

    #[test]
    fn the_bottleneck_is_named() {
        let told = |wait, waits_for| in_words(&training(wait, waits_for));
        assert!(told(1.0, ActorWait::Leases).contains("training is the bottleneck: the learner computes 90 %"));
        assert!(told(9.0, ActorWait::Nothing).contains("generation is the bottleneck"));
        assert!(told(9.0, ActorWait::Weights).contains("the actors wait for weights"));
        let slow = told(9.0, ActorWait::Leases);
        assert!(
            slow.contains("all hangs on group 7, which actor-1 has had for 1 min 30 s"),
            "{slow}"
        );
        assert_eq!(in_words(&v1::Diagnosis::default()), "healthy; there is no job");
    }
}
