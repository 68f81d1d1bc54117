//! The steps that count: what led to the newest weights, without the steps that were undone when the job went on from an
//! earlier checkpoint.

use std::collections::BTreeMap;

use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;

/// One step as its event says.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its number, from 1.
    pub step: u64,
    /// The version of the weights after it.
    pub weights_version: u64,
    /// The groups that it trained, left out and replayed; none in events of earlier versions.
    pub account: Option<v1::StepAccount>,
}

/// The steps that count, in the order in which they were done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// In the order of the events.
    pub steps: Vec<Step>,
    /// How many steps were done and then undone.
    pub undone: usize,
}

impl Ledger {
    /// Reads the events of a job, all of them or without those of undone steps.
    pub fn of_events(events: &[v1::JobEvent]) -> Self {
        let mut ledger = Self::default();
        for event in events {
            match &event.event {
                Some(Event::Step(step)) => ledger.steps.push(Step {
                    step: step.step,
                    weights_version: step.weights_version,
                    account: step.account.clone(),
                }),
                Some(Event::WentOn(went_on)) => {
                    let before = ledger.steps.len();
                    ledger.steps.retain(|step| step.step <= went_on.step);
                    ledger.undone += before - ledger.steps.len();
                }
                _ => {}
            }
        }
        ledger
    }

    /// Each trained group with the steps that trained it.
    pub fn trained(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut trained: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for step in &self.steps {
            for group in step.account.iter().flat_map(|account| &account.trained) {
                trained.entry(group.sequence).or_default().push(step.step);
            }
        }
        trained
    }

    /// Each group that was left out, with the step that says so and the reason. Groups that were replayed afterwards
    /// are not among them.
    pub fn left_out(&self) -> BTreeMap<u64, (u64, String)> {
        let mut left_out = BTreeMap::new();
        for step in &self.steps {
            for sequence in step.account.iter().flat_map(|account| &account.replayed) {
                left_out.remove(sequence);
            }
            for group in step.account.iter().flat_map(|account| &account.left_out) {
                left_out
                    .entry(group.sequence)
                    .or_insert_with(|| (step.step, group.reason.clone()));
            }
        }
        left_out
    }

    /// Groups that were left out and then replayed, with the step that says so last.
    pub fn replayed(&self) -> BTreeMap<u64, u64> {
        let replayed = self.steps.iter().flat_map(|step| {
            let sequences = step.account.iter().flat_map(|account| &account.replayed);
            sequences.map(|sequence| (*sequence, step.step))
        });
        replayed.collect()
    }

    /// Tokens of the longest thinking of the groups that were trained, and of all whose length is known.
    pub fn lengths(&self) -> (Vec<f64>, Vec<f64>) {
        let accounts = || self.steps.iter().filter_map(|step| step.account.as_ref());
        let trained: Vec<f64> = accounts()
            .flat_map(|account| &account.trained)
            .map(|group| f64::from(group.thinking_tokens))
            .collect();
        let left_out = accounts()
            .flat_map(|account| &account.left_out)
            .filter(|group| group.thinking_tokens > 0)
            .map(|group| f64::from(group.thinking_tokens));
        let all = trained.iter().copied().chain(left_out).collect();
        (trained, all)
    }
}
