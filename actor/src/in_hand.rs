//! The groups that this process has in hand, from the answer that leased them until the learner has answered what became
//! of them. Every lease request lists them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anytime_proto::GroupId;

/// How many leases of each group are in hand, by group id: a lease that was lost and given again counts twice.
type Counts = BTreeMap<String, usize>;

/// The list of groups in hand. Cheap to clone; clones share the list.
#[derive(Clone, Default)]
pub struct InHand {
    counts: Arc<Mutex<Counts>>,
}

impl InHand {
    /// Takes a group in hand, until what is returned is dropped. `token` is that of its lease.
    pub fn hold(&self, group_id: &GroupId, token: Vec<u8>) -> Held {
        *lock(&self.counts).entry(group_id.0.clone()).or_default() += 1;
        Held {
            group_id: group_id.clone(),
            token,
            in_hand: self.clone(),
        }
    }

    /// The ids of all groups in hand.
    pub fn ids(&self) -> Vec<String> {
        lock(&self.counts).keys().cloned().collect()
    }
}

/// One group in hand. It goes wherever the group goes, so that the group leaves the list however it ends, also where a
/// task panics.
pub struct Held {
    group_id: GroupId,
    token: Vec<u8>,
    in_hand: InHand,
}

impl Held {
    /// What shows the learner that the group was leased to this actor.
    pub(crate) fn token(&self) -> Vec<u8> {
        self.token.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = lock(&self.in_hand.counts);
        if let Some(count) = counts.get_mut(&self.group_id.0) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.group_id.0);
            }
        }
    }
}

/// The counts are right also after a panic: each change is one step.
fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_has_its_group_in_hand_no_more() {
        let in_hand = InHand::default();
        let held = in_hand.hold(&GroupId("a".to_owned()), Vec::new());
        let task = tokio::spawn(async move {
            assert!(held.token().len() > 1, "as a bug would");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(in_hand.ids().is_empty());
    }

    #[test]
    fn a_group_is_listed_until_its_last_lease_has_ended() {
        let in_hand = InHand::default();
        let first = in_hand.hold(&GroupId("a".to_owned()), Vec::new());
        let second = in_hand.hold(&GroupId("a".to_owned()), Vec::new());
        let other = in_hand.hold(&GroupId("b".to_owned()), Vec::new());
        drop(first);
        assert_eq!(in_hand.ids(), ["a", "b"]);
        drop((second, other));
        assert!(in_hand.ids().is_empty());
    }
}
