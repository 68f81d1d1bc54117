//! The history of a job, read from its events.

use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{JobEvent, JobState, StepMetrics};

/// All events of one job.
#[derive(Clone, Debug)]
pub struct History {
    /// The events in the order of their numbers.
    pub events: Vec<JobEvent>,
}

impl History {
    /// The steps as they were reported.
    pub fn steps(&self) -> Vec<StepMetrics> {
        let step = |event: &JobEvent| match &event.event {
            Some(Event::Step(step)) => Some(step.clone()),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    /// The numbers of the steps.
    pub fn step_numbers(&self) -> Vec<u64> {
        self.steps().iter().map(|step| step.step).collect()
    }

    /// The steps that led to the final weights. Of a step that a restarted learner did again, only the last time
    /// counts.
    pub fn final_step_numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = Vec::new();
        for number in self.step_numbers() {
            numbers.retain(|earlier| *earlier < number);
            numbers.push(number);
        }
        numbers
    }

    /// The places where the job went back: the last step before, and the first step after.
    pub fn breaks(&self) -> Vec<(u64, u64)> {
        let numbers = self.step_numbers();
        let pairs = numbers.windows(2).map(|pair| (pair[0], pair[1]));
        pairs.filter(|(before, after)| after <= before).collect()
    }

    /// The states that the job went through.
    pub fn states(&self) -> Vec<JobState> {
        let state = |event: &JobEvent| match &event.event {
            Some(Event::State(state)) => Some(state.state()),
            _ => None,
        };
        self.events.iter().filter_map(state).collect()
    }

    /// Panics unless the events are numbered from 1 without a gap.
    pub fn assert_numbered(&self) {
        let numbers: Vec<u64> = self.events.iter().map(|event| event.number).collect();
        let expected: Vec<u64> = (1..=self.events.len() as u64).collect();
        assert_eq!(numbers, expected);
    }
}
