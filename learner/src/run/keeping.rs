//! Keeping what an evaluation generated, and the groups that a step trained. An evaluation is worth more than its
//! generations: a failure to write them is logged and no more. A step waits until the disk takes its groups.

use anytime_proto::settings::with_defaults;
use anytime_proto::v1;
use tracing::warn;

use crate::evaluation::generations::{Asked, Generations, Reading};
use crate::evaluation::tally::Tally;
use crate::jobs::context::JobContext;
use crate::kept;
use crate::rollouts::group::QueuedGroup;

/// Keeps the groups of a step that has been trained and does not count yet, where the job asks for that, and removes those
/// of older steps. Where the disk refuses for a reason that may pass, the job pauses until it takes them.
///
/// # Errors
/// If the job is to stop, or the disk refuses for another reason.
pub(super) fn keep_groups(
    context: &JobContext,
    computation: &v1::Computation,
    step: u64,
    groups: &[QueuedGroup],
) -> anyhow::Result<()> {
    let count = context.settings().training.keep_groups;
    if count == 0 {
        return Ok(());
    }
    let head = v1::KeptGroupsHead {
        job_id: context.job_id().to_string(),
        created: context.owner().created,
        step,
        groups: groups.len() as u64,
        spec: Some(with_defaults(&context.job().spec.unwrap_or_default())),
        computation: Some(computation.clone()),
    };
    context.write_or_wait(|| {
        let groups = groups.iter().map(|queued| (queued.sequence, &queued.group));
        kept::write(context.directory(), &head, groups)
    })?;
    kept::prune(context.directory(), step, count);
    Ok(())
}

/// The generations of an evaluation on their way to a file; nothing where the job keeps none or the disk refuses.
pub(super) struct Keeping<'a> {
    context: &'a JobContext,
    generations: Option<Generations<'a>>,
}

impl<'a> Keeping<'a> {
    /// Begins to keep the generations of an evaluation with this many leases.
    pub(super) fn begin(context: &'a JobContext, reading: Reading<'a>, leases: usize) -> Self {
        let mut keeping = Self {
            context,
            generations: None,
        };
        if context.settings().evaluation.keep_generations {
            let begun = Generations::begin(context.directory(), reading, leases);
            keeping.generations = keeping.unless_refused(begun);
        }
        keeping
    }

    /// Keeps the group of the lease at `place`.
    pub(super) fn add(&mut self, place: usize, group: &v1::ScoredGroup) {
        let Some(mut generations) = self.generations.take() else {
            return;
        };
        let added = generations.add(place, group);
        self.generations = self.unless_refused(added).map(|()| generations);
    }

    /// Writes the file of the evaluation after `step`, and returns its path, which is empty where there is none.
    ///
    /// # Errors
    /// If the job is to stop.
    pub(super) fn finish(mut self, step: u64, tally: &Tally, asked: &Asked<'_>) -> anyhow::Result<String> {
        let Some(generations) = self.generations.take() else {
            return Ok(String::new());
        };
        let written = generations.finish(step, tally, asked, &|| Ok(self.context.check()?));
        // If the job is to stop, that is not a failure to write.
        self.context.check()?;
        let path = self.unless_refused(written);
        Ok(path.map(|path| path.display().to_string()).unwrap_or_default())
    }

    fn unless_refused<T>(&self, outcome: anyhow::Result<T>) -> Option<T> {
        let report = |error: &anyhow::Error| {
            warn!(job_id = %self.context.job_id(), error = format!("{error:#}"), "generations were not kept");
        };
        outcome.inspect_err(report).ok()
    }
}
