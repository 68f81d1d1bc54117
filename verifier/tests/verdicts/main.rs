//! Verdicts pair by pair: answers that count as the same, and answers that come near and do not.

mod adversarial;
mod amounts;
mod angles;
mod claims;
mod collections;
mod conventions;
mod domains;
mod expressions;
mod families;
mod formulas;
mod functions;
mod groups;
mod hostile;
mod hunting;
mod integrals;
mod joined;
mod kinds;
mod letters;
mod matrices;
mod measures;
mod numbers;
mod operators;
mod relations;
mod sampled;
mod series;
mod styles;
mod systems;
mod wordings;
mod words;
mod written;

use anytime_proto::v1;
use anytime_verifier::grade;
use anytime_verifier::options::{Conventions, Options};

/// Whether the answer is right under these conventions.
fn is_right(ground_truth: &str, answer: &str, conventions: Conventions) -> bool {
    let options = Options {
        extraction: v1::Extraction::Boxed,
        conventions,
    };
    let response = format!("\\boxed{{{answer}}}");
    grade(&response, &[ground_truth.to_owned()], &options).kind() == v1::VerdictKind::Correct
}

/// Fails with the list of all pairs that are judged wrongly, not with the first alone.
fn check(conventions: Conventions, equal: &[(&str, &str)], different: &[(&str, &str)]) {
    let judged = |pairs: &[(&str, &str)], wrongly: bool| -> Vec<String> {
        let wrong = pairs
            .iter()
            .filter(|(truth, answer)| is_right(truth, answer, conventions) == wrongly);
        wrong.map(|(truth, answer)| format!("{truth:?} ~ {answer:?}")).collect()
    };
    let refused = judged(equal, false);
    let accepted = judged(different, true);
    assert!(
        refused.is_empty() && accepted.is_empty(),
        "refused:\n{}\naccepted:\n{}",
        refused.join("\n"),
        accepted.join("\n")
    );
}

#[test]
fn numbers() {
    check(Conventions::default(), numbers::EQUAL, numbers::DIFFERENT);
}

#[test]
fn expressions() {
    check(Conventions::default(), expressions::EQUAL, expressions::DIFFERENT);
}

#[test]
fn relations() {
    check(Conventions::default(), relations::EQUAL, relations::DIFFERENT);
}

#[test]
fn collections() {
    check(Conventions::default(), collections::EQUAL, collections::DIFFERENT);
}

#[test]
fn words() {
    check(Conventions::default(), words::EQUAL, words::DIFFERENT);
}

#[test]
fn styles_of_data_sets() {
    check(Conventions::default(), styles::EQUAL, styles::DIFFERENT);
}

#[test]
fn adversarial() {
    check(Conventions::default(), adversarial::EQUAL, adversarial::DIFFERENT);
}

#[test]
fn formulas() {
    check(Conventions::default(), formulas::EQUAL, formulas::DIFFERENT);
}

#[test]
fn operators() {
    check(Conventions::default(), operators::EQUAL, operators::DIFFERENT);
}

#[test]
fn hostile() {
    check(Conventions::default(), hostile::EQUAL, hostile::DIFFERENT);
}

#[test]
fn hunting() {
    check(Conventions::default(), hunting::EQUAL, hunting::DIFFERENT);
}

#[test]
fn functions() {
    check(Conventions::default(), functions::EQUAL, functions::DIFFERENT);
}

#[test]
fn matrices() {
    check(Conventions::default(), matrices::EQUAL, matrices::DIFFERENT);
}

#[test]
fn measures() {
    check(Conventions::default(), measures::EQUAL, measures::DIFFERENT);
}

#[test]
fn angles() {
    check(Conventions::default(), angles::EQUAL, angles::DIFFERENT);
}

#[test]
fn sampled() {
    check(Conventions::default(), sampled::EQUAL, sampled::DIFFERENT);
}

#[test]
fn series() {
    check(Conventions::default(), series::EQUAL, series::DIFFERENT);
}

#[test]
fn systems() {
    check(Conventions::default(), systems::EQUAL, systems::DIFFERENT);
}

#[test]
fn joined() {
    check(Conventions::default(), joined::EQUAL, joined::DIFFERENT);
}

#[test]
fn domains() {
    check(Conventions::default(), domains::EQUAL, domains::DIFFERENT);
}

#[test]
fn claims() {
    check(Conventions::default(), claims::EQUAL, claims::DIFFERENT);
}

#[test]
fn groups() {
    check(Conventions::default(), groups::EQUAL, groups::DIFFERENT);
}

#[test]
fn written() {
    check(Conventions::default(), written::EQUAL, written::DIFFERENT);
}

#[test]
fn families() {
    check(Conventions::default(), families::EQUAL, families::DIFFERENT);
}

#[test]
fn integrals() {
    check(Conventions::default(), integrals::EQUAL, integrals::DIFFERENT);
}

#[test]
fn kinds() {
    check(Conventions::default(), kinds::EQUAL, kinds::DIFFERENT);
}

#[test]
fn amounts() {
    check(Conventions::default(), amounts::EQUAL, amounts::DIFFERENT);
}

#[test]
fn letters() {
    check(Conventions::default(), letters::EQUAL, letters::DIFFERENT);
}

#[test]
fn wordings() {
    check(Conventions::default(), wordings::EQUAL, wordings::DIFFERENT);
}
