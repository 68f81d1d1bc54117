//! Collects the cases that the generators make.

use std::collections::HashMap;

use crate::support::{Case, Random};

/// How a response leads up to its answer; the public cases look like this.
const FRAMES: [&str; 8] = [
    "\\boxed{@}",
    "**Final Answer**\n\\boxed{@}",
    "Therefore, the final answer is \\boxed{@}.",
    "The answer is $\\boxed{@}$.",
    "We simplify and obtain\n\\[ \\boxed{@}. \\]",
    "Hence $\\boxed{@}$",
    "<think>\nLet me work through this step by step. So $x^2 = 4$, everything is consistent.\n</think>\n\n\
     **Final Answer**\n\\[\\boxed{@}\\]",
    "First guess: \\boxed{q^{7}+13}. No, that is wrong.\n\nThe answer is \\(\\boxed{@}\\).",
];

/// Collects cases.
pub(crate) struct Sink {
    /// The cases that were generated so far.
    pub(crate) cases: Vec<Case>,
    source: &'static str,
}

impl Sink {
    /// Cases with this source are about to come.
    pub(crate) fn new(source: &'static str) -> Self {
        Self {
            cases: Vec::new(),
            source,
        }
    }

    /// Starts on a ground truth.
    pub(crate) fn about(&mut self, kind: &'static str, ground_truth: impl Into<String>) -> Target<'_> {
        Target {
            kind,
            ground_truth: ground_truth.into(),
            answers: HashMap::new(),
            sink: self,
        }
    }
}

/// A ground truth, and the answers that were made from it.
pub(crate) struct Target<'sink> {
    kind: &'static str,
    ground_truth: String,
    answers: HashMap<String, bool>,
    sink: &'sink mut Sink,
}

impl Target<'_> {
    /// The ground truth as it is written.
    pub(crate) fn truth(&self) -> String {
        self.ground_truth.clone()
    }

    /// An answer that says the same.
    pub(crate) fn same(&mut self, why: &'static str, answer: impl Into<String>) {
        self.answer(why, answer.into(), true);
    }

    /// An answer that is wrong.
    pub(crate) fn differs(&mut self, why: &'static str, answer: impl Into<String>) {
        self.answer(why, answer.into(), false);
    }

    /// Many answers that say the same.
    pub(crate) fn all_same(&mut self, answers: Vec<(&'static str, String)>) {
        for (why, answer) in answers {
            self.same(why, answer);
        }
    }

    /// Many answers that are wrong.
    pub(crate) fn all_differ(&mut self, answers: Vec<(&'static str, String)>) {
        for (why, answer) in answers {
            self.differs(why, answer);
        }
    }

    /// A whole response.
    pub(crate) fn response(&mut self, why: &'static str, response: String, expected: bool) {
        let id = format!("{}-{:06}", self.sink.source, self.sink.cases.len());
        self.sink.cases.push(Case {
            id,
            source: self.sink.source.to_owned(),
            problem_kind: self.kind.to_owned(),
            ground_truth: self.ground_truth.clone(),
            response,
            expected,
            why: why.to_owned(),
        });
    }

    fn answer(&mut self, why: &'static str, answer: String, expected: bool) {
        if let Some(earlier) = self.answers.get(&answer) {
            assert_eq!(
                *earlier, expected,
                "the generator contradicts itself: {answer:?} for {:?} ({why})",
                self.ground_truth
            );
            return;
        }
        let frame = FRAMES[Random::new(self.sink.cases.len() as u64).below(FRAMES.len())];
        self.response(why, frame.replace('@', &answer), expected);
        self.answers.insert(answer, expected);
    }

    /// What may be put around any answer in mathematics without changing it.
    pub(crate) fn same_wrapped(&mut self) {
        let truth = self.truth();
        let truth = truth.trim().to_owned();
        self.same("identical", truth.clone());
        if truth.contains('$') && !truth.contains("\\$") {
            return;
        }
        self.same("blank padding", format!("  {truth} "));
        self.same("dollar signs inside the box", format!("${truth}$"));
        self.same("extra braces", format!("{{{truth}}}"));
        self.same("nested box", format!("\\boxed{{{truth}}}"));
        self.same("\\displaystyle prefix", format!("\\displaystyle {truth}"));
        self.same("\\( \\) inside the box", format!("\\({truth}\\)"));
        self.same("thin space in front", format!("\\,{truth}"));
        self.same("trailing line break", format!("\n{truth}\n"));
    }
}
