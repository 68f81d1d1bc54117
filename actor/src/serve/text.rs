//! From tokens to text while they come: no character is ever split, and what may be the beginning of a marker or of a stop
//! string is held back until it is known to be none.

use std::sync::Arc;

use anytime_policy::Tokenizer;

/// How many tokens without a complete character are waited for. A byte fallback of the longest character has four; what is
/// still none behind this is no text at all.
const LONGEST_WAIT: usize = 16;

/// Decodes a sequence piece by piece. The pieces together are the text of the whole.
pub(crate) struct TextStream {
    tokenizer: Arc<Tokenizer>,
    ids: Vec<u32>,
    /// Where the window begins that is decoded: tokens before it do not change how those behind it are spelled.
    window: usize,
    /// How many tokens have been told.
    told: usize,
}

impl TextStream {
    /// A text that begins behind these tokens, which are not told.
    pub(crate) fn behind(tokenizer: Arc<Tokenizer>, before: &[u32]) -> Self {
        Self {
            tokenizer,
            ids: before.to_vec(),
            window: 0,
            told: before.len(),
        }
    }

    /// The text that a token completes; empty where a character is still open.
    pub(crate) fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let whole = self.decode(self.ids.len());
        let is_open = whole.ends_with(char::REPLACEMENT_CHARACTER) && self.ids.len() - self.told < LONGEST_WAIT;
        if is_open {
            return String::new();
        }
        self.tell(&whole)
    }

    /// What is left at the end, whole characters or not.
    pub(crate) fn finish(&mut self) -> String {
        if self.told == self.ids.len() {
            return String::new();
        }
        let whole = self.decode(self.ids.len());
        self.tell(&whole)
    }

    fn tell(&mut self, whole: &str) -> String {
        let known = self.decode(self.told);
        // A character that was open at the end of what is not told is spelled otherwise with its rest.
        let known = known.trim_end_matches(char::REPLACEMENT_CHARACTER);
        let text = whole.strip_prefix(known).unwrap_or_default().to_owned();
        self.window = self.told;
        self.told = self.ids.len();
        text
    }

    fn decode(&self, end: usize) -> String {
        self.tokenizer.decode(&self.ids[self.window..end]).unwrap_or_default()
    }
}

/// Lets a text through up to the first of some strings, and holds back what may be the beginning of one.
pub(crate) struct Guard {
    ends: Vec<String>,
    held: String,
    is_over: bool,
}

impl Guard {
    /// `ends` are the strings; empty ones are never found.
    pub(crate) fn new(ends: Vec<String>) -> Self {
        Self {
            ends: ends.into_iter().filter(|end| !end.is_empty()).collect(),
            held: String::new(),
            is_over: false,
        }
    }

    /// Takes more text, and gives what is certain.
    pub(crate) fn push(&mut self, text: &str) -> String {
        if self.is_over {
            return String::new();
        }
        self.held.push_str(text);
        if let Some(end) = self.ends.iter().filter_map(|end| self.held.find(end.as_str())).min() {
            self.is_over = true;
            self.held.truncate(end);
            return std::mem::take(&mut self.held);
        }
        let certain = self.held.len() - self.longest_beginning();
        let rest = self.held.split_off(certain);
        std::mem::replace(&mut self.held, rest)
    }

    /// What is left at the end.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// How many of the last bytes may be the beginning of one of the strings.
    fn longest_beginning(&self) -> usize {
        let of = |end: &String| {
            let mut lengths = end.char_indices().map(|(place, _)| place).rev();
            lengths.find(|&length| self.held.ends_with(&end[..length])).unwrap_or(0)
        };
        self.ends.iter().map(of).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(ends: &[&str], pieces: &[&str]) -> (Vec<String>, String) {
        let mut guard = Guard::new(ends.iter().map(|end| (*end).to_owned()).collect());
        let given = pieces.iter().map(|piece| guard.push(piece)).collect();
        (given, guard.finish())
    }

    #[test]
    fn what_may_begin_an_end_is_held_back_and_given_when_it_is_none() {
        let (given, rest) = through(&["</think>"], &["a <", "/thi", "s> b</", "think>c", "d"]);
        assert_eq!(given, ["a ", "", "</this> b", "", ""]);
        assert_eq!(rest, "");
        let (given, rest) = through(&["</think>"], &["x </th"]);
        assert_eq!((given[0].as_str(), rest.as_str()), ("x ", "</th"));
    }

    #[test]
    fn the_first_of_several_ends_counts() {
        let (given, rest) = through(&["\n\n", "END", ""], &["one\n", "twoEN", "D\n\n"]);
        assert_eq!((given.concat().as_str(), rest.as_str()), ("one\ntwo", ""));
        let (given, _) = through(&["b", "ab"], &["xab"]);
        assert_eq!(given, ["x"]);
        // A beginning of two letters of several bytes.
        let (given, rest) = through(&["é!"], &["caf", "é", "?"]);
        assert_eq!((given.concat().as_str(), rest.as_str()), ("café?", ""));
    }
}
