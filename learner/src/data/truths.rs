//! Ground truths before they are used: whether an answer can equal one as mathematics, only word for word, or never.

use anytime_verifier::ground_truth::{self, GroundTruth};

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
