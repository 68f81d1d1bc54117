//! Actors that are gone, hang, wait for a verifier or for weights, or are of another version.

use std::collections::BTreeMap;

use anytime_proto::v1::{self, Activity, ActorWait, JobState, Presence};

use super::finding::{Finding, fault, note};
use crate::doctor::reports::report_of;
use crate::doctor::verifiers::seen;
use crate::doctor::words::{counted, listed, time};

/// An actor asks at least every 20 s; one that has not for so long hangs, or its machine does.
const SILENT: f64 = 30.0;

/// A connection that broke is made again sooner.
const LOST: f64 = 2.0;

/// An engine with sequences generates a token far more often.
const STUCK: f64 = 120.0;

/// Weights that were published so long ago should be everywhere.
const WEIGHTS_LATE: f64 = 60.0;

/// So many refused groups in a row are no accident.
const REFUSED_OFTEN: u64 = 5;

/// An actor that came back so often dies of something.
const STARTED_OFTEN: u32 = 3;

pub(super) fn verifiers_are_away(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    for verifier in seen(diagnosis) {
        if verifier.away_for.is_empty() {
            continue;
        }
        let address = verifier.address;
        let last = match verifier.last_error {
            Some(line) => format!(", the last call said \"{}\"", line.text),
            None => String::new(),
        };
        let advice = if verifier.judges_for.is_empty() {
            "look at its log and start it again; no group is lost, however long it takes"
        } else {
            "it judges for others: look at the network between them, or start it again; no group is lost"
        };
        findings.push(fault(
            "verifier_away",
            "",
            format!(
                "the verifier at {address} judges nothing for {} (for {}{last})",
                listed(&verifier.away_for),
                time(verifier.away_seconds)
            ),
            advice,
        ));
    }
}

pub(super) fn are_missing(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    let needs_actors = |job: &&v1::JobStanding| {
        let awaits = matches!(job.activity(), Activity::AwaitsGroups | Activity::Evaluates);
        job.state() == JobState::Running && awaits
    };
    let is_there = |actor: &v1::ActorStanding| actor.presence() == Presence::There;
    if let Some(job) = diagnosis.jobs.iter().find(needs_actors)
        && !diagnosis.actors.iter().any(is_there)
    {
        findings.push(fault(
            "no_actors",
            &job.job_id,
            format!("job {} waits for groups, and no actor is connected", job.job_id),
            "start actors; where they run, their log names what is wrong: the learner's address, its certificate, their token",
        ));
    }
    for actor in &diagnosis.actors {
        let id = &actor.actor_id;
        let left = actor.left_seconds_ago.unwrap_or_default();
        match actor.presence() {
            Presence::Gone if actor.lost_groups > 0 => findings.push(fault(
                "actor_gone",
                id,
                format!(
                    "actor {id} is dead since {}; {} that it had went to others",
                    time(left),
                    counted(actor.lost_groups, "group")
                ),
                "the last lines of its log and its exit code say why; start it again",
            )),
            Presence::Gone => {
                let text = format!("actor {id} left {} ago and gave its groups back", time(left));
                findings.push(note("actor_left", id, text));
            }
            Presence::Lost if left >= LOST && actor.leased_groups > 0 => findings.push(fault(
                "actor_lost",
                id,
                format!(
                    "actor {id} lost its connection {} ago and has {}",
                    time(left),
                    counted(u64::from(actor.leased_groups), "group")
                ),
                "its groups go to others after 10 s; look whether it runs, is frozen, or cannot reach the learner",
            )),
            Presence::There if actor.heard_seconds_ago >= SILENT => findings.push(fault(
                "actor_silent",
                id,
                format!("actor {id} has said nothing for {}", time(actor.heard_seconds_ago)),
                "it is frozen, or its machine is: look there, and end it where it does not come back",
            )),
            _ => {}
        }
    }
}

pub(super) fn do_not_work(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    for actor in &diagnosis.actors {
        let id = &actor.actor_id;
        if actor.refused_in_a_row >= REFUSED_OFTEN {
            findings.push(fault(
                "actor_refused",
                id,
                format!(
                    "the last {} of actor {id} were all refused",
                    counted(actor.refused_in_a_row, "group")
                ),
                "the learner's log has the reason; replace another version of the program, else end it",
            ));
        }
        let Some(report) = report_of(actor) else {
            continue;
        };
        let silent = report.token_seconds_ago.unwrap_or_default();
        if report.sequences > 0 && silent >= STUCK {
            findings.push(fault(
                "actor_stuck",
                id,
                format!(
                    "actor {id} has {} under way and has generated nothing for {}",
                    counted(u64::from(report.sequences), "sequence"),
                    time(silent)
                ),
                "`dmesg` and `nvidia-smi` there may tell why; end it, and its groups go to others",
            ));
        }
        weights_are_late(actor, report, diagnosis, findings);
        if actor.earlier_processes >= STARTED_OFTEN {
            let times = counted(u64::from(actor.earlier_processes), "time");
            let text =
                format!("actor {id} was started again {times}; the last line of its log before each end says why");
            findings.push(note("actor_restarts", id, text));
        }
    }
}

fn weights_are_late(
    actor: &v1::ActorStanding,
    report: &v1::ActorReport,
    diagnosis: &v1::Diagnosis,
    findings: &mut Vec<Finding>,
) {
    let running = diagnosis.jobs.iter().find(|job| job.state() == JobState::Running);
    let Some((job, published)) = running.and_then(|job| Some((job, job.published.as_ref()?))) else {
        return;
    };
    let is_of_job = report.weights_job_id == job.job_id;
    let lag = if is_of_job {
        actor.lag.unwrap_or_default()
    } else {
        published.version + 1
    };
    let has_had_time = published.seconds_ago >= WEIGHTS_LATE && lag > 0;
    // Versions that follow each other fast are never old.
    let is_far_behind = is_of_job && lag > job.max_staleness + 2;
    let waits = report.waits_for() == ActorWait::Weights && report.wait_seconds >= WEIGHTS_LATE;
    if !has_had_time && !is_far_behind && !waits {
        return;
    }
    let id = &actor.actor_id;
    let has = match report.weights_job_id.as_str() {
        "" => "no weights".to_owned(),
        other if other != job.job_id => format!("the weights of job {other}"),
        _ => format!("version {} of the weights", report.weights_version),
    };
    findings.push(fault(
        "weights_late",
        id,
        format!(
            "actor {id} has {has}, and version {} of job {} was published {} ago",
            published.version,
            job.job_id,
            time(published.seconds_ago)
        ),
        "its log says why: no room for the next weights, a connection that breaks off, or another version of the program",
    ));
}

/// Programs of other versions than the learner.
pub(super) fn are_others(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    let Some(learner) = &diagnosis.learner else {
        return;
    };
    let own = (learner.version.as_str(), learner.commit.as_str());
    let mut others: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for actor in &diagnosis.actors {
        if let Some(process) = report_of(actor).and_then(|report| report.process.as_ref()) {
            let version = (process.version.as_str(), process.commit.as_str());
            others.entry(version).or_default().push(actor.actor_id.clone());
        }
    }
    for verifier in seen(diagnosis) {
        if let Some(process) = verifier.process {
            let version = (process.version.as_str(), process.commit.as_str());
            let name = format!("the verifier at {}", verifier.address);
            others.entry(version).or_default().push(name);
        }
    }
    for ((version, commit), names) in others.into_iter().filter(|(other, _)| *other != own) {
        let text = format!(
            "the learner is {} (commit {}), and {} {version} (commit {commit})",
            own.0,
            own.1,
            listed(&names)
        );
        findings.push(note("versions_differ", "", text));
    }
}
