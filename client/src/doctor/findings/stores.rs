//! Redis and the disks: where groups and checkpoints are kept.

use anytime_proto::v1;

use super::finding::{Finding, fault, note};
use crate::doctor::words::{bytes, counted};

/// The same bounds as the alert DiskFilling.
const LEAST_FREE: u64 = 5_000_000_000;
const LEAST_SHARE: f64 = 0.1;

/// The same bound as the alert RedisMemory.
const MOST_MEMORY: f64 = 0.8;

pub(super) fn redis_is_down(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    let Some(redis) = diagnosis.redis.as_ref().filter(|redis| !redis.is_up) else {
        return;
    };
    findings.push(fault(
        "redis_down",
        "",
        format!("Redis at {} does not answer, and everything waits for it", redis.address),
        "look at its log, its disk and its memory, and start it again with the same data; nothing that was accepted is lost",
    ));
}

pub(super) fn redis_is_at_risk(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    let Some(redis) = diagnosis.redis.as_ref().filter(|redis| redis.is_up) else {
        return;
    };
    if !redis.problem.is_empty() {
        let text = format!("Redis does not say how it fares ({})", redis.problem);
        findings.push(note("redis_unknown", "", text));
        return;
    }
    if !redis.writes {
        findings.push(fault(
            "redis_not_durable",
            "",
            "Redis cannot write what it accepts to its disk".to_owned(),
            "`redis-cli INFO persistence` says more; make room on its disk",
        ));
    } else if !redis.appends {
        findings.push(fault(
            "redis_not_durable",
            "",
            "Redis keeps no append-only file: its death costs the groups that it holds".to_owned(),
            "set `appendonly yes` and `appendfsync always`",
        ));
    }
    let share = redis.used_memory as f64 / redis.max_memory as f64;
    if redis.max_memory > 0 && share >= MOST_MEMORY {
        findings.push(fault(
            "redis_memory",
            "",
            format!(
                "Redis uses {} of its {}, and refuses groups at the limit",
                bytes(redis.used_memory),
                bytes(redis.max_memory)
            ),
            "raise `maxmemory`, or lower `checkpoint.recovery_every`",
        ));
    }
    if redis.evicted_keys > 0 {
        findings.push(fault(
            "redis_evicts",
            "",
            format!(
                "Redis has thrown away {} to make room",
                counted(redis.evicted_keys, "key")
            ),
            "set `maxmemory-policy noeviction` and more memory; the groups are generated again",
        ));
    }
}

pub(super) fn disks_fill(diagnosis: &v1::Diagnosis, findings: &mut Vec<Finding>) {
    for disk in &diagnosis.disks {
        let (what, directory) = (&disk.what, &disk.directory);
        if !disk.problem.is_empty() {
            let text = format!("the disk of {directory} ({what}) says nothing: {}", disk.problem);
            findings.push(fault(
                "disk_unknown",
                "",
                text,
                "look whether it is mounted, and `dmesg`",
            ));
            continue;
        }
        let share = disk.free as f64 / disk.total.max(1) as f64;
        if disk.free < LEAST_FREE || share < LEAST_SHARE {
            findings.push(fault(
                "disk_filling",
                "",
                format!(
                    "the disk of {directory} ({what}) has {} left of {}",
                    bytes(disk.free),
                    bytes(disk.total)
                ),
                "`anytime delete JOB` for jobs that are over, or remove exports; a job without room waits and loses nothing",
            ));
        }
    }
}
