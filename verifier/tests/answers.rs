//! Compares the ground truths of the data sets with themselves and with each other.
//!
//! `cases/equal_answers.jsonl` lists the pairs of different spellings that are judged equal. A person has read it; when
//! the grader learns something new, `UPDATE_CASES=1 cargo test --release -p anytime-verifier --test answers --
//! --ignored` writes it anew; then read again whatever changed in it.

mod support;

use std::collections::BTreeSet;

use support::{answers, cases_file, in_parallel, is_correct, read_rows, write_rows};

/// How many other answers each one is compared with in the short run.
const SAMPLE: usize = 6;

/// Two spellings, in the order of the corpus.
type Pair = (String, String);

fn reviewed() -> BTreeSet<Pair> {
    read_rows("equal_answers.jsonl").into_iter().collect()
}

#[test]

fn every_answer_equals_itself() {
    let refused: Vec<String> = answers()
        .into_iter()
        .filter(|answer| !is_correct(answer, answer))
        .collect();
    assert!(refused.is_empty(), "{} answers: {refused:#?}", refused.len());
}

#[test]

fn reviewed_pairs_are_equal_in_both_orders() {
    for (left, right) in reviewed() {
        assert!(is_correct(&left, &right), "answer {left:?}, ground truth {right:?}");
        assert!(is_correct(&right, &left), "answer {right:?}, ground truth {left:?}");
    }
}

#[test]

fn a_sample_of_the_other_pairs_is_different() {
    let answers = answers();
    let reviewed = reviewed();
    for (index, left) in answers.iter().enumerate() {
        for step in 0..SAMPLE {
            // In the sorted corpus most of the likely confusions stand beside each other, and a few far apart.
            let distance = if step < SAMPLE / 2 { step + 1 } else { 97 * step * step };
            let Some(right) = answers.get(index + distance) else {
                break;
            };
            if !reviewed.contains(&(left.clone(), right.clone())) {
                assert!(!is_correct(left, right), "answer {left:?}, ground truth {right:?}");
            }
        }
    }
}

/// The same value twice is one answer, and not enough where two are asked for.
const ONE_SIDED: [&str; 1] = ["75^\\circ, 75^\\circ"];

/// Compares every pair in both orders, which takes nine million grades.
#[test]
#[ignore = "minutes; run in release"]
fn exactly_the_reviewed_pairs_are_equal() {
    let answers = answers();
    let rows = in_parallel(answers.len(), |index| {
        let left = &answers[index];
        let mut equal = Vec::new();
        let mut one_sided = Vec::new();
        for right in &answers[index + 1..] {
            match (is_correct(left, right), is_correct(right, left)) {
                (true, true) => equal.push((left.clone(), right.clone())),
                (false, false) => {}
                (true, false) => one_sided.push(format!("only answer {left:?} with ground truth {right:?}")),
                (false, true) => one_sided.push(format!("only answer {right:?} with ground truth {left:?}")),
            }
        }
        (equal, one_sided)
    });
    let (equal, one_sided): (Vec<Vec<Pair>>, Vec<Vec<String>>) = rows.into_iter().unzip();
    let equal: BTreeSet<Pair> = equal.into_iter().flatten().collect();
    let one_sided: Vec<String> = one_sided.into_iter().flatten().collect();
    if std::env::var_os("UPDATE_CASES").is_some() {
        let rows: Vec<&Pair> = equal.iter().collect();
        write_rows(&cases_file("equal_answers.jsonl"), &rows);
    }
    let one_sided: Vec<String> = one_sided
        .into_iter()
        .filter(|pair| {
            !ONE_SIDED
                .iter()
                .any(|answer| pair.contains(&format!("only answer {answer:?}")))
        })
        .collect();
    assert!(one_sided.is_empty(), "{} pairs: {one_sided:#?}", one_sided.len());
    let reviewed = reviewed();
    let unexpected: Vec<&Pair> = equal.difference(&reviewed).collect();
    let lost: Vec<&Pair> = reviewed.difference(&equal).collect();
    assert!(unexpected.is_empty(), "judged equal, not reviewed: {unexpected:#?}");
    assert!(lost.is_empty(), "reviewed as equal, judged different: {lost:#?}");
}
