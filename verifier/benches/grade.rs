//! The speed of the grader on the labelled cases, on one core and without a cache.
//!
//! `cargo bench -p anytime-verifier --bench grade [-- FILE]` prints the figures as JSON, and writes them to the file.
//! Other cases of the same format can be named by the environment: `CASES=FILE`. Every pair is graded many times over;
//! a figure of a single pair is its fastest time, because what is added to it comes from the machine, and the pairs per
//! second are given for the fastest and for the median pass.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot read its cases has nothing to go on with"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use anytime_proto::v1::VerdictKind;
use anytime_verifier::grade;
use serde_json::json;
use support::{Case, boxed_options, labelled, rows_of};

/// How often all cases are graded.
const PASSES: usize = 60;
/// What counts as a hang, for the peers as well.
const HANG: Duration = Duration::from_secs(10);
/// What is graded to see whether memory grows, in pairs.
const MEMORY_PAIRS: usize = 200_000;

/// The times of one pair, one for every pass.
struct Timed {
    case: Case,
    verdict: VerdictKind,
    times: Vec<Duration>,
}

impl Timed {
    fn fastest(&self) -> Duration {
        self.times.iter().min().copied().unwrap_or_default()
    }

    fn is_adversarial(&self) -> bool {
        self.case.problem_kind == "adversarial"
    }
}

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let options = boxed_options();
    let before = resident_bytes();
    let cases = std::env::var("CASES").map_or_else(|_| labelled(), |path| rows_of(Path::new(&path)));
    let mut pairs: Vec<Timed> = cases
        .into_iter()
        .map(|case| Timed {
            case,
            verdict: VerdictKind::Unspecified,
            times: Vec::with_capacity(PASSES),
        })
        .collect();
    for _ in 0..PASSES {
        for pair in &mut pairs {
            let ground_truths = [pair.case.ground_truth.clone()];
            let start = Instant::now();
            let verdict = grade(black_box(&pair.case.response), black_box(&ground_truths), &options);
            pair.times.push(start.elapsed());
            pair.verdict = verdict.kind();
        }
    }
    let usual: Vec<&Timed> = pairs.iter().filter(|pair| !pair.is_adversarial()).collect();
    let rate = |total: Duration| usual.len() as f64 / total.as_secs_f64();
    let mut passes: Vec<Duration> = (0..PASSES)
        .map(|pass| usual.iter().map(|pair| pair.times[pass]).sum())
        .collect();
    passes.sort_unstable();
    let mut fastest: Vec<Duration> = usual.iter().map(|pair| pair.fastest()).collect();
    fastest.sort_unstable();
    let median = fastest[fastest.len() / 2];
    let worst = usual.iter().max_by_key(|pair| pair.fastest()).unwrap();
    let worst_of_all = pairs.iter().max_by_key(|pair| pair.fastest()).unwrap();
    // A single measurement of it, with whatever the machine did meanwhile.
    let slowest_of_all = pairs
        .iter()
        .flat_map(|pair| &pair.times)
        .max()
        .copied()
        .unwrap_or_default();

    let wrong = |expected: bool| {
        let accepted = |pair: &&&Timed| pair.verdict == VerdictKind::Correct;
        usual
            .iter()
            .filter(|pair| pair.case.expected == expected && accepted(pair) != expected)
            .count()
    };
    let (false_accepts, false_rejects) = (wrong(false), wrong(true));
    let after_passes = resident_bytes();
    for index in 0..MEMORY_PAIRS {
        let pair = &pairs[index % pairs.len()];
        black_box(grade(
            &pair.case.response,
            std::slice::from_ref(&pair.case.ground_truth),
            &options,
        ));
    }
    let after = resident_bytes();

    let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
    let figures = json!({
        "pairs": usual.len(),
        "right": usual.len() - false_accepts - false_rejects,
        "false_accepts": false_accepts,
        "false_rejects": false_rejects,
        "hangs": usual.iter().filter(|pair| pair.fastest() > HANG).count(),
        "pairs_per_second_mean": rate(passes[PASSES / 2]),
        "pairs_per_second_mean_fastest_pass": rate(passes[0]),
        "pairs_per_second_median": 1.0 / median.as_secs_f64(),
        "median_microseconds": microseconds(median),
        "worst_microseconds": microseconds(worst.fastest()),
        "worst_why": worst.case.why,
        "worst_of_all_microseconds": microseconds(worst_of_all.fastest()),
        "worst_of_all_why": worst_of_all.case.why,
        "slowest_measurement_microseconds": microseconds(slowest_of_all),
        "resident_bytes_before": before,
        "resident_bytes_after_passes": after_passes,
        "resident_bytes_after_more_pairs": after,
    });
    println!("{figures:#}");
    if let Some(file) = file {
        std::fs::write(&file, format!("{figures:#}\n")).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

/// Memory of this process that is in use; nothing where the system does not say.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}
