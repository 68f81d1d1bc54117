//! What the forms of the figures have in common.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anytime_proto::v1::JobEvent;

use super::figures::FiguresOf;
use crate::jobs::standing_figures::StandingFigures;

/// How a file is written.
pub(super) trait Form {
    /// What it is called in logs and metrics.
    const NAME: &'static str;

    /// The bytes of one event's figures.
    fn encode(&self, event: &JobEvent, figures: FiguresOf) -> anyhow::Result<Vec<u8>>;

    /// Writes a new file, which `fill` is to fill, in the place of what there was. Returns it, open for appending, and
    /// its path; none where there is nothing to write yet.
    fn write_anew(
        &self,
        standing: &StandingFigures,
        fill: &mut dyn FnMut(&Self, &mut dyn Write) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<(File, PathBuf)>>;
}
