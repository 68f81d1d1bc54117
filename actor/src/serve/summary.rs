//! The text of a summary: the marker that opens it, and what is generated behind it, up to a stop string.

use std::sync::Arc;

use super::settings::Served;
use super::text::{Guard, TextStream};

/// A summary's text while its tokens come. The pieces together are the text of the whole.
pub(crate) struct SummaryText {
    text: TextStream,
    guard: Guard,
    /// What is still to be told of the marker.
    opening: String,
    has_begun: bool,
}

impl SummaryText {
    pub(crate) fn new(served: &Served, stops: &[String]) -> Self {
        let marker = &served.markers.summary;
        let opening = served.tokenizer.decode(marker).unwrap_or_default();
        // The marker stands here as it was inserted; an end marker does not come behind it, and is kept out all the same.
        let ends = stops.iter().cloned().chain([served.end_text.clone()]).collect();
        Self {
            text: TextStream::behind(Arc::clone(&served.tokenizer), marker),
            guard: Guard::new(ends),
            opening,
            has_begun: false,
        }
    }

    /// The text of all tokens, without the end of sequence.
    pub(crate) fn of(served: &Served, stops: &[String], ids: &[u32]) -> String {
        let mut summary = Self::new(served, stops);
        let mut whole: String = ids.iter().map(|&id| summary.push(id)).collect();
        whole.push_str(&summary.finish());
        whole
    }

    /// The text that a token makes certain.
    pub(crate) fn push(&mut self, id: u32) -> String {
        let text = self.text.push(id);
        let certain = self.guard.push(&text);
        self.begun(certain)
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> String {
        let text = self.text.finish();
        let certain = self.guard.push(&text) + &self.guard.finish();
        self.begun(certain)
    }

    /// Answers begin with their first visible character.
    fn begun(&mut self, text: String) -> String {
        if self.has_begun {
            return text;
        }
        self.opening.push_str(&text);
        let visible = self.opening.trim_start();
        if visible.is_empty() {
            return String::new();
        }
        self.has_begun = true;
        visible.to_owned()
    }
}
