//! Which actors are there, and which process of each.
//!
//! An actor follows the weights over one long stream. Where that stream ends and no other begins, its process is gone,
//! and its leases can be given to others before their time runs out. A process that comes back under its actor's id
//! says so by another incarnation, and then the leases of the one before it are free at once. Two processes that live
//! under one id are noticed by the same means: the one that was taken for gone asks for leases again.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anytime_proto::{ActorId, v1};
use tracing::warn;

use super::departures::{Departure, Departures, standing_of};
use crate::lock::lock;

/// How long an actor may be away before it counts as gone. An actor that lives makes a broken connection again sooner.
pub const GRACE: Duration = Duration::from_secs(10);

/// A process without a stream that asks for nothing for so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);

/// The refused groups of an actor that is not there are remembered for so long after the last of them.
const REFUSALS_KEPT: Duration = Duration::from_secs(600);

/// Who holds a lease: one process of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    /// The actor.
    pub actor: ActorId,
    /// The incarnation that its process drew when it started; empty where it sends none.
    pub incarnation: String,
}

impl Holder {
    /// A process of this actor that does not say which one it is.
    pub fn unnamed(actor: &ActorId) -> Self {
        Self {
            actor: actor.clone(),
            incarnation: String::new(),
        }
    }

    /// Whether the two can be the same process.
    pub fn may_be(&self, other: &Self) -> bool {
        let is_unnamed = self.incarnation.is_empty() || other.incarnation.is_empty();
        self.actor == other.actor && (is_unnamed || self.incarnation == other.incarnation)
    }
}

struct Process {
    open_streams: u32,
    gone_since: Option<Instant>,
    last_seen: Instant,
    /// The number of its latest lease request.
    last_request: u64,
    /// Another process of the same actor came after it, and it has not been heard of since.
    is_superseded: bool,
    /// The groups that it has: those that it listed last, and what was leased and handed over since.
    in_hand: u64,
    /// What it said of itself last, and when.
    report: Option<(v1::ActorReport, Instant)>,
    /// How many versions its weights were behind then.
    lag: Option<u64>,
}

impl Process {
    fn new(now: Instant) -> Self {
        Self {
            open_streams: 0,
            gone_since: None,
            last_seen: now,
            last_request: 0,
            is_superseded: false,
            in_hand: 0,
            report: None,
            lag: None,
        }
    }
}

/// The processes of one actor.
#[derive(Default)]
struct Processes {
    /// By incarnation.
    by_incarnation: BTreeMap<String, Process>,
    /// How many there were before those.
    earlier: u32,
}

impl Processes {
    /// The one that speaks for the actor: the one that was heard of last.
    fn newest(&self) -> Option<&Process> {
        let alive = self.by_incarnation.values();
        alive.max_by_key(|process| (!process.is_superseded, process.last_seen))
    }
}

/// The groups of an actor that were refused in a row.
struct Refusals {
    in_a_row: u64,
    last: Instant,
}

/// What changed because a process was heard of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sighting {
    /// Earlier processes of the same actor, whose leases are free now.
    pub superseded: Vec<Holder>,
    /// The request came after a later one of the same process.
    pub is_overtaken: bool,
}

/// The processes of every actor. The services tell it of streams and requests.
#[derive(Default)]
pub struct Actors {
    actors: Mutex<HashMap<ActorId, Processes>>,
    /// Those that went away.
    departures: Mutex<Departures>,
    /// For each actor, how many of its groups were refused since one was accepted.
    refused: Mutex<HashMap<ActorId, Refusals>>,
}

impl Actors {
    /// A process asks for leases, with the number of its request.
    pub fn asked(&self, holder: &Holder, number: u64, now: Instant) -> Sighting {
        let mut sighting = self.seen(holder, now);
        let mut actors = lock(&self.actors);
        if let Some(process) = process_of(&mut actors, holder) {
            sighting.is_overtaken = number > 0 && number <= process.last_request;
            process.last_request = process.last_request.max(number);
        }
        sighting
    }

    /// What a process says of itself: how many groups it has in hand, where it lists them, and how it fares.
    pub fn told(&self, holder: &Holder, in_hand: Option<u64>, report: Option<v1::ActorReport>, now: Instant) {
        if let Some(process) = process_of(&mut lock(&self.actors), holder) {
            process.in_hand = in_hand.unwrap_or(process.in_hand);
            if let Some(report) = report {
                process.report = Some((report, now));
            }
        }
    }

    /// So many versions were the weights of a process behind when it reported.
    pub fn lags(&self, holder: &Holder, versions: Option<u64>) {
        if let Some(process) = process_of(&mut lock(&self.actors), holder) {
            process.lag = versions;
        }
    }

    /// Groups were leased to a process.
    pub fn granted(&self, holder: &Holder, groups: u64) {
        if let Some(process) = process_of(&mut lock(&self.actors), holder) {
            process.in_hand += groups;
        }
    }

    /// An actor has delivered a group or given it back.
    pub fn handed_over(&self, actor: &ActorId) {
        let mut actors = lock(&self.actors);
        let processes = actors.get_mut(actor).into_iter();
        let processes = processes.flat_map(|processes| processes.by_incarnation.values_mut());
        if let Some(process) = processes.max_by_key(|process| (!process.is_superseded, process.last_seen)) {
            process.in_hand = process.in_hand.saturating_sub(1);
        }
    }

    /// Every actor that is there, and those that went away of late, by name and without their leases.
    pub fn standings(&self, now: Instant) -> BTreeMap<ActorId, v1::ActorStanding> {
        let age = |since: Instant| now.saturating_duration_since(since).as_secs_f64();
        let mut standings = BTreeMap::new();
        for (actor, departure) in lock(&self.departures).iter() {
            standings.insert(actor.clone(), departure.standing(actor, now));
        }
        for (actor, processes) in lock(&self.actors).iter() {
            let Some(process) = processes.newest() else {
                continue;
            };
            // One that never followed the weights is there while it asks.
            let is_quiet = now.saturating_duration_since(process.last_seen) >= GRACE;
            let is_lost = process.open_streams == 0 && (process.gone_since.is_some() || is_quiet);
            let presence = if is_lost {
                v1::Presence::Lost
            } else {
                v1::Presence::There
            };
            let others = processes.by_incarnation.len() as u32 - 1;
            let standing = v1::ActorStanding {
                presence: presence.into(),
                heard_seconds_ago: age(process.last_seen),
                left_seconds_ago: process.gone_since.filter(|_| is_lost).map(age),
                earlier_processes: processes.earlier.saturating_add(others),
                lag: process.lag,
                ..standing_of(actor, process.report.as_ref(), now)
            };
            standings.insert(actor.clone(), standing);
        }
        for (actor, refusals) in lock(&self.refused).iter() {
            if let Some(standing) = standings.get_mut(actor) {
                standing.refused_in_a_row = refusals.in_a_row;
            }
        }
        standings
    }

    /// A stream of that process has begun. Returns the processes that it takes the place of.
    pub fn arrived(&self, holder: &Holder, now: Instant) -> Vec<Holder> {
        let sighting = self.seen(holder, now);
        if let Some(process) = process_of(&mut lock(&self.actors), holder) {
            process.open_streams += 1;
            process.gone_since = None;
        }
        sighting.superseded
    }

    /// A stream of that process has ended.
    pub fn left(&self, holder: &Holder, now: Instant) {
        if let Some(process) = process_of(&mut lock(&self.actors), holder) {
            process.open_streams = process.open_streams.saturating_sub(1);
            if process.open_streams == 0 {
                process.gone_since = Some(now);
            }
        }
    }

    /// How many processes follow the weights.
    pub fn connected(&self) -> usize {
        let actors = lock(&self.actors);
        let processes = actors.values().flat_map(|processes| processes.by_incarnation.values());
        processes.filter(|process| process.open_streams > 0).count()
    }

    /// A group of this actor was refused. Returns how many were refused in a row. An actor that was dropped because its
    /// stream had ended counts too: it may go on to push what it has, and shows the token of a lease.
    pub fn refused(&self, actor: &ActorId, now: Instant) -> u64 {
        let mut refused = lock(&self.refused);
        let refusals = refused
            .entry(actor.clone())
            .or_insert(Refusals { in_a_row: 0, last: now });
        refusals.in_a_row += 1;
        refusals.last = now;
        refusals.in_a_row
    }

    /// A group of this actor was accepted.
    pub fn accepted(&self, actor: &ActorId) {
        lock(&self.refused).remove(actor);
    }

    /// The most groups of one actor that were refused in a row.
    pub fn most_refused(&self) -> u64 {
        let refused = lock(&self.refused);
        refused.values().map(|refusals| refusals.in_a_row).max().unwrap_or(0)
    }

    /// Processes that have been away for longer than [`GRACE`]; each is named once.
    pub fn gone(&self, now: Instant) -> Vec<Holder> {
        let mut gone = Vec::new();
        let mut actors = lock(&self.actors);
        let mut dropped = Vec::new();
        let mut departures = lock(&self.departures);
        departures.forget_old(now);
        for (actor, processes) in actors.iter_mut() {
            let mut earlier = processes.earlier;
            let mut departed: Option<Departure> = None;
            processes.by_incarnation.retain(|incarnation, process| {
                let left = process.gone_since.filter(|since| now.duration_since(*since) >= GRACE);
                if left.is_some() && !process.is_superseded {
                    gone.push(Holder {
                        actor: actor.clone(),
                        incarnation: incarnation.clone(),
                    });
                }
                let is_idle = process.open_streams == 0 && now.duration_since(process.last_seen) >= FORGOTTEN_AFTER;
                if left.is_none() && !is_idle {
                    return true;
                }
                if let Some(left) = left
                    && departed
                        .as_ref()
                        .is_none_or(|other| other.last_seen < process.last_seen)
                {
                    departed = Some(Departure {
                        incarnation: incarnation.clone(),
                        left,
                        last_seen: process.last_seen,
                        lost_groups: process.in_hand,
                        report: process.report.take(),
                        earlier: 0,
                    });
                }
                earlier = earlier.saturating_add(1);
                false
            });
            processes.earlier = earlier;
            if processes.by_incarnation.is_empty() {
                if let Some(mut departure) = departed {
                    // It counts the ones before itself.
                    departure.earlier = earlier.saturating_sub(1);
                    departures.note(actor, departure);
                }
                dropped.push(actor.clone());
            }
        }
        for actor in &dropped {
            actors.remove(actor);
        }
        lock(&self.refused).retain(|actor, refusals| {
            let is_recent = now.duration_since(refusals.last) < REFUSALS_KEPT;
            actors.contains_key(actor) || (is_recent && !dropped.contains(actor))
        });
        gone
    }

    fn seen(&self, holder: &Holder, now: Instant) -> Sighting {
        let mut actors = lock(&self.actors);
        let actor = actors.entry(holder.actor.clone()).or_default();
        if actor.by_incarnation.is_empty()
            && let Some(departure) = lock(&self.departures).is_back(&holder.actor)
        {
            // One that was only cut off is the same process as before.
            let is_another = departure.incarnation != holder.incarnation;
            actor.earlier = departure.earlier.saturating_add(u32::from(is_another));
        }
        let processes = &mut actor.by_incarnation;
        let mut sighting = Sighting::default();
        if holder.incarnation.is_empty() {
            // It does not say which process it is, so it takes nobody's place.
        } else if let Some(known) = processes.get_mut(&holder.incarnation) {
            if std::mem::take(&mut known.is_superseded) {
                warn!(
                    actor_id = %holder.actor,
                    "two processes call themselves by one actor id; give each its own, or groups are generated twice"
                );
            }
        } else {
            for (incarnation, earlier) in processes.iter_mut() {
                if !incarnation.is_empty() && !earlier.is_superseded {
                    earlier.is_superseded = true;
                    sighting.superseded.push(Holder {
                        actor: holder.actor.clone(),
                        incarnation: incarnation.clone(),
                    });
                }
            }
        }
        let process = processes
            .entry(holder.incarnation.clone())
            .or_insert_with(|| Process::new(now));
        process.last_seen = now;
        sighting
    }
}

fn process_of<'a>(actors: &'a mut HashMap<ActorId, Processes>, holder: &Holder) -> Option<&'a mut Process> {
    let processes = actors.get_mut(&holder.actor)?;
    processes.by_incarnation.get_mut(&holder.incarnation)
}

// Some time to begin with.
#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn holder(incarnation: &str) -> Holder {
        Holder {
            actor: ActorId("a".to_owned()),
            incarnation: incarnation.to_owned(),
        }
    }

    #[test]
    fn a_new_process_takes_the_place_of_the_one_before_at_once() {
        let (actors, now) = (Actors::default(), Instant::now());
        assert_eq!(actors.arrived(&holder("one"), now), []);
        assert_eq!(actors.asked(&holder("one"), 1, now), Sighting::default());
        // Whatever tells of it first; and only once.
        assert_eq!(actors.asked(&holder("two"), 1, now).superseded, [holder("one")]);
        assert_eq!(actors.arrived(&holder("two"), now), []);
        actors.left(&holder("one"), now);
        assert_eq!(actors.gone(now + GRACE), []);
        actors.left(&holder("two"), now + GRACE);
        assert_eq!(actors.gone(now + 2 * GRACE), [holder("two")]);
        assert_eq!(actors.gone(now + 3 * GRACE), []);
    }

    #[test]
    fn two_that_live_under_one_id_keep_their_leases_after_the_first_round() {
        let (actors, now) = (Actors::default(), Instant::now());
        actors.asked(&holder("one"), 1, now);
        assert_eq!(actors.asked(&holder("two"), 1, now).superseded, [holder("one")]);
        for number in 2..5 {
            assert_eq!(actors.asked(&holder("one"), number, now), Sighting::default());
            assert_eq!(actors.asked(&holder("two"), number, now), Sighting::default());
        }
    }

    #[test]
    fn refusals_in_a_row_are_counted_until_one_is_accepted_or_the_actor_is_gone() {
        let (actors, now) = (Actors::default(), Instant::now());
        let known = holder("one");
        let refused = |now| actors.refused(&known.actor, now);
        actors.arrived(&known, now);
        assert_eq!([refused(now), refused(now)], [1, 2]);
        assert_eq!(actors.most_refused(), 2);
        actors.accepted(&known.actor);
        assert_eq!(actors.most_refused(), 0);
        refused(now);
        actors.left(&known, now);
        actors.gone(now + GRACE);
        assert_eq!(actors.most_refused(), 0, "it is gone");
    }

    #[test]
    fn an_actor_that_was_dropped_and_still_pushes_is_counted_for_some_time() {
        let (actors, now) = (Actors::default(), Instant::now());
        let known = holder("one");
        actors.arrived(&known, now);
        actors.left(&known, now);
        assert_eq!(actors.gone(now + GRACE), [holder("one")]);
        let later = now + 2 * GRACE;
        let refused = |now| actors.refused(&known.actor, now);
        assert_eq!([refused(later), refused(later)], [1, 2]);
        // The monitor looks every second.
        actors.gone(later + Duration::from_secs(1));
        assert_eq!((refused(later + GRACE), actors.most_refused()), (3, 3));
        actors.gone(later + GRACE + REFUSALS_KEPT);
        assert_eq!(actors.most_refused(), 0, "it pushes no more");
    }

    #[test]
    fn whoever_asks_later_learns_which_actor_died_with_what_and_that_it_is_back() {
        let (actors, now) = (Actors::default(), Instant::now());
        let seconds = Duration::from_secs;
        let report = v1::ActorReport {
            slots: 7,
            ..v1::ActorReport::default()
        };
        actors.arrived(&holder("one"), now);
        actors.asked(&holder("one"), 1, now);
        actors.told(&holder("one"), Some(3), Some(report), now);
        actors.granted(&holder("one"), 2);
        actors.handed_over(&holder("one").actor);
        let of = |at: Instant| actors.standings(at).remove(&holder("one").actor).expect("it is known");
        let there = of(now + seconds(5));
        assert_eq!((there.presence(), there.left_seconds_ago), (v1::Presence::There, None));
        assert_eq!((there.heard_seconds_ago, there.reported_seconds_ago), (5.0, 5.0));
        actors.left(&holder("one"), now + seconds(6));
        assert_eq!(of(now + seconds(8)).presence(), v1::Presence::Lost);
        actors.gone(now + seconds(6) + GRACE);
        let gone = of(now + seconds(66));
        assert_eq!(
            (gone.presence(), gone.left_seconds_ago),
            (v1::Presence::Gone, Some(60.0))
        );
        assert_eq!((gone.lost_groups, gone.report.expect("the last one").slots), (4, 7));
        // It comes back under its name.
        actors.asked(&holder("two"), 1, now + seconds(70));
        let back = of(now + seconds(70));
        assert_eq!((back.presence(), back.earlier_processes), (v1::Presence::There, 1));
        assert_eq!((back.lost_groups, back.report), (0, None));
        // It gives back what it has, goes, and has lost nothing.
        actors.granted(&holder("two"), 1);
        actors.handed_over(&holder("two").actor);
        actors.arrived(&holder("two"), now + seconds(70));
        actors.left(&holder("two"), now + seconds(71));
        actors.gone(now + seconds(71) + GRACE);
        let left = of(now + seconds(90));
        assert_eq!(
            (left.presence(), left.lost_groups, left.earlier_processes),
            (v1::Presence::Gone, 0, 1)
        );
    }

    #[test]
    fn a_process_that_does_not_say_which_it_is_takes_nobodys_place() {
        let (actors, now) = (Actors::default(), Instant::now());
        actors.asked(&holder("one"), 1, now);
        assert_eq!(actors.asked(&holder(""), 0, now), Sighting::default());
        assert_eq!(actors.asked(&holder("one"), 2, now), Sighting::default());
        assert!(holder("").may_be(&holder("one")) && !holder("two").may_be(&holder("one")));
    }

    #[test]
    fn a_request_that_was_overtaken_is_known() {
        let (actors, now) = (Actors::default(), Instant::now());
        assert!(!actors.asked(&holder("one"), 2, now).is_overtaken);
        assert!(actors.asked(&holder("one"), 1, now).is_overtaken);
        assert!(actors.asked(&holder("one"), 2, now).is_overtaken);
        assert!(!actors.asked(&holder("one"), 3, now).is_overtaken);
    }
}
