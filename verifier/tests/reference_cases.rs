//! The cases that are documented for the grader of the reference implementation, and where this one departs from it.

use anytime_proto::v1::VerdictKind;
use anytime_verifier::grade;
use anytime_verifier::limits::{MAX_ANSWER_CHARS, MAX_RESPONSE_BYTES};
use anytime_verifier::options::Options;

fn grade_answer(answer: &str, ground_truths: &[&str]) -> VerdictKind {
    grade_response(&format!("\n\n**Final Answer**\n\\boxed{{{answer}}}"), ground_truths)
}

fn grade_response(response: &str, ground_truths: &[&str]) -> VerdictKind {
    let ground_truths: Vec<String> = ground_truths.iter().map(|truth| (*truth).to_owned()).collect();
    grade(response, &ground_truths, &Options::default()).kind()
}

#[test]
fn equal_in_the_reference_and_here() {
    for (ground_truth, answer) in [
        ("142", "142.0"),
        ("0.25", "1/4"),
        ("3.0", "3"),
        ("1,000", "1000"),
        ("50\\%", "50"),
        ("\\sqrt2", "\\sqrt{2}"),
        ("\\sqrt2/2", "\\sqrt{2}/2"),
        ("\\frac{\\sqrt2}2", "\\dfrac{\\sqrt{2}}{2}"),
        ("\\frac12", "\\tfrac{1}{2}"),
        ("0.5", "\\frac{1}{2}"),
        ("3/4", "\\frac{3}{4}"),
        (".5", "0.5"),
        ("5", "x = 5"),
        ("10,\\!000", "10000"),
        ("\\left(1, 2\\right)", "(1,2)"),
        ("90", "90^\\circ"),
        ("90^{\\circ}", "90"),
        ("\\$5", "5"),
        ("12 \\text{ cm}", "12"),
        ("\\text{Evelyn}", "Evelyn"),
        ("(x+1)^2", "(x + 1)^{2}"),
        ("x^2+2x+1", "x^2 + 2x + 1"),
        ("(x+1)^2", "x^2+2x+1"),
        ("\\frac{\\sqrt{2}}{2}", "\\frac{1}{\\sqrt{2}}"),
        ("2\\frac{1}{3}", "7/3"),
        ("\\boxed{42}", "42"),
        ("$42$", "42"),
    ] {
        assert_eq!(
            grade_answer(answer, &[ground_truth]),
            VerdictKind::Correct,
            "{ground_truth:?} ~ {answer:?}"
        );
        if !ground_truth.contains("boxed") {
            assert_eq!(
                grade_answer(ground_truth, &[answer]),
                VerdictKind::Correct,
                "{answer:?} ~ {ground_truth:?}"
            );
        }
    }
}

#[test]
fn different_in_the_reference_and_here() {
    for (ground_truth, answer) in [
        ("0.33", "1/3"),
        ("(1,2)", "[1,2]"),
        ("(1,2)", "(2,1)"),
        ("142", "143"),
        ("142", "-142"),
        ("1/3", "0.3333333333"),
    ] {
        assert_eq!(
            grade_answer(answer, &[ground_truth]),
            VerdictKind::Wrong,
            "{ground_truth:?} ~ {answer:?}"
        );
    }
}

/// Values are compared by value here, and lists without brackets in any order: the reference refuses fractions that are
/// not reduced, powers of integers, and any other order.
#[test]
fn equal_here_only() {
    for (ground_truth, answer) in [
        ("1/2", "2/4"),
        ("2", "4/2"),
        ("1/2", "\\frac{50}{100}"),
        ("2^10", "1024"),
        ("1,2", "2,1"),
        ("11/2", "5 1/2"),
        ("1.2", "1 1/5"),
    ] {
        assert_eq!(
            grade_answer(answer, &[ground_truth]),
            VerdictKind::Correct,
            "{ground_truth:?} ~ {answer:?}"
        );
    }
}

/// The reference drops whatever stands beside a value; here it must not contradict the value.
#[test]
fn different_here_only() {
    for (ground_truth, answer) in [
        ("5 \\text{ cm}", "5 \\text{ m}"),
        ("5 \\text{ cm}", "5 \\text{ cm}^2"),
        ("50\\%", "50^\\circ"),
        ("x = 5", "y = 5"),
        ("5", "x \\le 5"),
        ("5", "x<=5"),
        ("11/2", "1 1/2"),
        ("12", "1 2"),
        ("5", "5 \\text{ or 6}"),
        ("5", "5 \\text{ or } 6"),
        ("1", "1 \\text{ or } \\text{ two}"),
        ("5", "5 \\text{ million}"),
    ] {
        assert_eq!(
            grade_answer(answer, &[ground_truth]),
            VerdictKind::Wrong,
            "{ground_truth:?} ~ {answer:?}"
        );
    }
}

#[test]
fn any_ground_truth_counts() {
    assert_eq!(grade_answer("7", &["5", "\\boxed{7}"]), VerdictKind::Correct);
    assert_eq!(grade_answer("7", &["5", ""]), VerdictKind::Wrong);
    assert_eq!(
        grade_answer("7", &["10 \\times 10^{999999}", "7"]),
        VerdictKind::Correct
    );
    assert_eq!(grade_answer("7", &[]), VerdictKind::InternalError);
}

#[test]
fn every_other_verdict() {
    assert_eq!(grade_response("", &["7"]), VerdictKind::NoAnswer);
    assert_eq!(grade_response("\\boxed{7}", &["7"]), VerdictKind::NoAnswer);
    assert_eq!(
        grade_response("**Final Answer**\n\\boxed 7", &["7"]),
        VerdictKind::NoAnswer
    );
    for nothing in ["", " ", ",,,", "\\text{}", "{}"] {
        assert_eq!(grade_answer(nothing, &["7"]), VerdictKind::Unparsable, "{nothing:?}");
        assert_eq!(
            grade_answer(nothing, &[nothing]),
            VerdictKind::Unparsable,
            "{nothing:?}"
        );
    }
    assert_eq!(grade_answer(&"7".repeat(MAX_ANSWER_CHARS), &["7"]), VerdictKind::Wrong);
    assert_eq!(
        grade_answer(&"7".repeat(MAX_ANSWER_CHARS + 1), &["7"]),
        VerdictKind::TooLarge
    );
    assert_eq!(grade_answer("7 \\times 10^{100000}", &["7"]), VerdictKind::Wrong);
    assert_eq!(grade_answer("9**9**9**9", &["7"]), VerdictKind::TooLarge);
    assert_eq!(
        grade_response(&" ".repeat(MAX_RESPONSE_BYTES + 1), &["7"]),
        VerdictKind::TooLarge
    );
}

#[test]
fn the_verdict_shows_what_was_extracted() {
    let verdict = grade("**Final Answer**\n\\boxed{ 7 }", &["7".to_owned()], &Options::default());
    assert_eq!(
        (verdict.extracted.as_str(), verdict.detail.as_str()),
        (" 7 ", "equal in value")
    );
    let huge = format!("**Final Answer**\n\\boxed{{{}}}", "é".repeat(MAX_ANSWER_CHARS * 2));
    let verdict = grade(&huge, &["7".to_owned()], &Options::default());
    assert_eq!(verdict.extracted.chars().count(), MAX_ANSWER_CHARS);
}
