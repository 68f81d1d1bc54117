//! The progress line of offline grading, for people at a terminal only.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

use crate::offline::line::Tally;

/// Lines graded so far, their rate, and how many of them are right.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    total: Tally,
}

impl Progress {
    /// Shows a line if standard error is a terminal.
    pub(super) fn start() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{human_pos} lines, {per_sec:.0}, {msg}");
            ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self {
            bar,
            total: Tally::default(),
        }
    }

    /// More lines were written.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.total.add(tally);
        if let Some(bar) = &self.bar {
            let Tally { lines, correct } = self.total;
            let share = 100.0 * correct as f64 / lines.max(1) as f64;
            bar.set_message(format!("{share:.1} % correct"));
            bar.set_position(lines);
        }
    }

    /// Leaves the line as it stands.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
