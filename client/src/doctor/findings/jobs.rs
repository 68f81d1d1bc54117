//! Jobs that stand still, are slow, or lose something.

use anytime_proto::v1::{self, Activity, JobState};

use super::finding::{Finding, fault, note};
use crate::doctor::words::{counted, time};

/// The same bounds as the alerts RunStalled and GroupHeldUp.
const HELD_UP: f64 = 900.0;

/// The same bound as the alert LogProbGap.
const LARGEST_GAP: f64 = 0.01;

pub(super) fn stand_still(diagnosis: &v1::Diagnosis, learner_argument: &str, findings: &mut Vec<Finding>) {
    for job in &diagnosis.jobs {
        let (id, reason) = (&job.job_id, first_line(&job.error));
        let resume = format!("`anytime resume {id}{learner_argument}`");
        match job.state() {
            JobState::Failed => findings.push(fault(
                "job_failed",
                id,
                format!("job {id} failed at step {}: {reason}", job.step),
                format!(
                    "{resume} goes on from {}, once the reason is gone",
                    newest_checkpoint(job)
                ),
            )),
            JobState::Paused => {
                let advice = match &job.retry_at {
                    Some(time) => format!("it is tried again by itself at {time}; {resume} tries at once"),
                    None => format!(
                        "{resume} goes on from {}, once the reason is gone",
                        newest_checkpoint(job)
                    ),
                };
                let text = format!("job {id} is paused at step {}: {reason}", job.step);
                findings.push(fault("job_paused", id, text, advice));
            }
            _ => {}
        }
    }
}

fn newest_checkpoint(job: &v1::JobStanding) -> String {
    match job.checkpoints.first() {
        Some(checkpoint) => format!("the checkpoint of step {}", checkpoint.step),
        None => "its beginning, because it has no checkpoint yet".to_owned(),
    }
}

pub(super) fn are_held_up(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    for job in diagnosis.jobs.iter().filter(|job| job.state() == JobState::Running) {
        let (id, seconds) = (&job.job_id, job.activity_seconds);
        if seconds < HELD_UP {
            continue;
        }
        match job.activity() {
            Activity::AwaitsGroups => {
                let queue = job.queue.clone().unwrap_or_default();
                let (holder, advice) = match queue.next_actor_id.as_str() {
                    "" => (
                        "that no actor has".to_owned(),
                        "look whether any actor asks for leases, and at its log",
                    ),
                    actor => (
                        format!("that {actor} has had for {}", time(queue.next_held_seconds)),
                        "where that actor is stuck, end it, and its groups go to others; where it is slow, give it fewer --slots",
                    ),
                };
                findings.push(fault(
                    "held_up",
                    id,
                    format!(
                        "job {id} has waited {} for group {} {holder}",
                        time(seconds),
                        queue.next
                    ),
                    advice,
                ));
            }
            Activity::AwaitsRedis => findings.push(fault(
                "held_up",
                id,
                format!(
                    "job {id} has waited {} for Redis, or for the right to it",
                    time(seconds)
                ),
                "the learner's log says which; another learner on the same Redis may work on a job of this name",
            )),
            Activity::AwaitsDisk => findings.push(fault(
                "held_up",
                id,
                format!("job {id} has waited {} for a disk that it can write to", time(seconds)),
                "make room",
            )),
            Activity::Evaluates => {
                let evaluating = job.evaluating.unwrap_or_default();
                if evaluating.leased == 0 {
                    let text = format!(
                        "job {id} has evaluated for {}, {} of {} groups are there and no actor has one",
                        time(seconds),
                        evaluating.done_groups,
                        evaluating.total_groups
                    );
                    findings.push(fault(
                        "held_up",
                        id,
                        text,
                        "look whether any actor asks for leases, and at its log",
                    ));
                }
            }
            _ => {}
        }
    }
}

pub(super) fn loss_is_doubtful(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    let going_on = |job: &&v1::JobStanding| matches!(job.state(), JobState::Running | JobState::Paused);
    for job in diagnosis.jobs.iter().filter(going_on) {
        let (id, Some(step)) = (&job.job_id, &job.last_step) else {
            continue;
        };
        if !step.loss.is_finite() || !step.gradient_norm.is_finite() {
            findings.push(fault(
                "loss_doubtful",
                id,
                format!("the last step of job {id} has a loss or a gradient that is no number"),
                "a smaller learning rate, or a clip, from the newest good checkpoint",
            ));
        } else if step.fresh_log_prob_gap > LARGEST_GAP {
            findings.push(fault(
                "loss_doubtful",
                id,
                format!(
                    "actors and learner of job {id} differ by {:.4} in the log-probabilities of the same weights",
                    step.fresh_log_prob_gap
                ),
                "compare number formats and versions of the programs; the ratios of the objective are wrong by as much",
            ));
        } else if step.skipped_updates > 0 {
            findings.push(fault(
                "loss_doubtful",
                id,
                format!(
                    "the last step of job {id} left out {}, whose gradient was not finite",
                    counted(u64::from(step.skipped_updates), "update")
                ),
                "once in a long run nothing needs to be done; again and again, a smaller learning rate",
            ));
        }
    }
}

pub(super) fn lost_groups(diagnosis: &v1::Diagnosis, learner_argument: &str, findings: &mut Vec<Finding>) {
    for job in &diagnosis.jobs {
        let id = &job.job_id;
        let is_over = matches!(job.state(), JobState::Succeeded | JobState::Cancelled);
        let letters = job.dead_letters.unwrap_or_default();
        if letters > 0 {
            let text = format!(
                "job {id} went on without {} that could not be trained",
                counted(letters, "group")
            );
            let advice = format!("`anytime dead-letters {id}{learner_argument}` has the reasons");
            let found = fault("dead_letters", id, text, advice);
            findings.push(Finding {
                is_fault: !is_over,
                ..found
            });
        }
        if job.undone_steps > 0 {
            let steps = counted(job.undone_steps, "step");
            let text = format!("restarts have undone {steps} of job {id}, which were done again");
            findings.push(note("undone_steps", id, text));
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
