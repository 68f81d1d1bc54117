//! A lease table that is made anew while actors hold groups of the one before.

use std::collections::BTreeSet;
use std::time::Instant;

use anytime_learner::rollouts::lease_table::{Inventory, LeaseTable, PushCheck, Renewal};

use crate::lease_table::{LEASE, actor, holder, open_book};

#[test]
fn what_comes_back_from_before_a_restart_hides_nothing_new() {
    let now = Instant::now();
    // An actor still has 1 and 3 from the learner before, which had given 0 and 2 to others, and loses them.
    let lose = |table: &mut LeaseTable| {
        table.renew(&holder("a"), &BTreeSet::from([1, 3]), now);
        table.renew(&holder("a"), &BTreeSet::new(), now)
    };
    let mut table = open_book(Inventory::default());
    assert_eq!(lose(&mut table), Renewal { renewed: 0, freed: 2 });
    let leased: Vec<u64> = (0..4).map(|_| table.lease(&holder("b"), now).unwrap()).collect();
    assert_eq!(leased, [0, 1, 2, 3], "the lowest first, and none is left out");
    // The same by silence, and by a group that came and could not be kept.
    let mut table = open_book(Inventory::default());
    table.renew(&holder("a"), &BTreeSet::from([2]), now);
    assert_eq!(table.check_push(3, &actor("c"), now), PushCheck::Admit);
    assert_eq!(table.expire(now + LEASE), 2);
    let later = now + 2 * LEASE;
    let leased: Vec<u64> = (0..4).map(|_| table.lease(&holder("b"), later).unwrap()).collect();
    assert_eq!(leased, [0, 1, 2, 3]);
}
