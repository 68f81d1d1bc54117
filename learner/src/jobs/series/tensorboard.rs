//! TensorBoard's event file: `tensorboard/events.out.tfevents.…`. No crate that is kept up writes it, and the format is
//! small: records ([TFRecord]) of two messages, of which only the fields that are needed stand here.
//!
//! ```text
//! record = length (8 bytes, little endian) · checksum of it (4) · message · checksum of it (4)
//! ```
//!
//! A file that is written anew gets a later name than the one before. It begins with a mark that tells a running TensorBoard
//! to forget what it has read of this directory, so that undone steps vanish there too. The one before is emptied and stays
//! until the next time: a TensorBoard that reads it would never go on to another file if it were gone.
//!
//! [TFRecord]: https://www.tensorflow.org/tutorials/load_data/tfrecord

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use anytime_proto::v1::JobEvent;
use prost::Message;

use super::figures::{FiguresOf, unix};
use super::form::Form;
use crate::jobs::files::TENSORBOARD_DIRECTORY;
use crate::jobs::standing_figures::StandingFigures;

/// What TensorBoard knows such a file by. A number follows, by which files are ordered.
const PREFIX: &str = "events.out.tfevents.";

/// The directory in a job's directory.
pub(super) struct TensorBoard {
    directory: PathBuf,
}

/// `tensorflow.Event` in tensorflow/core/util/event.proto.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.Summary` in tensorflow/core/framework/summary.proto.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

/// `tensorflow.Summary.Value`.
#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    /// It is one of several there, so that zero has to be written.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// `tensorflow.SessionLog`.
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.START`: what was read before of steps from this one on counts no more.
const START: i32 = 1;

impl TensorBoard {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.join(TENSORBOARD_DIRECTORY),
        }
    }

    /// The event files that are there, with the numbers in their names.
    fn files(&self) -> anyhow::Result<Vec<(u64, PathBuf)>> {
        let listing = || format!("list {}", self.directory.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if let Some(number) = number.and_then(|rest| rest.split('.').next()?.parse().ok()) {
                files.push((number, entry.path()));
            }
        }
        Ok(files)
    }
}

impl Form for TensorBoard {
    const NAME: &'static str = TENSORBOARD_DIRECTORY;

    fn encode(&self, event: &JobEvent, of: FiguresOf) -> anyhow::Result<Vec<u8>> {
        let value = of.figures.into_iter().map(|(tag, value)| SummaryValue {
            tag,
            simple_value: Some(value.as_f64().unwrap_or(f64::NAN) as f32),
        });
        let event = Event {
            wall_time: event.time.map(unix).unwrap_or_default(),
            step: i64::try_from(of.step).unwrap_or(i64::MAX),
            summary: Some(Summary { value: value.collect() }),
            ..Event::default()
        };
        Ok(record(&event.encode_to_vec()))
    }

    fn write_anew(
        &self,
        standing: &StandingFigures,
        fill: &mut dyn FnMut(&Self, &mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<(File, PathBuf)>> {
        // An empty run would be listed there, without a curve.
        if standing.newest().is_none() && !self.directory.exists() {
            return Ok(None);
        }
        fs::create_dir_all(&self.directory).with_context(|| format!("create {}", self.directory.display()))?;
        let earlier = self.files()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let last = earlier.iter().map(|(number, _)| *number).max();
        // TensorBoard goes on to the next file by name, so each needs a later one than those before.
        let number = now.as_secs().max(last.map_or(0, |last| last.saturating_add(1)));
        let path = self.directory.join(format!("{PREFIX}{number:010}.anytime"));
        let written = create(&path, now.as_secs_f64(), |writer| fill(self, writer));
        let file = match written {
            Ok(file) => file,
            Err(failure) => {
                // The earlier one stays, and the next try has another name.
                let _ = fs::remove_file(&path);
                return Err(failure.context(format!("write {}", path.display())));
            }
        };
        for (number, earlier) in earlier {
            if Some(number) == last {
                let emptied = OpenOptions::new().write(true).truncate(true).open(&earlier);
                emptied.with_context(|| format!("empty {}", earlier.display()))?;
            } else {
                fs::remove_file(&earlier).with_context(|| format!("remove {}", earlier.display()))?;
            }
        }
        Ok(Some((file, path)))
    }
}

fn create(
    path: &Path,
    wall_time: f64,
    fill: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<File> {
    let mut writer = BufWriter::new(OpenOptions::new().create_new(true).append(true).open(path)?);
    let version = Event {
        wall_time,
        file_version: Some("brain.Event:2".to_owned()),
        ..Event::default()
    };
    let forget = Event {
        wall_time,
        session_log: Some(SessionLog { status: START }),
        ..Event::default()
    };
    for event in [version, forget] {
        writer.write_all(&record(&event.encode_to_vec()))?;
    }
    fill(&mut writer)?;
    Ok(writer.into_inner().map_err(std::io::IntoInnerError::into_error)?)
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked(message).to_le_bytes());
    record
}

/// The checksum of a checksum would be weak; so the format has it turned and shifted.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_one_of_the_format() {
        // As TensorFlow 2 writes the version record of a file.
        let version = Event {
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        };
        let bytes = version.encode_to_vec();
        assert_eq!(bytes, [&[0x1a, 13][..], b"brain.Event:2"].concat());
        // The check value of CRC-32C, 0xe3069283, masked by hand.
        assert_eq!(masked(b"123456789"), 0xc78a_b0e5);
        let record = record(&bytes);
        assert_eq!(record.len(), bytes.len() + 16);
        assert_eq!(record[..8], 15_u64.to_le_bytes());
        assert_eq!(record[12..27], bytes);
    }
}
