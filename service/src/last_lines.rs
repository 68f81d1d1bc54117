//! The newest warning and the newest error of this process' log, so that the process can be asked for them: who has to
//! find out at night what is wrong should not have to find the logs of every host first.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anytime_proto::v1::LogLine;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The most bytes of a line that are kept. Every report of an actor carries a few of them.
pub const LONGEST_LINE: usize = 512;

/// A line with the time at which it was written.
struct Kept {
    text: String,
    at: Instant,
}

struct Lines {
    error: Option<Kept>,
    warning: Option<Kept>,
}

static LINES: Mutex<Lines> = Mutex::new(Lines {
    error: None,
    warning: None,
});

/// Keeps the newest lines. One of the layers of every process' log.
pub(crate) struct LastLines;

impl<S: Subscriber> Layer<S> for LastLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::WARN {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let kept = Kept {
            text: line.in_words(),
            at: Instant::now(),
        };
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if level == Level::ERROR {
            lines.error = Some(kept);
        } else {
            lines.warning = Some(kept);
        }
    }
}

/// The newest error and the newest warning of this process; none where there was none.
pub(crate) fn newest() -> (Option<LogLine>, Option<LogLine>) {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let told = |kept: &Kept| log_line(&kept.text, kept.at.elapsed().as_secs_f64());
    (lines.error.as_ref().map(told), lines.warning.as_ref().map(told))
}

/// A line of this age, cut to the length that reports carry.
pub fn log_line(text: &str, seconds_ago: f64) -> LogLine {
    let mut text = text.to_owned();
    cut(&mut text, LONGEST_LINE);
    LogLine { text, seconds_ago }
}

/// Cuts a text to so many bytes, at the border of a character, and says by `…` that it did.
pub fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        let fits = (0..=longest.saturating_sub('…'.len_utf8()))
            .rev()
            .find(|index| text.is_char_boundary(*index));
        text.truncate(fits.unwrap_or(0));
        text.push('…');
    }
}

/// An event as it is read off: the sentence, and behind it the fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn in_words(self) -> String {
        let mut text = self.message;
        if !self.fields.is_empty() {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&self.fields);
        }
        cut(&mut text, LONGEST_LINE);
        text
    }

    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // A `String` takes whatever is written.
        if field.name() == "message" {
            let _ = self.message.write_fmt(value);
            return;
        }
        let separator = if self.fields.is_empty() { "" } else { ", " };
        let _ = write!(self.fields, "{separator}{} {value}", field.name());
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing::{error, info, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_newest_error_and_the_newest_warning_are_kept_with_their_fields() {
        let subscriber = tracing_subscriber::registry().with(LastLines);
        tracing::subscriber::with_default(subscriber, || {
            warn!(call = "rollout.lease", code = ?1, "peer is lost");
            error!(number = 1, "the first");
            error!(reason = "no room", "the second");
            info!("of no weight");
        });
        let (error, warning) = newest();
        assert_eq!(error.expect("an error").text, "the second: reason no room");
        let warning = warning.expect("a warning");
        assert_eq!(warning.text, "peer is lost: call rollout.lease, code 1");
        assert!((0.0..60.0).contains(&warning.seconds_ago), "{warning:?}");
    }

    #[test]
    fn a_long_line_is_cut_between_two_characters() {
        let line = log_line(&"ä".repeat(LONGEST_LINE), 1.5);
        assert!(
            line.text.len() <= LONGEST_LINE && line.text.ends_with('…'),
            "{}",
            line.text.len()
        );
        assert_eq!(log_line("short", 1.5).text, "short");
        let mut tiny = "äää".to_owned();
        cut(&mut tiny, 1);
        assert_eq!(tiny, "…");
    }
}
