//! Random ground truths of every kind, because the data sets hold too few of some.

use crate::collections::{matrix, plus_or_minus, set, set_of_tuples};
use crate::expressions::{equation, factored, implicit_equation, polynomial, polynomial_cases, two_variables};
use crate::numbers::{decimal, in_base, integer, rational, scientific};
use crate::quantities::{UNITS, degrees, money, percent, unit_spellings, with_unit};
use crate::radicals::{complex, multiple_of_pi, square_root, sum_with_root};
use crate::rational::Rational;
use crate::sink::Sink;
use crate::structures::{End, Interval, inequality, tuple, union};
use crate::support::Random;
use crate::texts::{adversarial, boxes, choice, letters, word};

const SQUARE_FREE: [i128; 12] = [2, 3, 5, 6, 7, 10, 11, 13, 15, 21, 30, 101];

fn nonzero(random: &mut Random, bound: i128) -> i128 {
    let value = random.between(1, bound);
    if random.once_in(2) { -value } else { value }
}

fn any_rational(random: &mut Random) -> Rational {
    if random.once_in(2) {
        return Rational::integer(random.between(-30, 30));
    }
    Rational::new(nonzero(random, 40), random.between(2, 30))
}

fn fraction(random: &mut Random) -> Rational {
    loop {
        let value = Rational::new(nonzero(random, 99), random.between(2, 99));
        if !value.is_integer() {
            return value;
        }
    }
}

/// One ground truth of every kind, with all its mutations.
pub(crate) fn one_of_each(sink: &mut Sink, random: &mut Random) {
    numbers(sink, random);
    quantities(sink, random);
    roots(sink, random);
    structures(sink, random);
    formulas(sink, random);
    let truth = format!("{}\\sqrt{{{}}}", random.between(2, 99), random.pick(&SQUARE_FREE));
    boxes(sink, &truth, random);
}

/// Ground truths for all the attacks.
pub(crate) fn under_attack(sink: &mut Sink, random: &mut Random) {
    for truth in [
        "5",
        "0.25",
        "2\\sqrt{13}",
        "3 + 8i",
        "(-3,8]",
        "x^2+3x+5",
        "y = 3x - 7",
        "x < 5",
        "\\text{(B)}",
        "\\text{Evelyn}",
        "(3,-8)",
        "\\begin{pmatrix} 4 \\\\ -9 \\end{pmatrix}",
        "2, 16",
        "75\\%",
        "\\frac{4}{5}",
    ] {
        adversarial(sink, truth, random);
    }
}

fn numbers(sink: &mut Sink, random: &mut Random) {
    let size = *random.pick(&[9, 99, 999, 99_999, 9_999_999, 999_999_999_999]);
    let value = random.between(-size, size);
    integer(&mut sink.about("int", value.to_string()), value);
    let value = fraction(random);
    rational(&mut sink.about("rational", value.latex()), value);
    let places = random.between(1, 5) as u32;
    let value = Rational::new(random.between(-99_999, 99_999), 10_i128.pow(places));
    let digits = value.truncated(places);
    decimal(&mut sink.about("decimal", digits.clone()), &digits);
    let (hundredths, exponent) = (random.between(101, 999), random.between(-12, 20));
    let truth = format!(
        "{} \\times 10^{{{exponent}}}",
        Rational::new(hundredths, 100).truncated(2)
    );
    scientific(&mut sink.about("scientific", truth), hundredths, exponent);
    let base = random.between(2, 9) as u32;
    let mut digits = String::from("1");
    for _ in 0..random.between(1, 9) {
        digits.push(char::from_digit(random.below(base as usize) as u32, 10).unwrap_or('0'));
    }
    in_base(&mut sink.about("base_n", format!("{digits}_{base}")), &digits, base);
    let digits = format!("{:X}", random.between(0x10, 0xfffff));
    in_base(&mut sink.about("base_n", format!("{digits}_{{16}}")), &digits, 16);
}

fn quantities(sink: &mut Sink, random: &mut Random) {
    let value = if random.once_in(3) {
        Rational::new(random.between(1, 1999), 10)
    } else {
        Rational::integer(random.between(2, 150))
    };
    let digits = value.finite_decimal().unwrap_or_default();
    percent(&mut sink.about("percent", format!("{digits}\\%")), value);
    let cents = if random.once_in(2) {
        random.between(1, 5000) * 100
    } else {
        random.between(101, 999_999)
    };
    let amount = if cents % 100 == 0 {
        (cents / 100).to_string()
    } else {
        format!("{}.{:02}", cents / 100, cents % 100)
    };
    money(&mut sink.about("money", format!("\\${amount}")), cents);
    let value = if random.once_in(4) {
        Rational::new(random.between(3, 700), 2)
    } else {
        Rational::integer(random.between(2, 359))
    };
    let digits = value.finite_decimal().unwrap_or_default();
    degrees(&mut sink.about("unit", format!("{digits}^\\circ")), value);
    let unit = random.pick(&UNITS);
    let value = if random.once_in(4) {
        Rational::new(random.between(1, 99), 4)
    } else {
        Rational::integer(random.between(2, 999))
    };
    let mut target = sink.about("unit", format!("{}\\text{{ {}}}", value.latex(), unit.plural));
    with_unit(&mut target, value, unit.plural);
    unit_spellings(&mut target, &value.latex(), unit);
}

fn roots(sink: &mut Sink, random: &mut Random) {
    let factor = Rational::new(nonzero(random, 20), random.between(1, 6));
    let radicand = *random.pick(&SQUARE_FREE);
    let truth = format!(
        "{}\\sqrt{{{radicand}}}",
        if factor.is_integer() {
            format!("{}", factor.numerator)
        } else {
            factor.latex()
        }
    );
    square_root(&mut sink.about("radical", truth), factor, radicand);
    let factor = Rational::new(nonzero(random, 60), random.between(1, 9));
    multiple_of_pi(&mut sink.about("radical", format!("{}\\pi", factor.latex())), factor);
    let (whole, factor) = (nonzero(random, 30), nonzero(random, 12));
    let sign = if factor < 0 { "-" } else { "+" };
    let truth = format!("{whole} {sign} {}\\sqrt{{{radicand}}}", factor.abs());
    sum_with_root(&mut sink.about("radical", truth), whole, factor, radicand);
    let (middle, factor) = (nonzero(random, 20), random.between(1, 9));
    let truth = format!("{middle} \\pm {factor}\\sqrt{{{radicand}}}");
    plus_or_minus(&mut sink.about("set", truth), middle, factor, radicand);
    let (real, imaginary) = if random.once_in(3) {
        (fraction(random), fraction(random))
    } else {
        (
            Rational::integer(nonzero(random, 30)),
            Rational::integer(nonzero(random, 30)),
        )
    };
    let sign = if imaginary.numerator < 0 { "-" } else { "+" };
    let size = if imaginary.numerator < 0 {
        imaginary.negated()
    } else {
        imaginary
    };
    let factor = if size == Rational::integer(1) {
        String::new()
    } else {
        size.latex()
    };
    complex(
        &mut sink.about("complex", format!("{} {sign} {factor}i", real.latex())),
        real,
        imaginary,
    );
}

fn end(random: &mut Random, value: Rational) -> End {
    End {
        value: Some(value),
        closed: random.once_in(2),
    }
}

fn structures(sink: &mut Sink, random: &mut Random) {
    let entries: Vec<Rational> = (0..random.between(2, 4)).map(|_| any_rational(random)).collect();
    let texts: Vec<String> = entries.iter().map(|entry| entry.latex()).collect();
    tuple(&mut sink.about("tuple", format!("({})", texts.join(","))), &entries);

    let mut elements: Vec<Rational> = (0..random.between(2, 5)).map(|_| any_rational(random)).collect();
    elements.sort();
    elements.dedup();
    if elements.len() > 1 {
        random.shuffle(&mut elements);
        let texts: Vec<String> = elements.iter().map(|element| element.latex()).collect();
        set(&mut sink.about("set", texts.join(", ")), &elements);
    }

    let length = random.between(2, 3);
    let mut tuples: Vec<Vec<i128>> = (0..random.between(2, 4))
        .map(|_| (0..length).map(|_| random.between(-40, 40)).collect())
        .collect();
    tuples.sort();
    tuples.dedup();
    if tuples.len() > 1 {
        let texts: Vec<String> = tuples
            .iter()
            .map(|tuple| {
                format!(
                    "({})",
                    tuple.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
                )
            })
            .collect();
        set_of_tuples(&mut sink.about("set", texts.join(",")), &tuples);
    }

    let (height, width) = (random.between(2, 3), random.between(1, 3));
    let rows: Vec<Vec<Rational>> = (0..height)
        .map(|_| (0..width).map(|_| any_rational(random)).collect())
        .collect();
    let cells: Vec<String> = rows
        .iter()
        .map(|row| row.iter().map(|entry| entry.latex()).collect::<Vec<_>>().join(" & "))
        .collect();
    matrix(
        &mut sink.about(
            "matrix",
            format!("\\begin{{pmatrix}} {} \\end{{pmatrix}}", cells.join(" \\\\ ")),
        ),
        &rows,
    );

    let mut ends: Vec<i128> = (0..4).map(|_| random.between(-60, 60)).collect();
    ends.sort_unstable();
    ends.dedup();
    let step = Rational::new(1, random.between(1, 3));
    let ends: Vec<End> = ends
        .into_iter()
        .map(|value| end(random, Rational::integer(value).times(step)))
        .collect();
    let unbounded = End {
        value: None,
        closed: false,
    };
    if ends.len() == 4 {
        let mut pieces = vec![
            Interval {
                low: ends[0],
                high: ends[1],
            },
            Interval {
                low: ends[2],
                high: ends[3],
            },
        ];
        if random.once_in(2) {
            pieces[0].low = unbounded;
        }
        if random.once_in(2) {
            pieces[1].high = unbounded;
        }
        let texts: Vec<String> = pieces.iter().map(|piece| piece.latex()).collect();
        union(&mut sink.about("interval", texts.join(" \\cup ")), &pieces);
        let mut single = Interval {
            low: ends[0],
            high: ends[2],
        };
        match random.below(4) {
            0 => single.low = unbounded,
            1 => single.high = unbounded,
            _ => {}
        }
        union(&mut sink.about("interval", single.latex()), &[single]);
        let name = *random.pick(&["x", "t", "a", "g(x)", "\\theta"]);
        let mut single = Interval {
            low: ends[1],
            high: ends[3],
        };
        match random.below(3) {
            0 => single.low = unbounded,
            1 => single.high = unbounded,
            _ => {}
        }
        let truth = single.inequality(name, "<", "\\leq");
        inequality(&mut sink.about("inequality", truth), name, single);
    }
}

fn formulas(sink: &mut Sink, random: &mut Random) {
    let some = polynomial(random);
    polynomial_cases(&mut sink.about("expression", some.latex()), &some);
    factored(sink, random);
    let right = polynomial(random);
    equation(
        &mut sink.about("equation", format!("k = {}", right.latex())),
        "k",
        &right,
    );
    let left = two_variables(random);
    implicit_equation(&mut sink.about("equation", format!("{} = 0", left.latex())), &left);
}

/// Choices, words, lists of letters, and every unit.
pub(crate) fn words_and_units(sink: &mut Sink) {
    for letter in 'A'..='E' {
        for truth in [
            letter.to_string(),
            format!("\\text{{({letter})}}"),
            format!("\\textbf{{({letter})}}"),
            format!("\\text{{{letter}}}"),
        ] {
            choice(&mut sink.about("text", truth), letter);
        }
    }
    let words = [
        "Thursday",
        "Tuesday",
        "August",
        "east",
        "northwest",
        "Navin",
        "ellipse",
        "hyperbola",
        "odd",
        "yes",
        "no",
        "two lines",
        "October",
    ];
    for text in words {
        word(&mut sink.about("text", format!("\\text{{{text}}}")), text, &words);
    }
    for (truth, list) in [
        ("\\text{A,C}", "AC"),
        ("\\text{A, B, E}", "ABE"),
        ("D, E", "DE"),
        ("\\text{B,C,D,F}", "BCDF"),
    ] {
        letters(&mut sink.about("text", truth), &list.chars().collect::<Vec<_>>());
    }
    for unit in &UNITS {
        let value = Rational::integer(240);
        let mut target = sink.about("unit", format!("240\\text{{ {}}}", unit.plural));
        with_unit(&mut target, value, unit.plural);
        unit_spellings(&mut target, "240", unit);
    }
}
