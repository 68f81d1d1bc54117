//! The right of one learner to a job: two learners, a clock, messages that take their time, and a Redis that lets the right
//! run out or forgets it. What a learner knows of its right (`learner/src/queue/fence.rs`) is the code itself.

use std::time::{Duration, Instant};

use anytime_learner::invariants::{Held, one_certain, one_right};
use anytime_learner::queue::fence::{HeldByAnother, LASTS, Right};

use crate::models::explore::{Goal, Model, explore};

/// One tick of the clock.
const TICK: Duration = Duration::from_secs(4);

/// How many ticks the model runs.
const TICKS: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// A learner counts its right from when the answer came, and not from when it asked.
    CountsFromTheAnswer,
    /// The queue's scripts do not check who has the right.
    WritesUnseen,
}

#[derive(Clone)]
struct Rights {
    forgets: u8,
    plant: Plant,
    origin: Instant,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    /// Who has the right in Redis, and when it runs out.
    holder: Option<(usize, u8)>,
    learners: [Learner; 2],
    forgets: u8,
    /// Who wrote to the queue last, and who had the right then.
    wrote: Option<(usize, Option<usize>)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Learner {
    right: Right,
    request: Request,
}

/// A request for the right, with the tick at which it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Request {
    #[default]
    None,
    Sent(u8),
    /// Redis has decided: who else has it.
    Decided(u8, Option<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Tick,
    Ask(usize),
    Decide(usize),
    Hear(usize),
    Write(usize),
    Forget,
}

impl Rights {
    fn at(&self, tick: u8) -> Instant {
        self.origin + TICK * u32::from(tick)
    }

    fn name(learner: usize) -> HeldByAnother {
        HeldByAnother {
            address: learner.to_string(),
        }
    }
}

impl Model for Rights {
    type State = World;
    type Action = Action;

    fn initial(&self) -> World {
        World {
            now: 0,
            holder: None,
            learners: Default::default(),
            forgets: self.forgets,
            wrote: None,
        }
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        let mut actions = Vec::new();
        if world.now < TICKS {
            actions.push(Action::Tick);
        }
        for (index, learner) in world.learners.iter().enumerate() {
            match learner.request {
                Request::None => actions.push(Action::Ask(index)),
                Request::Sent(_) => actions.push(Action::Decide(index)),
                Request::Decided(..) => actions.push(Action::Hear(index)),
            }
            if learner.right != Right::default() {
                actions.push(Action::Write(index));
            }
        }
        if world.forgets > 0 && world.holder.is_some() {
            actions.push(Action::Forget);
        }
        actions
    }

    fn next(&self, before: &World, action: &Action) -> World {
        let mut world = before.clone();
        world.wrote = None;
        let lasts = (LASTS.as_secs() / TICK.as_secs()) as u8;
        match *action {
            Action::Tick => {
                world.now += 1;
                world.holder = world.holder.filter(|(_, until)| *until > world.now);
            }
            Action::Ask(index) => world.learners[index].request = Request::Sent(world.now),
            Action::Decide(index) => {
                let Request::Sent(asked) = world.learners[index].request else {
                    return world;
                };
                let other = world.holder.map(|(holder, _)| holder).filter(|holder| *holder != index);
                if other.is_none() {
                    world.holder = Some((index, world.now + lasts));
                }
                world.learners[index].request = Request::Decided(asked, other);
            }
            Action::Hear(index) => {
                let Request::Decided(asked, other) = world.learners[index].request else {
                    return world;
                };
                let from = if self.plant == Plant::CountsFromTheAnswer {
                    world.now
                } else {
                    asked
                };
                let learner = &mut world.learners[index];
                learner.request = Request::None;
                match other {
                    None => learner.right.is_given(self.at(from)),
                    Some(other) => learner.right.is_lost_to(Self::name(other)),
                }
            }
            Action::Write(index) => {
                let holder = world.holder.map(|(holder, _)| holder);
                let other = holder.filter(|holder| *holder != index);
                match other {
                    Some(other) if self.plant != Plant::WritesUnseen => {
                        world.learners[index].right.is_lost_to(Self::name(other));
                    }
                    _ => world.wrote = Some((index, holder)),
                }
            }
            Action::Forget => {
                world.forgets -= 1;
                world.holder = None;
            }
        }
        world
    }

    fn check(&self, world: &World) -> Held {
        if let Some((writer, holder)) = world.wrote {
            one_right(writer, holder)?;
        }
        // A right that Redis has forgotten may be given to another learner.
        if world.forgets == self.forgets {
            let now = self.at(world.now);
            one_certain(world.learners.iter().map(|learner| learner.right.is_certain(now)))?;
        }
        Ok(())
    }

    fn goals(&self) -> Vec<Goal<Self>> {
        Vec::new()
    }
}

fn rights(forgets: u8, plant: Plant) -> Rights {
    Rights {
        forgets,
        plant,
        origin: Instant::now(),
    }
}

#[test]
fn one_learner_at_a_time_is_certain_of_its_right() {
    for forgets in [0, 1] {
        match explore(&rights(forgets, Plant::Nothing)) {
            Ok((states, depth)) => println!("rights: {states} states, depth {depth}"),
            Err(counterexample) => panic!("{counterexample}"),
        }
    }
}

#[test]
fn every_planted_error_of_a_right_is_found() {
    for plant in [Plant::CountsFromTheAnswer, Plant::WritesUnseen] {
        let found = explore(&rights(0, plant)).expect_err("it was planted");
        assert!(found.what.starts_with("one right"), "{plant:?}: {found}");
    }
}
