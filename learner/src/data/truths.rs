//! Ground truths before they are used: whether an answer can equal one as mathematics, only word for word, or never.

use anytime_proto::v1::Extraction;
use anytime_verifier::extract;
use anytime_verifier::limits::MAX_ANSWER_CHARS;
use anytime_verifier::parse::lexer::Commas;
use anytime_verifier::parse::{Answer, Body, parse};

/// How a ground truth can be equalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// By its value: it is mathematics, or the letter of a choice.
    Readable,
    /// By the same words only.
    WordForWord,
    /// By no answer.
    Never,
}

/// The form of a ground truth, with the reason where it is not readable.
pub fn judge(truth: &str) -> (Form, String) {
    let (form, reason) = form_of(truth);
    (form, reason.to_owned())
}

fn form_of(truth: &str) -> (Form, &'static str) {
    let truth = extract(truth, Extraction::Boxed).unwrap_or(truth);
    if truth.chars().nth(MAX_ANSWER_CHARS).is_some() {
        return (Form::Never, "it is longer than any answer may be");
    }
    match parse(truth, Commas::Thousands) {
        Err(anytime_verifier::parse::ParseError::Nothing) => (Form::Never, "there is nothing in it to compare"),
        Err(anytime_verifier::parse::ParseError::TooLarge) => {
            (Form::Never, "it has too many parts, or is nested too deep")
        }
        Ok(parsed) if parsed.choice.is_some() => (Form::Readable, ""),
        Ok(parsed) if is_text(&parsed.answer) => (Form::WordForWord, "it is words"),
        Ok(_) => (Form::Readable, ""),
    }
}

/// Whether any part of the answer is words.
fn is_text(answer: &Answer) -> bool {
    match &answer.body {
        Body::Text(_) => true,
        Body::List(items)
        | Body::Set(items)
        | Body::Sequence(_, _, items)
        | Body::Union(items)
        | Body::Intersection(items) => items.iter().any(is_text),
        Body::Cases(_) => false,
        Body::Difference(from, without) => is_text(from) || is_text(without),
        Body::Quantity(_) | Body::Matrix(_) | Body::Chain(..) | Body::Ratio(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ground_truths_are_told_apart_by_how_they_can_be_equalled() {
        for truth in [
            "34",
            "\\boxed{34}",
            "$\\frac{1}{2}$",
            "x = 3",
            "(1, 2)",
            "B",
            "50\\%",
            "1,000",
            "3 : 4",
        ] {
            assert_eq!(judge(truth).0, Form::Readable, "{truth}");
        }
        for truth in ["The answer is 34", "####34 apples", "east and west"] {
            assert_eq!(judge(truth).0, Form::WordForWord, "{truth}");
        }
        for truth in [".", "()", &"1+".repeat(MAX_ANSWER_CHARS)] {
            assert_eq!(judge(truth).0, Form::Never, "{truth}");
        }
    }
}
