//! What must hold of a job's history, one check after the other. A finding is a sentence with the numbers.

use std::collections::{BTreeMap, BTreeSet};

use anytime_objectives::statistics::kolmogorov_smirnov;
use anytime_proto::v1::{self, JobKind, JobState};
use serde::Serialize;

use super::evidence::Evidence;
use super::ledger::{Ledger, Step};

/// A p-value below this is a finding: the lengths of the trained groups are then not those of all groups.
const SMALLEST_P: f64 = 0.01;

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind: `gap`, `double`, `loss`, `order`, `versions`, `checkpoint`, `queue`, `lengths` or `events`.
    pub kind: &'static str,
    /// What was found, with the numbers.
    pub text: String,
}

/// What an audit found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// The steps that count.
    pub steps: u64,
    /// Steps that a restart undid, and that were done again.
    pub undone_steps: usize,
    /// Groups that were trained.
    pub trained_groups: usize,
    /// Groups that were left out, by reason.
    pub left_out_groups: BTreeMap<String, usize>,
    /// Groups in the queue, leased or to be leased again; none where the job does not train or no learner was asked.
    pub open_groups: Option<usize>,
    /// How many versions the oldest trained token was behind the weights that it trained.
    pub largest_staleness: u64,
    /// Bytes of the event log that belong to no whole event: a crash left them, they are damaged, or one is being written.
    /// Where that cost a step, the step is missing.
    pub damaged_bytes: u64,
    /// The p-value of the two-sample Kolmogorov-Smirnov test of the lengths of trained groups against those of all
    /// groups whose length is known.
    pub lengths_p: f64,
    /// The checks that failed, in the order in which they were made.
    pub findings: Vec<Finding>,
}

/// Checks all that can be checked of a job.
pub fn check(evidence: &Evidence) -> Findings {
    let ledger = Ledger::of_events(&evidence.events);
    let (trained_lengths, all_lengths) = ledger.lengths();
    let (trained, left_out) = (ledger.trained(), ledger.left_out());
    let mut reasons = BTreeMap::new();
    for (sequence, (_, reason)) in &left_out {
        if !trained.contains_key(sequence) {
            *reasons.entry(reason.clone()).or_insert(0) += 1;
        }
    }
    let open = |queue: &v1::QueueAccount| queue.queued.len() + queue.leased.len() + queue.waiting.len();
    let audit = Audit {
        evidence,
        training: evidence.spec.training.clone().unwrap_or_default(),
        ledger: &ledger,
        trained: &trained,
        left_out: left_out.keys().copied().collect(),
        replayed: ledger.replayed(),
    };
    let lengths_p = kolmogorov_smirnov(&trained_lengths, &all_lengths);
    let mut findings: Vec<Finding> = audit.events().into_iter().collect();
    findings.extend(audit.steps());
    findings.extend(audit.end());
    if evidence.spec.kind() == JobKind::Train || evidence.spec.kind() == JobKind::Unspecified {
        findings.extend(audit.accounts());
        findings.extend(audit.groups());
        findings.extend(audit.versions());
        findings.extend(audit.checkpoints());
        findings.extend(audit.queue());
        if lengths_p < SMALLEST_P {
            findings.push(finding(
                "lengths",
                format!(
                    "the lengths of trained groups are not those of all groups: p = {lengths_p:.2e} (Kolmogorov-Smirnov, \
                     {} of {} groups)",
                    trained_lengths.len(),
                    all_lengths.len()
                ),
            ));
        }
    }
    Findings {
        steps: ledger.steps.last().map_or(0, |step| step.step),
        undone_steps: ledger.undone + evidence.undone_steps,
        trained_groups: trained.len(),
        left_out_groups: reasons,
        open_groups: evidence.queue.as_ref().map(open),
        largest_staleness: audit.staleness().max().unwrap_or(0),
        damaged_bytes: evidence.damaged_bytes,
        lengths_p,
        findings,
    }
}

struct Audit<'a> {
    evidence: &'a Evidence,
    training: v1::TrainingSpec,
    ledger: &'a Ledger,
    trained: &'a BTreeMap<u64, Vec<u64>>,
    left_out: BTreeSet<u64>,
    /// Groups that were left out and then replayed, each with the step that says so.
    replayed: BTreeMap<u64, u64>,
}

impl Audit<'_> {
    /// The numbers of the events ascend.
    fn events(&self) -> Option<Finding> {
        let mut pairs = self.evidence.events.windows(2);
        let pair = pairs.find(|pair| pair[1].number <= pair[0].number)?;
        Some(finding(
            "events",
            format!("event {} follows event {}", pair[1].number, pair[0].number),
        ))
    }

    /// Every step from 1 stands once, in order, and each has the version of its number.
    fn steps(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut last = 0;
        for step in &self.ledger.steps {
            if step.step == last + 1 {
                // The next step, as it should be.
            } else if step.step <= last {
                findings.push(finding(
                    "double",
                    format!("step {} stands behind step {last}", step.step),
                ));
            } else {
                findings.push(finding(
                    "gap",
                    format!(
                        "step {} follows step {last}: the events of the steps between are missing",
                        step.step
                    ),
                ));
            }
            if step.weights_version != step.step && self.evidence.spec.kind() == JobKind::Train {
                let Step {
                    step, weights_version, ..
                } = step;
                findings.push(finding(
                    "versions",
                    format!("the weights after step {step} have the version {weights_version}"),
                ));
            }
            last = last.max(step.step);
        }
        findings
    }

    /// A job that has succeeded did all its steps.
    fn end(&self) -> Option<Finding> {
        let asked = self.training.steps.unwrap_or_default();
        let done = self.ledger.steps.last().map_or(0, |step| step.step);
        let is_over = self.evidence.state == JobState::Succeeded && self.evidence.spec.kind() != JobKind::Evaluate;
        (is_over && done != asked).then(|| {
            finding(
                "gap",
                format!("the job has succeeded, and its last step is {done} of {asked}"),
            )
        })
    }

    /// Every step says what it trained: a whole batch.
    fn accounts(&self) -> Vec<Finding> {
        let batch = u64::from(self.training.batch.unwrap_or_default());
        let mut findings = Vec::new();
        for step in &self.ledger.steps {
            let number = step.step;
            let text = match &step.account {
                None => format!(
                    "step {number} does not say which groups it trained: an earlier version wrote it, and nothing can be \
                     proven of it"
                ),
                Some(account) if account.trained.len() as u64 != batch => {
                    format!("step {number} trained {} groups and not {batch}", account.trained.len())
                }
                Some(account) if account.weights_checksum.is_empty() => {
                    format!("step {number} names no checksum of its weights")
                }
                Some(_) => continue,
            };
            findings.push(finding("gap", text));
        }
        findings
    }

    /// Every group is trained once, in the order of the sequences, and none that comes before a trained one is missing.
    /// A group that was left out and then replayed may be trained at any later place.
    fn groups(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (sequence, steps) in self.trained {
            if let [first, second, ..] = steps.as_slice() {
                findings.push(finding(
                    "double",
                    format!("group {sequence} was trained by step {first} and again by step {second}"),
                ));
            }
        }
        let mut last: Option<u64> = None;
        for step in &self.ledger.steps {
            for group in step.account.iter().flat_map(|account| &account.trained) {
                if self.replayed.contains_key(&group.sequence) {
                    continue;
                }
                if let Some(last) = last.filter(|last| *last > group.sequence) {
                    findings.push(finding(
                        "order",
                        format!("step {} trained group {} after group {last}", step.step, group.sequence),
                    ));
                }
                last = Some(group.sequence);
            }
        }
        let highest = self.trained.last_key_value().map_or(0, |(sequence, _)| *sequence);
        for sequence in 0..highest {
            let is_open_again = self.replayed.contains_key(&sequence) && self.is_open(sequence);
            if !self.trained.contains_key(&sequence) && !self.left_out.contains(&sequence) && !is_open_again {
                findings.push(finding(
                    "loss",
                    format!(
                        "group {sequence} was neither trained nor left out, though group {highest} was trained{}",
                        self.whereabouts(sequence)
                    ),
                ));
            }
        }
        findings
    }

    /// Whether the learner says that a group has not ended; also where no learner was asked.
    fn is_open(&self, sequence: u64) -> bool {
        self.evidence.queue.as_ref().is_none_or(|queue| {
            [&queue.queued, &queue.leased, &queue.waiting, &queue.taken]
                .into_iter()
                .any(|list| list.contains(&sequence))
        })
    }

    /// Where the learner says that a group is.
    fn whereabouts(&self, sequence: u64) -> &'static str {
        let Some(queue) = &self.evidence.queue else {
            return "";
        };
        for (list, says) in [
            (&queue.queued, "; it is in the queue"),
            (&queue.leased, "; an actor has it"),
            (&queue.waiting, "; it is to be leased again"),
            (&queue.taken, "; the trainer has it"),
        ] {
            if list.contains(&sequence) {
                return says;
            }
        }
        "; it is nowhere"
    }

    /// How many versions the oldest token of each trained group was behind.
    fn staleness(&self) -> impl Iterator<Item = u64> {
        self.ledger.steps.iter().flat_map(|step| {
            let groups = step.account.iter().flat_map(|account| &account.trained);
            groups.map(|group| (step.step.saturating_sub(1)).saturating_sub(group.oldest_version))
        })
    }

    /// Step s starts from version s − 1: no token is of a later one, and none is more than `max_staleness` behind.
    fn versions(&self) -> Vec<Finding> {
        let most = self.training.max_staleness.unwrap_or_default();
        let mut findings = Vec::new();
        for step in &self.ledger.steps {
            let Some(starts_from) = step.step.checked_sub(1) else {
                findings.push(finding("versions", "there is a step 0".to_owned()));
                continue;
            };
            for group in step.account.iter().flat_map(|account| &account.trained) {
                let (sequence, oldest, newest) = (group.sequence, group.oldest_version, group.newest_version);
                if newest > starts_from || oldest > newest {
                    findings.push(finding(
                        "versions",
                        format!(
                            "step {} starts from version {starts_from} and trained group {sequence}, whose tokens are of \
                             versions {oldest} to {newest}",
                            step.step
                        ),
                    ));
                } else if starts_from - oldest > most {
                    findings.push(finding(
                        "versions",
                        format!(
                            "step {} starts from version {starts_from} and trained group {sequence}, which has a token of \
                             version {oldest}: more than training.max_staleness = {most} behind",
                            step.step
                        ),
                    ));
                }
            }
        }
        findings
    }

    /// A recovery checkpoint holds what the steps up to it trained, and no more.
    fn checkpoints(&self) -> Vec<Finding> {
        self.evidence
            .checkpoints
            .iter()
            .filter_map(|checkpoint| Some(finding("checkpoint", self.problem_of(checkpoint)?)))
            .collect()
    }

    fn problem_of(&self, checkpoint: &v1::CheckpointAccount) -> Option<String> {
        if !checkpoint.problem.is_empty() {
            return Some(format!("a recovery checkpoint cannot be read: {}", checkpoint.problem));
        }
        let step = checkpoint.step;
        let name = format!("the recovery checkpoint of step {step}");
        let last = self.ledger.steps.last().map_or(0, |step| step.step);
        if step > last {
            return Some(format!("{name} is beyond the last step of the events, {last}"));
        }
        let its_step = self.ledger.steps.iter().find(|one| one.step == step);
        let checksum = its_step
            .and_then(|one| one.account.as_ref())
            .map(|it| &it.weights_checksum);
        if let Some(checksum) = checksum.filter(|_| !checkpoint.weights_checksum.is_empty())
            && *checksum != checkpoint.weights_checksum
        {
            return Some(format!(
                "{name} has weights with the checksum {}, and the event of the step says {checksum}",
                checkpoint.weights_checksum
            ));
        }
        let beyond: BTreeSet<u64> = checkpoint.trained.iter().copied().collect();
        let was_left_out: BTreeSet<u64> = checkpoint.left_out.iter().copied().collect();
        let is_open = |sequence: &u64| checkpoint.replayed.contains(sequence);
        let is_below = |sequence: &u64| *sequence < checkpoint.ended_below && !is_open(sequence);
        let holds = |sequence: u64| is_below(&sequence) || beyond.contains(&sequence);
        for (sequence, steps) in self.trained {
            // It was replayed after this checkpoint, which therefore still holds it as left out.
            if self.replayed.get(sequence).is_some_and(|replayed| *replayed > step) {
                continue;
            }
            let is_before = steps.iter().any(|trained_by| *trained_by <= step);
            if is_before != holds(*sequence) {
                let by = steps.first().copied().unwrap_or_default();
                return Some(if is_before {
                    format!("{name} lacks group {sequence}, which step {by} trained")
                } else {
                    format!("{name} holds group {sequence}, which step {by} trained later")
                });
            }
        }
        let unknown = |sequence: &u64| {
            let has_ended = self.trained.contains_key(sequence) || self.left_out.contains(sequence);
            !has_ended && !self.replayed.contains_key(sequence)
        };
        let held = (0..checkpoint.ended_below)
            .chain(beyond.iter().copied())
            .chain(was_left_out);
        if let Some(sequence) = held.into_iter().find(unknown) {
            return Some(format!(
                "{name} counts group {sequence} as ended, of which no step says so"
            ));
        }
        let not_trained = checkpoint.left_out_below + checkpoint.replayed.len() as u64;
        let trained = checkpoint.ended_below.saturating_sub(not_trained) + beyond.len() as u64;
        let expected = step * u64::from(self.training.batch.unwrap_or_default());
        (trained != expected).then(|| format!("{name} counts {trained} trained groups and not {expected}"))
    }

    /// No group that is queued or leased was trained by a step that the learner had finished when it was asked.
    fn queue(&self) -> Vec<Finding> {
        let Some(queue) = &self.evidence.queue else {
            return Vec::new();
        };
        let open = queue.queued.iter().chain(&queue.leased).chain(&queue.waiting);
        let mut findings = Vec::new();
        for sequence in open {
            let trained_by = self.trained.get(sequence).into_iter().flatten();
            if let Some(step) = trained_by.into_iter().find(|step| **step <= queue.version) {
                findings.push(finding(
                    "queue",
                    format!(
                        "group {sequence} was trained by step {step} and is to be trained again: it is queued or leased"
                    ),
                ));
            }
        }
        findings
    }
}

fn finding(kind: &'static str, text: String) -> Finding {
    Finding { kind, text }
}
