//! Random inputs, whatever they say: none breaks the grader, takes long, or holds much memory; verdicts do not depend
//! on when they are asked for; equality is reflexive and, between values, symmetric.
//!
//! `FUZZ_INPUTS=10000000 cargo test --release -p anytime-verifier --test fuzz -- --ignored --nocapture` takes that
//! many. What breaks is printed as lines for `tests/cases/broken.jsonl`, which is replayed here.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

mod bombs;
mod chains;
mod check;
mod corpus;
mod grammar;
mod memory;
mod soup;
#[path = "../support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anytime_proto::v1::{Extraction, VerdictKind};
use anytime_verifier::options::{Conventions, Options, Units};
use check::{Findings, Input, check};
use corpus::{Corpus, spoilt};
use serde::{Deserialize, Serialize};
use support::{Random, boxed_options, in_parallel, read_rows};

/// The most time that any input may take.
const LIMIT: Duration = Duration::from_millis(20);
/// How many times as long it takes, roughly, without optimisation.
const DEBUG_FACTOR: u32 = 25;
/// Inputs of the short run.
const FEW: usize = 6_000;
/// Inputs that are checked as one piece of work.
const CHUNK: usize = 2_000;
/// One in this many inputs is a bomb.
const BOMBS: usize = 200;
/// The most that resident memory may grow by once it is warm, in KiB.
const GROWTH: usize = 48 << 10;

fn limit() -> Duration {
    if cfg!(debug_assertions) {
        LIMIT * DEBUG_FACTOR
    } else {
        LIMIT
    }
}

/// An input that broke something once.
#[derive(Deserialize, Serialize)]
struct Broken {
    why: String,
    response: String,
    ground_truths: Vec<String>,
    /// Whether it is right, where that was what broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<bool>,
}

fn conventions(random: &mut Random) -> Conventions {
    if random.once_in(2) {
        return Conventions::default();
    }
    Conventions {
        exact_percents: random.once_in(2),
        reduced_fractions: random.once_in(3),
        rounding: random.once_in(2),
        units: *random.pick(&[Units::Optional, Units::Required, Units::Ignored]),
        ordered_lists: random.once_in(2),
        exact_brackets: random.once_in(2),
    }
}

/// A response that holds the answer, most often in the form asked for.
fn response(answer: &str, random: &mut Random) -> (String, Extraction) {
    match random.below(16) {
        0..7 => (format!("so \\boxed{{{answer}}}."), Extraction::Boxed),
        7..13 => (
            format!("Then\n\n**Final Answer**\n\\[ \\boxed{{{answer}}} \\]\n\nEnd"),
            Extraction::Anytime,
        ),
        13 => (format!("It is {answer}"), Extraction::LastNumber),
        14 => (answer.to_owned(), Extraction::LastNumber),
        _ => {
            let (first, second) = (
                spoilt(answer, random),
                spoilt("\n\n**Final Answer**\n\\boxed{}", random),
            );
            let extractions = [Extraction::Unspecified, Extraction::Anytime, Extraction::Boxed];
            (
                format!("\\boxed{{{first}}}{second}{answer}"),
                *random.pick(&extractions),
            )
        }
    }
}

/// What comes out of one of the generators.
fn text(corpus: &Corpus, kind: usize, random: &mut Random) -> String {
    match kind {
        0 => soup::bytes(random),
        1 => soup::characters(random),
        2 | 3 => soup::pieces(random),
        4 | 5 => {
            let text = corpus.text(random);
            spoilt(&text, random)
        }
        6 => corpus.splice(random),
        7 => {
            let text = grammar::answer(random);
            spoilt(&text, random)
        }
        _ => grammar::answer(random),
    }
}

/// The input with this number.
fn input(corpus: &Corpus, index: usize) -> Input {
    let random = &mut Random::new(index as u64);
    let (answer, ground_truths) = if index.is_multiple_of(BOMBS) {
        bombs::bomb(random)
    } else if random.once_in(6) {
        let (left, right) = corpus.pair(random);
        (spoilt(&left, random), vec![right])
    } else {
        let kind = random.below(14);
        let answer = text(corpus, kind, random);
        let count = if random.once_in(10) { random.below(5) } else { 1 };
        let ground_truths = (0..count.max(1))
            .map(|_| match random.below(8) {
                0..3 => text(corpus, kind, random),
                3..6 => spoilt(&answer, random),
                6 => answer.replace(' ', ""),
                _ => corpus.text(random),
            })
            .collect();
        (answer, ground_truths)
    };
    let (response, extraction) = response(&answer, random);
    let conventions = conventions(random);
    Input {
        response,
        ground_truths,
        options: Options {
            extraction,
            conventions,
        },
    }
}

/// What came of many inputs.
#[derive(Default)]
struct Report {
    inputs: usize,
    correct: usize,
    wrong: usize,
    too_large: usize,
    slowest: Option<(Duration, usize)>,
    largest: Option<(usize, usize)>,
    broken: Vec<(usize, Findings)>,
}

impl Report {
    fn add(&mut self, index: usize, findings: Findings) {
        self.inputs += 1;
        match findings.verdict {
            Some(VerdictKind::Correct) => self.correct += 1,
            Some(VerdictKind::Wrong) => self.wrong += 1,
            Some(VerdictKind::TooLarge) => self.too_large += 1,
            _ => {}
        }
        self.slowest = self.slowest.max(Some((findings.time, index)));
        self.largest = self.largest.max(Some((findings.bytes, index)));
        if !findings.broken.is_empty() {
            self.broken.push((index, findings));
        }
    }

    fn join(&mut self, other: Self) {
        self.inputs += other.inputs;
        self.correct += other.correct;
        self.wrong += other.wrong;
        self.too_large += other.too_large;
        self.slowest = self.slowest.max(other.slowest);
        self.largest = self.largest.max(other.largest);
        self.broken.extend(other.broken);
    }

    /// Prints what was found, and fails if anything broke.
    fn conclude(self, corpus: &Corpus, name: &str) {
        let row = |index: usize, why: String| {
            let Input {
                response,
                ground_truths,
                ..
            } = input(corpus, index);
            let broken = Broken {
                why,
                response,
                ground_truths,
                expected: None,
            };
            serde_json::to_string(&broken).unwrap()
        };
        println!(
            "{name}: {} inputs, {} correct, {} wrong, {} too large, {} broken",
            self.inputs,
            self.correct,
            self.wrong,
            self.too_large,
            self.broken.len()
        );
        if let Some((time, index)) = self.slowest {
            println!("slowest: input {index}, {}", row(index, format!("takes {time:?}")));
        }
        if let Some((bytes, index)) = self.largest {
            println!("largest: input {index}, {} KiB", bytes >> 10);
        }
        for (index, findings) in self.broken.iter().take(300) {
            println!("BROKEN {index} {}", row(*index, findings.broken.join("; ")));
        }
        assert!(self.broken.is_empty(), "{} inputs broke something", self.broken.len());
    }
}

fn check_all(corpus: &Corpus, indices: impl Iterator<Item = usize>) -> Report {
    let mut report = Report::default();
    for index in indices {
        report.add(index, check(&input(corpus, index), limit()));
    }
    report
}

#[test]
fn a_few_inputs_break_nothing() {
    let corpus = Corpus::read();
    // Beyond those of the long run.
    let start = 1 << 40;
    check_all(&corpus, start..start + FEW).conclude(&corpus, "few");
}

#[test]
#[ignore = "minutes to hours; run in release"]
fn many_inputs_break_nothing() {
    let count = std::env::var("FUZZ_INPUTS").map_or(10_000_000, |count| count.parse().unwrap());
    let first = std::env::var("FUZZ_FIRST").map_or(0, |first| first.parse().unwrap());
    let corpus = Corpus::read();
    let started = Instant::now();
    let done = AtomicUsize::new(0);
    let warm = AtomicUsize::new(0);
    let reports = in_parallel(count / CHUNK, |chunk| {
        let start = first + chunk * CHUNK;
        let report = check_all(&corpus, start..start + CHUNK);
        let before = done.fetch_add(CHUNK, Ordering::Relaxed);
        let after = before + CHUNK;
        let tenth = count / 10;
        if before < tenth && after >= tenth {
            warm.store(memory::resident("VmRSS"), Ordering::Relaxed);
        }
        if before / 1_000_000 != after / 1_000_000 {
            let rate = after as f64 / started.elapsed().as_secs_f64();
            println!(
                "{after} inputs, {rate:.0}/s, resident {} KiB",
                memory::resident("VmRSS")
            );
        }
        report
    });
    let (warm, resident) = (warm.into_inner(), memory::resident("VmRSS"));
    let rate = count as f64 / started.elapsed().as_secs_f64();
    println!(
        "{rate:.0} inputs/s; resident {warm} KiB after a tenth, {resident} KiB at the end, {} KiB at most",
        memory::resident("VmHWM")
    );
    let mut all = Report::default();
    reports.into_iter().for_each(|report| all.join(report));
    all.conclude(&corpus, "many");
    assert!(
        resident < warm + GROWTH,
        "resident memory grew from {warm} to {resident} KiB"
    );
}

#[test]
fn what_broke_once_breaks_nothing() {
    for Broken {
        why,
        response,
        ground_truths,
        expected,
    } in read_rows::<Broken>("broken.jsonl")
    {
        let input = Input {
            response,
            ground_truths,
            options: boxed_options(),
        };
        let findings = check(&input, limit());
        assert!(findings.broken.is_empty(), "{why}: {:?}", findings.broken);
        if let Some(expected) = expected {
            let is_correct = findings.verdict == Some(VerdictKind::Correct);
            assert_eq!(
                is_correct, expected,
                "{why}: {:?} against {:?}",
                input.response, input.ground_truths
            );
        }
    }
}
