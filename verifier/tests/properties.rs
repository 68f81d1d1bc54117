//! Properties that hold for every response, however odd.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use std::time::{Duration, Instant};

use anytime_proto::v1::{Extraction, VerdictKind};
use anytime_verifier::options::Options;
use anytime_verifier::{extract, grade};
use proptest::prelude::*;

fn grade_answer(answer: &str, ground_truth: &str) -> VerdictKind {
    let response = format!("\n\n**Final Answer**\n\\boxed{{{answer}}}");
    grade(&response, &[ground_truth.to_owned()], &Options::default()).kind()
}

/// Text with the pieces that the stages react to, so that the odd paths are met.
fn latex_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{0,4}",
        "\\PC{0,3}",
        proptest::sample::select(vec![
            "\\boxed{",
            "\\frac",
            "\\sqrt",
            "\\text{",
            "\\left",
            "\\right.",
            "\\times 10^",
            "{",
            "}",
            "\\",
            "\\\\",
            "^",
            "_",
            "1,000",
            "\\!",
            "{,}",
            "=",
            ".",
            " ",
            "-",
            "\\%",
            "\\circ",
            "[",
            "]",
            "**Final Answer**\n",
            "\n\n",
            "é",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// One integer in the ways that people write it.
fn spellings(value: i128) -> Vec<String> {
    let plain = value.to_string();
    let (sign, digits) = plain
        .strip_prefix('-')
        .map_or(("", plain.as_str()), |digits| ("-", digits));
    let mut groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.reverse();
    let spelling = |separator: &str| format!("{sign}{}", groups.join(separator));
    vec![
        plain.clone(),
        format!("${plain}$"),
        format!("{{{plain}}}"),
        format!("{plain}.0"),
        format!("{sign}00{digits}"),
        format!("x = {plain}"),
        format!("\\text{{{plain}}}"),
        format!("\\frac{{{plain}}}{{1}}"),
        format!("{plain}/1"),
        format!(" {plain}. "),
        spelling(","),
        spelling(",\\!"),
        spelling("{,}"),
        spelling("\\,"),
    ]
}

proptest! {
    #[test]
    fn nothing_panics(response in "\\PC*", tail in latex_like()) {
        let _ = extract(&response, Extraction::Anytime);
        let whole = format!("{response}\n\n**Final Answer**\n{tail}");
        let _ = grade(&whole, std::slice::from_ref(&tail), &Options::default());
        let _ = grade_answer(&tail, &response);
        let _ = grade_answer(&response, &tail);
    }

    #[test]
    fn what_is_extracted_is_in_the_response(tail in latex_like()) {
        let response = format!("**Final Answer**\n{tail}");
        if let Some(answer) = extract(&response, Extraction::Anytime) {
            let boxed = format!("\\boxed{{{answer}}}");
            prop_assert!(response.contains(&boxed));
            prop_assert!(!answer.contains("\n\n"));
        }
    }

    #[test]
    fn an_answer_equals_itself(answer in latex_like()) {
        let response = format!("**Final Answer**\n\\boxed{{{answer}}}");
        let verdict = grade(&response, &[], &Options::default());
        prop_assert_eq!(verdict.kind(), VerdictKind::InternalError);
        if let Some(extracted) = extract(&response, Extraction::Anytime) {
            let verdict = grade(&response, &[extracted.to_owned()], &Options::default());
            let allowed = [VerdictKind::Correct, VerdictKind::Unparsable, VerdictKind::TooLarge];
            prop_assert!(allowed.contains(&verdict.kind()), "{:?}", verdict);
        }
    }

    #[test]
    fn an_integer_equals_itself_however_written(value in any::<i64>()) {
        let value = i128::from(value);
        for left in spellings(value) {
            for right in spellings(value) {
                prop_assert_eq!(grade_answer(&left, &right), VerdictKind::Correct, "{} ~ {}", left, right);
            }
        }
    }

    #[test]
    fn an_integer_differs_from_the_next_however_written(value in any::<i64>()) {
        let value = i128::from(value);
        for left in spellings(value) {
            for right in spellings(value + 1) {
                prop_assert_eq!(grade_answer(&left, &right), VerdictKind::Wrong, "{} ~ {}", left, right);
            }
        }
    }

    #[test]
    fn a_fraction_equals_its_multiples_only(
        numerator in -1_000_000i64..1_000_000, denominator in 1i64..1_000_000, factor in 1i64..1000,
    ) {
        let plain = format!("{numerator}/{denominator}");
        let multiple = format!("\\frac{{{}}}{{{}}}", numerator * factor, denominator * factor);
        let other = format!("\\frac{{{}}}{{{}}}", numerator * factor + 1, denominator * factor);
        prop_assert_eq!(grade_answer(&plain, &multiple), VerdictKind::Correct);
        prop_assert_eq!(grade_answer(&plain, &other), VerdictKind::Wrong);
    }

    #[test]
    fn a_decimal_is_exact(whole in 0u32..1000, thousandths in 0u32..1000) {
        let decimal = format!("{whole}.{thousandths:03}");
        let fraction = format!("{}/1000", whole * 1000 + thousandths);
        let near = format!("{decimal}0000000000000000000001");
        prop_assert_eq!(grade_answer(&decimal, &fraction), VerdictKind::Correct);
        prop_assert_eq!(grade_answer(&near, &fraction), VerdictKind::Wrong);
    }
}

/// Inputs made to be slow stay far below the time of a batch.
#[test]
fn the_worst_answers_take_little_time() {
    let size = 4_000;
    let answers = [
        "9".repeat(size),
        format!("0.{}", "9".repeat(size)),
        format!("{}/{}", "9".repeat(size / 2), "7".repeat(size / 2)),
        format!("9.{}/7.{}", "9".repeat(size / 2 - 5), "7".repeat(size / 2 - 5)),
        format!("{} \\times 10^{{-4096}}", "9".repeat(size)),
        format!("{}1{}", "{".repeat(size / 2), "}".repeat(size / 2)),
        format!("{}1{}", "\\frac{".repeat(size / 7), "}".repeat(size / 7)),
        "\\frac".repeat(size / 5),
        "^{".repeat(size / 2),
        "\\sqrt[".repeat(size / 6),
        "{,}".repeat(size / 3),
        "\\left.".repeat(size / 6),
    ];
    for answer in answers {
        let started = Instant::now();
        let _ = grade_answer(&answer, &answer);
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_secs(2), "{elapsed:?} for {}…", &answer[..20]);
    }
}
