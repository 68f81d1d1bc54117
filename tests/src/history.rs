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

    /// The steps of the checkpoints from which the job went on after it had lost some.
    pub fn went_on(&self) -> Vec<u64> {
        let step = |event: &JobEvent| match &event.event {
            Some(Event::WentOn(went_on)) => Some(went_on.step),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    /// The states that the job went through.
    pub fn states(&self) -> Vec<JobState> {
        let state = |event: &JobEvent| match &event.event {
            Some(Event::State(state)) => Some(state.state()),
            _ => None,
        };
        self.events.iter().filter_map(state).collect()
    }

    /// Panics unless the events are in the order of their numbers. Numbers may be left out: those of steps that were done
    /// again.
    pub fn assert_numbered(&self) {
        let numbers: Vec<u64> = self.events.iter().map(|event| event.number).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        let missing = numbers.last().map_or(0, |last| *last as usize - numbers.len());
        assert!(missing == 0 || !self.went_on().is_empty(), "{numbers:?}");
    }
}
