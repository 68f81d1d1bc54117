//! The leases of one evaluation. They are given out in order, and for each a group comes back, unless it fails too
//! often. A group waits here until the job's thread takes it. When too many wait, no lease is given and actors keep
//! their groups, as with a full replay queue. The leases are held in memory only, so an evaluation that a crash
//! interrupts starts over.

#![deny(clippy::disallowed_methods)]

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use anytime_proto::{GroupId, InvalidGroup, check_group_against_plan, v1};

use super::actors::Holder;
use super::answers::Renewal;
use super::group::EvaluatedGroup;
use super::inspection::{check_problem, check_versions, generated_tokens};
use super::retries::{MAX_FAILURES, pause_after};

/// At most this many groups wait for the job's thread.
pub const MOST_WAITING_GROUPS: usize = 64;

/// No further group is taken in while this many generated tokens wait for the job's thread. A token takes 16 bytes (id,
/// log-probability, version), so that 64 MiB and one group are the most that waits.
pub const MOST_WAITING_TOKENS: usize = 1 << 22;

enum State {
    Waiting {
        not_before: Instant,
    },
    Leased {
        holder: Holder,
        since: Instant,
        expires: Instant,
    },
    Done,
    LeftOut,
}

struct Item {
    lease: v1::Lease,
    failures: u32,
    state: State,
}

/// The leases of one evaluation, and the groups that wait to be taken. A state machine without clock or I/O: the broker
/// passes the time to it, and asks [`is_over`](Self::is_over).
pub struct EvaluationLeases {
    items: Vec<Item>,
    by_group: HashMap<GroupId, usize>,
    /// Groups that have come back, and groups that were left out.
    settled: usize,
    /// Groups that have come back and were not taken yet, in the order in which they came.
    waiting: VecDeque<EvaluatedGroup>,
    /// Generated tokens of these.
    waiting_tokens: usize,
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
            settled: 0,
            waiting: VecDeque::new(),
            waiting_tokens: 0,
        }
    }

    /// Whether the group belongs to this evaluation.
    pub fn contains(&self, group_id: &GroupId) -> bool {
        self.by_group.contains_key(group_id)
    }

    /// Whether so much waits to be taken that no further group is taken in or leased.
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_WAITING_GROUPS || self.waiting_tokens >= MOST_WAITING_TOKENS
    }

    /// Leases the next group that is free, if there is one. None while too much waits to be taken.
    pub fn lease(&mut self, holder: &Holder, now: Instant) -> Option<v1::Lease> {
        if self.is_full() {
            return None;
        }
        let is_ready = |item: &&mut Item| matches!(item.state, State::Waiting { not_before } if not_before <= now);
        let item = self.items.iter_mut().find(is_ready)?;
        item.lease_to(holder, now);
        Some(item.lease.clone())
    }

    /// An actor says which groups it has in hand, as for training leases.
    pub fn renew(&mut self, holder: &Holder, held: &BTreeSet<GroupId>, now: Instant) -> Renewal {
        let mut renewal = Renewal::default();
        for item in &mut self.items {
            let is_held = held.contains(&GroupId(item.lease.group_id.clone()));
            let is_renewed = match &item.state {
                State::Waiting { .. } => is_held,
                State::Leased { holder: current, .. } if current == holder => {
                    if !is_held {
                        item.state = State::Waiting { not_before: now };
                        renewal.freed += 1;
                    }
                    is_held
                }
                State::Leased { .. } | State::Done | State::LeftOut => false,
            };
            if is_renewed {
                item.lease_to(holder, now);
                renewal.renewed += 1;
            }
        }
        renewal
    }

    /// Checks a group of this evaluation against its lease.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn inspect(&self, group: &v1::ScoredGroup) -> Result<(), InvalidGroup> {
        let Some(index) = self.by_group.get(&GroupId(group.group_id.clone())) else {
            return Ok(());
        };
        let lease = &self.items[*index].lease;
        check_group_against_plan(group, lease.plan.as_ref().unwrap_or(&v1::RolloutPlan::default()))?;
        check_problem(group, lease.problem.as_ref().unwrap_or(&v1::Problem::default()))?;
        let version = lease.min_weights_version;
        check_versions(group, version, version)
    }

    /// Takes a scored group in. The first one counts. While too much waits to be taken the actor keeps its group, and
    /// its lease starts anew.
    pub fn push(&mut self, group: v1::ScoredGroup, now: Instant) -> v1::PushStatus {
        let Some(place) = self.by_group.get(&GroupId(group.group_id.clone())).copied() else {
            return v1::PushStatus::Unwanted;
        };
        let is_full = self.is_full();
        let item = &mut self.items[place];
        let expires = now + item.duration();
        match &mut item.state {
            State::Done => return v1::PushStatus::Duplicate,
            State::LeftOut => return v1::PushStatus::Unwanted,
            State::Leased { expires: of_lease, .. } if is_full => {
                *of_lease = expires;
                return v1::PushStatus::QueueFull;
            }
            State::Waiting { .. } if is_full => return v1::PushStatus::QueueFull,
            State::Waiting { .. } | State::Leased { .. } => item.state = State::Done,
        }
        self.settled += 1;
        self.waiting_tokens += generated_tokens(&group);
        self.waiting.push_back(EvaluatedGroup { place, group });
        v1::PushStatus::Accepted
    }

    /// Takes the group that has waited longest.
    pub fn take(&mut self) -> Option<EvaluatedGroup> {
        let taken = self.waiting.pop_front()?;
        self.waiting_tokens -= generated_tokens(&taken.group);
        Some(taken)
    }

    /// An actor gives a lease back; `failed` says that it tried to make the group and could not. A group that failed
    /// too often is left out. Returns whether the actor held the lease, and whether the group is left out.
    pub fn give_back(&mut self, group_id: &GroupId, holder: &Holder, failed: bool, now: Instant) -> (bool, bool) {
        let Some(index) = self.by_group.get(group_id) else {
            return (false, false);
        };
        let item = &mut self.items[*index];
        if !matches!(&item.state, State::Leased { holder: current, .. } if current.may_be(holder)) {
            return (false, false);
        }
        item.failures += u32::from(failed);
        if item.failures >= MAX_FAILURES {
            item.state = State::LeftOut;
            self.settled += 1;
            return (true, true);
        }
        let pause = if failed {
            pause_after(item.failures)
        } else {
            Duration::ZERO
        };
        item.state = State::Waiting {
            not_before: now + pause,
        };
        (true, false)
    }

    /// Takes leases back that have run out. Returns how many.
    pub fn expire(&mut self, now: Instant) -> u64 {
        self.take_back(now, |_, expires| expires <= now)
    }

    /// Takes back all leases of a process that is gone. Returns how many.
    pub fn take_back_from(&mut self, holder: &Holder, now: Instant) -> u64 {
        self.take_back(now, |current, _| current == holder)
    }

    fn take_back(&mut self, now: Instant, applies: impl Fn(&Holder, Instant) -> bool) -> u64 {
        let mut count = 0;
        for item in &mut self.items {
            if matches!(&item.state, State::Leased { holder, expires, .. } if applies(holder, *expires)) {
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
            State::Done | State::LeftOut => None,
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

    /// The leases that actors hold: the place of the group, who has it, and since when.
    pub(super) fn held(&self) -> impl Iterator<Item = (u64, &Holder, Instant)> {
        self.items
            .iter()
            .zip(0..)
            .filter_map(|(item, place)| match &item.state {
                State::Leased { holder, since, .. } => Some((place, holder, *since)),
                _ => None,
            })
    }

    /// How many groups were taken or left out, and how many there are in all.
    pub fn progress(&self) -> (u32, u32) {
        ((self.settled - self.waiting.len()) as u32, self.items.len() as u32)
    }

    /// Whether every group was taken or left out.
    pub fn is_over(&self) -> bool {
        self.settled == self.items.len() && self.waiting.is_empty()
    }
}

impl Item {
    /// Leases the group to a process, or leases it longer where that process has it.
    fn lease_to(&mut self, holder: &Holder, now: Instant) {
        let since = match &self.state {
            State::Leased {
                holder: current, since, ..
            } if current == holder => *since,
            _ => now,
        };
        self.state = State::Leased {
            holder: holder.clone(),
            since,
            expires: now + self.duration(),
        };
    }

    fn duration(&self) -> Duration {
        Duration::from_secs(u64::from(self.lease.seconds))
    }
}
