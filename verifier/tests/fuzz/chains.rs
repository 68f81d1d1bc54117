//! Chains of nested functions, which a model that repeats itself writes. One more level may cost one more visit, never
//! twice as much as the levels below it together.

use anytime_proto::v1::VerdictKind;

use crate::check::{Input, check};
use crate::support::{Random, boxed_options};

/// Openings with their ends.
const FUNCTIONS: [(&str, &str); 54] = [
    ("\\ln(", ")"),
    ("\\ln ", ""),
    ("\\sin(", ")"),
    ("\\sin ", ""),
    ("\\cos ", ""),
    ("\\tan ", ""),
    ("\\cot(", ")"),
    ("\\sec ", ""),
    ("\\arctan(", ")"),
    ("\\arctan ", ""),
    ("\\arcsin(", ")"),
    ("\\sinh(", ")"),
    ("\\cosh ", ""),
    ("\\tanh(", ")"),
    ("\\sin^2(", ")"),
    ("\\cos^{3}(", ")"),
    ("\\sin^{-1}(", ")"),
    ("\\sec^{-1}(", ")"),
    ("\\log_2(", ")"),
    ("\\log_{x}(", ")"),
    ("\\exp(", ")"),
    ("|", "|"),
    ("\\left|", "\\right|"),
    ("\\lvert ", "\\rvert "),
    ("abs(", ")"),
    ("(", ")!"),
    ("\\lfloor ", "\\rfloor "),
    ("\\left\\lceil ", "\\right\\rceil "),
    ("\\lfloor x+", "\\rfloor "),
    ("\\sqrt{", "}"),
    ("\\sqrt[3]{2+", "}"),
    ("e^{", "}"),
    ("x^{", "}"),
    ("(1+", ")^2"),
    ("\\frac{1}{1+", "}"),
    ("\\frac{", "}{2}"),
    ("\\frac{d}{dx}(", ")"),
    ("\\frac{dy}{dx}", ""),
    ("\\max(x,", ")"),
    ("\\min(1,", ")"),
    ("\\max(", ",x)"),
    ("\\gcd(x,", ")"),
    ("\\binom{", "}{2}"),
    ("\\binom{x}{", "}"),
    ("\\operatorname{Re}(", ")"),
    ("\\overline{1+", "}"),
    ("f(", ")"),
    ("P(x)P(", ")"),
    ("P(A\\cap P(", "))"),
    ("\\Gamma(", ")"),
    ("\\neg ", ""),
    ("-(", ")"),
    ("\\mathbf{a}\\times(", ")"),
    ("(x,", ")"),
];

const DEPTHS: [usize; 9] = [10, 22, 30, 40, 55, 64, 200, 1_000, 5_000];

/// What a chain stands in, on both sides of it.
const AROUND: [(&str, &str); 9] = [
    ("", ""),
    ("", ", 1"),
    ("(1, ", ")"),
    ("[0, ", ")"),
    ("x=", ""),
    ("", "<1"),
    ("\\{", "\\}"),
    ("\\begin{pmatrix}", "&1\\end{pmatrix}"),
    ("", "=y"),
];

fn chain(functions: &[(&str, &str)], depth: usize, inner: &str, (before, after): (&str, &str)) -> String {
    let levels = || functions.iter().cycle().take(depth);
    let opened: String = levels().map(|(open, _)| *open).collect();
    let mut closed: Vec<&str> = levels().map(|(_, close)| *close).collect();
    closed.reverse();
    format!("{before}{opened}{inner}{}{after}", closed.concat())
}

/// Grades a chain as the answer, as the ground truth, and against nearly itself.
fn check_chain(functions: &[(&str, &str)], depth: usize, around: (&str, &str)) -> Vec<String> {
    let text = chain(functions, depth, "x", around);
    let other = chain(functions, depth, "x+0.5", around);
    let mut broken = Vec::new();
    for (answer, truth) in [(text.as_str(), "5"), ("5", &text), (&other, &text), (&text, &text)] {
        let input = Input {
            response: format!("\\boxed{{{answer}}}"),
            ground_truths: vec![truth.to_owned()],
            options: boxed_options(),
        };
        let findings = check(&input, super::limit());
        let shown = |text: &str| text.chars().take(60).collect::<String>();
        let name = format!(
            "{} levels of {functions:?}: {} against {}",
            depth,
            shown(answer),
            shown(truth)
        );
        broken.extend(findings.broken.into_iter().map(|problem| format!("{name}: {problem}")));
        if answer != truth && truth == "5" && findings.verdict == Some(VerdictKind::Correct) {
            broken.push(format!("{name}: is right"));
        }
    }
    broken
}

#[test]
fn every_chain_ends_in_time() {
    let mut broken = Vec::new();
    for (number, function) in FUNCTIONS.iter().enumerate() {
        for (step, depth) in DEPTHS.into_iter().enumerate() {
            let around = if step < 4 {
                AROUND[0]
            } else {
                AROUND[(number + step) % AROUND.len()]
            };
            broken.extend(check_chain(&[*function], depth, around));
        }
    }
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn every_mixture_of_chains_ends_in_time() {
    let random = &mut Random::new(17);
    let mut broken = Vec::new();
    for _ in 0..150 {
        let kinds: Vec<(&str, &str)> = (0..2 + random.below(2)).map(|_| *random.pick(&FUNCTIONS)).collect();
        let around = *random.pick(&AROUND);
        let depth = *random.pick(&DEPTHS[1..]);
        broken.extend(check_chain(&kinds, depth, around));
    }
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}
