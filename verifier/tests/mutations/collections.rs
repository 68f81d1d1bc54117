//! Lists of solutions, sets of tuples, and matrices.

use crate::rational::Rational;
use crate::sink::Target;

fn latex(elements: &[Rational]) -> Vec<String> {
    elements.iter().map(|element| element.latex()).collect()
}

/// A list of at least two different numbers, the order of which means nothing.
pub(crate) fn set(target: &mut Target<'_>, elements: &[Rational]) {
    let texts = latex(elements);
    let (last, init) = texts
        .split_last()
        .map(|(last, init)| (last.clone(), init.join(", ")))
        .unwrap_or_default();
    let mut reversed = texts.clone();
    reversed.reverse();
    let mut rotated = texts.clone();
    rotated.rotate_left(1);
    target.same_wrapped();
    target.same("comma separated", texts.join(", "));
    // `2,160` is one number.
    if texts[1..].iter().all(|text| text.len() != 3) {
        target.same("no spaces", texts.join(","));
        target.same("thin spaces", texts.join(",\\,"));
    }
    target.same("semicolons", texts.join("; "));
    target.same("order changed", reversed.join(", "));
    target.same("order rotated", rotated.join(", "));
    target.same("braces added", format!("\\{{{}\\}}", texts.join(", ")));
    target.same(
        "braces added, order changed",
        format!("\\left\\{{{}\\right\\}}", reversed.join(", ")),
    );
    target.same("\\lbrace added", format!("\\lbrace {} \\rbrace", texts.join(", ")));
    target.same("\\text{ or }", format!("{init} \\text{{ or }} {last}"));
    target.same("\\text{ and }", format!("{init} \\text{{ and }} {last}"));
    target.same("\\text{, and }", format!("{init}\\text{{, and }}{last}"));
    target.same("\\text{or} between all", texts.join(" \\text{ or } "));
    target.same("\\text{and} in front", format!("{init}, \\text{{and }} {last}"));
    target.same("x = prefix", format!("x = {}", texts.join(", ")));
    target.same("x = prefix, \\text{ or }", format!("x = {init} \\text{{ or }} {last}"));
    target.same("x = before each", format!("x = {}", texts.join(", x = ")));
    target.same(
        "x = before each, \\text{ or }",
        format!("x = {}", texts.join(" \\text{ or } x = ")),
    );
    target.same("x \\in", format!("x \\in \\{{{}\\}}", texts.join(", ")));
    target.same("dollar signs around each", format!("${}$", texts.join("$, $")));
    target.same(
        "dollar signs around each, and",
        format!("${}$ and ${last}$", latex(&elements[..elements.len() - 1]).join("$, $")),
    );
    target.same("trailing full stop", format!("{}.", texts.join(", ")));
    target.same("elements respelt", {
        let respelt: Vec<String> = elements
            .iter()
            .map(|element| {
                element.finite_decimal().map_or_else(
                    || element.latex().replace("\\frac", "\\dfrac"),
                    |decimal| {
                        if element.is_integer() {
                            format!("{decimal}.0")
                        } else {
                            decimal
                        }
                    },
                )
            })
            .collect();
        respelt.join(", ")
    });
    let one = Rational::integer(1);
    let extra = elements.iter().fold(Rational::integer(17), |sum, element| {
        if element.numerator > 0 { sum.plus(*element) } else { sum }
    });
    target.differs("an extra element", format!("{}, {}", texts.join(", "), extra.latex()));
    target.differs(
        "an extra element in front",
        format!("{}, {}", extra.latex(), texts.join(", ")),
    );
    target.differs(
        "an extra element with or",
        format!("{} \\text{{ or }} {}", texts.join(", "), extra.latex()),
    );
    target.differs("first element only", texts[0].clone());
    target.differs("one element missing", rotated[..rotated.len() - 1].join(", "));
    target.differs("last element only", last);
    target.differs("everything but the first", texts[1..].join(", "));
    for index in 0..elements.len() {
        let mut changed = elements.to_vec();
        changed[index] = extra;
        target.differs("one element changed", latex(&changed).join(", "));
    }
    target.differs(
        "all elements shifted",
        latex(&elements.iter().map(|element| element.plus(one)).collect::<Vec<_>>()).join(", "),
    );
    let mut flipped: Vec<Rational> = elements.iter().map(|element| element.negated()).collect();
    let flipped_texts = latex(&flipped);
    flipped.sort();
    let mut sorted = elements.to_vec();
    sorted.sort();
    if flipped != sorted {
        target.differs("all signs flipped", flipped_texts.join(", "));
    }
    target.differs(
        "their sum",
        elements.iter().fold(one, |sum, element| sum.plus(*element)).latex(),
    );
    target.differs(
        "a hair more",
        format!("{} + 10^{{-22}}, {}", texts[0], texts[1..].join(", ")),
    );
    target.differs("nothing", "\\emptyset");
    target.differs("the elements as a product", format!("({})x", texts.join(")(")));
    target.differs("digits run together", texts.join("").replace('-', "9"));
}

/// `middle ± distance`.
pub(crate) fn plus_or_minus(target: &mut Target<'_>, middle: i128, factor: i128, radicand: i128) {
    let root = if factor == 1 {
        format!("\\sqrt{{{radicand}}}")
    } else {
        format!("{factor}\\sqrt{{{radicand}}}")
    };
    target.same_wrapped();
    target.same("±", format!("{middle} \\pm {root}"));
    target.same("± without blanks", format!("{middle}\\pm{root}"));
    target.same("∓", format!("{middle} \\mp {root}"));
    target.same("unicode ±", format!("{middle} ± {root}"));
    target.same("both values", format!("{middle} + {root}, {middle} - {root}"));
    target.same(
        "both values, order changed",
        format!("{middle} - {root}, {middle} + {root}"),
    );
    target.same(
        "both values with or",
        format!("{middle} + {root} \\text{{ or }} {middle} - {root}"),
    );
    target.same(
        "both values with and",
        format!("{middle} + {root} \\text{{ and }} {middle} - {root}"),
    );
    target.same("x = prefix", format!("x = {middle} \\pm {root}"));
    target.same(
        "x = before each",
        format!("x = {middle} + {root}, x = {middle} - {root}"),
    );
    target.same("braces added", format!("\\{{{middle} \\pm {root}\\}}"));
    target.same(
        "all under the root",
        format!("{middle} \\pm \\sqrt{{{}}}", factor * factor * radicand),
    );
    target.same(
        "over two",
        format!("\\frac{{{} \\pm {}\\sqrt{{{radicand}}}}}{{2}}", 2 * middle, 2 * factor),
    );
    target.differs("upper value only", format!("{middle} + {root}"));
    target.differs("lower value only", format!("{middle} - {root}"));
    target.differs("middle changed", format!("{} \\pm {root}", middle + 1));
    target.differs(
        "radicand changed",
        format!("{middle} \\pm {factor}\\sqrt{{{}}}", radicand + 1),
    );
    target.differs(
        "factor changed",
        format!("{middle} \\pm {}\\sqrt{{{radicand}}}", factor + 1),
    );
    target.differs("times i", format!("{middle} \\pm {root} i"));
    target.differs("an extra value", format!("{middle} \\pm {root}, {middle}"));
    target.differs("half", format!("\\frac{{{middle} \\pm {root}}}{{2}}"));
    target.differs("radical sign dropped", format!("{middle} \\pm {}", factor * radicand));
    target.differs("cube root", format!("{middle} \\pm {factor}\\sqrt[3]{{{radicand}}}"));
    target.differs(
        "decimal approximation",
        format!("{middle} \\pm {:.4}", factor as f64 * (radicand as f64).sqrt()),
    );
    target.differs("interval", format!("({middle} - {root}, {middle} + {root})"));
    if middle != 0 {
        target.differs("middle negated", format!("{} \\pm {root}", -middle));
        target.differs("middle dropped", format!("\\pm {root}"));
    }
}

/// A set of at least two different tuples of the same length.
pub(crate) fn set_of_tuples(target: &mut Target<'_>, tuples: &[Vec<i128>]) {
    let spelt = |tuples: &[Vec<i128>], comma: &str, between: &str| {
        let tuples: Vec<String> = tuples
            .iter()
            .map(|tuple| {
                let entries: Vec<String> = tuple.iter().map(ToString::to_string).collect();
                format!("({})", entries.join(comma))
            })
            .collect();
        tuples.join(between)
    };
    let mut reversed = tuples.to_vec();
    reversed.reverse();
    target.same_wrapped();
    target.same("no spaces", spelt(tuples, ",", ","));
    target.same("spaces after commas", spelt(tuples, ", ", ", "));
    target.same("thin spaces", spelt(tuples, ",\\,", ", "));
    target.same("order of the tuples changed", spelt(&reversed, ", ", ", "));
    target.same("braces added", format!("\\{{{}\\}}", spelt(tuples, ", ", ", ")));
    target.same("semicolons", spelt(tuples, ", ", "; "));
    target.same("\\text{ or }", spelt(tuples, ", ", " \\text{ or } "));
    target.same("\\text{ and }", spelt(&reversed, ", ", " \\text{ and } "));
    target.same("dollar signs inside the box", format!("${}$", spelt(tuples, ",", ", ")));
    target.same("dollar signs around each", format!("${}$", spelt(tuples, ",", "$, $")));
    target.same(
        "\\left \\right",
        spelt(tuples, ", ", ", ")
            .replace('(', "\\left(")
            .replace(')', "\\right)"),
    );
    if tuples[0].len() == 2 {
        target.same("(x, y) = prefix", format!("(x, y) = {}", spelt(tuples, ", ", ", ")));
        target.same(
            "(x, y) \\in",
            format!("(x, y) \\in \\{{{}\\}}", spelt(tuples, ", ", ", ")),
        );
    }
    let mut extra = tuples.to_vec();
    extra.push(vec![1717; tuples[0].len()]);
    target.differs("an extra tuple", spelt(&extra, ",", ", "));
    target.differs("one tuple missing", spelt(&tuples[1..], ",", ", "));
    target.differs("last tuple missing", spelt(&tuples[..tuples.len() - 1], ",", ", "));
    for index in 0..tuples.len() {
        let mut changed = tuples.to_vec();
        changed[index][0] = 1717;
        target.differs("one entry changed", spelt(&changed, ",", ", "));
        let mut swapped = tuples.to_vec();
        swapped[index].reverse();
        let mut sorted = (tuples.to_vec(), swapped.clone());
        sorted.0.sort();
        sorted.1.sort();
        if sorted.0 != sorted.1 {
            target.differs("entries of a tuple reversed", spelt(&swapped, ",", ", "));
        }
    }
    let longer: Vec<Vec<i128>> = tuples.iter().map(|tuple| [tuple.clone(), vec![0]].concat()).collect();
    target.differs("an extra entry in each", spelt(&longer, ",", ", "));
    let flat: Vec<String> = tuples.iter().flatten().map(ToString::to_string).collect();
    target.differs("all entries in one list", flat.join(", "));
    target.differs("all entries in one tuple", format!("({})", flat.join(", ")));
    target.differs("nothing", "\\emptyset");
    target.differs("how many there are", format!("{}", tuples.len()));
    let (first, second) = (tuples[0].clone(), tuples[1].clone());
    if first.first() != second.first() && first.last() != second.last() {
        let mut crossed = tuples.to_vec();
        crossed[0][0] = second[0];
        crossed[1][0] = first[0];
        let mut sorted = (tuples.to_vec(), crossed.clone());
        sorted.0.sort();
        sorted.1.sort();
        if sorted.0 != sorted.1 {
            target.differs("entries exchanged between tuples", spelt(&crossed, ",", ", "));
        }
    }
}

type Rows = Vec<Vec<Rational>>;

fn cells(rows: &Rows, row_break: &str, column_break: &str, spell: impl Fn(Rational) -> String) -> String {
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|entry| spell(*entry))
                .collect::<Vec<_>>()
                .join(column_break)
        })
        .collect();
    rows.join(row_break)
}

fn changed_corner(rows: &Rows) -> Rows {
    let mut rows = rows.clone();
    rows[0][0] = rows[0][0].plus(Rational::integer(1));
    rows
}

/// A matrix or a column vector with at least two rows.
pub(crate) fn matrix(target: &mut Target<'_>, rows: &Rows) {
    let slash = |entry: Rational| {
        if entry.is_integer() {
            entry.latex()
        } else {
            format!("{}/{}", entry.numerator, entry.denominator)
        }
    };
    let spaced = cells(rows, " \\\\ ", " & ", slash);
    let tight = cells(rows, "\\\\", "&", slash);
    let in_environment = |name: &str, cells: &str| format!("\\begin{{{name}}} {cells} \\end{{{name}}}");
    let columns = "c".repeat(rows[0].len());
    let plain = |rows: &Rows| in_environment("pmatrix", &cells(rows, " \\\\ ", " & ", Rational::latex));
    target.same_wrapped();
    target.same("no spaces", in_environment("pmatrix", &tight));
    target.same("bmatrix", in_environment("bmatrix", &spaced));
    target.same("bmatrix, no spaces", in_environment("bmatrix", &tight));
    target.same(
        "smallmatrix",
        format!("\\left({}\\right)", in_environment("smallmatrix", &spaced)),
    );
    target.same(
        "matrix in ( )",
        format!("\\left({}\\right)", in_environment("matrix", &spaced)),
    );
    target.same(
        "matrix in [ ]",
        format!("\\left[{}\\right]", in_environment("matrix", &spaced)),
    );
    target.same(
        "array in ( )",
        format!("\\left(\\begin{{array}}{{{columns}}} {spaced} \\end{{array}}\\right)"),
    );
    target.same(
        "array in [ ]",
        format!("\\left[\\begin{{array}}{{{columns}}} {spaced} \\end{{array}}\\right]"),
    );
    target.same(
        "array aligned right",
        format!(
            "\\left(\\begin{{array}}{{{}}} {spaced} \\end{{array}}\\right)",
            columns.replace('c', "r")
        ),
    );
    target.same("A = prefix", format!("A = {}", in_environment("pmatrix", &spaced)));
    target.same(
        "\\mathbf{v} = prefix",
        format!("\\mathbf{{v}} = {}", in_environment("pmatrix", &spaced)),
    );
    target.same(
        "\\mathbf{A} = prefix",
        format!("\\mathbf{{A}} = {}", in_environment("bmatrix", &spaced)),
    );
    target.same(
        "trailing row break",
        in_environment("pmatrix", &format!("{spaced} \\\\")),
    );
    target.same(
        "dollar signs inside the box",
        format!("${}$", in_environment("pmatrix", &spaced)),
    );
    target.same("entries with \\frac", plain(rows));
    target.same("entries with \\dfrac", plain(rows).replace("\\frac", "\\dfrac"));
    target.same(
        "entries as decimals",
        in_environment(
            "pmatrix",
            &cells(rows, " \\\\ ", " & ", |entry| {
                entry.finite_decimal().unwrap_or_else(|| entry.latex())
            }),
        ),
    );
    target.same(
        "line breaks",
        in_environment("pmatrix", &cells(rows, "\\\\\n", " & ", slash)),
    );
    target.same(
        "row break with a distance",
        in_environment("pmatrix", &cells(rows, "\\\\[4pt] ", " & ", slash)),
    );
    target.same("trailing full stop", format!("{}.", in_environment("pmatrix", &spaced)));
    let denominator = rows.iter().flatten().fold(1, |product: i128, entry| {
        if product % entry.denominator == 0 {
            product
        } else {
            product * entry.denominator
        }
    });
    let scaled: Rows = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|entry| entry.times(Rational::integer(denominator * 2)))
                .collect()
        })
        .collect();
    target.same(
        "factor in front",
        format!("\\frac{{1}}{{{}}}{}", denominator * 2, plain(&scaled)),
    );
    let one = Rational::integer(1);
    for (row, column) in [(0, 0), (rows.len() - 1, rows[0].len() - 1)] {
        let mut changed = rows.clone();
        changed[row][column] = changed[row][column].plus(one);
        target.differs("one entry changed", plain(&changed));
        let mut flipped = rows.clone();
        flipped[row][column] = flipped[row][column].negated();
        if flipped != *rows {
            target.differs("one sign flipped", plain(&flipped));
        }
    }
    let others: [(&str, Rows); 8] = [
        (
            "all signs flipped",
            rows.iter()
                .map(|row| row.iter().map(|entry| entry.negated()).collect())
                .collect(),
        ),
        ("first two rows swapped", {
            let mut other = rows.clone();
            other.swap(0, 1);
            other
        }),
        ("last row missing", rows[..rows.len() - 1].to_vec()),
        ("first row missing", rows[1..].to_vec()),
        ("a row more", {
            let mut other = rows.clone();
            other.push(vec![Rational::integer(0); rows[0].len()]);
            other
        }),
        (
            "a column more",
            rows.iter()
                .map(|row| [row.clone(), vec![Rational::integer(0)]].concat())
                .collect(),
        ),
        (
            "columns reversed",
            rows.iter().map(|row| row.iter().rev().copied().collect()).collect(),
        ),
        (
            "transposed",
            (0..rows[0].len())
                .map(|column| rows.iter().map(|row| row[column]).collect())
                .collect(),
        ),
    ];
    for (why, other) in others {
        if other != *rows {
            target.differs(why, plain(&other));
        }
    }
    if rows.iter().flatten().any(|entry| entry.numerator != 0) {
        target.differs("doubled", format!("2 {}", plain(rows)));
        target.differs("factor in front lost", plain(&scaled));
    }
    target.differs(
        "two guesses",
        format!("{} \\text{{ or }} {}", plain(rows), plain(&changed_corner(rows))),
    );
    target.differs("first entry only", rows[0][0].latex());
    if rows.len() == rows[0].len() {
        target.differs("determinant bars", in_environment("vmatrix", &spaced));
    }
}
