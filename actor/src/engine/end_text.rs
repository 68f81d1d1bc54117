//! Finds the end marker in the text of a thinking, for markers whose token ids alone cannot be matched. Where
//! `</think>` is no token of its own, its ids differ from those that `so </think>` ends in. The ids that were drawn are
//! kept.

#![deny(clippy::disallowed_methods)]

use anytime_policy::Tokenizer;

/// How many tokens without text of their own the tail may hold, beside one for each byte of the marker.
const SPARE: usize = 4;

/// Whether the last of these tokens completes the text. An empty text is never completed.
pub(crate) fn completes(tokenizer: &Tokenizer, ids: &[u32], text: &str) -> bool {
    let (Some(last), Some(ending)) = (ids.last(), text.chars().next_back()) else {
        return false;
    };
    // The last token rules most out by itself. A part of a letter decodes as a replacement character.
    let decode = |ids: &[u32]| tokenizer.decode(ids).unwrap_or_default();
    if !decode(&[*last]).contains([ending, char::REPLACEMENT_CHARACTER]) {
        return false;
    }
    let tail = &ids[ids.len().saturating_sub(text.len() + SPARE)..];
    decode(tail).contains(text)
}
