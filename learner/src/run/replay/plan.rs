//! What a replay needs and where it is: the groups, the checkpoint, the events of the run. Nothing here computes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::ensure;
use anytime_proto::v1;

use crate::checkpoint;
use crate::jobs::entry::owner_of;
use crate::jobs::events::steps_on_disk;
use crate::jobs::store::read_job;
use crate::kept::{self, KeptGroups};
use crate::outputs::Owner;

/// Why a replay cannot begin: something is not there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotThere(String);

impl NotThere {
    pub(super) fn new(reason: String) -> Self {
        Self(reason)
    }
}

/// The steps that are trained again, and what they begin with.
pub struct ReplayPlan {
    pub(super) job: v1::Job,
    owner: Owner,
    pub(super) directory: PathBuf,
    /// The recovery checkpoint that training begins with; none for the weights that the job began with.
    pub checkpoint: Option<u64>,
    /// The step after which training begins.
    pub start: u64,
    /// The last step that is trained again.
    pub last: u64,
    /// How the run computed the first of the steps.
    pub run: v1::Computation,
    /// What the run came to, by step.
    pub(super) events: BTreeMap<u64, v1::StepMetrics>,
}

impl ReplayPlan {
    /// Finds what is needed to train `steps` steps from `from` on again; without `steps`, all that are kept without a
    /// gap. Training begins with the newest recovery checkpoint before `from`, or, where there is none, with the weights
    /// that the job began with.
    ///
    /// # Errors
    /// [`NotThere`] with the step or the checkpoint that is missing; otherwise a file that cannot be read.
    pub fn find(directory: &Path, from: u64, steps: Option<u64>) -> anyhow::Result<Self> {
        let job = read_job(directory).map_err(|error| NotThere(format!("{}: {error:#}", directory.display())))?;
        let refuse = |reason: String| NotThere(format!("job {}: {reason}", job.id));
        let kept = kept::steps(directory)?;
        let there = in_ranges(kept.iter().copied());
        if kept.is_empty() {
            let reason = "it has kept no groups; a job keeps them with training.keep_groups";
            return Err(refuse(reason.to_owned()).into());
        }
        let events = steps_on_disk(directory)?;
        let counted = in_ranges(events.keys().copied());
        let first = from.max(1);
        let last = match steps {
            Some(steps) => first.saturating_add(steps.max(1) - 1),
            None => (first..)
                .take_while(|step| kept.binary_search(step).is_ok() && events.contains_key(step))
                .last()
                .unwrap_or(first),
        };
        let checkpoints = checkpoint::recovery_steps(directory)?;
        let before = checkpoints.iter().copied().filter(|step| *step < first).max();
        let start = before.unwrap_or(0);
        // The step that was asked for comes first, because it says best what is wrong.
        let all = [first, last].into_iter().chain(start + 1..=last);
        if let Some(step) = all.into_iter().find(|step| !events.contains_key(step)) {
            let reason = format!("its events have no step {step}; they have {counted}");
            return Err(refuse(reason).into());
        }
        if let Some(step) = (start + 1..=last).find(|step| kept.binary_search(step).is_err()) {
            let begins = match before {
                Some(step) => format!("the recovery checkpoint before step {first} is that of step {step}"),
                None => format!(
                    "there is no recovery checkpoint before step {first} ({}), so that training would begin with step 1",
                    match in_ranges(checkpoints.iter().copied()) {
                        none if none.is_empty() => "there is none at all".to_owned(),
                        ranges => format!("there are those of {ranges}"),
                    }
                ),
            };
            let reason = format!("the groups of step {step} are not kept (those of {there} are), and {begins}");
            return Err(refuse(reason).into());
        }
        let owner = owner_of(&job);
        let head = kept::read_head(&kept::path(directory, start + 1))?;
        Ok(Self {
            owner,
            directory: directory.to_owned(),
            checkpoint: before,
            start,
            last,
            run: head.computation.unwrap_or_default(),
            events,
            job,
        })
    }

    /// The job's id.
    pub fn job_id(&self) -> &str {
        &self.job.id
    }

    /// The owner that a model of a replay names: none that replaces, or is replaced by, a model of the job itself.
    pub fn owner(&self) -> Owner {
        Owner {
            job: format!("{} (replayed)", self.owner.job),
            created: self.owner.created.clone(),
        }
    }

    /// The groups of a step, once it is clear that the run trained them in this step.
    pub(super) fn groups(&self, step: u64) -> anyhow::Result<KeptGroups> {
        let path = kept::path(&self.directory, step);
        let kept = kept::read(&path)?;
        let head = &kept.head;
        if head.job_id != self.job.id || head.created != self.owner.created {
            let reason = format!(
                "{} has groups of another job: of {}, submitted at {}, and not of {}, submitted at {}",
                path.display(),
                head.job_id,
                head.created,
                self.job.id,
                self.owner.created
            );
            return Err(NotThere(reason).into());
        }
        ensure!(
            head.step == step,
            "{} has the groups of step {}, and not of step {step}",
            path.display(),
            head.step
        );
        let trained = self.events.get(&step).and_then(|event| event.account.as_ref());
        let trained: BTreeSet<u64> = trained
            .into_iter()
            .flat_map(|it| &it.trained)
            .map(|it| it.sequence)
            .collect();
        let sequences: BTreeSet<u64> = kept.groups.iter().map(|it| it.sequence).collect();
        ensure!(
            sequences == trained,
            "{} has the groups with the sequence numbers {}; step {step} trained those with {}",
            path.display(),
            in_ranges(sequences),
            in_ranges(trained)
        );
        Ok(kept)
    }
}

/// Numbers in ascending order as `1 to 3, 7`.
fn in_ranges(numbers: impl IntoIterator<Item = u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if number == *end + 1 => *end = number,
            _ => ranges.push((number, number)),
        }
    }
    let texts: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first} to {last}")
            }
        })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_ranges() {
        assert_eq!(in_ranges([]), "");
        assert_eq!(in_ranges([4]), "4");
        assert_eq!(in_ranges([1, 2, 3, 7, 9, 10]), "1 to 3, 7, 9 to 10");
    }
}
