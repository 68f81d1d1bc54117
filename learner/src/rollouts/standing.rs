//! How leases, queues and actors stand, for whoever asks how the learner fares. It only looks.

use std::time::Instant;

use anytime_proto::{ActorId, JobId, v1};

use super::actors::Holder;
use super::broker::{JobRollouts, RolloutBroker};
use super::lease_table::NextToTrain;
use super::session::TrainingSession;
use crate::lock::lock;
use crate::queue::redis::RedisUnavailable;

/// At most so many of an actor's leases are told one by one.
pub(crate) const MOST_LEASES: usize = 32;

/// One job at the broker.
#[derive(Default)]
pub struct RolloutStanding {
    /// Where its training groups are; none while training is not open.
    pub queue: Option<v1::QueueStanding>,
    /// The weights that actors are to have.
    pub published: Option<v1::PublishedStanding>,
    /// The evaluation under way.
    pub evaluating: Option<v1::EvaluationStanding>,
}

impl RolloutBroker {
    /// How a job stands.
    pub fn standing(&self, job_id: &JobId, now: Instant) -> RolloutStanding {
        let mut jobs = lock(&self.jobs);
        let Some(job) = jobs.get_mut(job_id) else {
            return RolloutStanding::default();
        };
        let published = job.version.map(|version| v1::PublishedStanding {
            version: version.0,
            seconds_ago: job.published_at.map_or(0.0, |at| seconds(at, now)),
        });
        let evaluating = job.evaluation.as_ref().map(|evaluation| {
            let (done_groups, total_groups) = evaluation.progress();
            v1::EvaluationStanding {
                done_groups,
                total_groups,
                leased: evaluation.leased_groups(),
            }
        });
        RolloutStanding {
            queue: job.training.as_mut().map(|training| queue_standing(training, now)),
            published,
            evaluating,
        }
    }

    /// Every actor that is there, and those that went away of late, by name, with their leases.
    pub fn actor_standings(&self, now: Instant) -> Vec<v1::ActorStanding> {
        let mut standings = self.actors.standings(now);
        for (job_id, job) in lock(&self.jobs).iter() {
            for (purpose, sequence, holder, since) in held_leases(job) {
                let standing = standings
                    .entry(holder.actor.clone())
                    .or_insert_with(|| unheard(&holder.actor));
                standing.leases.push(v1::HeldLease {
                    job_id: job_id.to_string(),
                    purpose: purpose.into(),
                    sequence,
                    held_seconds: seconds(since, now),
                });
            }
        }
        let mut standings: Vec<v1::ActorStanding> = standings.into_values().collect();
        for standing in &mut standings {
            standing.leased_groups = standing.leases.len() as u32;
            // The oldest first, and by their order where they were leased together.
            standing.leases.sort_by(|one, other| {
                let by_age = other.held_seconds.total_cmp(&one.held_seconds);
                by_age.then_with(|| one.sequence.cmp(&other.sequence))
            });
            standing.leases.truncate(MOST_LEASES);
        }
        standings
    }

    /// How many dead letters a job has.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_letter_count(&self, job_id: &JobId) -> Result<u64, RedisUnavailable> {
        self.letters_of(job_id).dead_letter_count().await
    }
}

fn queue_standing(training: &mut TrainingSession, now: Instant) -> v1::QueueStanding {
    let oldest = training.longest_wait(now);
    let leases = &training.leases;
    let next = leases.next_to_train();
    let (next_actor_id, next_held_seconds) = match &next {
        NextToTrain::Leased(_, actor, since) => (actor.to_string(), seconds(*since, now)),
        NextToTrain::Free(_) | NextToTrain::Queued(_) => (String::new(), 0.0),
    };
    v1::QueueStanding {
        queued: leases.queued_groups(),
        bound: leases.rules().queue_groups,
        oldest_seconds: oldest.as_secs_f64(),
        leased: leases.leased_groups(),
        to_lease_again: leases.waiting.len() as u64,
        taken: leases.taken_groups(),
        stale: leases.stale_groups(),
        skipped: leases.skipped_groups(),
        next: next.sequence(),
        next_actor_id,
        next_held_seconds,
        next_is_queued: matches!(next, NextToTrain::Queued(_)),
    }
}

/// What actors have of one job: for what, the place of the group, who has it, and since when.
fn held_leases(job: &JobRollouts) -> impl Iterator<Item = (v1::Purpose, u64, &Holder, Instant)> {
    let training = job.training.iter().flat_map(|training| {
        let leased = training.leases.leased.iter();
        leased.map(|(sequence, leased)| (v1::Purpose::Train, *sequence, &leased.holder, leased.since))
    });
    let evaluation = job.evaluation.iter().flat_map(|evaluation| {
        let held = evaluation.held();
        held.map(|(place, holder, since)| (v1::Purpose::Evaluate, place, holder, since))
    });
    training.chain(evaluation)
}

/// An actor that pushed a group that an earlier learner had leased to it, and that has asked this one for nothing yet.
fn unheard(actor: &ActorId) -> v1::ActorStanding {
    v1::ActorStanding {
        actor_id: actor.to_string(),
        presence: v1::Presence::Lost.into(),
        ..v1::ActorStanding::default()
    }
}

fn seconds(since: Instant, now: Instant) -> f64 {
    now.saturating_duration_since(since).as_secs_f64()
}
