//! Answers and ground truths that ask for much work or memory.

use crate::corpus::spoilt;
use crate::grammar;
use crate::support::Random;

/// Longest text that is read.
const SIZE: usize = 4_096;

/// Pieces one after the other, as many as fit.
fn filled(size: usize, between: &str, mut piece: impl FnMut(usize) -> String) -> String {
    let mut text = String::new();
    for index in 0.. {
        let next = piece(index);
        if text.len() + between.len() + next.len() > size {
            break;
        }
        if index > 0 {
            text.push_str(between);
        }
        text.push_str(&next);
    }
    text
}

fn digits(random: &mut Random, count: usize) -> String {
    let first = random.between(1, 9).to_string();
    first + &(1..count).map(|_| random.below(10).to_string()).collect::<String>()
}

fn size(random: &mut Random) -> usize {
    [100, 400, 1_000, 2_000, SIZE][random.below(5)]
}

fn tower(random: &mut Random) -> String {
    let height = 1 + random.below(60);
    let depth = random.below(2);
    let base = grammar::expression(random, depth);
    let kind = random.below(4);
    let mut text = grammar::numeral(random);
    for _ in 0..height {
        text = match kind {
            0 => format!("{base}^{{{text}}}"),
            1 => format!("({text})^{{{base}}}"),
            2 => format!("({text})!"),
            _ => format!("\\sqrt{{{base}+{text}}}"),
        };
    }
    text
}

/// A sum of terms of one kind, different or alike.
fn sum(random: &mut Random) -> String {
    let size = size(random);
    let kind = random.below(20);
    let offset = random.below(50);
    let power = random.between(2, 9);
    let joint = *random.pick(&["+", "-", " + "]);
    let reverse = random.once_in(2);
    filled(size, joint, |index| {
        let k = if reverse {
            900 + offset - index.min(800)
        } else {
            index + 2 + offset
        };
        match kind {
            0 => format!("\\sin({k}x)"),
            1 => format!("\\sqrt{{{k}}}"),
            2 => format!("\\frac{{1}}{{x+{k}}}"),
            3 => format!("\\ln({k})"),
            4 => format!("\\sqrt[{power}]{{{k}}}"),
            5 => format!("x^{{{k}}}"),
            6 => format!("{k}^{{x}}"),
            7 => format!("\\frac{{1}}{{{k}}}"),
            8 => format!("e^{{{k}i}}"),
            9 => format!("\\arctan({k})"),
            10 => format!("\\sqrt{{x+{k}}}"),
            11 => format!("\\binom{{x}}{{{k}}}"),
            12 => format!("\\cos(\\frac{{\\pi}}{{{k}}})"),
            13 => format!("x_{{{k}}}^{{{power}}}"),
            14 => format!("{k}!"),
            15 => format!("\\frac{{1}}{{\\sqrt{{{k}}}+1}}"),
            16 => format!("\\sqrt{{1+\\sqrt{{{k}}}}}"),
            17 => format!("|x-{k}|"),
            18 => format!("\\tan({k})"),
            _ => format!("f({k}x)"),
        }
    })
}

fn product(random: &mut Random) -> String {
    let size = size(random);
    let kind = random.below(10);
    let offset = random.below(50);
    filled(size, "", |index| {
        let k = index + 1 + offset;
        match kind {
            0 => format!("(x+{k})"),
            1 => format!("(x+y+{k})"),
            2 => format!("(1+\\sqrt{{{k}}})"),
            3 => format!("(x^{{{k}}}+1)"),
            4 => format!("\\left(\\frac{{x}}{{{k}}}+1\\right)"),
            5 => format!("(a_{{{k}}}+1)"),
            6 => format!("({k}+i)"),
            7 => format!("\\sin({k}x)"),
            8 => format!("(\\ln {k}+1)"),
            _ => format!("\\sqrt{{x+{k}}}"),
        }
    })
}

fn power(random: &mut Random) -> String {
    let exponent = *random.pick(&[
        "2",
        "3",
        "9",
        "17",
        "50",
        "99",
        "400",
        "1000",
        "10000",
        "65537",
        "999999999999",
    ]);
    let exponent = match random.below(6) {
        0 => format!("-{exponent}"),
        1 => format!("\\frac{{1}}{{{exponent}}}"),
        2 => format!("\\frac{{{exponent}}}{{7}}"),
        _ => exponent.to_owned(),
    };
    let base = match random.below(10) {
        0 => "x+y+z+1".to_owned(),
        1 => "x+1".to_owned(),
        2 => "1+\\sqrt{2}+\\sqrt{3}+\\sqrt{5}+\\sqrt{7}".to_owned(),
        3 => "1+i".to_owned(),
        4 => digits(random, 40),
        5 => format!("\\frac{{{}}}{{{}}}", digits(random, 20), digits(random, 20)),
        6 => "1+\\frac{1}{1000000}".to_owned(),
        7 => "\\sqrt[5]{2}+\\sqrt[3]{3}".to_owned(),
        8 => "\\sin x + \\cos y".to_owned(),
        _ => grammar::expression(random, 2),
    };
    format!("\\left({base}\\right)^{{{exponent}}}")
}

fn numeral(random: &mut Random) -> String {
    let count = size(random);
    match random.below(9) {
        0 => digits(random, count),
        1 => format!("0.{}", digits(random, count - 4)),
        2 => format!(
            "\\frac{{{}}}{{{}}}",
            digits(random, count / 2 - 8),
            digits(random, count / 2 - 8)
        ),
        3 => format!(
            "0.{}\\overline{{{}}}",
            digits(random, count / 2 - 20),
            digits(random, count / 2 - 20)
        ),
        4 => format!(
            "{} \\times 10^{{{}}}",
            digits(random, count - 30),
            random.between(-9999, 9999)
        ),
        5 => format!("{}_{{{}}}", "1".repeat(count - 8), random.between(2, 36)),
        6 => format!("\\sqrt{{{}}}", digits(random, count - 10)),
        7 => format!("\\sqrt[{}]{{{}}}", random.between(2, 99), digits(random, count - 20)),
        _ => {
            let count = 1 + random.below(6);
            format!("{}!", digits(random, count))
        }
    }
}

/// Many items, in order or not.
fn list(random: &mut Random) -> String {
    let size = size(random);
    let kind = random.below(8);
    let separator = *random.pick(&[",", ", ", ";", " \\text{ or } "]);
    let mut items: Vec<String> = Vec::new();
    let mut length = 0;
    for k in 1.. {
        let item = match kind {
            0 => format!("{k}"),
            1 => format!("\\sqrt{{{k}}}"),
            2 => format!("x+{k}"),
            3 => format!("({k},{})", k + 1),
            4 => "1".to_owned(),
            5 => format!("\\sin({k})"),
            6 => format!("{k} \\pm \\sqrt{{{k}}}"),
            _ => grammar::expression(random, 1),
        };
        length += item.len() + separator.len();
        if length > size - 10 {
            break;
        }
        items.push(item);
    }
    if random.once_in(2) {
        random.shuffle(&mut items);
    }
    let text = items.join(separator);
    match random.below(3) {
        0 => format!("\\{{{text}\\}}"),
        1 => format!("({text})"),
        _ => text,
    }
}

fn union(random: &mut Random) -> String {
    let size = size(random);
    let kind = random.below(4);
    let mut k = random.below(20);
    filled(size, " \\cup ", |_| {
        k += 1;
        match kind {
            0 => format!("(\\sqrt{{{k}}},\\sqrt{{{k}}}+1)"),
            1 => format!("[{k},{k}.5]"),
            2 => format!("(\\ln({}),\\ln({}))", k + 1, k + 2),
            _ => format!("(\\sin({k}),{})", k + 2),
        }
    })
}

fn chain(random: &mut Random) -> String {
    let size = size(random);
    let relation = *random.pick(&["=", "<", "\\le ", "\\neq "]);
    let kind = random.below(4);
    filled(size, relation, |k| match kind {
        0 => "1".to_owned(),
        1 => format!("x+{k}"),
        2 => format!("\\sqrt{{{}}}", k + 2),
        _ => format!("\\sin({k}x)"),
    })
}

fn matrix(random: &mut Random) -> String {
    let columns = 1 + random.below(20);
    let kind = random.below(3);
    let body = filled(size(random), " \\\\ ", |row| {
        let cell = |column: usize| match kind {
            0 => format!("{}", row * column),
            1 => format!("\\sqrt{{{}}}", row + column),
            _ => format!("x^{column}+{row}"),
        };
        (0..columns).map(cell).collect::<Vec<_>>().join("&")
    });
    format!("\\begin{{pmatrix}}{body}\\end{{pmatrix}}")
}

fn nested(random: &mut Random) -> String {
    let (open, close) = *random.pick(&[
        ("(", ")"),
        ("{", "}"),
        ("\\{", "\\}"),
        ("\\sqrt{", "}"),
        ("\\frac{1}{1+", "}"),
        ("|", "|"),
        ("\\sin(", ")"),
        ("f(", ")"),
        ("e^{", "}"),
        ("x^{", "}"),
        ("\\text{", "}"),
        ("\\overline{", "}"),
        ("\\left(1+", "\\right)^2"),
        ("\\sqrt[3]{2+", "}"),
        ("\\begin{pmatrix}", "\\end{pmatrix}"),
        ("\\ln(1+", ")"),
        ("-(", ")"),
        ("(1,", ")"),
        ("a_{", "}"),
        ("\\lfloor ", "\\rfloor "),
        ("\\ln(", ")"),
        ("\\ln ", ""),
        ("\\sin ", ""),
        ("\\arctan ", ""),
        ("\\sin^2(", ")"),
        ("\\lvert ", "\\rvert "),
        ("(", ")!"),
        ("\\max(x,", ")"),
        ("\\binom{x}{", "}"),
        ("P(", ")"),
        ("\\frac{d}{dx}", ""),
    ]);
    let most = SIZE / (open.len() + close.len());
    let deepest = *random.pick(&[8, 20, 70, most]);
    let depth = 1 + random.below(deepest);
    // A variable inside, as a chain of functions of a constant has a value.
    if random.once_in(2) {
        return format!("{}x{}", open.repeat(depth), close.repeat(depth));
    }
    format!(
        "{}{}{}",
        open.repeat(depth),
        grammar::expression(random, 1),
        close.repeat(depth)
    )
}

fn signs(random: &mut Random) -> String {
    let count = 1 + random.below(8);
    filled(size(random), "\\pm", |k| format!("\\sqrt{{{}}}", k % count + 2))
}

fn units(random: &mut Random) -> String {
    let exponent = random.between(-40, 3_000_000_000);
    let unit = *random.pick(&["cm", "km", "\\text{ m}", "\\text{ in}", "\\mathrm{ft}"]);
    format!("{}{unit}^{{{exponent}}}", grammar::numeral(random))
}

fn derived(random: &mut Random) -> String {
    let size = size(random);
    let joint: &&str = random.pick(&["+", "-", "", "*", "/"]);
    filled(size, joint, |_| format!("({})", grammar::expression(random, 2)))
}

/// Sums, products and integrals that run far, nest, or hold large things.
fn operator(random: &mut Random) -> String {
    let end = *random.pick(&["n", "9", "100", "4095", "10^6", "10^{20}", "\\infty", "2^{n}", "n^n"]);
    let sign = *random.pick(&["\\sum", "\\prod"]);
    let depth = 1 + random.below(9);
    let head: String = (0..depth)
        .map(|level| {
            let letter = char::from(b"kjlmpqrst"[level]);
            format!("{sign}_{{{letter}=1}}^{{{end}}} ")
        })
        .collect();
    let body = match random.below(9) {
        0 => "k".to_owned(),
        1 => "k^{99}".to_owned(),
        2 => "k!".to_owned(),
        3 => "\\binom{n}{k}".to_owned(),
        4 => "(k+j)!!".to_owned(),
        5 => "\\sin k".to_owned(),
        6 => "\\frac{1}{k^2}".to_owned(),
        7 => "a_{k-j}".to_owned(),
        _ => format!("\\left({}\\right)", grammar::expression(random, 2)),
    };
    match random.below(6) {
        0 => format!("\\int_0^{{{end}}} (x+a+b)^{{{}}} \\,dx", random.below(70)),
        1 => filled(size(random), "+", |k| format!("{sign}_{{k=1}}^{{{end}}} k^{{{k}}}")),
        2 => format!(
            "{}{}",
            "\\int ".repeat(1 + random.below(60)),
            "x\\,dx".repeat(1 + random.below(60))
        ),
        3 => format!("{}{}", "\\lim_{x\\to 0} ".repeat(1 + random.below(60)), body),
        _ => format!("{head}{body}"),
    }
}

/// Matrices that are multiplied, raised, inverted, or stand in determinants.
fn matrices(random: &mut Random) -> String {
    let rows = 1 + random.below(13);
    let kind = random.below(3);
    let one = |index: usize| {
        let cell = |row: usize, column: usize| match kind {
            0 => format!("{}", (row * 7 + column * 3 + index) % 11),
            1 => format!("\\frac{{{}}}{{{}}}", row + 1, column + index + 1),
            _ => format!("x+{}", row + column),
        };
        let row = |row: usize| (0..rows).map(|column| cell(row, column)).collect::<Vec<_>>().join("&");
        let body = (0..rows).map(row).collect::<Vec<_>>().join("\\\\");
        format!("\\begin{{pmatrix}}{body}\\end{{pmatrix}}")
    };
    match random.below(5) {
        0 => format!("{}^{{{}}}", one(1), *random.pick(&["2", "9", "64", "999999999999"])),
        1 => format!("{}^{{-1}}", one(1)),
        2 => format!("\\det {}", one(2)),
        3 => one(0).replace("pmatrix", "vmatrix"),
        _ => filled(SIZE, "", one),
    }
}

fn one(random: &mut Random) -> String {
    match random.below(20) {
        16 | 17 => operator(random),
        18 => matrices(random),
        19 => {
            let count = 1 + random.below(9);
            format!(
                "{}{}",
                digits(random, count),
                *random.pick(&["!!", "!", " \\bmod 7", "!! \\bmod 9"])
            )
        }
        0 => tower(random),
        1..4 => sum(random),
        4 => product(random),
        5 | 6 => power(random),
        7 => numeral(random),
        8 => list(random),
        9 => union(random),
        10 => chain(random),
        11 => matrix(random),
        12 => nested(random),
        13 => signs(random),
        14 => units(random),
        _ => derived(random),
    }
}

/// An answer and what it is held against, which is often nearly the same.
pub(crate) fn bomb(random: &mut Random) -> (String, Vec<String>) {
    let answer = one(random);
    let count = if random.once_in(6) { 64 } else { 1 };
    let seed = random.next();
    let truths = (0..count)
        .map(|_| match random.below(6) {
            // The same kind and sizes again: only the random parts differ.
            0 => one(&mut Random::new(seed)),
            1 => one(random),
            2 => format!("{answer}+1"),
            3 => format!("1+{answer}"),
            4 => format!("({answer})-10^{{-30}}"),
            _ => spoilt(&answer, random),
        })
        .collect();
    (answer, truths)
}
