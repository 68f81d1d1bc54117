//! Jobs of one learner: submitted, resumed and cancelled by people, worked on by one thread, held up by faults, in a
//! process that is killed, drained and started again. What may become of a job (`learner/src/jobs/states.rs`), whose turn
//! it is (`turns.rs`) and the count of crashes are the code itself; disk, people and the thread's work are modelled. Longer
//! than 500 lines because the model is one machine.

use std::time::{Duration, Instant};

use anytime_learner::invariants::{Broken, Held, job_move, one_at_a_time, one_turn, own_fault};
use anytime_learner::jobs::crashes::count_crash;
use anytime_learner::jobs::states::{Beginning, Cancellation, Resumption, Standing};
use anytime_learner::jobs::turns::{Turn, Turns};
use anytime_proto::v1::{self, JobState};

use crate::models::explore::{Goal, Model};

/// An error that is planted, which the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    /// A passing fault fails the job.
    FailsForPassingFaults,
    /// A job that is running on disk is not taken up again at a start.
    ForgetsRunningJobs,
    /// A job that was cancelled can be resumed.
    ResumesCancelledJobs,
    /// A job whose turn has begun goes on waiting for another one.
    KeepsWaiting,
    /// A job that was cancelled as the process died stays as it was.
    LeavesCancelledJobs,
    /// A job that fails just after it was cancelled ends as failed.
    FailsThoughCancelled,
}

/// How often each may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    pub(crate) kills: u8,
    pub(crate) drains: u8,
    /// Faults of the job itself. The next ones are passing faults, faults of the process, and faults that need a
    /// person.
    pub(crate) own: u8,
    pub(crate) passing: u8,
    pub(crate) of_process: u8,
    pub(crate) for_person: u8,
    pub(crate) pauses_within: u8,
}

#[derive(Clone)]
pub(crate) struct Jobs {
    pub(crate) jobs: usize,
    pub(crate) faults: Faults,
    pub(crate) plant: Plant,
    pub(crate) origin: Instant,
}

/// A pause before the next try, and times at which it is not over, is over, and has kept the turn too long.
const PAUSE: Duration = Duration::from_secs(2);
const TIMES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(60), Duration::from_secs(3600)];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    disk: Vec<Record>,
    process: Option<Process>,
    faults: Faults,
    /// Whether the last failure of each job was its own.
    was_own: Vec<bool>,
    broken: Option<(&'static str, String)>,
}

/// A job as it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Record {
    state: JobState,
    was_cancelled: bool,
    will_be_tried: bool,
    step: u64,
    crashes: u32,
    crashed_at: u64,
    end_was_expected: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    is_held: Vec<bool>,
    is_cancelled: Vec<bool>,
    turns: Turns<usize>,
    thread: Thread,
    is_draining: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thread {
    Idle,
    /// It has taken the job's turn and not begun.
    Taken(usize),
    Works(usize),
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeds,
    IsCancelled,
    IsSuspended,
    OwnFault,
    PassingFault,
    ProcessFault,
    NeedsPerson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Submit(usize),
    Resume(usize),
    Cancel(usize),
    /// The process dies when the request is on disk and nowhere else.
    CancelAndDie(usize),
    Turn(usize),
    Begin,
    Step,
    PauseWithin,
    GoOn,
    End(End),
    Kill,
    Drain,
    Exit,
    Start,
}

/// Later jobs have higher priorities.
fn priority_of(job: usize) -> i32 {
    job as i32
}

impl World {
    fn standing(&self, job: usize) -> Standing {
        let record = &self.disk[job];
        let process = self.process.as_ref();
        Standing {
            state: record.state,
            is_held: process.is_some_and(|process| process.is_held[job]),
            is_cancelled: process.is_some_and(|process| process.is_cancelled[job]),
            will_be_tried: record.will_be_tried,
        }
    }

    fn set(&mut self, job: usize, state: JobState, will_be_tried: bool) {
        let record = &mut self.disk[job];
        if let Err(Broken { invariant, what }) = job_move(record.state, state) {
            self.broken = Some((invariant, what));
        }
        record.state = state;
        record.will_be_tried = will_be_tried;
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("only what needs a process asks for it")
    }

    fn begin(&mut self, plant: Plant) {
        let Thread::Taken(job) = self.process().thread else {
            return;
        };
        if plant != Plant::KeepsWaiting {
            self.process().turns.begun(&job);
        }
        self.process().thread = Thread::Idle;
        match self.standing(job).beginning() {
            Beginning::HasEnded => return,
            Beginning::WasCancelled => return self.set(job, JobState::Cancelled, false),
            Beginning::RunsAgain if self.count_crash(job) => return self.set(job, JobState::Paused, false),
            Beginning::RunsAgain | Beginning::Runs => {}
        }
        self.set(job, JobState::Running, false);
        self.process().is_held[job] = true;
        self.process().thread = Thread::Works(job);
    }

    /// As the code counts; whether the job is to wait for a person.
    fn count_crash(&mut self, job: usize) -> bool {
        let record = &mut self.disk[job];
        let mut counted = v1::Job {
            step: record.step,
            crashes: Some(v1::Crashes {
                step: record.crashed_at,
                count: record.crashes,
                expected: record.end_was_expected,
                ..v1::Crashes::default()
            }),
            ..v1::Job::default()
        };
        let is_too_often = count_crash(&mut counted).is_some();
        let crashes = counted.crashes.unwrap_or_default();
        record.crashes = crashes.count;
        record.crashed_at = crashes.step;
        record.end_was_expected = crashes.expected;
        is_too_often
    }

    fn end(&mut self, end: End, plant: Plant, now: Instant) {
        let Thread::Works(job) = self.process().thread else {
            return;
        };
        self.process().thread = Thread::Idle;
        self.process().is_held[job] = false;
        let was_cancelled = self.process().is_cancelled[job] && plant != Plant::FailsThoughCancelled;
        match end {
            End::Succeeds => self.set(job, JobState::Succeeded, false),
            End::IsCancelled => self.set(job, JobState::Cancelled, false),
            End::IsSuspended => {
                self.disk[job].end_was_expected = true;
                self.process().thread = Thread::Ended;
            }
            End::OwnFault => {
                self.faults.own -= 1;
                self.was_own[job] = true;
                let ends_as = if was_cancelled {
                    JobState::Cancelled
                } else {
                    JobState::Failed
                };
                self.set(job, ends_as, false);
            }
            End::PassingFault => {
                self.faults.passing -= 1;
                self.was_own[job] = false;
                if was_cancelled {
                    return self.set(job, JobState::Cancelled, false);
                }
                if plant == Plant::FailsForPassingFaults {
                    return self.set(job, JobState::Failed, false);
                }
                self.set(job, JobState::Paused, true);
                self.process().turns.try_again(job, PAUSE, now);
            }
            End::NeedsPerson => {
                self.faults.for_person -= 1;
                let becomes = if was_cancelled {
                    JobState::Cancelled
                } else {
                    JobState::Paused
                };
                self.set(job, becomes, false);
            }
            End::ProcessFault => {
                self.faults.of_process -= 1;
                self.process = None;
            }
        }
    }

    fn resume(&mut self, job: usize, plant: Plant) {
        let mut resumption = self.standing(job).resumption(false);
        if plant == Plant::ResumesCancelledJobs && self.disk[job].state == JobState::Cancelled {
            resumption = Resumption::Queue;
        }
        match resumption {
            Resumption::Queue => {
                self.set(job, JobState::Queued, false);
                let record = &mut self.disk[job];
                (record.crashes, record.crashed_at, record.end_was_expected) = (0, 0, false);
                self.process().turns.wait(job, priority_of(job));
            }
            Resumption::Nudge => self.set(job, JobState::Running, false),
            Resumption::Leave | Resumption::HasEnded | Resumption::IsHeld => {}
        }
    }

    fn cancel(&mut self, job: usize) {
        let cancellation = self.standing(job).cancellation();
        if cancellation == Cancellation::Nothing {
            return;
        }
        self.disk[job].was_cancelled = true;
        self.process().is_cancelled[job] = true;
        if cancellation == Cancellation::AtOnce {
            self.set(job, JobState::Cancelled, false);
        }
    }

    fn start(&mut self, plant: Plant) {
        let jobs = self.disk.len();
        self.process = Some(Process {
            is_held: vec![false; jobs],
            is_cancelled: self.disk.iter().map(|record| record.was_cancelled).collect(),
            turns: Turns::default(),
            thread: Thread::Idle,
            is_draining: false,
        });
        let goes_on = |world: &Self, job: &usize| match plant {
            Plant::ForgetsRunningJobs => false,
            Plant::LeavesCancelledJobs if world.disk[*job].state == JobState::Failed => false,
            _ => world.standing(*job).goes_on_at_start(),
        };
        let began: Vec<usize> = (0..jobs).filter(|job| goes_on(self, job)).collect();
        let queued = (0..jobs).filter(|job| self.disk[*job].state == JobState::Queued);
        let queued: Vec<usize> = queued.collect();
        for job in began {
            self.process().turns.go_on(job);
        }
        for job in queued {
            self.process().turns.wait(job, priority_of(job));
        }
    }

    fn thread_actions(&self, process: &Process, actions: &mut Vec<Action>) {
        match process.thread {
            Thread::Idle if process.is_draining => {}
            Thread::Idle => {
                let waits = process.turns.waiting().len() + process.turns.retries().count() > 0;
                if waits {
                    actions.extend((0..TIMES.len()).map(Action::Turn));
                }
            }
            Thread::Taken(_) => actions.push(Action::Begin),
            Thread::Works(job) => {
                let is_paused = self.disk[job].state == JobState::Paused;
                if process.is_cancelled[job] {
                    actions.push(Action::End(End::IsCancelled));
                }
                if process.is_draining {
                    actions.push(Action::End(End::IsSuspended));
                }
                if is_paused {
                    actions.push(Action::GoOn);
                    return;
                }
                actions.push(Action::End(End::Succeeds));
                if self.disk[job].step < 1 {
                    actions.push(Action::Step);
                }
                let faults = [
                    (self.faults.own, End::OwnFault),
                    (self.faults.passing, End::PassingFault),
                    (self.faults.of_process, End::ProcessFault),
                    (self.faults.for_person, End::NeedsPerson),
                ];
                let possible = faults.into_iter().filter(|(left, _)| *left > 0);
                actions.extend(possible.map(|(_, end)| Action::End(end)));
                if self.faults.pauses_within > 0 {
                    actions.push(Action::PauseWithin);
                }
            }
            Thread::Ended => {}
        }
    }
}

impl Model for Jobs {
    type State = World;
    type Action = Action;

    fn initial(&self) -> World {
        let record = Record {
            state: JobState::Unspecified,
            was_cancelled: false,
            will_be_tried: false,
            step: 0,
            crashes: 0,
            crashed_at: 0,
            end_was_expected: false,
        };
        World {
            disk: vec![record; self.jobs],
            process: None,
            faults: self.faults,
            was_own: vec![false; self.jobs],
            broken: None,
        }
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        let Some(process) = &world.process else {
            return vec![Action::Start];
        };
        let mut actions = Vec::new();
        for (job, record) in world.disk.iter().enumerate() {
            if record.state == JobState::Unspecified {
                actions.push(Action::Submit(job));
                continue;
            }
            actions.push(Action::Resume(job));
            actions.push(Action::Cancel(job));
            if world.faults.kills > 0 && world.standing(job).cancellation() != Cancellation::Nothing {
                actions.push(Action::CancelAndDie(job));
            }
        }
        world.thread_actions(process, &mut actions);
        if world.faults.kills > 0 {
            actions.push(Action::Kill);
        }
        if process.is_draining {
            actions.push(Action::Exit);
        } else if world.faults.drains > 0 {
            actions.push(Action::Drain);
        }
        actions
    }

    fn next(&self, before: &World, action: &Action) -> World {
        let mut world = before.clone();
        world.broken = None;
        match *action {
            Action::Submit(job) => {
                world.set(job, JobState::Queued, false);
                world.process().turns.wait(job, priority_of(job));
            }
            Action::Resume(job) => world.resume(job, self.plant),
            Action::Cancel(job) => world.cancel(job),
            Action::CancelAndDie(job) => {
                world.faults.kills -= 1;
                world.disk[job].was_cancelled = true;
                world.process = None;
            }
            Action::Turn(time) => {
                let is_paused: Vec<bool> = world.disk.iter().map(|it| it.state == JobState::Paused).collect();
                let turn = world
                    .process()
                    .turns
                    .next(self.origin + TIMES[time], |job| is_paused[*job]);
                if let Turn::Run(job) = turn {
                    world.process().thread = Thread::Taken(job);
                }
            }
            Action::Begin => world.begin(self.plant),
            Action::Step => {
                if let Thread::Works(job) = world.process().thread {
                    world.disk[job].step += 1;
                }
            }
            Action::PauseWithin => {
                world.faults.pauses_within -= 1;
                if let Thread::Works(job) = world.process().thread {
                    world.set(job, JobState::Paused, true);
                }
            }
            Action::GoOn => {
                if let Thread::Works(job) = world.process().thread {
                    world.set(job, JobState::Running, false);
                }
            }
            Action::End(end) => world.end(end, self.plant, self.origin),
            Action::Kill => {
                world.faults.kills -= 1;
                world.process = None;
            }
            Action::Drain => {
                world.faults.drains -= 1;
                world.process().is_draining = true;
                for record in &mut world.disk {
                    record.end_was_expected |= record.state == JobState::Running;
                }
            }
            Action::Exit => world.process = None,
            Action::Start => world.start(self.plant),
        }
        world
    }

    fn check(&self, world: &World) -> Held {
        if let Some((invariant, what)) = &world.broken {
            return Err(Broken {
                invariant,
                what: what.clone(),
            });
        }
        for (record, was_own) in world.disk.iter().zip(&world.was_own) {
            own_fault(record.state, *was_own)?;
        }
        let Some(process) = &world.process else {
            return Ok(());
        };
        let held = world.disk.iter().zip(&process.is_held);
        let held: Vec<JobState> = held.filter(|(_, is_held)| **is_held).map(|(it, _)| it.state).collect();
        one_at_a_time(&held)?;
        let working = match process.thread {
            Thread::Works(job) => Some(job),
            _ => None,
        };
        one_turn(
            working,
            process.turns.waiting().copied(),
            process.turns.retries().copied(),
        )
    }

    fn goals(&self) -> Vec<Goal<Self>> {
        fn is_fault(action: &Action) -> bool {
            matches!(
                action,
                Action::CancelAndDie(_)
                    | Action::Kill
                    | Action::Drain
                    | Action::PauseWithin
                    | Action::End(End::OwnFault | End::PassingFault | End::ProcessFault | End::NeedsPerson)
            )
        }
        vec![
            Goal {
                name: "every job can come to its end",
                is_reached: |world| {
                    let is_over = |it: &Record| matches!(it.state, JobState::Succeeded | JobState::Cancelled);
                    world.disk.iter().all(is_over)
                },
                may_happen: |action| !is_fault(action),
            },
            Goal {
                name: "what was cancelled ends without a person",
                is_reached: |world| {
                    let is_over = |it: &Record| matches!(it.state, JobState::Succeeded | JobState::Cancelled);
                    world.disk.iter().all(|it| !it.was_cancelled || is_over(it))
                },
                may_happen: |action| {
                    let is_person = matches!(action, Action::Submit(_) | Action::Resume(_) | Action::Cancel(_));
                    !is_fault(action) && !is_person
                },
            },
            Goal {
                name: "what is to be tried again runs without a person",
                is_reached: |world| {
                    let waits = |it: &Record| {
                        matches!(it.state, JobState::Queued | JobState::Running)
                            || it.state == JobState::Paused && it.will_be_tried
                    };
                    !world.disk.iter().any(waits)
                },
                may_happen: |action| {
                    let is_person = matches!(action, Action::Submit(_) | Action::Resume(_) | Action::Cancel(_));
                    !is_fault(action) && !is_person
                },
            },
        ]
    }
}
