//! Which events of a job have figures that stand: a step until it is undone or done again, an evaluation until the same
//! one is repeated. What is made of a job's figures for other tools holds those and no others.

use std::collections::BTreeMap;

use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{JobEvent, JobState};
use prost_types::Timestamp;

/// The figures of one job that stand, by the numbers of their events.
#[derive(Default)]
pub(super) struct StandingFigures {
    /// Steps with the numbers of their events; both ascend.
    steps: Vec<(u64, u64)>,
    /// The event of each step's newest evaluation. It stands also where its step was undone: a job does not evaluate a
    /// step twice unless the result was lost.
    evaluations: BTreeMap<u64, u64>,
    removals: u64,
    began: Option<Timestamp>,
}

impl StandingFigures {
    /// Takes in the next event of the job.
    pub(super) fn note(&mut self, event: &JobEvent) {
        match &event.event {
            Some(Event::Step(metrics)) => {
                self.keep_steps_below(metrics.step);
                self.steps.push((metrics.step, event.number));
            }
            Some(Event::WentOn(went_on)) => self.keep_steps_below(went_on.step.saturating_add(1)),
            Some(Event::Evaluation(result)) if self.evaluations.insert(result.step, event.number).is_some() => {
                self.removals += 1;
            }
            Some(Event::State(change)) if change.state() == JobState::Running && self.began.is_none() => {
                self.began = event.time;
            }
            _ => {}
        }
    }

    fn keep_steps_below(&mut self, step: u64) {
        let kept = self.steps.partition_point(|(known, _)| *known < step);
        self.removals += (self.steps.len() - kept) as u64;
        self.steps.truncate(kept);
    }

    /// Whether this event has figures, and they stand.
    pub(super) fn holds(&self, event: &JobEvent) -> bool {
        match &event.event {
            Some(Event::Step(metrics)) => {
                let place = self.steps.partition_point(|(step, _)| *step < metrics.step);
                self.steps.get(place) == Some(&(metrics.step, event.number))
            }
            Some(Event::Evaluation(result)) => self.evaluations.get(&result.step) == Some(&event.number),
            _ => false,
        }
    }

    /// How many figures do not stand any more. While this number stays, what was made of earlier events stays right.
    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// The event of the newest figures; none where there are none.
    pub(super) fn newest(&self) -> Option<u64> {
        let step = self.steps.last().map(|(_, number)| *number);
        step.max(self.evaluations.values().copied().max())
    }

    /// When the job began to run for the first time.
    pub(super) fn began(&self) -> Option<Timestamp> {
        self.began
    }
}

#[cfg(test)]
mod tests {
    use anytime_proto::v1::{EvaluationResult, StateChanged, StepMetrics, WentOn};

    use super::*;

    fn step(step: u64) -> Event {
        Event::Step(StepMetrics {
            step,
            ..StepMetrics::default()
        })
    }

    fn evaluation(step: u64) -> Event {
        Event::Evaluation(EvaluationResult {
            step,
            ..EvaluationResult::default()
        })
    }

    /// The numbers of those that stand, of events numbered from 1.
    fn standing(events: &[Event]) -> (Vec<u64>, StandingFigures) {
        let mut standing = StandingFigures::default();
        let events: Vec<JobEvent> = (1..)
            .zip(events)
            .map(|(number, event)| JobEvent {
                number,
                event: Some(event.clone()),
                ..JobEvent::default()
            })
            .collect();
        events.iter().for_each(|event| standing.note(event));
        let numbers = events.iter().filter(|event| standing.holds(event));
        (numbers.map(|event| event.number).collect(), standing)
    }

    #[test]
    fn a_step_stands_until_it_is_undone() {
        let went_on = Event::WentOn(WentOn { step: 2 });
        let (numbers, kept) = standing(&[step(1), step(2), step(3), step(4), went_on, step(3), step(4)]);
        assert_eq!(numbers, [1, 2, 6, 7]);
        assert_eq!((kept.removals(), kept.newest()), (2, Some(7)));
        // Logs of earlier versions do not say where a job went on.
        let (numbers, _) = standing(&[step(1), step(2), step(3), step(2)]);
        assert_eq!(numbers, [1, 4]);
        let (numbers, kept) = standing(&[step(1), Event::WentOn(WentOn { step: 0 })]);
        assert!(numbers.is_empty() && kept.newest().is_none());
    }

    #[test]
    fn an_evaluation_stands_until_it_is_repeated() {
        let went_on = Event::WentOn(WentOn { step: 1 });
        let events = [evaluation(0), step(1), step(2), evaluation(2), went_on, step(2)];
        let (numbers, kept) = standing(&events);
        assert_eq!(numbers, [1, 2, 4, 6], "it is not done again, so it stands");
        assert_eq!(kept.removals(), 1);
        let (numbers, kept) = standing(&[&events[..], &[evaluation(0)]].concat());
        assert_eq!(numbers, [2, 4, 6, 7]);
        assert_eq!((kept.removals(), kept.newest()), (2, Some(7)));
    }

    #[test]
    fn time_counts_from_the_first_start() {
        let mut standing = StandingFigures::default();
        for (number, state) in [(1, JobState::Queued), (2, JobState::Running), (3, JobState::Running)] {
            let change = StateChanged {
                state: state.into(),
                ..StateChanged::default()
            };
            let time = Timestamp {
                seconds: number,
                nanos: 0,
            };
            standing.note(&JobEvent {
                number: number as u64,
                time: Some(time),
                event: Some(Event::State(change)),
            });
        }
        assert_eq!(standing.began().map(|time| time.seconds), Some(2));
    }
}
