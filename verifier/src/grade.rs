//! From a response to its verdict.

use anytime_proto::v1::{Verdict, VerdictKind};

use crate::compare::compare;
use crate::extract::{extract, last_box};
use crate::limits::{MAX_ANSWER_CHARS, MAX_RESPONSE_BYTES};
use crate::options::Options;
use crate::value::{ParseError, parse};

/// Grades one response against the answers that count as right. Pure, and bounded by [`crate::limits`].
///
/// Ground truths that nothing can be made of match nothing; without any ground truth the verdict is a fault, because
/// nothing can be said about the answer.
pub fn grade(response: &str, ground_truths: &[String], options: &Options) -> Verdict {
    if ground_truths.is_empty() {
        return verdict(VerdictKind::InternalError, "", "no ground truth");
    }
    if response.len() > MAX_RESPONSE_BYTES {
        return verdict(
            VerdictKind::TooLarge,
            "",
            format!("response of more than {MAX_RESPONSE_BYTES} bytes"),
        );
    }
    let Some(answer) = extract(response, options.extraction) else {
        return verdict(VerdictKind::NoAnswer, "", "no \\boxed{…} in a final answer block");
    };
    if let Some((end, _)) = answer.char_indices().nth(MAX_ANSWER_CHARS) {
        let detail = format!("answer of more than {MAX_ANSWER_CHARS} characters");
        return verdict(VerdictKind::TooLarge, &answer[..end], detail);
    }
    let parsed_answer = match parse(answer) {
        Ok(parsed_answer) => parsed_answer,
        Err(error @ ParseError::Incomparable) => return verdict(VerdictKind::Unparsable, answer, error.to_string()),
        Err(error @ ParseError::TooLarge(_)) => return verdict(VerdictKind::TooLarge, answer, error.to_string()),
    };
    for ground_truth in ground_truths {
        let Ok(parsed_truth) = parse(without_box(ground_truth)) else {
            continue;
        };
        if let Some(rule) = compare(&parsed_answer, &parsed_truth) {
            return verdict(VerdictKind::Correct, answer, rule.describe());
        }
    }
    verdict(VerdictKind::Wrong, answer, "equal to no ground truth")
}

/// A ground truth may be written as it would stand in a response.
fn without_box(ground_truth: &str) -> &str {
    last_box(ground_truth).unwrap_or(ground_truth)
}

/// Puts a verdict together.
pub(crate) fn verdict(kind: VerdictKind, extracted: &str, detail: impl Into<String>) -> Verdict {
    Verdict {
        kind: kind.into(),
        extracted: extracted.to_owned(),
        detail: detail.into(),
    }
}
