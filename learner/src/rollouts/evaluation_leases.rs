//! The leases of one evaluation: they are given out in order, and a group must come back for each. They are held in
//! memory only, so that an evaluation that a crash interrupts starts over.

#![deny(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anytime_proto::{ActorId, GroupId, v1};

use super::retries::{MAX_FAILURES, pause_after};

enum State {
    Waiting { not_before: Instant },
    Leased { actor: ActorId, expires: Instant },
    Done(Box<v1::ScoredGroup>),
}

struct Item {
    lease: v1::Lease,
    failures: u32,
    state: State,
}

/// The leases of one evaluation with their groups. A state machine without clock or I/O: the broker passes the time to
/// it, and asks [`progress`](Self::progress) and [`failure`](Self::failure) whether it is over.
pub struct EvaluationLeases {
    items: Vec<Item>,
    by_group: HashMap<GroupId, usize>,
    done: usize,
    /// Why the evaluation cannot be finished.
    failure: Option<String>,
}

impl EvaluationLeases {
    /// Leases that are to be given out in this order.
    pub fn new(leases: Vec<v1::Lease>, now: Instant) -> Self {
        let by_group = leases
            .iter()
            .enumerate()
            .map(|(index, lease)| (GroupId(lease.group_id.clone()), index))
            .collect();
        let items = leases
            .into_iter()
            .map(|lease| Item {
                lease,
                failures: 0,
                state: State::Waiting { not_before: now },
            })
            .collect();
        Self {
            items,
            by_group,
            done: 0,
            failure: None,
        }
    }

    /// Whether the group belongs to this evaluation.
    pub fn contains(&self, group_id: &GroupId) -> bool {
        self.by_group.contains_key(group_id)
    }

    /// Leases the next group that is free, if there is one.
    pub fn lease(&mut self, actor: &ActorId, now: Instant) -> Option<v1::Lease> {
        let is_ready = |item: &&mut Item| matches!(item.state, State::Waiting { not_before } if not_before <= now);
        let item = self.items.iter_mut().find(is_ready)?;
        let expires = now + Duration::from_secs(u64::from(item.lease.seconds));
        item.state = State::Leased {
            actor: actor.clone(),
            expires,
        };
        Some(item.lease.clone())
    }

    /// Takes a scored group in. The first one counts.
    pub fn push(&mut self, group: v1::ScoredGroup) -> v1::PushStatus {
        let Some(index) = self.by_group.get(&GroupId(group.group_id.clone())) else {
            return v1::PushStatus::Unwanted;
        };
        let item = &mut self.items[*index];
        if matches!(item.state, State::Done(_)) {
            return v1::PushStatus::Duplicate;
        }
        item.state = State::Done(Box::new(group));
        self.done += 1;
        v1::PushStatus::Accepted
    }

    /// An actor gives a lease back; `failed` says that it tried to make the group and could not. Returns whether the
    /// actor held the lease.
    pub fn give_back(&mut self, group_id: &GroupId, actor: &ActorId, failed: bool, why: &str, now: Instant) -> bool {
        let Some(index) = self.by_group.get(group_id) else {
            return false;
        };
        let item = &mut self.items[*index];
        if !matches!(&item.state, State::Leased { actor: holder, .. } if holder == actor) {
            return false;
        }
        item.failures += u32::from(failed);
        let pause = if failed {
            pause_after(item.failures)
        } else {
            Duration::ZERO
        };
        item.state = State::Waiting {
            not_before: now + pause,
        };
        if item.failures >= MAX_FAILURES {
            self.failure = Some(format!("group {group_id} failed {} times, last: {why}", item.failures));
        }
        true
    }

    /// Takes leases back that have run out. Returns how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        self.take_back(now, |_, expires| expires <= now)
    }

    /// Takes back all leases of an actor that is gone. Returns how many.
    pub fn take_back_from(&mut self, actor: &ActorId, now: Instant) -> u64 {
        self.take_back(now, |holder, _| holder == actor)
    }

    fn take_back(&mut self, now: Instant, applies: impl Fn(&ActorId, Instant) -> bool) -> u64 {
        let mut count = 0;
        for item in &mut self.items {
            if matches!(&item.state, State::Leased { actor, expires } if applies(actor, *expires)) {
                item.state = State::Waiting { not_before: now };
                count += 1;
            }
        }
        count
    }

    /// The next time at which a lease or a pause runs out.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let times = self.items.iter().filter_map(|item| match &item.state {
            State::Waiting { not_before } => Some(*not_before),
            State::Leased { expires, .. } => Some(*expires),
            State::Done(_) => None,
        });
        times.filter(|time| *time > now).min()
    }

    /// How many leases actors hold.
    pub fn leased_groups(&self) -> u64 {
        self.items
            .iter()
            .filter(|item| matches!(item.state, State::Leased { .. }))
            .count() as u64
    }

    /// How many groups have come back, and how many there are in all.
    pub fn progress(&self) -> (u32, u32) {
        (self.done as u32, self.items.len() as u32)
    }

    /// Why the evaluation cannot be finished; none where it can.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// All groups in the order of the leases; those that are missing are left out.
    pub fn into_groups(self) -> Vec<v1::ScoredGroup> {
        let groups = self.items.into_iter().filter_map(|item| match item.state {
            State::Done(group) => Some(*group),
            State::Waiting { .. } | State::Leased { .. } => None,
        });
        groups.collect()
    }
}
