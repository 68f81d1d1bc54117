//! What the conventions of a request change.

use anytime_verifier::options::{Conventions, Units};

use super::check;

#[test]
fn percents_exact() {
    let conventions = Conventions {
        exact_percents: true,
        ..Conventions::default()
    };
    let equal = [
        ("50\\%", "0.5"),
        ("0.5", "50\\%"),
        ("50\\%", "\\frac{1}{2}"),
        ("50\\%", "50\\%"),
        ("(0, 50\\%]", "(0, 0.5]"),
    ];
    let different = [
        ("50\\%", "50"),
        ("50", "50\\%"),
        ("50\\%", "5\\%"),
        ("p < 50\\%", "p < 50"),
    ];
    check(conventions, &equal, &different);
}

#[test]
fn fractions_reduced() {
    let conventions = Conventions {
        reduced_fractions: true,
        ..Conventions::default()
    };
    let equal = [
        ("\\frac{1}{2}", "\\frac{1}{2}"),
        ("1/2", "0.5"),
        ("-1/2", "-\\frac{1}{2}"),
        ("-\\frac{1}{2}", "\\frac{-1}{2}"),
        ("-\\frac{1}{2}", "\\frac{1}{-2}"),
        ("-\\frac{1}{2}", "-\\left(\\frac12\\right)"),
        ("\\frac{3}{2}", "1\\frac{1}{2}"),
        ("2", "4/2"),
    ];
    let different = [
        ("\\frac{1}{2}", "\\frac{2}{4}"),
        ("1/2", "2/4"),
        ("-\\frac{1}{2}", "-\\frac{3}{6}"),
        ("-\\frac{1}{2}", "\\frac{-2}{4}"),
        ("-\\frac{1}{2}", "\\frac{2}{-4}"),
        ("\\frac{1}{2}", "\\frac{-2}{-4}"),
        ("\\frac{1}{2}", "\\frac{-1}{-2}"),
        ("\\frac{1}{2}", "\\left(\\frac24\\right)"),
        ("-\\frac{1}{2}", "(-2)/4"),
        ("\\frac{3}{2}", "1\\frac{2}{4}"),
        ("\\frac{1}{2}", "\\frac{1}{3}"),
    ];
    check(conventions, &equal, &different);
}

#[test]
fn fractions_reduced_within_an_answer() {
    let conventions = Conventions {
        reduced_fractions: true,
        ..Conventions::default()
    };
    let equal = [
        ("x<\\frac12", "x<\\frac12"),
        ("\\frac12x", "\\frac{x}{2}"),
        ("\\frac{1+\\sqrt3}{2}", "\\frac12+\\frac{\\sqrt3}2"),
        ("\\frac24x", "\\frac24x"),
        ("\\frac{2+\\sqrt3}{4}", "\\frac{2+\\sqrt3}{4}"),
        ("x^2/4", "x^2/4"),
        ("\\frac{2^3}{4}", "\\frac{2^3}{4}"),
        ("x<2", "x<\\frac42"),
        ("5!/10", "5!/10"),
        ("\\frac{\\sqrt2}{4}", "\\sqrt{2}/4"),
        ("\\frac{\\sqrt2}{4}", "\\sqrt2/4"),
        ("\\frac{x^2}{4}", "x^2/4"),
        ("1\\frac12", "1\\frac12"),
        ("\\frac{2}{3}x", "2x/3"),
        ("\\frac{dy}{dx}=\\frac{2}{3}", "\\frac{dy}{dx}=\\frac{2}{3}"),
        ("\\frac{4x+3}{2}", "\\frac{4x+3}{2}"),
        ("\\frac{6-2\\cdot3^2}{7}", "-\\frac{12}{7}"),
    ];
    let different = [
        ("x<\\frac12", "x<\\frac24"),
        ("\\frac12x", "\\frac24x"),
        ("\\frac12x", "\\frac{2x}{4}"),
        ("\\frac{1+\\sqrt3}{2}", "\\frac{2+2\\sqrt3}{4}"),
        ("[0,\\frac12]", "[0,\\frac24]"),
        ("[0,\\frac12)", "[0,2/4)"),
        ("\\frac12,\\frac13", "\\frac24,\\frac13"),
        ("y=\\frac12x+1", "y=\\frac24x+1"),
        ("(\\frac12,1)", "(\\frac36,1)"),
        ("\\{\\frac12,1\\}", "\\{\\frac36,1\\}"),
        ("x^{\\frac12}", "x^{\\frac24}"),
        ("\\frac12+\\frac13i", "\\frac36+\\frac13i"),
        ("\\frac{\\sqrt3}{2}", "\\frac{2\\sqrt3}{4}"),
        ("\\frac{\\pi}{2}", "\\frac{2\\pi}{4}"),
        ("\\frac{\\pi}{2}", "2\\pi/4"),
        ("x=\\frac12\\text{ or }x=3", "x=\\frac24\\text{ or }x=3"),
        ("x/2", "2x/4"),
        (
            "\\begin{pmatrix}\\frac12\\\\1\\end{pmatrix}",
            "\\begin{pmatrix}\\frac24\\\\1\\end{pmatrix}",
        ),
        ("\\frac{x}{2y}", "\\frac{2x}{4y}"),
    ];
    check(conventions, &equal, &different);
    check(Conventions::default(), &different, &[]);
}

#[test]
fn rounding_to_the_ground_truth() {
    let conventions = Conventions {
        rounding: true,
        ..Conventions::default()
    };
    let equal = [
        ("1.55", "1.547"),
        ("1.41", "\\sqrt{2}"),
        ("3.14", "\\pi"),
        ("0.33", "1/3"),
        ("1.55", "1.55"),
        ("33.3\\%", "33.33\\%"),
    ];
    let different = [
        ("1.55", "1.5"),
        ("33.3\\%", "33.4\\%"),
        ("33.3\\%", "\\frac{1}{3}"),
        ("1.55 \\times 10^3", "1547"),
        ("1.55x", "1.547x"),
        ("1.55", "1.556"),
        ("1.42", "\\sqrt{2}"),
        ("1.414", "1.41"),
        ("\\sqrt{2}", "1.41"),
        ("1/3", "0.33"),
    ];
    check(conventions, &equal, &different);
}

#[test]
fn units_required() {
    let conventions = Conventions {
        units: Units::Required,
        ..Conventions::default()
    };
    let equal = [
        ("12 \\text{ cm}", "12 cm"),
        ("12 \\text{ cm}", "120 \\text{ mm}"),
        ("12", "12"),
    ];
    let different = [
        ("12 \\text{ cm}", "12"),
        ("12", "12 \\text{ cm}"),
        ("12 \\text{ cm}", "12 \\text{ m}"),
    ];
    check(conventions, &equal, &different);
}

#[test]
fn units_ignored() {
    let conventions = Conventions {
        units: Units::Ignored,
        ..Conventions::default()
    };
    let equal = [
        ("12 \\text{ cm}", "12"),
        ("12 \\text{ cm}", "12 \\text{ kg}"),
        ("12", "12 \\text{ cm}"),
        ("x<12 \\text{ cm}", "x<12 \\text{ kg}"),
        ("[0, 12 \\text{ cm})", "[0, 12 \\text{ m})"),
        ("2 \\text{ cm} : 5 \\text{ kg}", "2 \\text{ cm} : 5 \\text{ kg}"),
        ("3 \\text{ boys} : 5 \\text{ men}", "3 \\text{ girls} : 5 \\text{ men}"),
        ("5\\% \\text{ of the boys}", "5\\% \\text{ of the girls}"),
    ];
    let different = [
        ("12 \\text{ cm}", "13 \\text{ cm}"),
        ("12", "13"),
        ("x<12 \\text{ cm}", "x<13 \\text{ cm}"),
    ];
    check(conventions, &equal, &different);
}

#[test]
fn lists_ordered() {
    let conventions = Conventions {
        ordered_lists: true,
        ..Conventions::default()
    };
    let equal = [
        ("1, 2", "1, 2"),
        ("\\{1, 2\\}", "\\{2, 1\\}"),
        ("1, 2", "1 \\text{ or } 2"),
    ];
    let different = [
        ("1, 2", "2, 1"),
        ("1, 2, 3", "1, 3, 2"),
        ("1 \\text{ or } 2", "2 \\text{ or } 1"),
    ];
    check(conventions, &equal, &different);
}

#[test]
fn brackets_exact() {
    let conventions = Conventions {
        exact_brackets: true,
        ..Conventions::default()
    };
    let equal = [
        ("(1, 2)", "(1, 2)"),
        ("1, 2", "1, 2"),
        ("\\{1, 2\\}", "1, 2"),
        ("1, 2", "\\{1, 2\\}"),
    ];
    let different = [
        ("(1, 2)", "1, 2"),
        ("1, 2", "(1, 2)"),
        ("(1, 2)", "[1, 2]"),
        ("\\{1, 2\\}", "(1, 2)"),
    ];
    check(conventions, &equal, &different);
}
