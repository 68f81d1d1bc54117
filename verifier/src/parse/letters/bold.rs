//! Answers that are set in bold as a whole. The bold may only make them stand out, `\mathbf{12}`, or each letter in it is a
//! vector or a matrix, `\mathbf{u \times v}`: what it is compared with tells.

use super::super::answer::{Bold, Parsed};
use super::super::kinds::Kinds;
use super::super::token::{Kind, Token};
use super::capitals;

/// How these tokens are set in bold, if `is_whole` says whether all around them is.
pub(in crate::parse) fn bold(tokens: &[Token<'_>], kinds: Kinds, is_whole: bool) -> Bold {
    if !is_whole {
        return if kinds.has(Kinds::STYLED) && tokens.iter().any(|token| token.is_bold) {
            Bold::Letters
        } else {
            Bold::No
        };
    }
    let is_letter = |token: &Token<'_>| matches!(token.kind, Kind::Symbol(_));
    let is_cross = |token: &Token<'_>| token.kind == Kind::Times && matches!(token.source, "\\times" | "×");
    let multiplies = |three: &[Token<'_>]| is_letter(&three[0]) && is_cross(&three[1]) && is_letter(&three[2]);
    let of_vectors = capitals::has_product(tokens) || tokens.windows(3).any(multiplies);
    Bold::Whole { of_vectors }
}

/// Sets all letters in bold.
pub(in crate::parse) fn embolden(tokens: &mut [Token<'_>]) {
    for token in tokens {
        token.is_bold |= matches!(token.kind, Kind::Symbol(_) | Kind::Constant(_));
    }
}

/// An answer and a ground truth with the letters in bold of those that are set so as a whole, where the other one, or what
/// is multiplied, says that these are vectors or matrices. None where both stay as they are.
pub fn with_vectors(answer: &Parsed, truth: &Parsed) -> Option<(Parsed, Parsed)> {
    match (answer.bold, truth.bold) {
        (Bold::Whole { .. }, Bold::Whole { .. }) | (Bold::No, Bold::Whole { of_vectors: true }) => {
            answer.in_bold().zip(truth.in_bold())
        }
        (Bold::Whole { .. }, Bold::Letters) => answer.in_bold().zip(Some(truth.clone())),
        (Bold::Letters, Bold::Whole { .. }) => Some(answer.clone()).zip(truth.in_bold()),
        _ => None,
    }
}
