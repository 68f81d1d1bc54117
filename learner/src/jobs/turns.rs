//! Whose turn it is: the jobs that wait, by priority and then in their order, and the paused ones that are to be tried
//! again. A state machine without clock or I/O.

#![deny(clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// For so long a paused job that is to be tried again keeps its turn. What stopped it would stop the next job too, most
/// often: a full disk, a file system that is away. After that the next job gets its chance, and the paused one is tried
/// again between the others.
pub const KEEPS_TURN: Duration = Duration::from_secs(600);

/// A paused job that is to be tried again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Retry<Id> {
    job: Id,
    at: Instant,
    /// Until when it keeps its turn.
    keeps_turn_until: Instant,
}

/// A job that waits for its turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting<Id> {
    job: Id,
    /// None of one that ran before the process started: it goes on ahead of all others, because no job is interrupted for
    /// another one's priority.
    priority: Option<i32>,
}

impl<Id> Waiting<Id> {
    /// Whether another one of this priority, which comes later, waits behind it.
    fn is_ahead_of(&self, priority: Option<i32>) -> bool {
        match (self.priority, priority) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own >= other,
        }
    }
}

/// What the thread of jobs does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<Id> {
    /// It runs this job.
    Run(Id),
    /// Nothing before this time, unless something changes.
    WaitUntil(Instant),
    /// Nothing until something changes.
    Wait,
}

/// The jobs whose turn comes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Turns<Id> {
    /// In the order in which they run; each once.
    waiting: VecDeque<Waiting<Id>>,
    retries: Vec<Retry<Id>>,
    /// The job that was put aside last, and until when it keeps its turn.
    turn_kept: Option<(Id, Instant)>,
}

impl<Id> Default for Turns<Id> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            retries: Vec::new(),
            turn_kept: None,
        }
    }
}

impl<Id: Clone + PartialEq> Turns<Id> {
    /// A job waits for its turn, behind those of its priority that wait already. It is not tried again by itself any more.
    pub fn wait(&mut self, job: Id, priority: i32) {
        self.insert(job, Some(priority));
    }

    /// A job that ran when the last process ended waits for its turn, ahead of those that only wait.
    pub fn go_on(&mut self, job: Id) {
        self.insert(job, None);
    }

    fn insert(&mut self, job: Id, priority: Option<i32>) {
        self.retries.retain(|retry| retry.job != job);
        if self.waiting.iter().any(|waiting| waiting.job == job) {
            return;
        }
        let place = self
            .waiting
            .iter()
            .take_while(|waiting| waiting.is_ahead_of(priority))
            .count();
        self.waiting.insert(place, Waiting { job, priority });
    }

    /// A paused job is to be tried again after this time.
    pub fn try_again(&mut self, job: Id, pause: Duration, now: Instant) {
        let kept = self.turn_kept.as_ref().filter(|(kept, _)| *kept == job);
        let keeps_turn_until = kept.map_or(now + KEEPS_TURN, |(_, until)| *until);
        self.turn_kept = Some((job.clone(), keeps_turn_until));
        self.retries.push(Retry {
            job,
            at: now + pause,
            keeps_turn_until,
        });
    }

    /// Takes the next one. A paused job whose time has come goes first, and one that keeps its turn holds the others up.
    /// `is_paused` says of a job whether it still is: somebody may have resumed or cancelled it meanwhile.
    pub fn next(&mut self, now: Instant, is_paused: impl Fn(&Id) -> bool) -> Turn<Id> {
        self.retries.retain(|retry| is_paused(&retry.job));
        if let Some(due) = self.retries.iter().position(|retry| retry.at <= now) {
            return Turn::Run(self.retries.swap_remove(due).job);
        }
        let is_kept = self.retries.iter().any(|retry| retry.keeps_turn_until > now);
        let next = if is_kept { None } else { self.waiting.pop_front() };
        match (next, self.retries.iter().map(|retry| retry.at).min()) {
            (Some(waiting), _) => Turn::Run(waiting.job),
            (None, Some(at)) => Turn::WaitUntil(at),
            (None, None) => Turn::Wait,
        }
    }

    /// A job's turn begins. A request to run it again that came after it was taken is fulfilled by this turn.
    pub fn begun(&mut self, job: &Id) {
        self.waiting.retain(|waiting| waiting.job != *job);
    }

    /// The paused job that holds those up that wait; none where none keeps its turn.
    pub fn kept(&self, now: Instant, is_paused: impl Fn(&Id) -> bool) -> Option<&Id> {
        let mut retries = self.retries.iter().filter(|retry| is_paused(&retry.job));
        retries
            .find(|retry| retry.keeps_turn_until > now)
            .map(|retry| &retry.job)
    }

    /// The jobs that wait, in their order.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Id> {
        self.waiting.iter().map(|waiting| &waiting.job)
    }

    /// The paused jobs that are to be tried again.
    pub fn retries(&self) -> impl Iterator<Item = &Id> {
        self.retries.iter().map(|retry| &retry.job)
    }
}

#[cfg(test)]
// Some time to begin with.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn in_order(turns: &mut Turns<&'static str>) -> Vec<&'static str> {
        let now = Instant::now();
        let mut order = Vec::new();
        while let Turn::Run(job) = turns.next(now, |_| true) {
            order.push(job);
        }
        order
    }

    #[test]
    fn a_higher_priority_goes_first_and_equals_in_the_order_in_which_they_came() {
        let mut turns = Turns::default();
        for (job, priority) in [
            ("a", 0),
            ("b", 5),
            ("c", -1),
            ("d", 0),
            ("e", 5),
            ("f", i32::MAX),
            ("g", i32::MIN),
        ] {
            turns.wait(job, priority);
        }
        // Somebody asks twice: it keeps its place.
        turns.wait("a", 9);
        assert_eq!(
            turns.waiting().copied().collect::<Vec<_>>(),
            ["f", "b", "e", "a", "d", "c", "g"]
        );
        assert_eq!(in_order(&mut turns), ["f", "b", "e", "a", "d", "c", "g"]);
    }

    #[test]
    fn a_job_that_ran_goes_on_before_the_highest_priority() {
        let mut turns = Turns::default();
        turns.wait("urgent", i32::MAX);
        turns.go_on("ran");
        turns.go_on("was paused");
        turns.wait("more urgent", i32::MAX);
        assert_eq!(in_order(&mut turns), ["ran", "was paused", "urgent", "more urgent"]);
    }

    #[test]
    fn a_paused_job_that_keeps_its_turn_is_said_to_hold_the_others_up() {
        let mut turns = Turns::default();
        let now = Instant::now();
        turns.wait("urgent", 9);
        assert_eq!(turns.kept(now, |_| true), None);
        turns.try_again("paused", Duration::from_secs(60), now);
        assert_eq!(turns.kept(now, |_| true), Some(&"paused"));
        assert!(matches!(turns.clone().next(now, |_| true), Turn::WaitUntil(_)));
        assert_eq!(turns.kept(now, |_| false), None, "somebody has cancelled it");
        assert_eq!(turns.kept(now + KEEPS_TURN, |_| true), None);
    }
}
