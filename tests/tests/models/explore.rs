//! Visits every state that a model can reach (stateright), and says by which way it came to one that must not be. What
//! must stay possible is looked at afterwards, backwards from the states that have reached it.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::sync::Mutex;

use anytime_learner::invariants::Held;
use stateright::{Checker as _, Model as _, Path, Property};

/// A state machine with everything that may happen to it.
pub(crate) trait Model: Sized + Clone + Send + Sync + 'static {
    type State: Clone + Debug + Hash + PartialEq + Send + Sync + 'static;
    type Action: Clone + Debug + PartialEq + Send + Sync + 'static;

    fn initial(&self) -> Self::State;
    /// The actions that may happen in this state.
    fn actions(&self, state: &Self::State) -> Vec<Self::Action>;
    /// The state after an action.
    fn next(&self, state: &Self::State, action: &Self::Action) -> Self::State;
    /// The invariants.
    fn check(&self, state: &Self::State) -> Held;
    /// What must be possible from every state.
    fn goals(&self) -> Vec<Goal<Self>>;
}

/// Something that must be reachable from every state by what the goal lets happen: no fault helps it along.
pub(crate) struct Goal<M: Model> {
    pub(crate) name: &'static str,
    pub(crate) is_reached: fn(&M::State) -> bool,
    pub(crate) may_happen: fn(&M::Action) -> bool,
}

/// A state that must not be reached, and the way to it.
#[derive(Debug)]
pub(crate) struct Counterexample {
    pub(crate) what: String,
    /// What happened, one line each, and the state at the end.
    pub(crate) trace: Vec<String>,
}

impl std::fmt::Display for Counterexample {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "{}", self.what)?;
        for line in &self.trace {
            writeln!(formatter, "  {line}")?;
        }
        Ok(())
    }
}

/// A model as stateright sees it.
struct Watched<M: Model> {
    model: M,
    goals: Vec<Goal<M>>,
    seen: Vec<Mutex<Seen>>,
    /// A state to which a way is wanted.
    wanted: Option<u64>,
}

/// What is noted for one goal on the way.
#[derive(Default)]
struct Seen {
    states: HashSet<u64>,
    reached: Vec<u64>,
    /// Transitions, by the later state.
    leads_to: Vec<(u64, u64)>,
}

impl<M: Model> Watched<M> {
    fn new(model: &M, wanted: Option<u64>) -> Self {
        let goals = if wanted.is_some() { Vec::new() } else { model.goals() };
        Self {
            model: model.clone(),
            seen: goals.iter().map(|_| Mutex::default()).collect(),
            goals,
            wanted,
        }
    }
}

impl<M: Model> stateright::Model for Watched<M> {
    type State = M::State;
    type Action = M::Action;

    fn init_states(&self) -> Vec<M::State> {
        vec![self.model.initial()]
    }

    fn actions(&self, state: &M::State, actions: &mut Vec<M::Action>) {
        actions.extend(self.model.actions(state));
        if self.goals.is_empty() {
            return;
        }
        let number = number_of(state);
        for (goal, seen) in self.goals.iter().zip(&self.seen) {
            let mut seen = seen.lock().expect("nobody panicked");
            seen.states.insert(number);
            if (goal.is_reached)(state) {
                seen.reached.push(number);
            }
        }
    }

    fn next_state(&self, last: &M::State, action: M::Action) -> Option<M::State> {
        let next = self.model.next(last, &action);
        if next == *last {
            return None;
        }
        if !self.goals.is_empty() {
            let (to, from) = (number_of(&next), number_of(last));
            for (goal, seen) in self.goals.iter().zip(&self.seen) {
                if (goal.may_happen)(&action) {
                    seen.lock().expect("nobody panicked").leads_to.push((to, from));
                }
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        if self.wanted.is_some() {
            let is_other = |watched: &Self, state: &M::State| watched.wanted != Some(number_of(state));
            return vec![Property::always("wanted", is_other)];
        }
        vec![Property::always("invariants", |watched: &Self, state: &M::State| {
            watched.model.check(state).is_ok()
        })]
    }
}

/// Visits all states of a model, and returns how many there are and how many steps the farthest is away.
///
/// # Errors
/// The first invariant that is broken, or a state from which a goal cannot be reached, with the shortest way there.
pub(crate) fn explore<M: Model>(model: &M) -> Result<(usize, usize), Box<Counterexample>> {
    let checker = Watched::new(model, None).checker().spawn_bfs().join();
    if let Some(path) = checker.discovery("invariants") {
        let broken = model.check(path.last_state()).expect_err("found");
        return Err(counterexample(broken.to_string(), path));
    }
    let watched = checker.model();
    for (goal, seen) in watched.goals.iter().zip(&watched.seen) {
        let mut seen = seen.lock().expect("nobody panicked");
        let Some(stuck) = first_stuck(&mut seen) else {
            continue;
        };
        let again = Watched::new(model, Some(stuck)).checker().spawn_bfs().join();
        let path = again.discovery("wanted").expect("it was reached before");
        return Err(counterexample(format!("not any more: {}", goal.name), path));
    }
    Ok((checker.unique_state_count(), checker.max_depth()))
}

/// A state from which no way leads to those that are reached.
fn first_stuck(seen: &mut Seen) -> Option<u64> {
    seen.leads_to.sort_unstable();
    let mut can = HashSet::new();
    let mut open = seen.reached.clone();
    while let Some(state) = open.pop() {
        if !can.insert(state) {
            continue;
        }
        let first = seen.leads_to.partition_point(|(to, _)| *to < state);
        let before = seen.leads_to[first..].iter().take_while(|(to, _)| *to == state);
        open.extend(before.map(|(_, from)| *from));
    }
    seen.states.iter().find(|state| !can.contains(*state)).copied()
}

fn counterexample<S: Debug + Hash + PartialEq, A: Debug>(what: String, path: Path<S, A>) -> Box<Counterexample> {
    let end = format!("{:?}", path.last_state());
    let mut trace: Vec<String> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
    trace.push(end);
    Box::new(Counterexample { what, trace })
}

fn number_of(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
