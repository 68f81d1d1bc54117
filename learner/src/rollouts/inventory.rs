//! What a learner knows of a job's sequences when it opens training. The recovery checkpoint decides, and Redis is
//! brought in line with it.

#![deny(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use anytime_proto::EndedGroups;

use crate::queue::groups::Survey;

/// What is known of a job's sequences when its lease table is made.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// All sequences below this one have ended.
    pub ended_below: u64,
    /// How many of them were not trained.
    pub left_out_below: u64,
    /// Trained sequences from `ended_below` on.
    pub trained: BTreeSet<u64>,
    /// Dropped as too old.
    pub stale: BTreeSet<u64>,
    /// Given up by actors too often.
    pub skipped: BTreeSet<u64>,
    /// With a dead letter. Below `ended_below` nothing else says which were given up.
    pub dead: BTreeSet<u64>,
    /// Left out before, and to be trained after all. Those below `ended_below` do not count as left out.
    pub replayed: BTreeSet<u64>,
    /// In the queue.
    pub queued: BTreeSet<u64>,
}

impl Inventory {
    /// Combines the recovery checkpoint with Redis; `dead` are the sequences with a dead letter. Which sequences were
    /// trained, only the checkpoint says.
    pub fn of(ended: &EndedGroups, survey: &Survey, dead: &BTreeSet<u64>) -> Self {
        // Redis may have forgotten what the checkpoint knows.
        let skipped: BTreeSet<u64> = survey.skipped.union(&ended.left_out).copied().collect();
        Self {
            ended_below: ended.consumed_below,
            left_out_below: ended.left_out_below,
            trained: ended.consumed.clone(),
            stale: survey.stale.clone(),
            skipped: skipped.difference(&ended.replayed).copied().collect(),
            dead: dead.clone(),
            replayed: ended.replayed.clone(),
            queued: survey.queued.clone(),
        }
    }
}

/// What Redis has to be told when training is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrections {
    /// In the queue although they have ended: to be settled as trained.
    pub ended: Vec<u64>,
    /// Settled in Redis, and to be forgotten there: sequences below the watermark, which need not be remembered, and
    /// groups that were settled as trained although the checkpoint lacks them, which may come again.
    pub forgotten: Vec<u64>,
}

impl Corrections {
    /// Compares Redis with the recovery checkpoint.
    pub fn of(ended: &EndedGroups, survey: &Survey) -> Self {
        let is_below = |sequence: &u64| *sequence < ended.consumed_below;
        let is_consumed = |sequence: &u64| is_below(sequence) || ended.consumed.contains(sequence);
        let settled: BTreeSet<u64> = [&survey.trained, &survey.stale, &survey.skipped]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let is_untrue = |sequence: &u64| survey.trained.contains(sequence) && !is_consumed(sequence);
        let has_ended = |sequence: &u64| ended.holds(*sequence);
        Self {
            ended: survey.queued.iter().copied().filter(has_ended).collect(),
            forgotten: settled
                .into_iter()
                .filter(|sequence| is_below(sequence) || is_untrue(sequence))
                .collect(),
        }
    }
}
