//! Mutates ground truths: in another spelling they must stay right, and after a small change they must be wrong.
//!
//! Everything that the labels of the public cases do to an answer is done here to the answers of the data sets and to
//! random ones. `MUTATIONS=FILE cargo test --release -p anytime-verifier --test mutations -- --ignored write` writes
//! the cases in the format of the public ones, so that other graders can be run on them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

mod collections;
mod expressions;
mod formulas;
mod from_answers;
mod numbers;
mod quantities;
mod radicals;
mod rational;
mod sink;
mod structures;
#[path = "../support/mod.rs"]
mod support;
mod synthetic;
mod texts;

use std::collections::BTreeMap;
use std::fmt::Write;

use anytime_proto::v1::VerdictKind;
use sink::Sink;
use support::{Case, Random, answers, in_parallel, verdict_of, write_rows};

/// In the short run, one in this many answers is mutated.
const SAMPLE: usize = 8;
/// Random ground truths of each kind in the short run, and in the full one.
const ROUNDS: u64 = 10;
const ALL_ROUNDS: u64 = 200;

fn of_answers(one_in: usize) -> Vec<Case> {
    let mut sink = Sink::new("answers");
    for (index, answer) in answers().iter().enumerate().step_by(one_in) {
        from_answers::mutate(&mut sink, answer, &mut Random::new(index as u64));
    }
    sink.cases
}

fn generated(rounds: u64) -> Vec<Case> {
    let mut sink = Sink::new("generated");
    for round in 0..rounds {
        synthetic::one_of_each(&mut sink, &mut Random::new(round));
    }
    sink.cases
}

fn written_by_hand() -> Vec<Case> {
    let mut sink = Sink::new("curated");
    formulas::formulas(&mut sink);
    formulas::treacherous(&mut sink);
    synthetic::words_and_units(&mut sink);
    sink.cases
}

fn attacks() -> Vec<Case> {
    let mut sink = Sink::new("attacks");
    synthetic::under_attack(&mut sink, &mut Random::new(0));
    sink.cases
}

/// A text for messages; of a long one its ends.
fn shortened(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= 160 {
        return text.to_owned();
    }
    let start: String = characters[..60].iter().collect();
    let end: String = characters[characters.len() - 90..].iter().collect();
    format!("{start} … {end}")
}

/// Fails with the wrong verdicts, by kind and by what was done to the answer.
fn demand(cases: &[Case]) {
    let verdicts = in_parallel(cases.len(), |index| {
        verdict_of(&cases[index].response, &cases[index].ground_truth)
    });
    let mut wrong: BTreeMap<(bool, &str, &str), Vec<String>> = BTreeMap::new();
    for (case, verdict) in cases.iter().zip(verdicts) {
        if (verdict == VerdictKind::Correct) != case.expected {
            wrong
                .entry((case.expected, &case.problem_kind, &case.why))
                .or_default()
                .push(format!(
                    "{:?} against {:?}: {verdict:?}",
                    case.ground_truth,
                    shortened(&case.response)
                ));
        }
    }
    let total: usize = wrong.values().map(Vec::len).sum();
    let mut report = format!("{total} of {} cases are judged wrongly", cases.len());
    for ((expected, kind, why), examples) in &wrong {
        let error = if *expected { "refused" } else { "ACCEPTED" };
        write!(report, "\n{error} {kind}, {why}: {}", examples.len()).unwrap();
        for example in examples.iter().take(4) {
            write!(report, "\n    {example}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{report}");
}

#[test]

fn sampled_answers_keep_their_label() {
    demand(&of_answers(SAMPLE));
}

#[test]

fn random_answers_keep_their_label() {
    demand(&generated(ROUNDS));
}

#[test]

fn formulas_and_words_keep_their_label() {
    demand(&written_by_hand());
}

#[test]

fn attacks_are_never_right() {
    demand(&attacks());
}

#[test]
#[ignore = "minutes; run in release"]
fn all_answers_keep_their_label() {
    demand(&of_answers(1));
}

#[test]
#[ignore = "minutes; run in release"]
fn many_random_answers_keep_their_label() {
    demand(&generated(ALL_ROUNDS));
}

#[test]
#[ignore = "writes a file"]
fn write() {
    let path = std::env::var("MUTATIONS").expect("MUTATIONS names the file");
    let cases = [of_answers(1), generated(ROUNDS), written_by_hand(), attacks()].concat();
    write_rows(std::path::Path::new(&path), &cases);
}

/// Every kind of the public cases has enough of both labels.
#[test]
fn every_kind_is_covered() {
    let mut counts: BTreeMap<String, [BTreeMap<String, usize>; 2]> = BTreeMap::new();
    for case in [of_answers(1), generated(ROUNDS), written_by_hand(), attacks()].concat() {
        let reasons = counts.entry(case.problem_kind).or_default();
        *reasons[usize::from(case.expected)].entry(case.why).or_default() += 1;
    }
    for (kind, [misses, equals]) in &counts {
        println!("{kind}: {} respellings, {} near misses", equals.len(), misses.len());
        let few = matches!(kind.as_str(), "no_box" | "multi_box" | "adversarial");
        assert!(misses.len() >= 10 || few, "{kind}: near misses {misses:?}");
        assert!(equals.len() >= 10 || few, "{kind}: respellings {equals:?}");
    }
    assert_eq!(counts.len(), 21, "{:?}", counts.keys());
}
