//! Whose turn it is: the jobs that wait, in their order, and the paused ones that are to be tried again. A state machine
//! without clock or I/O.

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
    waiting: VecDeque<Id>,
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
    /// A job waits for its turn, behind those that wait already. It is not tried again by itself any more.
    pub fn wait(&mut self, job: Id) {
        self.retries.retain(|retry| retry.job != job);
        if !self.waiting.contains(&job) {
            self.waiting.push_back(job);
        }
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
            (Some(job), _) => Turn::Run(job),
            (None, Some(at)) => Turn::WaitUntil(at),
            (None, None) => Turn::Wait,
        }
    }

    /// A job's turn begins. A request to run it again that came after it was taken is fulfilled by this turn.
    pub fn begun(&mut self, job: &Id) {
        self.waiting.retain(|waiting| waiting != job);
    }

    /// The jobs that wait, in their order.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Id> {
        self.waiting.iter()
    }

    /// The paused jobs that are to be tried again.
    pub fn retries(&self) -> impl Iterator<Item = &Id> {
        self.retries.iter().map(|retry| &retry.job)
    }
}
