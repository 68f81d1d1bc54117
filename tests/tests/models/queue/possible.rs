//! What may happen in a state.

use super::world::{Actor, Learner, Monitor, Phase, Push, World};
use super::{Action, Plant, Queue};

impl Queue {
    pub(super) fn learner_actions(&self, world: &World, learner: &Learner, actions: &mut Vec<Action>) {
        if world.faults.learner_kills > 0 {
            actions.push(Action::Kill);
        }
        for (index, admitted) in learner.admitted.iter().enumerate() {
            if admitted.outcome.is_none() {
                actions.push(Action::Store(index));
                continue;
            }
            actions.push(Action::Conclude {
                admitted: index,
                is_lost: false,
            });
            if world.faults.lost_answers > 0 {
                actions.push(Action::Conclude {
                    admitted: index,
                    is_lost: true,
                });
            }
        }
        if learner.admitted.len() < 2 {
            for push in 0..world.pushes.len() {
                actions.push(Action::Admit {
                    push,
                    comes_again: false,
                });
                if world.faults.doubled_pushes > 0 {
                    actions.push(Action::Admit {
                        push,
                        comes_again: true,
                    });
                }
            }
        }
        self.expiries(world, learner, actions);
        if !learner.letters.is_empty() && learner.is_up {
            actions.push(Action::Bury);
        }
        match learner.dug_up {
            Some(_) => actions.push(Action::Replay),
            // A replay and the correction of the queue wait for each other.
            None if world.faults.replays > 0
                && learner.is_up
                && (learner.monitor == Monitor::Idle || self.plant == Plant::ReplaysAtAnyTime)
                && learner.phase != Phase::Done =>
            {
                actions.extend(world.redis.dead.iter().map(|sequence| Action::DigUp(*sequence)));
            }
            None => {}
        }
        let expected = learner.table.queued_groups() + learner.table.taken_groups();
        match &learner.monitor {
            Monitor::Idle if learner.dug_up.is_some() && self.plant != Plant::ReplaysAtAnyTime => {}
            Monitor::Idle if !learner.is_up => actions.push(Action::Look),
            // The monitor finds the length wrong twice in a row before it compares queue and table. By then what was on
            // its way has arrived, so that nothing is admitted here.
            Monitor::Idle if learner.admitted.is_empty() && world.redis.length() != expected => {
                actions.push(Action::Look);
            }
            Monitor::Idle => {}
            Monitor::Looked(_) => actions.push(Action::Open),
            Monitor::Opened(..) => actions.push(Action::Reconcile),
        }
        match learner.phase {
            Phase::Takes if learner.batch.len() as u64 == self.rules.batch => actions.push(Action::Train),
            Phase::Takes if learner.is_up => actions.push(Action::Take),
            Phase::Reports => actions.push(Action::Report),
            Phase::Saves => actions.push(Action::Save),
            Phase::Settles if learner.is_up => {
                actions.push(Action::Settle { is_lost: false });
                if world.faults.lost_answers > 0 {
                    actions.push(Action::Settle { is_lost: true });
                }
            }
            Phase::Notes => actions.push(Action::Note),
            Phase::Takes | Phase::Settles | Phase::Done => {}
        }
    }

    /// Leases run out that nobody works at, and those of slow actors.
    fn expiries(&self, world: &World, learner: &Learner, actions: &mut Vec<Action>) {
        let leased = learner.table.standing().leased;
        for (actor, incarnation) in &learner.known {
            let holder = &world.actors[*actor];
            let works_at = |sequence: &u64| holder.incarnation == *incarnation && holder.held.contains_key(sequence);
            let is_early = leased.iter().all(works_at);
            if !leased.is_empty() && (!is_early || world.faults.slow_actors > 0) {
                actions.push(Action::Expire {
                    actor: *actor,
                    incarnation: *incarnation,
                    is_early,
                });
            }
        }
    }

    /// Whether a message may be on its way while other things happen.
    fn asks_take_time(&self) -> bool {
        self.faults.late_requests > 0
    }

    fn pushes_take_time(&self) -> bool {
        self.faults.doubled_pushes > 0 || self.faults.actor_deaths > 0
    }

    pub(super) fn actor_actions(&self, world: &World, index: usize, actions: &mut Vec<Action>) {
        let actor = &world.actors[index];
        let awaited = world
            .asks
            .iter()
            .position(|ask| ask.actor == index && ask.is_awaited && ask.incarnation == actor.incarnation);
        match awaited {
            None if self.asks_take_time() => actions.push(Action::Ask(index)),
            None => {
                if world.learner.is_some() {
                    actions.push(Action::Lease {
                        actor: index,
                        is_lost: false,
                    });
                }
                if world.learner.is_some() && world.faults.lost_answers > 0 {
                    actions.push(Action::Lease {
                        actor: index,
                        is_lost: true,
                    });
                }
            }
            Some(_) if world.faults.late_requests > 0 => actions.push(Action::AskTimesOut(index)),
            Some(_) => {}
        }
        if world
            .learner
            .as_ref()
            .is_some_and(|learner| learner.step != actor.weights)
        {
            actions.push(Action::Follow(index));
        }
        for (sequence, work) in &actor.held {
            match work.version {
                None if actor.weights >= work.min_version || self.plant == Plant::TrainsOldTokens => {
                    actions.push(Action::Generate(index, *sequence));
                    if world.faults.given_up > 0 && world.learner.is_some() {
                        actions.push(Action::GiveUp(index, *sequence));
                    }
                }
                Some(version) => {
                    if world.faults.refused > 0 && world.learner.is_some() {
                        actions.push(Action::Refuse(index, *sequence));
                    }
                    let push = push_of(index, actor, *sequence, version);
                    let hears = |learner: &Learner| {
                        learner.admitted.len() < 2 && !learner.admitted.iter().any(|admitted| admitted.push == push)
                    };
                    if self.pushes_take_time() {
                        if !world.pushes.contains(&push) {
                            actions.push(Action::Send(index, *sequence));
                        }
                    } else if world.learner.as_ref().is_some_and(hears) {
                        actions.push(Action::Push(index, *sequence));
                    }
                }
                None => {
                    let is_out = |learner: &Learner| learner.step >= work.min_version;
                    if world.learner.as_ref().is_some_and(|learner| !is_out(learner)) {
                        actions.push(Action::WaitInVain(index, *sequence));
                    }
                }
            }
        }
        if world.faults.actor_deaths > 0 {
            actions.push(Action::ActorDies(index));
        }
    }
}

pub(super) fn push_of(index: usize, actor: &Actor, sequence: u64, version: u64) -> Push {
    Push {
        actor: index,
        incarnation: actor.incarnation,
        sequence,
        version,
    }
}
