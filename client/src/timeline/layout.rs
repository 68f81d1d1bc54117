//! What stands where in time. Times come over the wire: what is no time is left out, and nothing reaches beyond the picture.

use std::collections::BTreeMap;

use anytime_proto::v1::{GroupTimes, StepPart, StepTimeline};

/// At most so many groups are drawn, and at least the last step.
const MOST_GROUPS: usize = 800;

/// At most so many actors have rows of their own.
const MOST_ACTORS: usize = 16;

/// At most so many rows; a group that finds none is counted.
const MOST_ROWS: usize = 160;

/// What is shorter has no axis of time.
const SHORTEST: f64 = 1e-6;

/// The parts of a step as rows, from above.
const PARTS: [(StepPart, &str); 5] = [
    (StepPart::AwaitsGroups, "waits for groups"),
    (StepPart::Computes, "computes"),
    (StepPart::Publishes, "publishes"),
    (StepPart::Writes, "writes"),
    (StepPart::Evaluates, "evaluates"),
];

/// A stretch of time, in seconds from the beginning of the picture.
pub(super) type Stretch = (f64, f64);

/// The way of one group. The stretches follow each other; one that is not known is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    /// With its actor.
    pub(super) generated: Option<Stretch>,
    /// In the queue.
    pub(super) queued: Option<Stretch>,
    /// With the trainer, until the update was done.
    pub(super) trained: Stretch,
}

impl Bar {
    fn begin(&self) -> f64 {
        let first = self.generated.or(self.queued).unwrap_or(self.trained);
        first.0
    }
}

/// The groups of one actor, in rows without overlaps.
pub(super) struct ActorRows {
    pub(super) name: String,
    pub(super) rows: Vec<Vec<Bar>>,
}

/// A timeline, ready to be drawn.
pub(super) struct Layout {
    /// The numbers of the first and the last step.
    pub(super) steps: (u64, u64),
    /// Where each step ends.
    pub(super) ends: Vec<(u64, f64)>,
    /// How long it is, in seconds.
    pub(super) seconds: f64,
    /// What the learner did, a row for each part of a step.
    pub(super) learner: Vec<(&'static str, Vec<Stretch>)>,
    /// By name.
    pub(super) actors: Vec<ActorRows>,
    /// Groups without a place.
    pub(super) left_out: usize,
}

impl Layout {
    /// None where there is nothing to draw.
    pub(super) fn of(steps: &[(u64, StepTimeline)]) -> Option<Self> {
        let steps = &steps[first_of(steps)..];
        let (first, last) = (steps.first()?.0, steps.last()?.0);
        let spans = || steps.iter().flat_map(|(_, timeline)| &timeline.learner);
        let times = spans().flat_map(|span| [span.began, span.ended]);
        let (begin, end) = times
            .filter(|time| time.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(begin, end), time| {
                (begin.min(time), end.max(time))
            });
        let seconds = end - begin;
        if !(SHORTEST..=f64::MAX).contains(&seconds) {
            return None;
        }
        let stretch = |from: f64, to: f64| -> Option<Stretch> {
            let (from, to) = (from - begin, to - begin);
            let is_seen = from <= to && to > 0.0 && from < seconds;
            is_seen.then(|| (from.max(0.0), to.min(seconds)))
        };
        let learner = PARTS.map(|(part, name)| {
            let of_part = spans().filter(|span| span.part() == part);
            (
                name,
                of_part.filter_map(|span| stretch(span.began, span.ended)).collect(),
            )
        });
        let ends = steps.iter().filter_map(|(step, timeline)| {
            let end = timeline.learner.last()?.ended - begin;
            (0.0..=seconds).contains(&end).then_some((*step, end))
        });
        let mut groups: BTreeMap<&str, Vec<Bar>> = BTreeMap::new();
        for (_, timeline) in steps {
            for group in &timeline.groups {
                if let Some(bar) = bar(group, timeline.trained, &stretch) {
                    groups.entry(&group.actor_id).or_default().push(bar);
                }
            }
        }
        let (actors, left_out) = actor_rows(groups);
        Some(Self {
            steps: (first, last),
            ends: ends.collect(),
            seconds,
            learner: learner.into_iter().collect(),
            actors,
            left_out,
        })
    }
}

/// From this step on there are not too many groups.
fn first_of(steps: &[(u64, StepTimeline)]) -> usize {
    let mut groups = 0;
    let mut first = steps.len();
    for (index, (_, timeline)) in steps.iter().enumerate().rev() {
        groups += timeline.groups.len();
        if groups > MOST_GROUPS && first < steps.len() {
            break;
        }
        first = index;
    }
    first
}

fn bar(group: &GroupTimes, trained: f64, stretch: &impl Fn(f64, f64) -> Option<Stretch>) -> Option<Bar> {
    let arrived = group.arrived;
    Some(Bar {
        generated: group.leased.zip(arrived).and_then(|(from, to)| stretch(from, to)),
        queued: arrived.and_then(|from| stretch(from, group.taken)),
        trained: stretch(group.taken, trained)?,
    })
}

/// Puts every actor's groups into as few rows as they need, and says how many groups found no place.
fn actor_rows(groups: BTreeMap<&str, Vec<Bar>>) -> (Vec<ActorRows>, usize) {
    let mut actors: Vec<ActorRows> = Vec::new();
    let (mut rows_used, mut left_out) = (0, 0);
    for (name, mut bars) in groups {
        if actors.len() == MOST_ACTORS || rows_used == MOST_ROWS {
            left_out += bars.len();
            continue;
        }
        bars.sort_by(|one, other| one.begin().total_cmp(&other.begin()));
        let mut rows: Vec<Vec<Bar>> = Vec::new();
        for bar in bars {
            let has_room = |row: &Vec<Bar>| row.last().is_none_or(|last| last.trained.1 <= bar.begin());
            match rows.iter_mut().find(|row| has_room(row)) {
                Some(row) => row.push(bar),
                None if rows_used < MOST_ROWS => {
                    rows_used += 1;
                    rows.push(vec![bar]);
                }
                None => left_out += 1,
            }
        }
        actors.push(ActorRows {
            name: name.to_owned(),
            rows,
        });
    }
    (actors, left_out)
}

#[cfg(test)]
mod tests {
    use anytime_proto::v1::LearnerSpan;

    use super::*;

    fn span(part: StepPart, began: f64, ended: f64) -> LearnerSpan {
        LearnerSpan {
            part: part.into(),
            began,
            ended,
        }
    }

    fn group(actor: &str, leased: Option<f64>, arrived: Option<f64>, taken: f64) -> GroupTimes {
        GroupTimes {
            actor_id: actor.to_owned(),
            leased,
            arrived,
            taken,
            ..GroupTimes::default()
        }
    }

    fn two_steps() -> Vec<(u64, StepTimeline)> {
        let first = StepTimeline {
            learner: vec![
                span(StepPart::AwaitsGroups, 100.0, 104.0),
                span(StepPart::Computes, 104.0, 106.0),
            ],
            // Leased before the picture begins; and together, so that they need two rows.
            groups: vec![
                group("b", Some(90.0), Some(102.0), 103.0),
                group("b", Some(101.0), Some(103.0), 104.0),
            ],
            trained: 106.0,
        };
        let second = StepTimeline {
            learner: vec![
                span(StepPart::Evaluates, 106.0, 108.0),
                span(StepPart::Computes, 108.0, 110.0),
            ],
            groups: vec![
                group("a", None, None, 108.0),
                group("b", Some(106.0), Some(107.0), 108.0),
            ],
            trained: 110.0,
        };
        vec![(7, first), (8, second)]
    }

    #[test]
    fn parts_and_groups_have_their_places_in_time() {
        let layout = Layout::of(&two_steps()).expect("something");
        assert_eq!((layout.steps, layout.seconds), ((7, 8), 10.0));
        assert_eq!(layout.ends, [(7, 6.0), (8, 10.0)]);
        let rows: BTreeMap<&str, &[Stretch]> = layout
            .learner
            .iter()
            .map(|(name, row)| (*name, row.as_slice()))
            .collect();
        assert_eq!(rows["waits for groups"], [(0.0, 4.0)]);
        assert_eq!(rows["computes"], [(4.0, 6.0), (8.0, 10.0)]);
        assert_eq!(rows["evaluates"], [(6.0, 8.0)]);
        assert!(rows["publishes"].is_empty());

        let names: Vec<&str> = layout.actors.iter().map(|actor| actor.name.as_str()).collect();
        assert_eq!((names, layout.left_out), (vec!["a", "b"], 0));
        // It came to an earlier process of the learner: only its training is known.
        let unknown = &layout.actors[0].rows[0][0];
        assert_eq!(
            (unknown.generated, unknown.queued, unknown.trained),
            (None, None, (8.0, 10.0))
        );
        let rows = &layout.actors[1].rows;
        assert_eq!(rows.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1], "{rows:?}");
        let clipped = &rows[0][0];
        assert_eq!(clipped.generated, Some((0.0, 2.0)));
        assert_eq!((clipped.queued, clipped.trained), (Some((2.0, 3.0)), (3.0, 6.0)));
    }

    #[test]
    fn what_is_no_time_is_left_out_and_the_picture_stays_bounded() {
        assert!(Layout::of(&[]).is_none());
        assert!(Layout::of(&[(1, StepTimeline::default())]).is_none());
        let mut steps = two_steps();
        steps[0].1.learner.push(span(StepPart::Writes, f64::NAN, f64::INFINITY));
        steps[0].1.groups.push(group("b", Some(f64::NAN), Some(1e300), -1e300));
        let layout = Layout::of(&steps).expect("something");
        assert_eq!(layout.seconds, 10.0);
        assert_eq!(layout.ends, [(8, 10.0)]);

        // Two thousand groups over a hundred actors, all at the same time.
        let many = |_| {
            let names = (0..500).map(|number| format!("actor-{:03}", number % 100));
            names
                .map(|name| group(&name, Some(100.0), Some(102.0), 104.0))
                .collect()
        };
        let mut steps: Vec<(u64, StepTimeline)> = (1..=4)
            .map(|number| {
                let timeline = StepTimeline {
                    groups: many(number),
                    ..two_steps()[0].1.clone()
                };
                (number, timeline)
            })
            .collect();
        let layout = Layout::of(&steps).expect("something");
        assert_eq!(layout.steps, (4, 4), "the last step is drawn, whatever its size");
        assert_eq!(layout.actors.len(), MOST_ACTORS);
        let drawn: usize = layout.actors.iter().flat_map(|actor| &actor.rows).map(Vec::len).sum();
        assert_eq!(drawn + layout.left_out, 500);
        for (_, timeline) in &mut steps {
            timeline.groups.truncate(200);
        }
        assert_eq!(Layout::of(&steps).expect("something").steps, (1, 4));
    }
}
