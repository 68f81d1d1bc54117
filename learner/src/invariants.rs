//! What must always hold of the replay queue and of jobs, written once.
//!
//! The model checker (`tests/tests/models/`) holds these in every state that it reaches, the property tests of the lease
//! table and the simulated network hold them as they go, and the code asserts in debug builds what it can see of itself.
//! docs/contract.md names each and says where it is checked. Numbers of steps count from 0 here: step s trains from
//! version s.

#![deny(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use anytime_proto::EndedGroups;
use anytime_proto::v1::JobState;

/// An invariant that does not hold, with the numbers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Broken {
    /// Its name, as docs/contract.md has it.
    pub invariant: &'static str,
    /// What was found instead.
    pub what: String,
}

/// What a check says.
pub type Held = Result<(), Broken>;

fn hold(holds: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Held {
    if holds {
        return Ok(());
    }
    Err(Broken {
        invariant,
        what: what(),
    })
}

/// Fails a debug build where an invariant does not hold; a release build does not look.
pub(crate) fn debug_assert_held(check: impl FnOnce() -> Held) {
    if cfg!(debug_assertions)
        && let Err(broken) = check()
    {
        panic!("an invariant is broken: {broken}");
    }
}

/// Where a learner holds every sequence to be, at one moment.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    /// The watermark: every lower sequence has ended, but for those that were replayed.
    pub ended_below: u64,
    /// Left out before, and to be trained after all.
    pub replayed: &'a BTreeSet<u64>,
    /// Ended sequences from the watermark on.
    pub ended_above: BTreeSet<u64>,
    /// Held by the trainer, and by no recovery checkpoint.
    pub taken: &'a BTreeSet<u64>,
    /// In the queue and not taken.
    pub queued: &'a BTreeSet<u64>,
    /// Out at an actor.
    pub leased: Vec<u64>,
    /// To be leased again.
    pub waiting: Vec<u64>,
    /// The one that the trainer takes next.
    pub next_to_take: u64,
    /// No sequence from here on has been leased for the first time.
    pub next_new: u64,
}

/// *one state*: a sequence is in one state at a time.
///
/// # Errors
/// The sequence that is in two.
pub fn one_state(standing: &Standing<'_>) -> Held {
    let mut seen = standing.ended_above.clone();
    let open = [standing.taken, standing.queued].into_iter().flatten();
    let open = open.chain(&standing.leased).chain(&standing.waiting);
    for sequence in open {
        let is_open = *sequence >= standing.ended_below || standing.replayed.contains(sequence);
        hold(is_open && seen.insert(*sequence), "one state", || {
            format!("sequence {sequence} is in two states")
        })?;
    }
    Ok(())
}

/// *watermark*: it never goes back, and the sequence at it has not ended. The sequences below it have ended, which
/// [`one_state`] and [`accounted`] check.
///
/// # Errors
/// Where it was and is.
pub fn watermark(before: u64, standing: &Standing<'_>) -> Held {
    let now = standing.ended_below;
    hold(now >= before, "watermark", || {
        format!("it goes back from {before} to {now}")
    })?;
    hold(!standing.ended_above.contains(&now), "watermark", || {
        format!("it stands at {now}, which has ended")
    })
}

/// *next in order*: the trainer takes the lowest sequence that has neither ended nor been taken.
///
/// # Errors
/// The sequence that it would take instead.
pub fn next_in_order(standing: &Standing<'_>) -> Held {
    let is_done = |sequence: &u64| standing.ended_above.contains(sequence) || standing.taken.contains(sequence);
    let replayed = standing.replayed.iter().copied().find(|sequence| !is_done(sequence));
    let others = (standing.ended_below..).find(|sequence| !is_done(sequence));
    let lowest = [replayed, others].into_iter().flatten().min();
    let next = standing.next_to_take;
    hold(lowest == Some(next), "next in order", || {
        format!("{next} comes next, and {} is the lowest", lowest.unwrap_or(u64::MAX))
    })
}

/// *none forgotten*: a sequence below the first new one is in some state, or nobody would ever lease it and the trainer
/// would wait for it for ever.
///
/// # Errors
/// The sequence that is in none.
pub fn none_forgotten(standing: &Standing<'_>) -> Held {
    let mut unknown: BTreeSet<u64> = (standing.ended_below..standing.next_new).collect();
    let known = [&standing.ended_above, standing.taken, standing.queued];
    for sequence in known
        .into_iter()
        .flatten()
        .chain(&standing.leased)
        .chain(&standing.waiting)
    {
        unknown.remove(sequence);
    }
    match unknown.first() {
        None => Ok(()),
        Some(sequence) => hold(false, "none forgotten", || {
            format!(
                "sequence {sequence} is in no state, and the first new one is {}",
                standing.next_new
            )
        }),
    }
}

/// All that a lease table can see of itself.
///
/// # Errors
/// The first that does not hold.
pub fn sound(watermark_before: u64, standing: &Standing<'_>) -> Held {
    one_state(standing)?;
    watermark(watermark_before, standing)?;
    none_forgotten(standing)?;
    next_in_order(standing)
}

/// What bounds the leases of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Groups per step.
    pub batch: u64,
    /// A token may be at most this many versions older than the one that trains it.
    pub max_staleness: u64,
    /// Steps × batch.
    pub total_groups: u64,
}

impl Bounds {
    /// How many groups may be out or trained under a version: (max_staleness + version + 1) · batch, and no more than
    /// the job trains.
    pub fn admitted(&self, version: u64) -> u64 {
        let admitted = self.max_staleness.saturating_add(version).saturating_add(1);
        admitted.saturating_mul(self.batch).min(self.total_groups)
    }
}

/// *admission*: no more groups are out or trained than the newest version that was ever published admits.
///
/// # Errors
/// How many there are.
pub fn admission(out: u64, newest_version: u64, bounds: &Bounds) -> Held {
    let most = bounds.admitted(newest_version);
    hold(out <= most, "admission", || {
        format!("{out} groups are out or trained, and version {newest_version} admits {most}")
    })
}

/// *admission*, of one lease: its place in the order of training must be below what the published version admits. The
/// place is its sequence number minus the lower sequences that were left out.
///
/// # Errors
/// The sequence.
pub fn lease_admitted(sequence: u64, left_out_below: u64, version: u64, bounds: &Bounds) -> Held {
    let place = sequence - left_out_below.min(sequence);
    hold(place < bounds.admitted(version), "admission", || {
        format!("sequence {sequence} at place {place} is leased under version {version}")
    })
}

/// A group as a step trained it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trained {
    /// Its number.
    pub sequence: u64,
    /// The oldest version of any of its tokens.
    pub oldest_version: u64,
}

/// The steps that count, from the first: those that led to the newest weights.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    /// What each step trained, in its order.
    pub steps: Vec<Vec<Trained>>,
    /// What was left out, by the step that says so, and not replayed.
    pub left_out: Vec<BTreeSet<u64>>,
    /// What was left out and replayed: it comes out of turn.
    pub replayed: BTreeSet<u64>,
}

impl History {
    fn trained(&self, steps: usize) -> impl Iterator<Item = u64> {
        self.steps.iter().take(steps).flatten().map(|group| group.sequence)
    }
}

/// *once*: no sequence is trained twice by the steps that count, and none is both trained and left out.
///
/// # Errors
/// The sequence.
pub fn once(history: &History) -> Held {
    let mut ended = BTreeSet::new();
    for sequence in history.trained(usize::MAX) {
        hold(ended.insert(sequence), "once", || {
            format!("sequence {sequence} is trained twice")
        })?;
    }
    for sequence in history.left_out.iter().flatten() {
        hold(!ended.contains(sequence), "once", || {
            format!("sequence {sequence} is trained and left out")
        })?;
    }
    Ok(())
}

/// *once* and *in order*, of one step: what it trains has not ended before, and comes in its order, unless it was replayed
/// meanwhile.
///
/// # Errors
/// The sequence.
pub fn step_once(sequences: impl IntoIterator<Item = u64>, ended: &EndedGroups, replayed: &[u64]) -> Held {
    let mut last = None;
    for sequence in sequences {
        hold(!ended.holds(sequence), "once", || {
            format!("sequence {sequence} is trained again")
        })?;
        if replayed.contains(&sequence) {
            continue;
        }
        hold(last < Some(sequence), "in order", || {
            format!("sequence {sequence} is trained after {}", last.unwrap_or_default())
        })?;
        last = Some(sequence);
    }
    Ok(())
}

/// *in order*: the steps that count train the sequences in their order.
///
/// # Errors
/// The two that are not.
pub fn in_order(history: &History) -> Held {
    let mut last: Option<u64> = None;
    let in_turn = |sequence: &u64| !history.replayed.contains(sequence);
    for sequence in history.trained(usize::MAX).filter(in_turn) {
        hold(last < Some(sequence), "in order", || {
            format!("sequence {sequence} is trained after {}", last.unwrap_or_default())
        })?;
        last = Some(sequence);
    }
    Ok(())
}

/// *fresh*: step s trains no token that is older than version s − max_staleness, and none of a version that was not out.
///
/// # Errors
/// The step and the group.
pub fn fresh(history: &History, max_staleness: u64) -> Held {
    for (step, groups) in (0_u64..).zip(&history.steps) {
        for group in groups {
            let (sequence, version) = (group.sequence, group.oldest_version);
            hold(version <= step && step - version <= max_staleness, "fresh", || {
                format!("step {step} trains sequence {sequence}, with a token of version {version}")
            })?;
        }
    }
    Ok(())
}

/// *accounted*: a recovery checkpoint of so many steps holds as ended what these trained or left out, and nothing else;
/// so every sequence below its watermark was trained or left out.
///
/// # Errors
/// The sequence that is missing, or one too much.
pub fn accounted(history: &History, steps: usize, ended: &EndedGroups) -> Held {
    let mut said: BTreeSet<u64> = history.trained(steps).collect();
    said.extend(history.left_out.iter().take(steps).flatten());
    for sequence in &said {
        hold(ended.holds(*sequence), "accounted", || {
            format!("the checkpoint of {steps} steps lacks sequence {sequence}")
        })?;
    }
    let below = (0..ended.consumed_below).filter(|sequence| !ended.replayed.contains(sequence));
    let held = below.chain(ended.consumed.iter().copied());
    for sequence in held.chain(ended.left_out.iter().copied()) {
        hold(said.contains(&sequence), "accounted", || {
            format!("the checkpoint of {steps} steps counts sequence {sequence} as ended, and no step says so")
        })?;
    }
    let trained = history.trained(steps).count() as u64;
    hold(ended.trained() == trained, "accounted", || {
        format!(
            "the checkpoint of {steps} steps counts {} trained and not {trained}",
            ended.trained()
        )
    })
}

/// *acknowledged*: a group leaves Redis as trained only where a recovery checkpoint holds its update.
///
/// # Errors
/// The group that no checkpoint holds.
pub fn acknowledged<'a>(settled: impl IntoIterator<Item = &'a u64>, checkpoint: &EndedGroups) -> Held {
    for sequence in settled {
        hold(checkpoint.holds(*sequence), "acknowledged", || {
            format!("sequence {sequence} leaves the queue, and no recovery checkpoint holds it")
        })?;
    }
    Ok(())
}

/// *one right*: a learner writes to the queue of a job only where no other one has the right to it.
///
/// # Errors
/// Who else.
pub fn one_right(writer: usize, holder: Option<usize>) -> Held {
    hold(holder.is_none_or(|holder| holder == writer), "one right", || {
        format!(
            "learner {writer} writes, and learner {} has the right",
            holder.unwrap_or_default()
        )
    })
}

/// *one right*, of what learners know: none is certain of its right while another one is.
///
/// # Errors
/// How many are.
pub fn one_certain(are_certain: impl Iterator<Item = bool>) -> Held {
    let certain = are_certain.filter(|is_certain| *is_certain).count();
    hold(certain <= 1, "one right", || {
        format!("{certain} learners are certain of it")
    })
}

/// *moves of a job*: from its state to the next. What has succeeded or was cancelled stays so, and what has failed is
/// left by being resumed or cancelled alone.
///
/// # Errors
/// The two states.
pub fn job_move(from: JobState, to: JobState) -> Held {
    use JobState::{Cancelled, Failed, Paused, Queued, Running, Succeeded};
    let may_be = from == to
        || match from {
            Queued => matches!(to, Running | Cancelled),
            Running => matches!(to, Succeeded | Failed | Cancelled | Paused),
            Paused => matches!(to, Running | Queued | Cancelled),
            Failed => matches!(to, Queued | Cancelled),
            Succeeded | Cancelled => false,
            JobState::Unspecified => true,
        };
    hold(may_be, "moves of a job", || {
        format!("from {} to {}", from.as_str_name(), to.as_str_name())
    })
}

/// *one at a time*: the thread works on one job at most, and that one runs or pauses within its work.
///
/// # Errors
/// The jobs.
pub fn one_at_a_time(held: &[JobState]) -> Held {
    hold(held.len() <= 1, "one at a time", || {
        format!("{} jobs are worked on", held.len())
    })?;
    let may_be_held = |state: &JobState| matches!(state, JobState::Running | JobState::Paused);
    hold(held.iter().all(may_be_held), "one at a time", || {
        format!("a job is worked on that is {}", held[0].as_str_name())
    })
}

/// *one turn*: a job waits for one turn at a time, or for one more try, and for neither while it is worked on.
///
/// # Errors
/// That it does not.
pub fn one_turn(
    working: Option<usize>,
    waiting: impl IntoIterator<Item = usize>,
    retries: impl IntoIterator<Item = usize>,
) -> Held {
    let mut seen: BTreeSet<usize> = working.into_iter().collect();
    let mut jobs = waiting.into_iter().chain(retries);
    match jobs.find(|job| !seen.insert(*job)) {
        Some(job) => hold(false, "one turn", || format!("job {job} has two")),
        None => Ok(()),
    }
}

/// *its own fault*: a job fails only for a fault of its own.
///
/// # Errors
/// That it failed.
pub fn own_fault(state: JobState, was_own: bool) -> Held {
    hold(state != JobState::Failed || was_own, "its own fault", || {
        "a job failed for a fault that is not its own".to_owned()
    })
}
