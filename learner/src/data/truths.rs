//! Ground truths before they are used: whether an answer can equal one as mathematics, only word for word, or never.

use anytime_proto::v1::VerdictKind;
use anytime_verifier::grade_extracted;
use anytime_verifier::ground_truth::{self, GroundTruth};
use anytime_verifier::options::Conventions;

/// How an answer can equal a ground truth, the best way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// By its value: it is mathematics, or the letter of a choice.
    Readable,
    /// Only by the same words.
    WordForWord,
    /// Not at all.
    Never,
}

/// The form of a ground truth, with the reason where no answer can equal it.
pub fn judge(truth: &str) -> (Form, String) {
    match ground_truth::judge(truth) {
        GroundTruth::Form => (Form::Readable, String::new()),
        GroundTruth::TextOnly => (Form::WordForWord, String::new()),
        GroundTruth::NeverEqual { reason } => (Form::Never, reason),
    }
}

/// Whether the same answers are right by two lists of ground truths, each of which any answer may equal: `7` and `7.0`.
pub(super) fn say_the_same(one: &[String], other: &[String]) -> bool {
    let conventions = Conventions::default();
    let equals =
        |truth: &String, truths: &[String]| grade_extracted(truth, truths, &conventions).kind() == VerdictKind::Correct;
    one.iter().all(|truth| equals(truth, other)) && other.iter().all(|truth| equals(truth, one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_the_same_whose_items_all_equal_one_of_the_other() {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        for (one, other, is_same) in [
            (&["7"][..], &["7.0"][..], true),
            (&["\\frac12"], &["0.5", "\\boxed{1/2}"], true),
            (&["Evelyn"], &["evelyn"], true),
            (&["7"], &["8"], false),
            (&["7"], &["7", "8"], false),
            (&["7", "8"], &["7"], false),
        ] {
            assert_eq!(say_the_same(&list(one), &list(other)), is_same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn ground_truths_are_told_apart_by_how_they_can_be_equalled() {
        for truth in [
            "34",
            "\\boxed{34}",
            "$\\frac{1}{2}$",
            "x = 3",
            "(1, 2)",
            "(B)",
            "50\\%",
            "1,000",
            "3 : 4",
        ] {
            assert_eq!(judge(truth).0, Form::Readable, "{truth}");
        }
        for truth in [
            "Evelyn",
            "34<|endoftext|>",
            "<answer>34</answer>",
            "She sold 34 clips in May.",
        ] {
            assert_eq!(judge(truth), (Form::WordForWord, String::new()), "{truth}");
        }
        for truth in ["?", "", "7}"] {
            let (form, reason) = judge(truth);
            assert!(form == Form::Never && !reason.is_empty(), "{truth}");
        }
    }
}
