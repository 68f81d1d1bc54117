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
            let style = ProgressStyle::with_template("{human_pos} lines, {msg}");
            ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self {
            bar,
            total: Tally::default(),
        }
    }

    /// Counts lines that were written.
    pub(super) fn add(&mut self, tally: &Tally) {
        self.total.add(tally);
        if let Some(bar) = &self.bar {
            let Tally { lines, correct } = self.total;
            let share = 100.0 * correct as f64 / lines.max(1) as f64;
            bar.set_position(lines);
            bar.set_message(format!("{:.0} lines/s, {share:.1} % correct", bar.per_sec()));
        }
    }

    /// Ends the progress line and leaves it on the screen.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}
