//! Pairs that were made after what users of other graders reported: braces that are dropped, units that are mixed up,
//! formulas in another order, and the like. None may be accepted wrongly, and nearly all must be judged rightly.

mod support;

use anytime_proto::v1::{Extraction, VerdictKind};
use anytime_verifier::grade;
use anytime_verifier::options::Options;
use serde::Deserialize;
use support::read_rows;

/// How many of a thousand pairs must be judged rightly at least. A few cannot be: their responses were cut short where
/// they were written down, or nest deeper than the limits allow.
const RIGHT_OF_THOUSAND: usize = 995;

/// A pair and its label.
#[derive(Debug, Deserialize)]
struct Pair {
    id: String,
    kind: String,
    response: String,
    ground_truth: String,
    expected: bool,
}

impl Pair {
    fn is_accepted(&self) -> bool {
        let options = Options {
            extraction: match self.kind.as_str() {
                "last number" => Extraction::LastNumber,
                _ => Extraction::Boxed,
            },
            ..Options::default()
        };
        grade(&self.response, std::slice::from_ref(&self.ground_truth), &options).kind() == VerdictKind::Correct
    }

    fn shown(&self) -> String {
        let end: String = self.response.chars().rev().take(120).collect();
        let end: String = end.chars().rev().collect();
        format!("{} {}: {:?} against {end:?}", self.id, self.kind, self.ground_truth)
    }
}

#[test]
fn pairs_after_public_reports() {
    let pairs: Vec<Pair> = read_rows("reported.jsonl");
    let wrong: Vec<&Pair> = pairs
        .iter()
        .filter(|pair| pair.is_accepted() != pair.expected)
        .collect();
    let accepted: Vec<String> = wrong
        .iter()
        .filter(|pair| !pair.expected)
        .map(|pair| pair.shown())
        .collect();
    assert!(accepted.is_empty(), "accepted wrongly:\n{}", accepted.join("\n"));
    let refused: Vec<String> = wrong.iter().map(|pair| pair.shown()).collect();
    let right = pairs.len() - wrong.len();
    assert!(
        right * 1000 >= pairs.len() * RIGHT_OF_THOUSAND,
        "{right} of {} are right; refused wrongly:\n{}",
        pairs.len(),
        refused.join("\n")
    );
}

/// Pairs beside the reported ones, with labels that are certain: statements between numbers, sets in other spellings,
/// indices, units, functions that are no products. None may be judged wrongly, in either direction.
#[test]
fn neighbours_of_reported_pairs() {
    let pairs: Vec<Pair> = read_rows("neighbours.jsonl");
    let wrong: Vec<String> = pairs
        .iter()
        .filter(|pair| pair.is_accepted() != pair.expected)
        .map(|pair| format!("{} (expected: {})", pair.shown(), pair.expected))
        .collect();
    assert!(wrong.is_empty(), "{} pairs:\n{}", wrong.len(), wrong.join("\n"));
}

/// Pairs of a later hunt by kinds: names that contradict, words behind signs, digits in groups, sets in sets, vectors
/// beside their lengths, families of solutions, words within one text, and what must stay right beside them.
#[test]
fn pairs_of_the_third_hunt() {
    let pairs: Vec<Pair> = read_rows("hunted.jsonl");
    let wrong: Vec<String> = pairs
        .iter()
        .filter(|pair| pair.is_accepted() != pair.expected)
        .map(|pair| format!("{} (expected: {})", pair.shown(), pair.expected))
        .collect();
    assert!(wrong.is_empty(), "{} pairs:\n{}", wrong.len(), wrong.join("\n"));
}
