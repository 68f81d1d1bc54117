//! What a grading thread has in hand, so that another one can see that it hangs, and give it up.
//!
//! Every item ends by itself, because its work is counted in steps. This is the second line of defence, against a fault
//! in that count: a thread cannot be stopped from outside, so one that hangs is left behind, with what it did before.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Looks in a row that must find the same item in hand before its thread is given up. More than one, because a process
/// that was stopped for a while finds its clock far ahead, though nothing hangs.
const LOOKS: u32 = 3;

/// How often to look, so that an item is given up after its time at the earliest and half as much more at the latest.
pub(crate) fn interval(item_time: Duration) -> Duration {
    item_time / (LOOKS - 1)
}

/// With this many given-up threads alive the process should end, to be started again: each may take a core for ever,
/// and with so many the process does little else.
pub(crate) fn most_given_up(threads: usize) -> usize {
    threads.max(4)
}

/// The items of one thread: the one in hand, and the results of those before it.
#[derive(Debug)]
pub(crate) struct Hand<Results> {
    state: Mutex<State<Results>>,
}

#[derive(Debug)]
struct State<Results> {
    results: Results,
    /// The item in hand, and how many were taken so far.
    item: Option<usize>,
    taken: u64,
    /// How many were taken when it was last looked, and how many looks in a row found that.
    seen: u64,
    looks: u32,
    is_given_up: bool,
}

/// What a thread does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Works on this item.
    Item(usize),
    /// Ends, because there is nothing left to do.
    Done,
    /// Ends, because it was given up: what it did last counts no more.
    GivenUp,
}

impl<Results: Default> Hand<Results> {
    /// An empty hand, with the results that are there already.
    pub(crate) fn new(results: Results) -> Self {
        Self {
            state: Mutex::new(State {
                results,
                item: None,
                taken: 0,
                seen: 0,
                looks: 0,
                is_given_up: false,
            }),
        }
    }

    /// Puts down the item in hand, which adds its results, and takes the next one.
    pub(crate) fn turn(&self, finish: impl FnOnce(&mut Results), next: impl FnOnce() -> Option<usize>) -> Turn {
        let mut state = self.lock();
        if state.is_given_up {
            return Turn::GivenUp;
        }
        finish(&mut state.results);
        state.item = next();
        state.taken += 1;
        state.item.map_or(Turn::Done, Turn::Item)
    }

    /// Looks at the hand. If it has held one item for too long, its thread is given up from now on: returns the item,
    /// after `fault` has added its result.
    pub(crate) fn look(&self, fault: impl FnOnce(usize, &mut Results)) -> Option<usize> {
        let mut state = self.lock();
        let item = state.item.filter(|_| !state.is_given_up)?;
        if state.seen != state.taken {
            (state.seen, state.looks) = (state.taken, 0);
        }
        state.looks += 1;
        if state.looks < LOOKS {
            return None;
        }
        state.is_given_up = true;
        fault(item, &mut state.results);
        Some(item)
    }

    /// Takes the results so far.
    pub(crate) fn take(&self) -> Results {
        std::mem::take(&mut self.lock().results)
    }

    fn lock(&self) -> MutexGuard<'_, State<Results>> {
        // No one panics while holding it; results are whole in any case.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_that_stays_in_hand_is_given_up() {
        let hand = Hand::new(Vec::new());
        let fault = |item: usize, results: &mut Vec<String>| results.push(format!("{item} hangs"));
        assert_eq!(hand.turn(|_| {}, || Some(7)), Turn::Item(7));
        assert_eq!(hand.look(fault), None);
        assert_eq!(hand.look(fault), None);
        // Another item in between starts the looks anew.
        let finish = |results: &mut Vec<String>| results.push("7 is done".to_owned());
        assert_eq!(hand.turn(finish, || Some(8)), Turn::Item(8));
        assert_eq!(hand.look(fault), None);
        assert_eq!(hand.look(fault), None);
        assert_eq!(hand.look(fault), Some(8));
        assert_eq!(hand.look(fault), None, "once");
        let late = |results: &mut Vec<String>| results.push("8 is done".to_owned());
        assert_eq!(hand.turn(late, || Some(9)), Turn::GivenUp);
        assert_eq!(hand.take(), ["7 is done", "8 hangs"]);
    }

    #[test]
    fn an_empty_hand_is_never_given_up() {
        let hand = Hand::new(());
        assert_eq!(hand.turn(|()| {}, || None), Turn::Done);
        for _ in 0..10 {
            assert_eq!(hand.look(|_, ()| {}), None);
        }
    }
}
