//! Explains to people what the grader compared in a pair, and what decided.

use std::fmt::Write as _;

use anytime_proto::v1::Verdict;

use crate::compare::normal_form;
use crate::expression::Expression;
use crate::extract::{extract, last_box};
use crate::grade::grade;
use crate::options::Options;
use crate::parse::lexer::Commas;
use crate::parse::token::Bracket;
use crate::parse::{Answer, Body, ParseError, Quantity, Unit, parse};
use crate::steps::{STEPS, Steps};

/// A verdict with the forms and the rule that led to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The verdict that [`grade`] gives; its detail is the rule that decided.
    pub verdict: Verdict,
    /// The normalised form of the answer; none if no answer was found.
    pub answer_form: Option<String>,
    /// The normalised forms of the ground truths, in order; none for a ground truth that says nothing.
    pub ground_truth_forms: Vec<Option<String>>,
}

/// Grades one response and says what was compared.
pub fn explain(response: &str, ground_truths: &[String], options: &Options) -> Explanation {
    let answer_form = extract(response, options.extraction).and_then(form_of);
    let truth_form = |truth: &String| form_of(last_box(truth).unwrap_or(truth));
    Explanation {
        verdict: grade(response, ground_truths, options),
        answer_form,
        ground_truth_forms: ground_truths.iter().map(truth_form).collect(),
    }
}

fn form_of(text: &str) -> Option<String> {
    match parse(text, Commas::Thousands) {
        Ok(parsed) => {
            let mut shown = String::new();
            show(&parsed.answer, &mut Steps::new(STEPS), &mut shown);
            Some(shown)
        }
        Err(ParseError::Nothing | ParseError::TooLarge) => None,
    }
}

fn show(answer: &Answer, steps: &mut Steps, out: &mut String) {
    if let Some(label) = &answer.label {
        out.push_str(&label.spelled);
        out.push_str(": ");
    }
    match &answer.body {
        Body::Quantity(quantity) => show_quantity(quantity, steps, out),
        Body::Text(text) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "{text:?}");
        }
        Body::List(items) => show_items(items, ("", ""), ", ", steps, out),
        Body::Set(items) => show_items(items, ("{", "}"), ", ", steps, out),
        Body::Sequence(open, close, items) => {
            let open = if *open == Bracket::Square { "[" } else { "(" };
            let close = if *close == Bracket::Square { "]" } else { ")" };
            show_items(items, (open, close), ", ", steps, out);
        }
        Body::Union(pieces) => show_items(pieces, ("", ""), " ∪ ", steps, out),
        Body::Intersection(pieces) => show_items(pieces, ("", ""), " ∩ ", steps, out),
        Body::Difference(whole, removed) => {
            show(whole, steps, out);
            out.push_str(" ∖ ");
            show(removed, steps, out);
        }
        Body::Matrix(rows) => {
            for (index, row) in rows.iter().enumerate() {
                out.push_str(if index == 0 { "[" } else { "; " });
                show_quantities(row, &[], ", ", steps, out);
            }
            out.push(']');
        }
        Body::Chain(sides, relations) => {
            let signs: Vec<String> = relations
                .iter()
                .map(|relation| format!(" {} ", relation.sign()))
                .collect();
            show_quantities(sides, &signs, "", steps, out);
        }
        Body::Cases(cases) => {
            for (value, condition) in cases {
                out.push_str(if out.ends_with(')') || out.is_empty() {
                    "("
                } else {
                    " ("
                });
                show(value, steps, out);
                out.push_str(" if ");
                match condition {
                    Some(condition) => show(condition, steps, out),
                    None => out.push_str("nothing else"),
                }
                out.push(')');
            }
        }
        Body::Ratio(parts) => show_quantities(parts, &[], " : ", steps, out),
    }
}

fn show_items(items: &[Answer], brackets: (&str, &str), separator: &str, steps: &mut Steps, out: &mut String) {
    out.push_str(brackets.0);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        show(item, steps, out);
    }
    out.push_str(brackets.1);
}

/// Values with separators between them: either one separator for each place, or the same everywhere.
fn show_quantities(parts: &[Quantity], separators: &[String], separator: &str, steps: &mut Steps, out: &mut String) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push_str(separators.get(index - 1).map_or(separator, String::as_str));
        }
        show_quantity(part, steps, out);
    }
}

fn show_quantity(quantity: &Quantity, steps: &mut Steps, out: &mut String) {
    let written = match (&quantity.expression, normal_form(quantity, steps)) {
        (Expression::Number(value), _) => write!(out, "{value}"),
        (_, Ok(form)) => write!(out, "{form}"),
        (_, Err(stop)) => write!(out, "<{stop}>"),
    };
    // Writing to a string cannot fail.
    let _ = written;
    match &quantity.unit {
        None => {}
        Some(Unit::Percent) => out.push_str(" %"),
        Some(Unit::Degree) => out.push('°'),
        Some(Unit::Words(words)) => {
            let _ = write!(out, " <{words}>");
        }
        Some(Unit::Measure(dimensions, size)) => {
            let _ = write!(out, " <{size}");
            for (dimension, exponent) in dimensions {
                let _ = write!(out, " {dimension}^{exponent}");
            }
            out.push('>');
        }
    }
}

#[cfg(test)]
mod tests {
    use anytime_proto::v1::{Extraction, VerdictKind};

    use super::*;

    #[test]
    fn shows_what_was_compared() {
        let options = Options {
            extraction: Extraction::Boxed,
            ..Options::default()
        };
        let truths = ["x^2 - 1".to_owned(), ",".to_owned(), "12 \\text{ cm}".to_owned()];
        let explained = explain("so \\boxed{y = (x+1)(x-1)}", &truths, &options);
        assert_eq!(explained.verdict.kind(), VerdictKind::Correct);
        assert_eq!(explained.verdict.detail, "equal in value");
        assert_eq!(explained.answer_form.as_deref(), Some("y: -1 + x^2"));
        assert_eq!(explained.ground_truth_forms[0].as_deref(), Some("-1 + x^2"));
        assert_eq!(explained.ground_truth_forms[1], None);
        assert_eq!(explained.ground_truth_forms[2].as_deref(), Some("12 <10000 length^1>"));
    }
}
