//! When the parts of a training step happened, for the picture in a job's report.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anytime_proto::v1::{GroupTimes, LearnerSpan, StepPart, StepTimeline};

use crate::rollouts::group::QueuedGroup;

/// What the job's thread has done since the last step's event.
#[derive(Default)]
pub(super) struct StepParts {
    /// What it does now, and since when.
    now: Option<(StepPart, Instant)>,
    done: Vec<(StepPart, Instant, Instant)>,
}

impl StepParts {
    /// From now on this is done.
    pub(super) fn begin(&mut self, part: StepPart) {
        self.begin_at(part, Instant::now());
    }

    fn begin_at(&mut self, part: StepPart, now: Instant) {
        if let Some((before, since)) = self.now.replace((part, now)) {
            self.done.push((before, since, now));
        }
    }

    /// Everything since the last call, with the ways of the groups that the step trained. `trained` is when its update was
    /// done.
    pub(super) fn take(&mut self, groups: &[QueuedGroup], trained: Instant) -> StepTimeline {
        self.take_at(groups, trained, Instant::now(), SystemTime::now())
    }

    fn take_at(
        &mut self,
        groups: &[QueuedGroup],
        trained: Instant,
        now: Instant,
        time_of_day: SystemTime,
    ) -> StepTimeline {
        let since_epoch = time_of_day.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let time = |instant: Instant| since_epoch - now.saturating_duration_since(instant).as_secs_f64();
        if let Some((part, _)) = self.now {
            // What is done now goes on in the next step's timeline.
            self.begin_at(part, now);
        }
        let spans = self.done.drain(..).map(|(part, began, ended)| LearnerSpan {
            part: part.into(),
            began: time(began),
            ended: time(ended),
        });
        let times = |queued: &QueuedGroup| GroupTimes {
            sequence: queued.sequence,
            actor_id: queued.journey.actor.to_string(),
            leased: queued.journey.leased.map(time),
            arrived: queued.journey.arrived.map(time),
            taken: time(queued.journey.taken),
        };
        StepTimeline {
            learner: spans.collect(),
            groups: groups.iter().map(times).collect(),
            trained: time(trained),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anytime_proto::{ActorId, v1};

    use super::*;
    use crate::rollouts::group::Journey;

    #[test]
    fn parts_follow_each_other_without_a_gap_over_the_events_of_two_steps() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let day = |seconds: u64| UNIX_EPOCH + Duration::from_secs(1000 + seconds);
        let mut parts = StepParts::default();
        for (part, second) in [
            (StepPart::AwaitsGroups, 0),
            (StepPart::Computes, 3),
            (StepPart::Publishes, 7),
            (StepPart::Writes, 8),
        ] {
            parts.begin_at(part, at(second));
        }
        let group = QueuedGroup {
            sequence: 4,
            group: v1::ScoredGroup::default(),
            journey: Journey {
                actor: ActorId("a".to_owned()),
                leased: None,
                arrived: Some(at(2)),
                taken: at(3),
                span: Default::default(),
            },
        };
        let first = parts.take_at(&[group], at(7), at(9), day(9));
        let spans = |timeline: &StepTimeline| -> Vec<(StepPart, f64, f64)> {
            let spans = timeline.learner.iter();
            spans.map(|span| (span.part(), span.began, span.ended)).collect()
        };
        let expected = [
            (StepPart::AwaitsGroups, 1000.0, 1003.0),
            (StepPart::Computes, 1003.0, 1007.0),
            (StepPart::Publishes, 1007.0, 1008.0),
            (StepPart::Writes, 1008.0, 1009.0),
        ];
        assert_eq!(spans(&first), expected);
        assert_eq!(first.trained, 1007.0);
        let times = &first.groups[0];
        assert_eq!((times.sequence, times.actor_id.as_str()), (4, "a"));
        assert_eq!((times.leased, times.arrived, times.taken), (None, Some(1002.0), 1003.0));

        parts.begin_at(StepPart::AwaitsGroups, at(12));
        let second = parts.take_at(&[], at(14), at(15), day(15));
        let expected = [
            (StepPart::Writes, 1009.0, 1012.0),
            (StepPart::AwaitsGroups, 1012.0, 1015.0),
        ];
        assert_eq!(spans(&second), expected);
    }
}
