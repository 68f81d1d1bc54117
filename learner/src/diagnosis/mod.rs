//! How the learner and everything around it stand, put together for an operator: [`Diagnostician::diagnose`] asks every
//! part for its own, and says within seconds what it could not learn. `disks` asks the file systems.

mod disks;

use std::cmp::Reverse;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anytime_proto::JobId;
use anytime_proto::v1::{self, JobState};
use anytime_service::{clock, program};

use self::disks::{Disks, OnDisk};
use crate::jobs::entry::JobEntry;
use crate::jobs::events::timestamp;
use crate::jobs::registry::JobRegistry;
use crate::outputs::Places;
use crate::queue::info;
use crate::queue::redis::RedisConnection;
use crate::rollouts::broker::RolloutBroker;
use crate::rollouts::outcomes;

/// The most actors that are told of.
const MOST_ACTORS: usize = 1024;

/// The most jobs that are told of.
const MOST_JOBS: usize = 16;

/// How long Redis is asked for the number of a job's dead letters.
const LETTERS_PATIENCE: Duration = Duration::from_secs(1);

/// Tells how everything stands. Requests ask it; it changes nothing.
pub struct Diagnostician {
    registry: Arc<JobRegistry>,
    broker: Arc<RolloutBroker>,
    redis: Arc<RedisConnection>,
    disks: Disks,
}

impl Diagnostician {
    /// Over the parts of a learner whose directories are `places`.
    pub fn new(
        registry: Arc<JobRegistry>,
        broker: Arc<RolloutBroker>,
        redis: Arc<RedisConnection>,
        places: Places,
    ) -> Self {
        Self {
            registry,
            broker,
            redis,
            disks: Disks::new(places),
        }
    }

    /// How everything stands, with this job, or with those that are not over. None where there is no such job.
    pub async fn diagnose(&self, job_id: Option<&JobId>) -> Option<v1::Diagnosis> {
        let (entries, jobs_left_out) = match job_id {
            Some(job_id) => (vec![self.registry.get(job_id)?], 0),
            None => self.jobs_of_interest(),
        };
        let directories: Vec<PathBuf> = entries.iter().map(|entry| entry.directory().to_owned()).collect();
        let (redis, on_disk) = tokio::join!(info::standing(&self.redis), self.disks.look(directories));
        let OnDisk { disks, checkpoints } = on_disk;
        let now = clock::now();
        let mut jobs = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let checkpoints = checkpoints.get(index).cloned().unwrap_or_default();
            jobs.push(
                self.job(entry, checkpoints, redis.is_up && redis.problem.is_empty())
                    .await,
            );
        }
        let mut actors = self.broker.actor_standings(now);
        let actors_left_out = actors.len().saturating_sub(MOST_ACTORS) as u32;
        actors.truncate(MOST_ACTORS);
        Some(v1::Diagnosis {
            time: Some(timestamp()),
            learner: Some(program::report()),
            redis: Some(redis),
            disks,
            actors,
            actors_left_out,
            jobs,
            jobs_left_out,
            outcomes: outcomes::counts(),
        })
    }

    /// The jobs that are not over, the running ones first; where there are none, the one that ended last. And how many
    /// there are beyond those.
    fn jobs_of_interest(&self) -> (Vec<Arc<JobEntry>>, u32) {
        let all = self.registry.list();
        let rank = |entry: &Arc<JobEntry>| match entry.state() {
            JobState::Running => Some(0),
            JobState::Paused => Some(1),
            JobState::Queued => Some(2),
            _ => None,
        };
        let ranked = all.iter().filter_map(|entry| Some((rank(entry)?, entry)));
        let mut ranked: Vec<(u8, &Arc<JobEntry>)> = ranked.collect();
        // The list has the newest first, and a queue begins with the oldest.
        ranked.reverse();
        ranked.sort_by_key(|(rank, _)| *rank);
        let left_out = ranked.len().saturating_sub(MOST_JOBS) as u32;
        ranked.truncate(MOST_JOBS);
        let mut entries: Vec<Arc<JobEntry>> = ranked.into_iter().map(|(_, entry)| entry.clone()).collect();
        if entries.is_empty() {
            let last = all.iter().min_by_key(|entry| Reverse(entry.ended()));
            entries.extend(last.cloned());
        }
        (entries, left_out)
    }

    async fn job(
        &self,
        entry: &JobEntry,
        checkpoints: Vec<v1::CheckpointStanding>,
        asks_redis: bool,
    ) -> v1::JobStanding {
        let letters = async {
            if !asks_redis {
                return None;
            }
            let count = self.broker.dead_letter_count(entry.id());
            tokio::time::timeout(LETTERS_PATIENCE, count).await.ok()?.ok()
        };
        let dead_letters = letters.await;
        let rollouts = self.broker.standing(entry.id(), clock::now());
        v1::JobStanding {
            queue: rollouts.queue,
            published: rollouts.published,
            evaluating: rollouts.evaluating,
            checkpoints,
            dead_letters,
            ..entry.told_standing()
        }
    }
}

#[cfg(test)]
mod tests {
    use anytime_proto::limits::MAX_REPORT_BYTES;
    use anytime_service::last_lines::{LONGEST_LINE, log_line};
    use prost::Message as _;

    use super::*;
    use crate::rollouts::standing::MOST_LEASES;

    /// What an actor says at the most: every line as long as it is kept.
    fn longest_report() -> v1::ActorReport {
        let line = || Some(log_line(&"e".repeat(2 * LONGEST_LINE), 1e6));
        let process = || {
            Some(v1::ProcessReport {
                version: "10.10.10".to_owned(),
                commit: "c".repeat(40),
                libtorch: "2.11.0".to_owned(),
                up_seconds: 1e6,
                last_error: line(),
                last_warning: line(),
            })
        };
        v1::ActorReport {
            process: process(),
            weights_job_id: "j".repeat(70),
            weights_version: u64::MAX,
            waits_for: v1::ActorWait::Leases.into(),
            wait_seconds: 1e6,
            tokens_per_second: 1e6,
            token_seconds_ago: Some(1e6),
            sequences: u32::MAX,
            slots: u32::MAX,
            verifier: Some(v1::VerifierStanding {
                address: "a".repeat(200),
                is_away: true,
                since_seconds: 1e6,
                last_error: line(),
                process: process(),
            }),
        }
    }

    #[test]
    fn a_report_has_room_and_512_actors_stay_below_what_any_client_takes() {
        let report = longest_report();
        assert!(report.encoded_len() <= MAX_REPORT_BYTES, "{}", report.encoded_len());
        let lease = v1::HeldLease {
            job_id: "j".repeat(70),
            purpose: v1::Purpose::Evaluate.into(),
            sequence: u64::MAX,
            held_seconds: 1e6,
        };
        let actor = v1::ActorStanding {
            actor_id: "n".repeat(64),
            leases: vec![lease; MOST_LEASES],
            report: Some(report),
            left_seconds_ago: Some(1e6),
            ..v1::ActorStanding::default()
        };
        let diagnosis = v1::Diagnosis {
            actors: vec![actor; 512],
            ..v1::Diagnosis::default()
        };
        let bytes = diagnosis.encoded_len();
        assert!(bytes < 4 * 1024 * 1024, "{bytes}");
    }
}
