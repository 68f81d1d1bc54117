//! When each group was leased, came, and was taken, for a picture of a step. The lease table, a state machine without a
//! clock, forgets a lease as soon as its group is there.

use std::collections::BTreeMap;
use std::time::Instant;

use anytime_proto::ActorId;
use anytime_service::traces::SpanRef;

use super::actors::Holder;
use super::group::Journey;
use super::lease_table::LeaseTable;

/// The journeys of the groups in the queue.
#[derive(Default)]
pub(super) struct Journeys {
    arrived: BTreeMap<u64, Journey>,
}

impl Journeys {
    /// A group of `actor` has come. Call it before the table forgets the lease.
    pub(super) fn arrived(&mut self, sequence: u64, actor: &ActorId, leases: &LeaseTable, now: Instant) {
        let lease = leases.leased.get(&sequence);
        // A lease of an earlier process of the learner begins anew with the push, so that nobody knows its beginning.
        let lease = lease.filter(|lease| lease.holder != Holder::unnamed(&lease.holder.actor));
        let journey = Journey {
            actor: actor.clone(),
            leased: lease.map(|lease| lease.since),
            arrived: Some(now),
            taken: now,
            span: SpanRef::default(),
        };
        self.arrived.insert(sequence, journey);
    }

    /// The trainer takes a group. It takes the lowest that there is: what is known of lower ones is of groups that will
    /// not be trained.
    pub(super) fn taken(&mut self, sequence: u64, actor: &str, now: Instant) -> Journey {
        let later = self.arrived.split_off(&(sequence + 1));
        let mut journey = self.arrived.remove(&sequence).unwrap_or_else(|| Journey {
            actor: ActorId(actor.to_owned()),
            leased: None,
            arrived: None,
            taken: now,
            span: SpanRef::default(),
        });
        self.arrived = later;
        journey.taken = now;
        journey
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anytime_proto::WeightsVersion;

    use super::super::inventory::Inventory;
    use super::super::lease_rules::LeaseRules;
    use super::*;

    #[test]
    fn a_group_has_its_times_and_those_that_were_left_out_are_forgotten() {
        let rules = LeaseRules {
            batch: 4,
            max_staleness: 0,
            queue_groups: 8,
            lease: Duration::from_secs(60),
            total_groups: 4,
        };
        let mut leases = LeaseTable::new(rules, Inventory::default());
        leases.set_version(WeightsVersion(0));
        let holder = Holder {
            actor: ActorId("a".to_owned()),
            incarnation: "1".to_owned(),
        };
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut journeys = Journeys::default();
        for second in 0..3 {
            leases.lease(&holder, at(second)).expect("a lease");
        }
        for sequence in 0..3 {
            journeys.arrived(sequence, &holder.actor, &leases, at(10 + sequence));
        }
        // Group 0 was left out.
        let journey = journeys.taken(1, "a", at(20));
        assert_eq!(
            (journey.leased, journey.arrived, journey.taken),
            (Some(at(1)), Some(at(11)), at(20))
        );
        assert_eq!(journeys.arrived.keys().copied().collect::<Vec<_>>(), [2]);
        // It came to an earlier process of the learner.
        let unknown = journeys.taken(7, "b", at(21));
        assert_eq!((unknown.leased, unknown.arrived), (None, None));
        assert_eq!(unknown.actor.as_str(), "b");
        assert!(journeys.arrived.is_empty());
    }
}
