//! Event logs of earlier versions, `events.pb`: messages with a varint of their length before each, without checksums.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use anytime_files::{record, write_durably_with};
use anytime_proto::v1::JobEvent;
use anytime_proto::v1::job_event::Event;
use prost::Message as _;
use tracing::{info, warn};

/// Writes the events of an old log in the form of today. The old file stays.
///
/// # Errors
/// If the old log cannot be read, or the disk refuses the new one.
pub(super) fn bring_over(old: &Path, new: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(old).with_context(|| format!("read {}", old.display()))?;
    let mut left = bytes.as_slice();
    let mut events: Vec<JobEvent> = Vec::new();
    let mut last_step = 0;
    while !left.is_empty() {
        let before = left;
        match JobEvent::decode_length_delimited(&mut left) {
            // Numbers start at 1: 0 is what zeros at the end of a file decode to.
            Ok(event) if event.number > 0 => {
                // Earlier versions did not record where a job went on: a repeated step undoes itself and all later
                // ones.
                if let Some(step) = step_of(&event) {
                    if step <= last_step {
                        events.retain(|earlier| step_of(earlier).is_none_or(|earlier| earlier < step));
                    }
                    last_step = step;
                }
                events.push(event);
            }
            _ => {
                warn!(path = %old.display(), bytes = before.len(), "the end of an old event log cannot be read");
                break;
            }
        }
    }
    info!(path = %new.display(), events = events.len(), "an event log of an earlier version is written anew");
    write_durably_with(new, |writer| {
        for event in &events {
            let written = record(&event.encode_to_vec()).and_then(|bytes| writer.write_all(&bytes));
            written.with_context(|| format!("write {}", new.display()))?;
        }
        Ok(())
    })
}

fn step_of(event: &JobEvent) -> Option<u64> {
    match &event.event {
        Some(Event::Step(step)) => Some(step.step),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::events::EventLog;

    #[test]
    fn a_step_that_an_earlier_version_did_again_stands_once() {
        let directory = tempfile::tempdir().expect("directory");
        let (old, new) = (directory.path().join("events.pb"), directory.path().join("events.log"));
        let mut bytes = Vec::new();
        for (number, step) in [1, 2, 3, 2, 3].into_iter().enumerate() {
            let step = anytime_proto::v1::StepMetrics {
                step,
                ..Default::default()
            };
            let event = JobEvent {
                number: number as u64 + 1,
                event: Some(Event::Step(step)),
                ..JobEvent::default()
            };
            bytes.extend(event.encode_length_delimited_to_vec());
        }
        std::fs::write(&old, &bytes).expect("written");
        bring_over(&old, &new).expect("brought over");
        let log = EventLog::open(&new).expect("opened");
        let events = log.on_disk_after(0).read(9).expect("read");
        let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
        assert_eq!(numbers, [1, 4, 5]);
    }

    #[test]
    fn old_events_keep_their_numbers() {
        let directory = tempfile::tempdir().expect("directory");
        let (old, new) = (directory.path().join("events.pb"), directory.path().join("events.log"));
        let mut bytes = Vec::new();
        for number in 1..=5 {
            let event = JobEvent {
                number,
                ..JobEvent::default()
            };
            bytes.extend(event.encode_length_delimited_to_vec());
        }
        // A torn end.
        bytes.extend([40, 8, 6]);
        std::fs::write(&old, &bytes).expect("written");
        bring_over(&old, &new).expect("brought over");
        let log = EventLog::open(&new).expect("opened");
        assert_eq!((log.last_number(), log.damaged()), (5, 0));
        let numbers: Vec<u64> = log
            .on_disk_after(1)
            .read(9)
            .expect("read")
            .iter()
            .map(|event| event.number)
            .collect();
        assert_eq!(numbers, [2, 3, 4, 5]);
        assert_eq!(std::fs::read(&old).expect("kept"), bytes);
    }
}
