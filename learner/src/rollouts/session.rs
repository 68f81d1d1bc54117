//! One job's training at the broker: its lease table, its queue, and what makes a lease out of a sequence number.

#![deny(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use anytime_proto::{GroupId, InvalidGroup, JobId, check_group_against_plan, v1};
use anytime_service::metric_names::LEARNER_DEAD_LETTERS;
use metrics::counter;
use tracing::warn;

use super::actors::Holder;
use super::answers::{GivenBack, PushCheck, Renewal};
use super::arrivals::Arrivals;
use super::group::{ProblemSource, TrainingOpening};
use super::inspection::{check_problem, check_versions, newest_version, oldest_version};
use super::journeys::Journeys;
use super::lease_table::{Inventory, LeaseRules, LeaseTable};
use super::{lengths, outcomes};
use crate::queue::dead_letters::DeadLetter;
use crate::queue::groups::{GroupQueue, Survey};

/// A job fails once the problems of a whole step were skipped in a row, but not before this number.
const FEWEST_SKIPPED_IN_A_ROW: u64 = 16;

/// The group id of a training sequence.
pub fn training_group_id(job_id: &JobId, sequence: u64) -> GroupId {
    GroupId(format!("{job_id}/train/{sequence:08}"))
}

/// The training sequence of a group id; none where it is not one of this job's.
pub fn training_sequence(job_id: &JobId, group_id: &GroupId) -> Option<u64> {
    let digits = group_id
        .as_str()
        .strip_prefix(job_id.as_str())?
        .strip_prefix("/train/")?;
    let sequence = digits.parse().ok()?;
    (training_group_id(job_id, sequence) == *group_id).then_some(sequence)
}

/// A lease's seed: well mixed, so that neighbouring sequences share nothing.
pub fn lease_seed(seed: u64, sequence: u64) -> u64 {
    mix(mix(seed).wrapping_add(sequence))
}

/// SplitMix64.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Why a group is left out whose tokens are older than `max_staleness` allows.
const TOO_OLD: &str = "its tokens were too old for its step";

fn left_out(sequence: u64, reason: &str, thinking_tokens: usize) -> v1::LeftOutGroup {
    v1::LeftOutGroup {
        sequence,
        reason: reason.to_owned(),
        thinking_tokens: u32::try_from(thinking_tokens).unwrap_or(u32::MAX),
    }
}

/// What a group of one sequence must be.
pub(super) struct Asked {
    problem: v1::Problem,
    plan: Arc<v1::RolloutPlan>,
}

impl Asked {
    /// Whether a group is of the leased problem, and of the plan's shape. An actor may still hold a lease of an earlier
    /// job with the same id.
    pub(super) fn is_of_plan(&self, group: &v1::ScoredGroup) -> bool {
        check_problem(group, &self.problem).is_ok()
            && group.budgets == self.plan.budgets
            && group.summaries_per_budget == self.plan.summaries
            && group.traces.len() == self.plan.traces as usize
    }

    /// Whether the values of a group are such as the plan allows.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn inspect(&self, group: &v1::ScoredGroup) -> Result<(), InvalidGroup> {
        check_group_against_plan(group, &self.plan)
    }
}

/// The training of one job, from its opening to its end. The broker holds it under its lock.
pub(super) struct TrainingSession {
    pub(super) leases: LeaseTable,
    pub(super) queue: GroupQueue,
    job_id: JobId,
    problems: Box<dyn ProblemSource>,
    plan: Arc<v1::RolloutPlan>,
    seed: u64,
    lease_seconds: u32,
    /// Letters of sequences that were skipped, until they are in Redis.
    letters: Vec<DeadLetter>,
    /// Why the last one was skipped.
    last_failure: String,
    /// Groups that were left out since the last step whose event says so.
    left_out: Vec<v1::LeftOutGroup>,
    /// Sequences that were replayed since the last step whose event says so.
    replayed: Vec<u64>,
    /// How often something was replayed since training was opened: each time the groups behind it move back by a place.
    pub(super) replays: u64,
    arrivals: Arrivals,
    pub(super) journeys: Journeys,
}

impl TrainingSession {
    /// Training with what Redis holds of it; `dead` are the sequences with a dead letter.
    pub(super) fn new(
        job_id: &JobId,
        opening: TrainingOpening,
        queue: GroupQueue,
        survey: Survey,
        dead: &BTreeSet<u64>,
    ) -> Self {
        let rules = LeaseRules {
            batch: u64::from(opening.batch),
            max_staleness: opening.max_staleness,
            queue_groups: u64::from(opening.queue_groups),
            lease: std::time::Duration::from_secs(u64::from(opening.lease_seconds)),
            total_groups: opening.total_groups,
        };
        let ended = opening.ended;
        let is_open = |sequence: &u64| !ended.holds(*sequence) && !ended.replayed.contains(sequence);
        let of_survey = |sequences: &BTreeSet<u64>, reason: &str| -> Vec<v1::LeftOutGroup> {
            let open = sequences.iter().copied().filter(is_open);
            open.map(|sequence| left_out(sequence, reason, 0)).collect()
        };
        // Reports them again, because the steps whose events did so may be undone.
        let mut left_out_before = of_survey(&survey.stale, TOO_OLD);
        left_out_before.extend(of_survey(&survey.skipped, "the actors gave it up before a restart"));
        let inventory = Inventory::of(&ended, &survey, dead);
        Self {
            leases: LeaseTable::new(rules, inventory),
            queue,
            job_id: job_id.clone(),
            problems: opening.problems,
            plan: Arc::new(opening.plan),
            seed: opening.seed,
            lease_seconds: opening.lease_seconds,
            letters: Vec::new(),
            last_failure: String::new(),
            left_out: left_out_before,
            replayed: Vec::new(),
            replays: 0,
            arrivals: Arrivals::default(),
            journeys: Journeys::default(),
        }
    }

    /// How long the group that has waited longest has been in the queue, for calls at short intervals.
    pub(super) fn longest_wait(&mut self, now: Instant) -> std::time::Duration {
        self.arrivals.longest_wait(self.leases.queued(), now)
    }

    /// Leases the next problem. `published` is the manifest checksum of the published weights.
    pub(super) fn lease(
        &mut self,
        holder: &Holder,
        published: &str,
        now: Instant,
    ) -> Result<v1::Lease, v1::WaitReason> {
        let sequence = self.leases.lease(holder, now)?;
        // An actor may still hold later weights, of steps that were undone by a restart.
        let manifest_checksum = if self.plan.deterministic { published } else { "" };
        Ok(v1::Lease {
            job_id: self.job_id.to_string(),
            group_id: training_group_id(&self.job_id, sequence).to_string(),
            purpose: v1::Purpose::Train.into(),
            problem: Some(self.problems.problem(sequence)),
            plan: Some(self.plan.as_ref().clone()),
            seed: lease_seed(self.seed, sequence),
            min_weights_version: self.leases.min_version(sequence).0,
            manifest_checksum: manifest_checksum.to_owned(),
            seconds: self.lease_seconds,
            // The token is made for the actor that gets the lease.
            token: Vec::new(),
        })
    }

    /// An actor says which groups it has in hand.
    pub(super) fn renew(&mut self, holder: &Holder, held: &BTreeSet<GroupId>, now: Instant) -> Renewal {
        let of_this_job = held
            .iter()
            .filter_map(|group_id| training_sequence(&self.job_id, group_id))
            .collect();
        self.leases.renew(holder, &of_this_job, now)
    }

    /// What the group with this sequence must be.
    pub(super) fn asked(&self, sequence: u64) -> Asked {
        Asked {
            problem: self.problems.problem(sequence),
            plan: Arc::clone(&self.plan),
        }
    }

    /// What is answered to a push of this sequence without a look at the group: it is there already, has ended, or finds
    /// no room, so that its actor keeps it. None where the group is to be looked at.
    pub(super) fn answer_to_push(&mut self, sequence: u64, now: Instant) -> Option<v1::PushStatus> {
        let status = match self.leases.is_there(sequence) {
            Some(PushCheck::Duplicate) => v1::PushStatus::Duplicate,
            Some(_) => v1::PushStatus::Unwanted,
            None if self.leases.has_room(sequence) => return None,
            None => {
                self.leases.kept_by_actor(sequence, now);
                v1::PushStatus::QueueFull
            }
        };
        Some(status)
    }

    /// Checks that all tokens are of versions that can exist, and none too old for the step that trains the group.
    /// After the learner went back to its recovery checkpoint, actors may still push groups of undone versions that are
    /// not published again yet. These are accepted up to the version of the step that trains the group.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn check_versions(
        &self,
        sequence: u64,
        group: &v1::ScoredGroup,
        published: u64,
    ) -> Result<(), InvalidGroup> {
        let newest = published.max(self.leases.step_of(sequence));
        check_versions(group, self.leases.min_version(sequence).0, newest)
    }

    /// Whether a group that is refused for its versions was right when it was leased. Its actor may not have heard yet that the
    /// learner went back to its recovery checkpoint, and generate with weights of the former line, which the job did
    /// publish; or the group has moved to a later step, which asks for newer weights than its lease did: by a replay, or because a
    /// group before it was dropped and the learner was killed before that was recorded.
    pub(super) fn was_right_when_leased(&self, sequence: u64, group: &v1::ScoredGroup, published: u64) -> bool {
        let rules = self.leases.rules();
        let batch = rules.batch.max(1);
        let newest = newest_version(group);
        let is_of_former_line = newest > published && newest <= rules.total_groups / batch;
        let steps_back = self.replays.div_ceil(batch);
        let is_outrun = newest <= published
            && oldest_version(group).saturating_add(steps_back) >= self.leases.min_version(sequence).0;
        is_of_former_line || is_outrun || (newest <= published && self.leases.is_of_before(sequence))
    }

    /// A sequence failed too often: it was dropped, and becomes a dead letter.
    pub(super) fn is_dead(&mut self, letter: DeadLetter, thinking_tokens: usize) {
        let letter = letter.bounded();
        let DeadLetter {
            sequence,
            problem_id,
            reason,
            deliveries,
            ..
        } = &letter;
        warn!(job_id = %self.job_id, sequence, problem_id, deliveries, reason, "a group cannot be trained: the job goes on \
            without it, and it is kept as a dead letter");
        outcomes::count("skipped", 1);
        counter!(LEARNER_DEAD_LETTERS).increment(1);
        lengths::count("skipped", thinking_tokens);
        letter.reason.clone_into(&mut self.last_failure);
        let reason = format!("the actors gave it up, last: {}", letter.reason);
        self.left_out.push(left_out(letter.sequence, &reason, thinking_tokens));
        self.letters.push(letter);
    }

    /// The queue held a group that cannot be trained. Its sequence is leased again, or dropped.
    pub(super) fn refuse_queued(&mut self, sequence: u64, problem: &str, payload: &[u8], now: Instant) {
        if let GivenBack::Skipped(deliveries) = self.leases.unreadable(sequence, now) {
            let letter = DeadLetter {
                sequence,
                reason: format!("the queue held a group that cannot be trained: {problem}"),
                deliveries,
                group: payload.to_vec(),
                ..DeadLetter::default()
            };
            self.is_dead(letter, 0);
        }
    }

    /// A sequence that was skipped is leased again. Says whether it was skipped, and its letter is in Redis.
    pub(super) fn replay(&mut self, sequence: u64) -> bool {
        let is_recorded = self.letters.iter().all(|letter| letter.sequence != sequence);
        let is_replayed = is_recorded && self.leases.replay(sequence);
        if is_replayed {
            self.replays += 1;
            self.left_out.retain(|group| group.sequence != sequence);
            self.replayed.push(sequence);
        }
        is_replayed
    }

    /// Notes that a group was too old for its step.
    pub(super) fn remember_stale(&mut self, sequence: u64, thinking_tokens: usize) {
        self.leases.dropped_as_stale(sequence);
        self.left_out.push(left_out(sequence, TOO_OLD, thinking_tokens));
    }

    /// The groups that were left out since the last call, and those that were replayed. A group of both was left out again.
    pub(super) fn take_left_out(&mut self) -> (Vec<v1::LeftOutGroup>, Vec<u64>) {
        (std::mem::take(&mut self.left_out), std::mem::take(&mut self.replayed))
    }

    /// The letters that Redis does not hold yet.
    pub(super) fn letters(&self) -> &[DeadLetter] {
        &self.letters
    }

    /// Redis holds a letter.
    pub(super) fn is_buried(&mut self, sequence: u64) {
        self.letters.retain(|letter| letter.sequence != sequence);
    }

    /// Why training cannot go on: the actors give every problem up. None where it can.
    pub(super) fn failure(&self) -> Option<String> {
        let in_a_row = self.leases.skipped_in_a_row();
        let limit = self.leases.rules().batch.max(FEWEST_SKIPPED_IN_A_ROW);
        let last = &self.last_failure;
        (in_a_row >= limit).then(|| format!("the last {in_a_row} problems were given up by the actors, last: {last}"))
    }
}
