//! Who holds which lease, as time passes: actors say what they have in hand, come back as another process, or are gone.

use std::time::Instant;

use anytime_proto::{JobId, v1};
use tracing::{debug, warn};

use super::actors::Holder;
use super::broker::{JobRollouts, LeaseAsk, RolloutBroker};
use super::outcomes;
use crate::lock::lock;

impl RolloutBroker {
    /// Takes note of what a lease request says of its sender: that it is another process than before, and which groups
    /// it has in hand.
    pub(super) fn hear_from(&self, ask: &LeaseAsk, now: Instant) {
        let sighting = self.actors.asked(&ask.holder, ask.number, now);
        let held = ask.held.as_ref().map(|held| held.len() as u64);
        self.actors.told(&ask.holder, held, ask.report.clone(), now);
        if let Some(report) = &ask.report {
            self.actors.lags(&ask.holder, self.lag_of(report));
        }
        self.free_leases_of(
            &sighting.superseded,
            "an actor has started again, its old groups are leased again",
            now,
        );
        let Some(held) = ask.held.as_ref().filter(|_| !sighting.is_overtaken) else {
            return;
        };
        let mut freed = 0;
        for job in lock(&self.jobs).values_mut() {
            let of_training = job.training.as_mut().map(|it| it.renew(&ask.holder, held, now));
            let of_evaluation = job.evaluation.as_mut().map(|it| it.renew(&ask.holder, held, now));
            freed += [of_training, of_evaluation]
                .into_iter()
                .flatten()
                .map(|it| it.freed)
                .sum::<u64>();
        }
        if freed > 0 {
            let actor_id = &ask.holder.actor;
            debug!(%actor_id, groups = freed, "an actor does not know of its leases, they are given again");
            outcomes::count("expired", freed);
            self.changed.notify_waiters();
        }
    }

    /// How many versions an actor's weights are behind those that their job has published.
    fn lag_of(&self, report: &v1::ActorReport) -> Option<u64> {
        let job_id = JobId(report.weights_job_id.clone());
        let published = lock(&self.jobs).get(&job_id)?.version?;
        Some(published.0.saturating_sub(report.weights_version))
    }

    /// A process follows the weights.
    pub fn actor_arrived(&self, holder: &Holder, now: Instant) {
        let superseded = self.actors.arrived(holder, now);
        self.free_leases_of(
            &superseded,
            "an actor has started again, its old groups are leased again",
            now,
        );
    }

    /// Takes back the leases that have run out and those of actors that are gone. To be called about once a second.
    pub fn tick(&self, now: Instant) {
        let gone = self.actors.gone(now);
        let expired: u64 = lock(&self.jobs).values_mut().map(|job| job.expire(now)).sum();
        if expired > 0 {
            self.changed.notify_waiters();
        }
        self.free_leases_of(&gone, "an actor is gone, its groups are leased again", now);
    }

    fn free_leases_of(&self, holders: &[Holder], why: &str, now: Instant) {
        for holder in holders {
            let groups: u64 = lock(&self.jobs)
                .values_mut()
                .map(|job| job.take_back_from(holder, now))
                .sum();
            if groups > 0 {
                warn!(actor_id = %holder.actor, groups, "{why}");
                outcomes::count("expired", groups);
                self.changed.notify_waiters();
            }
        }
    }
}

impl JobRollouts {
    fn take_back_from(&mut self, holder: &Holder, now: Instant) -> u64 {
        let from_training = self.training.as_mut().map(|it| it.leases.take_back_from(holder, now));
        let from_evaluation = self.evaluation.as_mut().map(|it| it.take_back_from(holder, now));
        from_training.unwrap_or(0) + from_evaluation.unwrap_or(0)
    }
}
