//! An examination as JSON, with the field names that docs/operations.md lists. Names and meanings stay; new ones may come.
//! What is not known is null.

use anytime_proto::{ShortName, v1};
use serde_json::{Map, Value, json};

use super::examination::Examination;
use super::going_on;
use super::verifiers::{SeenVerifier, seen};

/// All of it as one JSON object.
pub fn to_json(examination: &Examination) -> Value {
    let diagnosis = &examination.diagnosis;
    let findings = examination.findings.iter().map(|finding| {
        json!({
            "kind": finding.kind,
            "fault": finding.is_fault,
            "about": finding.about,
            "text": finding.text,
            "do": finding.advice,
        })
    });
    let jobs = diagnosis.jobs.iter();
    let actors = diagnosis.actors.iter();
    let outcomes = diagnosis.outcomes.iter();
    let outcomes: Map<String, Value> = outcomes
        .map(|count| (count.outcome.clone(), json!(count.groups)))
        .collect();
    json!({
        "healthy": examination.is_healthy(),
        "verdict": examination.verdict,
        "findings": findings.collect::<Vec<_>>(),
        "learner_address": examination.learner,
        "time": diagnosis.time.as_ref().map(ToString::to_string),
        "learner": process(diagnosis.learner.as_ref()),
        "redis": diagnosis.redis.as_ref().map(redis),
        "disks": diagnosis.disks.iter().map(disk).collect::<Vec<_>>(),
        "verifiers": seen(diagnosis).iter().map(verifier).collect::<Vec<_>>(),
        "actors": actors.map(actor).collect::<Vec<_>>(),
        "actors_left_out": diagnosis.actors_left_out,
        "jobs": jobs.map(|job| self::job(job, &examination.learner_argument)).collect::<Vec<_>>(),
        "jobs_left_out": diagnosis.jobs_left_out,
        "outcomes": outcomes,
    })
}

/// A number of seconds, which need not be exact.
fn seconds(seconds: f64) -> Value {
    json!((seconds * 1000.0).round() / 1000.0)
}

fn text_or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

fn line(line: Option<&v1::LogLine>, age: f64) -> Value {
    line.map_or(
        Value::Null,
        |line| json!({ "text": line.text, "seconds_ago": seconds(line.seconds_ago + age) }),
    )
}

fn process(process: Option<&v1::ProcessReport>) -> Value {
    aged_process(process, 0.0)
}

/// What a process said of itself so many seconds ago.
fn aged_process(process: Option<&v1::ProcessReport>, age: f64) -> Value {
    process.map_or(Value::Null, |process| {
        json!({
            "version": process.version,
            "commit": process.commit,
            "libtorch": text_or_null(&process.libtorch),
            "up_seconds": seconds(process.up_seconds + age),
            "last_error": line(process.last_error.as_ref(), age),
            "last_warning": line(process.last_warning.as_ref(), age),
        })
    })
}

fn redis(redis: &v1::RedisStanding) -> Value {
    let mut object = json!({
        "address": redis.address,
        "up": redis.is_up,
        "problem": text_or_null(&redis.problem),
    });
    let known = json!({
        "up_seconds": redis.up_seconds,
        "version": redis.version,
        "used_memory_bytes": redis.used_memory,
        "max_memory_bytes": redis.max_memory,
        "eviction": redis.eviction,
        "appends": redis.appends,
        "syncs": text_or_null(&redis.syncs),
        "writes": redis.writes,
        "evicted_keys": redis.evicted_keys,
    });
    if let (Value::Object(target), Value::Object(known)) = (&mut object, known) {
        let is_known = redis.problem.is_empty();
        target.extend(known.into_iter().map(|(name, value)| {
            let value = if is_known { value } else { Value::Null };
            (name, value)
        }));
    }
    object
}

fn disk(disk: &v1::DiskStanding) -> Value {
    let is_known = disk.problem.is_empty();
    json!({
        "what": disk.what,
        "directory": disk.directory,
        "free_bytes": is_known.then_some(disk.free),
        "total_bytes": is_known.then_some(disk.total),
        "problem": text_or_null(&disk.problem),
    })
}

fn verifier(verifier: &SeenVerifier<'_>) -> Value {
    json!({
        "address": verifier.address,
        "away": !verifier.away_for.is_empty(),
        "away_for": verifier.away_for,
        "away_seconds": (!verifier.away_for.is_empty()).then(|| seconds(verifier.away_seconds)),
        "judges_for": verifier.judges_for,
        "last_error": line(verifier.last_error, 0.0),
        "process": process(verifier.process),
    })
}

fn actor(actor: &v1::ActorStanding) -> Value {
    let leases = actor.leases.iter().map(|lease| {
        json!({
            "job": lease.job_id,
            "purpose": lease.purpose().short_name(),
            "sequence": lease.sequence,
            "held_seconds": seconds(lease.held_seconds),
        })
    });
    let mut object = json!({
        "id": actor.actor_id,
        "presence": actor.presence().short_name(),
        "heard_seconds_ago": seconds(actor.heard_seconds_ago),
        "left_seconds_ago": actor.left_seconds_ago.map(seconds),
        "lost_groups": actor.lost_groups,
        "leased_groups": actor.leased_groups,
        "leases": leases.collect::<Vec<_>>(),
        "refused_in_a_row": actor.refused_in_a_row,
        "earlier_processes": actor.earlier_processes,
        "lag": actor.lag,
    });
    let report = actor.report.clone();
    let is_told = report.is_some();
    let report = report.unwrap_or_default();
    let age = actor.reported_seconds_ago;
    let told = json!({
        "reported_seconds_ago": seconds(age),
        "weights_job": text_or_null(&report.weights_job_id),
        "weights_version": (!report.weights_job_id.is_empty()).then_some(report.weights_version),
        "waits_for": report.waits_for().short_name(),
        "wait_seconds": seconds(report.wait_seconds + age),
        "tokens_per_second": seconds(report.tokens_per_second),
        "token_seconds_ago": report.token_seconds_ago.map(|seconds_ago| seconds(seconds_ago + age)),
        "sequences": report.sequences,
        "slots": report.slots,
        "verifier_away": report.verifier.as_ref().map(|verifier| verifier.is_away),
        "process": aged_process(report.process.as_ref(), age),
    });
    if let (Value::Object(target), Value::Object(told)) = (&mut object, told) {
        target.extend(
            told.into_iter()
                .map(|(name, value)| (name, if is_told { value } else { Value::Null })),
        );
    }
    object
}

fn job(job: &v1::JobStanding, learner_argument: &str) -> Value {
    let checkpoints = job.checkpoints.iter().map(|checkpoint| {
        json!({
            "step": checkpoint.step,
            "directory": checkpoint.directory,
            "seconds_ago": seconds(checkpoint.seconds_ago),
        })
    });
    json!({
        "id": job.job_id,
        "kind": job.kind,
        "state": job.state().short_name(),
        "error": text_or_null(&job.error),
        "retry_at": job.retry_at.as_ref().map(ToString::to_string),
        "step": job.step,
        "total_steps": job.total_steps,
        "run_seconds": seconds(job.run_seconds),
        "stepped_seconds_ago": job.stepped_seconds_ago.map(seconds),
        "last_step": job.last_step,
        "activity": job.activity().short_name(),
        "activity_seconds": seconds(job.activity_seconds),
        "queue": job.queue.as_ref().map(queue),
        "published": job.published.as_ref().map(|published| json!({
            "version": published.version,
            "seconds_ago": seconds(published.seconds_ago),
        })),
        "evaluating": job.evaluating.as_ref().map(|evaluating| json!({
            "done_groups": evaluating.done_groups,
            "total_groups": evaluating.total_groups,
            "leased": evaluating.leased,
        })),
        "evaluation": job.evaluation,
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "exported": text_or_null(&job.exported),
        "dead_letters": job.dead_letters,
        "undone_steps": job.undone_steps,
        "notices": job.notices,
        "go_on": going_on::commands(job, learner_argument),
    })
}

fn queue(queue: &v1::QueueStanding) -> Value {
    json!({
        "queued": queue.queued,
        "bound": queue.bound,
        "oldest_seconds": seconds(queue.oldest_seconds),
        "leased": queue.leased,
        "to_lease_again": queue.to_lease_again,
        "taken": queue.taken,
        "stale": queue.stale,
        "skipped": queue.skipped,
        "next": queue.next,
        "next_actor": text_or_null(&queue.next_actor_id),
        "next_held_seconds": (!queue.next_actor_id.is_empty()).then(|| seconds(queue.next_held_seconds)),
        "next_queued": queue.next_is_queued,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_and_what_nobody_said_are_null() {
        let examination = Examination {
            learner: "http://l".to_owned(),
            learner_argument: String::new(),
            diagnosis: v1::Diagnosis {
                redis: Some(v1::RedisStanding {
                    problem: "away".to_owned(),
                    ..v1::RedisStanding::default()
                }),
                actors: vec![v1::ActorStanding {
                    actor_id: "a\u{1b}[31m".to_owned(),
                    heard_seconds_ago: f64::NAN,
                    ..v1::ActorStanding::default()
                }],
                ..v1::Diagnosis::default()
            },
            findings: Vec::new(),
            verdict: "healthy".to_owned(),
        };
        let json = to_json(&examination);
        assert_eq!(json["redis"]["used_memory_bytes"], Value::Null);
        let actor = &json["actors"][0];
        for field in ["heard_seconds_ago", "waits_for", "process", "lag", "verifier_away"] {
            assert_eq!(actor[field], Value::Null, "{field}");
        }
        assert!(
            !json.to_string().contains('\u{1b}'),
            "JSON escapes what steers a terminal"
        );
    }
}
