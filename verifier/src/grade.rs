//! From a response to its verdict.

use anytime_proto::v1::{Verdict, VerdictKind};

use crate::compare::{Comparison, Rule};
use crate::extract::{extract, last_box};
use crate::limits::{MAX_ANSWER_CHARS, MAX_RESPONSE_BYTES};
use crate::options::{Conventions, Options};
use crate::parse::lexer::Commas;
use crate::parse::{Bold, Ordered, ParseError, Parsed, have_lengths, parse, with_vectors};
use crate::steps::Steps;

/// Grades one response against the answers that count as right. It is a pure function, bounded by [`crate::limits`] and
/// the step budget of [`crate::steps`].
///
/// A ground truth that cannot be read matches nothing. Without any ground truth the verdict is a fault, because nothing
/// can be said about the answer.
pub fn grade(response: &str, ground_truths: &[String], options: &Options) -> Verdict {
    if response.len() > MAX_RESPONSE_BYTES {
        return verdict(
            VerdictKind::TooLarge,
            "",
            format!("response of more than {MAX_RESPONSE_BYTES} bytes"),
        );
    }
    match extract(response, options.extraction) {
        Some(answer) => grade_extracted(answer, ground_truths, &options.conventions),
        None if ground_truths.is_empty() => verdict(VerdictKind::InternalError, "", "no ground truth"),
        None => verdict(VerdictKind::NoAnswer, "", "no answer in the form asked for"),
    }
}

/// Grades an answer that was extracted already.
pub fn grade_extracted(answer: &str, ground_truths: &[String], conventions: &Conventions) -> Verdict {
    let mut steps = Steps::default();
    match decide(answer, ground_truths, conventions, &mut steps) {
        Ok(Outcome::Right(rule)) => verdict(VerdictKind::Correct, answer, rule.describe()),
        Ok(Outcome::Exceeded) if steps.left() == 0 => {
            verdict(VerdictKind::TooLarge, answer, "the step budget is spent")
        }
        Ok(Outcome::Exceeded) => verdict(VerdictKind::TooLarge, answer, "a result exceeds the limits"),
        Ok(Outcome::Wrong) => verdict(VerdictKind::Wrong, answer, "equal to no ground truth"),
        Err(fault) => fault,
    }
}

/// The result of the comparisons.
enum Outcome {
    Right(Rule),
    Wrong,
    /// Not found right, but a comparison was beyond the limits.
    Exceeded,
}

/// Compares the answer with the ground truths. An answer that cannot be compared gets its verdict at once.
fn decide(
    answer: &str,
    ground_truths: &[String],
    conventions: &Conventions,
    steps: &mut Steps,
) -> Result<Outcome, Verdict> {
    if ground_truths.is_empty() {
        return Err(verdict(VerdictKind::InternalError, "", "no ground truth"));
    }
    if let Some((end, _)) = answer.char_indices().nth(MAX_ANSWER_CHARS) {
        let detail = format!("answer of more than {MAX_ANSWER_CHARS} characters");
        return Err(verdict(VerdictKind::TooLarge, &answer[..end], detail));
    }
    if steps.spend(cost_to_read(answer)).is_err() {
        return Ok(Outcome::Exceeded);
    }
    let parsed = parse(answer, Commas::Thousands).map_err(|error| {
        let kind = match error {
            ParseError::Nothing => VerdictKind::Unparsable,
            ParseError::TooLarge => VerdictKind::TooLarge,
        };
        verdict(kind, answer, error.to_string())
    })?;
    if steps.spend(parsed.work).is_err() {
        return Ok(Outcome::Exceeded);
    }
    // Read only where a comma has two meanings.
    let mut as_list: Option<Parsed> = None;
    let mut exceeded = false;
    for ground_truth in ground_truths {
        let ground_truth = without_box(ground_truth);
        if ground_truth.chars().nth(MAX_ANSWER_CHARS).is_some() || steps.spend(cost_to_read(ground_truth)).is_err() {
            exceeded = true;
            continue;
        }
        let Ok(truth) = parse(ground_truth, Commas::Thousands) else {
            continue;
        };
        if steps.spend(truth.work).is_err() {
            exceeded = true;
            continue;
        }
        let mut comparison = Comparison {
            conventions,
            steps,
            exceeded: false,
            in_set: false,
        };
        // `A^{-1}B` is no `BA^{-1}`, `gxg^{-1}` no `x`, and `\mathbf{AB}` no `\mathbf{BA}`.
        let letters = parsed.ordered.max(truth.ordered);
        let is_ordered = letters != Ordered::None;
        // `AB \cdot CD` is no `AC \cdot BD`.
        let are_segments = have_lengths(&parsed, &truth);
        let is_read_anew = is_ordered || are_segments || parsed.bold != Bold::No || truth.bold != Bold::No;
        let in_order = match is_read_anew {
            true if comparison
                .steps
                .spend(cost_to_read(answer) + cost_to_read(ground_truth) + parsed.work + truth.work)
                .is_err() =>
            {
                exceeded = true;
                continue;
            }
            true if is_ordered => parsed.in_order(letters).zip(truth.in_order(letters)),
            true if are_segments => parsed.in_segments().zip(truth.in_segments()),
            true => with_vectors(&parsed, &truth),
            false => None,
        };
        let (parsed, truth) = match &in_order {
            Some((parsed, truth)) => (parsed, truth),
            None => (&parsed, &truth),
        };
        if let Some(rule) = comparison.compare(parsed, truth) {
            return Ok(Outcome::Right(rule));
        }
        // `9.8 m/s^2` for `9.8\text{ m/s}^2`: the ground truth says that the letters are a unit.
        if truth.is_measured()
            && comparison.steps.spend(cost_to_read(answer)).is_ok()
            && let Some(measured) = parsed.with_unit()
            && let Some(rule) = comparison.compare(&measured, truth)
        {
            return Ok(Outcome::Right(rule));
        }
        if parsed.ambiguous_comma || truth.ambiguous_comma {
            let cost_of_answer = cost_to_read(answer) + parsed.work;
            let cost = cost_to_read(ground_truth) + truth.work + if as_list.is_none() { cost_of_answer } else { 0 };
            if comparison.steps.spend(cost).is_err() {
                exceeded = true;
                continue;
            }
            if as_list.is_none() {
                as_list = parse(answer, Commas::Separators).ok();
            }
            if let (Some(answer), Ok(truth)) = (&as_list, parse(ground_truth, Commas::Separators))
                && let Some(rule) = comparison.compare(answer, &truth)
            {
                return Ok(Outcome::Right(rule));
            }
        }
        exceeded |= comparison.exceeded;
    }
    Ok(if exceeded { Outcome::Exceeded } else { Outcome::Wrong })
}

/// Steps that a byte takes to read in the costliest texts, which are large matrices of small numbers.
const STEPS_PER_BYTE: u64 = 24;

/// Steps that reading a text costs, whatever it says.
fn cost_to_read(text: &str) -> u64 {
    text.len() as u64 * STEPS_PER_BYTE
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
