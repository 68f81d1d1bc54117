//! Random expressions stay equal to themselves when random chains of exact identities rewrite them, and are different
//! after a near miss. Everything goes through the text: both sides are written in random spellings, and graded.
//!
//! `IDENTITIES=300000 cargo test --release -p anytime-verifier --test identities -- --ignored --nocapture` takes that
//! many of each.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

mod miss;
mod print;
mod rewrite;
#[path = "../support/mod.rs"]
mod support;
mod tree;

use anytime_proto::v1::VerdictKind;
use miss::near_miss;
use print::print;
use rewrite::rewritten;
use support::{Random, in_parallel, verdict_of};
use tree::random_tree;

/// Pairs of each sort in the short run.
const FEW: usize = 2_000;
/// Longest text that is tried.
const LONGEST: usize = 900;

/// The verdicts, counted.
#[derive(Default)]
struct Tally {
    judged: usize,
    too_large: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    fn judge(&mut self, why: &str, number: usize, answer: &str, truth: &str, expected: bool) {
        if answer.len() > LONGEST || truth.len() > LONGEST {
            return;
        }
        self.judged += 1;
        let verdict = verdict_of(&format!("\\boxed{{{answer}}}"), truth);
        if verdict == VerdictKind::TooLarge {
            self.too_large
                .push(format!("{number} {why}\n    {answer}\n    {truth}"));
        } else if (verdict == VerdictKind::Correct) != expected {
            self.wrong
                .push(format!("{number} {why}: {verdict:?}\n    {answer}\n    {truth}"));
        }
    }

    fn conclude(all: Vec<Self>, name: &str) {
        let judged: usize = all.iter().map(|tally| tally.judged).sum();
        let (mut wrong, mut too_large) = (Vec::new(), Vec::new());
        for tally in all {
            wrong.extend(tally.wrong);
            too_large.extend(tally.too_large);
        }
        let (wrongly, exceeded) = (wrong.len(), too_large.len());
        println!("{name}: {judged} judged, {wrongly} wrongly, {exceeded} too large");
        for example in too_large.iter().take(20) {
            println!("TOO LARGE {example}");
        }
        for example in wrong.iter().take(200) {
            println!("WRONG {example}");
        }
        assert!(wrong.is_empty(), "{name}: {wrongly} of {judged} are judged wrongly");
        // An expression of this size is no strain.
        assert!(exceeded * 500 <= judged, "{name}: {exceeded} of {judged} are too large");
    }
}

/// Grades the pairs with these numbers in both directions.
fn equal(numbers: std::ops::Range<usize>) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let random = &mut Random::new(number as u64);
        let depth = random.below(4);
        let tree = random_tree(random, depth);
        let times = 1 + random.below(5);
        let other = rewritten(&tree, times, random);
        let (answer, truth) = (print(&other, random), print(&tree, random));
        tally.judge("refused", number, &answer, &truth, true);
        tally.judge("refused", number, &truth, &answer, true);
    }
    tally
}

fn different(numbers: std::ops::Range<usize>) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let random = &mut Random::new(number as u64);
        let depth = random.below(4);
        let tree = random_tree(random, depth);
        let Some((why, miss)) = near_miss(&tree, random) else {
            continue;
        };
        let times = random.below(4);
        let other = rewritten(&miss, times, random);
        let (answer, truth) = (print(&other, random), print(&tree, random));
        tally.judge(why, number, &answer, &truth, false);
    }
    tally
}

fn many(pairs: impl Fn(std::ops::Range<usize>) -> Tally + Sync, name: &str) {
    let count = std::env::var("IDENTITIES").map_or(300_000, |count| count.parse().unwrap());
    let chunk = 1_000;
    let all = in_parallel(count / chunk, |index| pairs(index * chunk..(index + 1) * chunk));
    Tally::conclude(all, name);
}

#[test]
fn what_identities_rewrite_stays_equal() {
    let start = 1 << 40;
    Tally::conclude(vec![equal(start..start + FEW)], "equal");
}

#[test]
fn near_misses_are_different() {
    let start = 1 << 40;
    Tally::conclude(vec![different(start..start + FEW)], "different");
}

#[test]
#[ignore = "minutes; run in release"]
fn much_that_identities_rewrite_stays_equal() {
    many(equal, "equal");
}

#[test]
#[ignore = "minutes; run in release"]
fn many_near_misses_are_different() {
    many(different, "different");
}
