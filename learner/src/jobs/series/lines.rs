//! `metrics.jsonl`: a line of JSON for every step and every evaluation. Lines are only ever added at the end; where that is
//! not enough, a new file takes the place of the old one in one step. So whoever reads it never meets a line that is not
//! true any more in a file that still grows.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_files::write_durably_with;
use anytime_proto::v1::JobEvent;
use serde::Serialize;
use serde_json::Value;

use super::figures::FiguresOf;
use super::form::Form;
use crate::jobs::files::METRICS_FILE;
use crate::jobs::standing_figures::StandingFigures;

/// The last line is looked for in so many bytes. One has about 100 for each of its figures.
const LONGEST_LINE: u64 = 1 << 20;

/// The file in a job's directory.
pub(super) struct Lines {
    path: PathBuf,
}

/// What every line begins with. The figures follow.
#[derive(Serialize)]
struct Head<'a> {
    step: u64,
    event: &'a str,
    number: u64,
    time: String,
    wall_seconds: Option<f64>,
    #[serde(flatten)]
    figures: Flat,
}

struct Flat(Vec<(String, Value)>);

impl Serialize for Flat {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Lines {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(METRICS_FILE),
        }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.is_file()
    }

    /// The event of the last line; none where there is none, or it is not whole.
    pub(super) fn newest(&self) -> Option<u64> {
        let mut file = File::open(&self.path).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LINE))).ok()?;
        let mut end = Vec::new();
        file.take(LONGEST_LINE).read_to_end(&mut end).ok()?;
        let line = end.strip_suffix(b"\n")?;
        let line = line.rsplit(|byte| *byte == b'\n').next()?;
        let line: Value = serde_json::from_slice(line).ok()?;
        line.get("number")?.as_u64()
    }
}

impl Form for Lines {
    const NAME: &'static str = METRICS_FILE;

    fn encode(&self, event: &JobEvent, of: FiguresOf) -> anyhow::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(&Head {
            step: of.step,
            event: of.kind,
            number: event.number,
            time: event.time.as_ref().map(ToString::to_string).unwrap_or_default(),
            wall_seconds: of.wall_seconds,
            figures: Flat(of.figures),
        })?;
        line.push(b'\n');
        Ok(line)
    }

    fn write_anew(
        &self,
        _: &StandingFigures,
        fill: &mut dyn FnMut(&Self, &mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<(File, PathBuf)>> {
        let path = self.path.clone();
        // A directory of that name is in the way of the file, and is nobody's but the user's.
        anyhow::ensure!(!path.is_dir(), "{} is a directory", path.display());
        write_durably_with(&path, |writer| fill(self, writer))?;
        let opened = OpenOptions::new().append(true).open(&path);
        let file = opened.with_context(|| format!("open {}", path.display()))?;
        Ok(Some((file, path)))
    }
}
