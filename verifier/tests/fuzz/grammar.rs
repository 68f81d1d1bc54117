//! Well-formed answers of every kind, by a grammar.

use crate::support::Random;

const VARIABLES: [&str; 14] = [
    "x", "y", "n", "a", "b", "k", "t", "\\alpha", "\\theta", "x_1", "a_{n+1}", "z", "r", "p",
];
const UNITS: [&str; 16] = [
    "\\text{ cm}",
    "\\text{ m}^2",
    " km/h",
    "^\\circ",
    "\\%",
    "%",
    " cm^3",
    "\\text{ hours}",
    "\\text{ apples}",
    "\\text{ units}",
    " degrees",
    "\\,\\mathrm{m/s^2}",
    " square units",
    "\\text{ dollars}",
    "°",
    "\\mathrm{kg}\\cdot m",
];
const FUNCTIONS: [&str; 19] = [
    "\\sin",
    "\\cos",
    "\\tan",
    "\\cot",
    "\\sec",
    "\\csc",
    "\\arcsin",
    "\\arccos",
    "\\arctan",
    "\\sinh",
    "\\tanh",
    "\\ln",
    "\\log",
    "\\log_2",
    "\\log_{10}",
    "\\exp",
    "\\sin^2",
    "\\cos^{-1}",
    "f",
];

fn pick(random: &mut Random, choices: &[&str]) -> String {
    (*random.pick(choices)).to_owned()
}

/// A numeral.
pub(crate) fn numeral(random: &mut Random) -> String {
    let small = random.between(0, 12);
    let large = random.next() >> 20;
    match random.below(16) {
        0..8 => small.to_string(),
        8 => random.between(0, 1000).to_string(),
        9 => format!("{small}.{}", random.below(1000)),
        10 => format!("{},{:03}", small, random.below(1000)),
        11 => format!("{large}"),
        12 => format!("0.\\overline{{{}}}", random.below(100)),
        13 => format!("{small}\\frac{{{}}}{{{}}}", random.below(5), random.below(9)),
        14 => format!("{}_{{{}}}", random.below(2000), random.between(2, 16)),
        _ => format!(
            "{small}.{} \\times 10^{{{}}}",
            random.below(100),
            random.between(-30, 30)
        ),
    }
}

fn atom(random: &mut Random) -> String {
    match random.below(10) {
        0..5 => numeral(random),
        5..8 => pick(random, &VARIABLES),
        8 => pick(random, &["\\pi", "e", "i", "\\pi", "π"]),
        _ => format!("\\sqrt{{{}}}", random.below(60)),
    }
}

/// An expression of at most this depth.
pub(crate) fn expression(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return atom(random);
    }
    let inner = |random: &mut Random| expression(random, depth - 1);
    match random.below(24) {
        0..4 => atom(random),
        4..8 => {
            let plus = pick(random, &["+", "-", " + ", " - ", " - ", "−"]);
            format!("{}{plus}{}", inner(random), inner(random))
        }
        8 => format!("-{}", inner(random)),
        9..12 => format!("\\frac{{{}}}{{{}}}", inner(random), inner(random)),
        12 => {
            let divide = pick(random, &["/", " / ", "\\div ", "÷"]);
            format!("({}){divide}({})", inner(random), inner(random))
        }
        13..15 => {
            let times = pick(random, &["", "\\cdot ", "*", " ", "\\times "]);
            format!("({}){times}({})", inner(random), inner(random))
        }
        15 => format!("{}{}", numeral(random), pick(random, &VARIABLES)),
        16 => format!("\\sqrt{{{}}}", inner(random)),
        17 => format!("\\sqrt[{}]{{{}}}", random.between(2, 7), inner(random)),
        18..20 => {
            let exponent = if random.once_in(4) {
                inner(random)
            } else {
                random.between(-4, 9).to_string()
            };
            format!("\\left({}\\right)^{{{exponent}}}", inner(random))
        }
        20 => {
            let function = pick(random, &FUNCTIONS);
            format!("{function}({})", inner(random))
        }
        21 => format!("{}{{{}}}", pick(random, &FUNCTIONS), inner(random)),
        22 => {
            let (open, close) = *random.pick(&[
                ("|", "|"),
                ("\\lfloor ", "\\rfloor "),
                ("\\left|", "\\right|"),
                ("\\lceil ", "\\rceil "),
                ("\\overline{", "}"),
                ("[", "]"),
                ("{", "}"),
                ("\\gcd(6,", ")"),
                ("\\max(2,", ")"),
            ]);
            format!("{open}{}{close}", inner(random))
        }
        _ => match random.below(4) {
            0 => format!("{}!", random.between(0, 30)),
            1 => format!("\\binom{{{}}}{{{}}}", random.between(0, 30), random.between(-1, 12)),
            2 => format!("\\binom{{{}}}{{2}}", inner(random)),
            _ => format!("e^{{{}}}", inner(random)),
        },
    }
}

fn several(random: &mut Random, between: &str, most: usize, depth: usize) -> String {
    let count = 1 + random.below(most);
    let items: Vec<String> = (0..count).map(|_| expression(random, depth)).collect();
    items.join(between)
}

fn matrix(random: &mut Random) -> String {
    let name = pick(random, &["pmatrix", "bmatrix", "vmatrix", "matrix", "array", "cases"]);
    let (rows, columns) = (1 + random.below(3), 1 + random.below(3));
    let rows: Vec<String> = (0..rows)
        .map(|_| {
            let cells: Vec<String> = (0..columns).map(|_| expression(random, 1)).collect();
            cells.join(" & ")
        })
        .collect();
    let columns = if name == "array" { "{ccc}" } else { "" };
    let separator = pick(random, &[" \\\\ ", "\\\\", " \\cr "]);
    format!("\\begin{{{name}}}{columns} {} \\end{{{name}}}", rows.join(&separator))
}

fn interval(random: &mut Random) -> String {
    let end = |random: &mut Random, infinity: &str| {
        if random.once_in(5) {
            infinity.to_owned()
        } else {
            expression(random, 1)
        }
    };
    let (open, close) = *random.pick(&[("(", ")"), ("[", "]"), ("(", "]"), ("[", ")"), ("\\left(", "\\right]")]);
    format!("{open}{}, {}{close}", end(random, "-\\infty"), end(random, "\\infty"))
}

/// Sides and relations.
fn chain(random: &mut Random) -> String {
    let mut text = expression(random, 1);
    for _ in 0..=random.below(3) {
        let relation = pick(
            random,
            &[
                "=",
                "=",
                "<",
                "\\le ",
                "\\ge ",
                ">",
                "\\neq ",
                "\\approx ",
                "≤",
                "\\in ",
            ],
        );
        text = format!("{text} {relation} {}", expression(random, 1));
    }
    text
}

/// An answer of any kind.
pub(crate) fn answer(random: &mut Random) -> String {
    let depth = random.below(4);
    match random.below(20) {
        0..7 => expression(random, depth),
        7 => format!("{}{}", expression(random, 1), pick(random, &UNITS)),
        8 => format!("x = {}", expression(random, depth)),
        9 => several(random, ", ", 4, 1),
        10 => format!("({})", several(random, ", ", 4, 1)),
        11 => format!("\\{{{}\\}}", several(random, ", ", 4, 1)),
        12 => matrix(random),
        13 => interval(random),
        14 => format!("{} \\cup {}", interval(random), interval(random)),
        15 => chain(random),
        16 => {
            let joint = pick(random, &[" \\text{ or } ", " or ", ", ", " \\text{ and } ", "; "]);
            format!("{}{joint}{}", chain(random), chain(random))
        }
        17 => {
            let sign = pick(random, &["\\pm", "±", "\\pm ", "\\mp"]);
            format!("{} {sign} {}", expression(random, 1), expression(random, 1))
        }
        18 => match random.below(6) {
            0 => format!("\\text{{({})}}", pick(random, &["A", "B", "E"])),
            1 => pick(
                random,
                &[
                    "\\text{yes}",
                    "no solution",
                    "\\emptyset",
                    "\\mathbb{R}",
                    "Tuesday",
                    "(C)",
                ],
            ),
            2 => format!("{} : {}", numeral(random), numeral(random)),
            3 => format!("\\${}", numeral(random)),
            4 => format!("f(x) = {}", expression(random, 2)),
            _ => format!("\\mathbb{{R}} \\setminus \\{{{}\\}}", several(random, ", ", 3, 1)),
        },
        _ => format!("({}, {})", matrix(random), several(random, "; ", 3, 1)),
    }
}
