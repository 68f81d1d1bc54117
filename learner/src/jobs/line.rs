//! The line of jobs that wait for their turn, as whoever asks for a job is told of it.

use anytime_proto::v1::{self, JobState};
use anytime_proto::{JobId, ShortName as _};

/// Who waits at one moment, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// In the order in which they run.
    pub waiting: Vec<JobId>,
    /// The job that must end or let go before the first of them begins, and its state.
    pub holds_up: Option<(JobId, JobState)>,
}

impl Line {
    /// Writes into a job what it waits for, where it is queued. `device` is where jobs run.
    pub fn tell(&self, job: &mut v1::Job, device: &str) {
        let place = self.waiting.iter().position(|waiting| waiting.as_str() == job.id);
        let Some(place) = place.filter(|_| job.state() == JobState::Queued) else {
            job.waiting = None;
            return;
        };
        let (position, total) = (place + 1, self.waiting.len());
        let reason = match &self.holds_up {
            Some((id, JobState::Paused)) => format!(
                "position {position} of {total} on {device}; waits for job {id}, which is paused and is tried again by itself"
            ),
            Some((id, state)) => {
                let state = state.short_name();
                format!("position {position} of {total} on {device}; waits for job {id}, which is {state}")
            }
            None => format!("position {position} of {total} on {device}"),
        };
        job.waiting = Some(v1::Waiting {
            position: position as u32,
            total: total as u32,
            device: device.to_owned(),
            job_id: self.holds_up.as_ref().map(|(id, _)| id.to_string()).unwrap_or_default(),
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &Line, id: &str, state: JobState) -> Option<v1::Waiting> {
        let mut job = v1::Job {
            id: id.to_owned(),
            state: state.into(),
            // What was true once is not told again.
            waiting: Some(v1::Waiting::default()),
            ..v1::Job::default()
        };
        line.tell(&mut job, "cuda:0");
        job.waiting
    }

    #[test]
    fn a_queued_job_is_told_its_place_and_for_whom_it_waits() {
        let mut line = Line {
            waiting: vec![JobId("b".to_owned()), JobId("c".to_owned())],
            holds_up: Some((JobId("a".to_owned()), JobState::Running)),
        };
        let waiting = told(&line, "c", JobState::Queued).expect("it waits");
        assert_eq!((waiting.position, waiting.total, waiting.job_id.as_str()), (2, 2, "a"));
        assert_eq!(
            waiting.reason,
            "position 2 of 2 on cuda:0; waits for job a, which is running"
        );
        assert_eq!(told(&line, "a", JobState::Running), None);
        assert_eq!(told(&line, "d", JobState::Succeeded), None);
        line.holds_up = Some((JobId("a".to_owned()), JobState::Paused));
        let waiting = told(&line, "b", JobState::Queued).expect("it waits");
        assert!(
            waiting
                .reason
                .ends_with("waits for job a, which is paused and is tried again by itself")
        );
        line.holds_up = None;
        assert_eq!(
            told(&line, "b", JobState::Queued).expect("it waits").reason,
            "position 1 of 2 on cuda:0"
        );
    }
}
