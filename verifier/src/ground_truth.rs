//! Judges a ground truth before anything is trained on it: what answers can equal it at all.

use anytime_proto::v1::{Verdict, VerdictKind};

use crate::extract::last_box;
use crate::grade::grade_extracted;
use crate::limits::MAX_ANSWER_CHARS;
use crate::options::Conventions;
use crate::parse::lexer::Commas;
use crate::parse::{Answer, Body, Parsed, parse};

/// What answers can equal a ground truth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroundTruth {
    /// It is mathematics, or the letter of a choice: every answer that says the same equals it.
    Form,
    /// It is words, or mathematics that the grader does not read: only an answer with the same words in the same order
    /// equals it. In a training set this is often a sign of something left around the answer, such as `#### 7`.
    TextOnly,
    /// No answer can equal it, not even itself.
    NeverEqual {
        /// Why, as a sentence without a final stop.
        reason: String,
    },
}

/// Judges one ground truth under the default conventions.
///
/// It takes as long as grading one answer: microseconds for most, 20 ms at most. Whether the ground truth is *right* it
/// cannot say, nor whether an answer will be in the form that the extraction asks for.
///
/// ```
/// use anytime_verifier::ground_truth::{GroundTruth, judge};
///
/// assert_eq!(judge("\\frac{1}{2}"), GroundTruth::Form);
/// assert_eq!(judge("#### 7"), GroundTruth::TextOnly);
/// assert!(matches!(judge(""), GroundTruth::NeverEqual { .. }));
/// ```
pub fn judge(ground_truth: &str) -> GroundTruth {
    let never = |reason: String| GroundTruth::NeverEqual { reason };
    if ground_truth.chars().nth(MAX_ANSWER_CHARS).is_some() {
        return never(format!("it has more than {MAX_ANSWER_CHARS} characters"));
    }
    // The grader does the same: a ground truth may be written as it would stand in a response.
    let answer = last_box(ground_truth).unwrap_or(ground_truth);
    // An answer stands in a box, and one that closes the box early cannot.
    let boxed = format!("\\boxed{{{answer}}}");
    if last_box(&boxed) != Some(answer) {
        return never("its braces are not balanced, so that it cannot stand in a box".to_owned());
    }
    let parsed = match parse(answer, Commas::Thousands) {
        Ok(parsed) => parsed,
        Err(error) => return never(format!("it cannot be read: {error}")),
    };
    let verdict: Verdict = grade_extracted(answer, &[ground_truth.to_owned()], &Conventions::default());
    match verdict.kind() {
        VerdictKind::Correct if is_form(&parsed) => GroundTruth::Form,
        VerdictKind::Correct => GroundTruth::TextOnly,
        VerdictKind::TooLarge => never(format!("it is too large: {}", verdict.detail)),
        _ => never("it has no value, so that it does not equal itself".to_owned()),
    }
}

fn is_form(parsed: &Parsed) -> bool {
    parsed.choice.is_some_and(|choice| choice.is_alone) || has_no_text(&parsed.answer)
}

/// Whether no part of an answer is compared by its spelling.
fn has_no_text(answer: &Answer) -> bool {
    match &answer.body {
        Body::Text(_) => false,
        Body::List(parts)
        | Body::Set(parts)
        | Body::Sequence(_, _, parts)
        | Body::Union(parts)
        | Body::Intersection(parts) => parts.iter().all(has_no_text),
        Body::Difference(whole, removed) => has_no_text(whole) && has_no_text(removed),
        Body::Cases(rows) => rows
            .iter()
            .all(|(value, condition)| has_no_text(value) && condition.as_ref().is_none_or(has_no_text)),
        Body::Quantity(_) | Body::Matrix(_) | Body::Chain(..) | Body::Ratio(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mathematics_is_compared_by_what_it_says() {
        for form in [
            "7",
            "0.10",
            "\\boxed{7}",
            "$7$",
            "x = 2, y = 3",
            "[1, 2) \\cup \\{5\\}",
            "12\\text{ cm}",
            "(B)",
            "\\text{C}",
            "no solution",
            "\\begin{pmatrix} 1 & 2 \\end{pmatrix}",
            "3:4",
        ] {
            assert_eq!(judge(form), GroundTruth::Form, "{form}");
        }
    }

    #[test]
    fn words_and_what_is_left_around_an_answer_are_texts() {
        for text in [
            "Evelyn",
            "Yes, because n is even",
            "34<|endoftext|>",
            "<answer>34</answer>",
            "#### 7",
            "The answer is 34",
            "3+4 = <<3+4=7>>7\n#### 7",
            "[\"7\"]",
            "She sold 34 clips in May.",
            "7, because it is prime",
            "\\text{Alice}, \\text{Bob}",
        ] {
            assert_eq!(judge(text), GroundTruth::TextOnly, "{text}");
        }
    }

    #[test]
    fn what_equals_nothing_says_why() {
        for (nothing, reason) in [
            ("", "nothing to compare"),
            (" \n", "nothing to compare"),
            ("?", "nothing to compare"),
            ("\\boxed{}", "nothing to compare"),
            ("7}", "braces"),
            (&"1".repeat(5_000), "4096 characters"),
            (&"(".repeat(200), "too many tokens, or nested too deep"),
        ] {
            let GroundTruth::NeverEqual { reason: found } = judge(nothing) else {
                panic!("{nothing}: {:?}", judge(nothing));
            };
            assert!(found.contains(reason), "{nothing}: {found}");
        }
    }
}
