//! The end marker found in the text of a thinking, where its tokens alone cannot be waited for: those of `</think>` by
//! itself are not those of `so </think>` where it is no token of its own. The tokens stay the ones that were drawn.

#![deny(clippy::disallowed_methods)]

use anytime_policy::Tokenizer;

/// Tokens that may have no text of their own, beside those that have a byte of the marker each.
const SPARE: usize = 4;

/// Whether the last of these tokens completes the text. An empty text is never completed.
pub(crate) fn completes(tokenizer: &Tokenizer, ids: &[u32], text: &str) -> bool {
    let (Some(last), Some(ending)) = (ids.last(), text.chars().next_back()) else {
        return false;
    };
    // Most tokens are ruled out by themselves. A part of a letter decodes as a replacement character.
    let decode = |ids: &[u32]| tokenizer.decode(ids).unwrap_or_default();
    if !decode(&[*last]).contains([ending, char::REPLACEMENT_CHARACTER]) {
        return false;
    }
    let tail = &ids[ids.len().saturating_sub(text.len() + SPARE)..];
    decode(tail).contains(text)
}
