//! Actors that went away, remembered for some time, so that somebody who comes later learns which one is dead and since
//! when.

#![deny(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anytime_proto::{ActorId, v1};

/// How long an actor that is gone is remembered.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// How many of them at a time: anybody who may lease may use a new name every time.
const MOST: usize = 256;

/// An actor that is gone.
pub(super) struct Departure {
    /// Which of its processes it was.
    pub(super) incarnation: String,
    /// When its stream ended.
    pub(super) left: Instant,
    /// When it sent its last request.
    pub(super) last_seen: Instant,
    /// The groups that it had.
    pub(super) lost_groups: u64,
    /// Its last report, with the time at which it came.
    pub(super) report: Option<(v1::ActorReport, Instant)>,
    /// How many processes of this name there were before the one that went.
    pub(super) earlier: u32,
}

impl Departure {
    /// What is said of the actor now.
    pub(super) fn standing(&self, actor: &ActorId, now: Instant) -> v1::ActorStanding {
        let age = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        v1::ActorStanding {
            presence: v1::Presence::Gone.into(),
            heard_seconds_ago: age(self.last_seen),
            left_seconds_ago: Some(age(self.left)),
            lost_groups: self.lost_groups,
            earlier_processes: self.earlier,
            ..standing_of(actor, self.report.as_ref(), now)
        }
    }
}

/// What is said of every actor, with the report as old as it is now.
pub(super) fn standing_of(
    actor: &ActorId,
    report: Option<&(v1::ActorReport, Instant)>,
    now: Instant,
) -> v1::ActorStanding {
    v1::ActorStanding {
        actor_id: actor.to_string(),
        reported_seconds_ago: report.map_or(0.0, |(_, at)| now.saturating_duration_since(*at).as_secs_f64()),
        report: report.map(|(report, _)| report.clone()),
        ..v1::ActorStanding::default()
    }
}

/// The actors that are gone, by name.
#[derive(Default)]
pub(super) struct Departures(BTreeMap<ActorId, Departure>);

impl Departures {
    /// An actor is gone.
    pub(super) fn note(&mut self, actor: &ActorId, departure: Departure) {
        self.0.insert(actor.clone(), departure);
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, departure)| departure.left);
            let Some(oldest) = oldest.map(|(actor, _)| actor.clone()) else {
                return;
            };
            self.0.remove(&oldest);
        }
    }

    /// An actor is there again. Returns how it had gone.
    pub(super) fn is_back(&mut self, actor: &ActorId) -> Option<Departure> {
        self.0.remove(actor)
    }

    /// Forgets those that went long ago.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.0
            .retain(|_, departure| now.saturating_duration_since(departure.left) < REMEMBERED);
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&ActorId, &Departure)> {
        self.0.iter()
    }
}

// Some time to begin with.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn departure(left: Instant) -> Departure {
        Departure {
            incarnation: String::new(),
            left,
            last_seen: left,
            lost_groups: 1,
            report: None,
            earlier: 0,
        }
    }

    #[test]
    fn the_last_ones_are_remembered_for_some_time() {
        let (mut departures, start) = (Departures::default(), Instant::now());
        for number in 0..=MOST as u64 {
            let actor = ActorId(format!("actor-{number:03}"));
            departures.note(&actor, departure(start + Duration::from_secs(number)));
        }
        let names: Vec<&str> = departures.iter().map(|(actor, _)| actor.as_str()).collect();
        assert_eq!((names.len(), names[0]), (MOST, "actor-001"));
        departures.forget_old(start + REMEMBERED + Duration::from_secs(100));
        assert_eq!(departures.iter().count(), MOST - 100);
        let last = ActorId("actor-256".to_owned());
        assert!(departures.is_back(&last).is_some() && departures.is_back(&last).is_none());
    }
}
