//! Checks the properties that hold for every input.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use anytime_proto::v1::{Verdict, VerdictKind};
use anytime_verifier::options::{Conventions, Options};
use anytime_verifier::parse::lexer::Commas;
use anytime_verifier::parse::{Body, Parsed, parse};
use anytime_verifier::{grade, grade_extracted};
use nix::time::{ClockId, clock_gettime};

use crate::memory::measured;

/// Most bytes that one grading may hold.
const MOST_BYTES: usize = 64 << 20;

/// An input of the grader.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) response: String,
    pub(crate) ground_truths: Vec<String>,
    pub(crate) options: Options,
}

/// The findings about an input that was graded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) verdict: Option<VerdictKind>,
    /// The time of one grading.
    pub(crate) time: Duration,
    /// The most bytes that one grading held.
    pub(crate) bytes: usize,
    /// The properties that do not hold.
    pub(crate) broken: Vec<String>,
}

/// The time that this thread has had of its core.
fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

impl Findings {
    fn run(&mut self, what: &str, work: impl Fn() -> Verdict) -> Option<Verdict> {
        let started = thread_time();
        let (outcome, bytes) = measured(|| catch_unwind(AssertUnwindSafe(&work)));
        let time = thread_time() - started;
        self.bytes = self.bytes.max(bytes);
        if bytes > MOST_BYTES {
            self.broken.push(format!("{what}: holds {} MiB", bytes >> 20));
        }
        self.time = self.time.max(time);
        let Ok(verdict) = outcome else {
            self.broken.push(format!("{what}: panics"));
            return None;
        };
        if verdict.kind() == VerdictKind::InternalError {
            self.broken.push(format!("{what}: internal error, {}", verdict.detail));
        }
        Some(verdict)
    }
}

/// Grades an input and all that follows from it.
pub(crate) fn check(input: &Input, limit: Duration) -> Findings {
    let mut findings = Findings::default();
    let Input {
        response,
        ground_truths,
        options,
    } = input;
    let verdict = findings.run("grading", || grade(response, ground_truths, options));
    if let Some(verdict) = verdict {
        findings.verdict = Some(verdict.kind());
        // Cheap gradings are done twice, and a long time is taken again, so that a page fault does not count.
        let is_slow = findings.time > limit;
        if is_slow {
            findings.time = Duration::ZERO;
        }
        let again = findings.run("grading again", || grade(response, ground_truths, options));
        if again.as_ref() != Some(&verdict) {
            findings.broken.push(format!("two verdicts: {verdict:?}, {again:?}"));
        }
        if verdict.kind() != VerdictKind::NoAnswer {
            findings.follow(&verdict.extracted, ground_truths, &options.conventions);
        }
    }
    if findings.time > limit {
        findings.broken.push(format!("takes {:?}", findings.time));
    }
    findings
}

impl Findings {
    /// An answer equals itself, and what equals it is equalled by it.
    fn follow(&mut self, answer: &str, ground_truths: &[String], conventions: &Conventions) {
        let Some(truth) = ground_truths.first() else {
            return;
        };
        let itself = std::slice::from_ref(truth);
        let reflexive = self.run("a ground truth against itself", || {
            grade_extracted(truth, itself, &Conventions::default())
        });
        let kind = reflexive.map(|verdict| verdict.kind());
        if kind == Some(VerdictKind::Wrong) && !truth.contains("\\boxed") {
            self.broken.push("a ground truth does not equal itself".to_owned());
        }
        if truth.contains("\\boxed") || *conventions != Conventions::default() {
            return;
        }
        let (Ok(left), Ok(right)) = (parse(answer, Commas::Thousands), parse(truth, Commas::Thousands)) else {
            return;
        };
        if !is_plain(&left) || !is_plain(&right) {
            return;
        }
        let there = self.run("there", || grade_extracted(answer, itself, conventions));
        let back = self.run("back", || grade_extracted(truth, &[answer.to_owned()], conventions));
        let kinds = [there, back].map(|verdict| verdict.map(|verdict| verdict.kind()));
        let is_known = |kind: &Option<VerdictKind>| matches!(kind, Some(VerdictKind::Correct | VerdictKind::Wrong));
        if kinds.iter().all(is_known) && kinds[0] != kinds[1] {
            self.broken
                .push(format!("asymmetric: {answer:?} against {truth:?} {kinds:?}"));
        }
    }
}

/// A value or an expression and nothing else, for which equality is symmetric.
fn is_plain(parsed: &Parsed) -> bool {
    parsed.answer.label.is_none()
        && parsed.choice.is_none()
        && !parsed.ambiguous_comma
        && matches!(&parsed.answer.body, Body::Quantity(_))
}
