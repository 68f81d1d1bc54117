//! Polynomials, formulas and equations.

use crate::sink::{Sink, Target};
use crate::support::Random;

/// A term: its coefficient, and the powers of the variables.
type Term = (i128, Vec<u32>);

/// A polynomial with integer coefficients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Polynomial {
    variables: Vec<&'static str>,
    terms: Vec<Term>,
}

impl Polynomial {
    /// Terms of one variable, from their coefficients, the constant first.
    fn of_coefficients(variable: &'static str, coefficients: &[i128]) -> Self {
        let terms = coefficients
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, coefficient)| **coefficient != 0)
            .map(|(power, coefficient)| (*coefficient, vec![power as u32]))
            .collect();
        Self {
            variables: vec![variable],
            terms,
        }
    }

    fn powers(&self, powers: &[u32], times: &str, braces: bool) -> String {
        let factors: Vec<String> = self
            .variables
            .iter()
            .zip(powers)
            .filter(|(_, power)| **power > 0)
            .map(|(variable, power)| match power {
                1 => (*variable).to_owned(),
                _ if braces || *power > 9 => format!("{variable}^{{{power}}}"),
                _ => format!("{variable}^{power}"),
            })
            .collect();
        factors.join(times)
    }

    /// With signs between the terms, something between the factors, and powers with or without braces.
    fn spelt(&self, plus: &str, minus: &str, times: &str, braces: bool) -> String {
        let mut text = String::new();
        for (coefficient, powers) in &self.terms {
            let size = coefficient.abs();
            let sign = if *coefficient < 0 { minus } else { plus };
            if text.is_empty() {
                text.push_str(if *coefficient < 0 { "-" } else { "" });
            } else {
                text.push_str(sign);
            }
            let powers = self.powers(powers, times, braces);
            if powers.is_empty() {
                text.push_str(&size.to_string());
            } else if size == 1 {
                text.push_str(&powers);
            } else {
                text.push_str(&format!("{size}{times}{powers}"));
            }
        }
        text
    }

    /// The spelling of textbooks.
    pub(crate) fn latex(&self) -> String {
        self.spelt(" + ", " - ", "", false)
    }

    fn with_terms(&self, terms: Vec<Term>) -> Self {
        Self {
            variables: self.variables.clone(),
            terms,
        }
    }

    /// With another name for a variable that occurs.
    fn renamed(&self, name: &'static str) -> Self {
        let mut renamed = self.clone();
        let occurring = (0..self.variables.len()).find(|index| self.terms.iter().any(|(_, powers)| powers[*index] > 0));
        renamed.variables[occurring.unwrap_or(0)] = name;
        renamed
    }

    fn scaled(&self, factor: i128) -> Self {
        self.with_terms(
            self.terms
                .iter()
                .map(|(coefficient, powers)| (coefficient * factor, powers.clone()))
                .collect(),
        )
    }

    fn with_constant(&self, added: i128) -> Self {
        let mut terms = self.terms.clone();
        match terms
            .iter_mut()
            .find(|(_, powers)| powers.iter().all(|power| *power == 0))
        {
            Some(constant) => constant.0 += added,
            None => terms.push((added, vec![0; self.variables.len()])),
        }
        terms.retain(|(coefficient, _)| *coefficient != 0);
        self.with_terms(terms)
    }

    /// Polynomials that are a small step away, with at least one term each.
    fn neighbours(&self) -> Vec<(&'static str, Self)> {
        let mut neighbours = vec![
            ("doubled", self.scaled(2)),
            ("negated", self.scaled(-1)),
            ("plus one", self.with_constant(1)),
            ("minus one", self.with_constant(-1)),
            ("ten times", self.scaled(10)),
        ];
        for index in 0..self.terms.len() {
            let with_term = |coefficient: i128, powers: Vec<u32>| {
                let mut terms = self.terms.clone();
                terms[index] = (coefficient, powers);
                self.with_terms(terms)
            };
            let (coefficient, powers) = self.terms[index].clone();
            neighbours.push(("sign of a term flipped", with_term(-coefficient, powers.clone())));
            if coefficient != -1 {
                neighbours.push(("a coefficient +1", with_term(coefficient + 1, powers.clone())));
            }
            for variable in 0..powers.len() {
                let mut more = powers.clone();
                more[variable] += 1;
                if !self.terms.iter().any(|(_, others)| *others == more) {
                    neighbours.push(("a power +1", with_term(coefficient, more)));
                }
            }
            let mut without = self.terms.clone();
            without.remove(index);
            neighbours.push(("a term missing", self.with_terms(without)));
        }
        neighbours.retain(|(_, neighbour)| !neighbour.terms.is_empty());
        neighbours
    }

    fn spellings(&self) -> Vec<(&'static str, String)> {
        let latex = self.latex();
        let mut reversed = self.terms.clone();
        reversed.reverse();
        let reversed = self.with_terms(reversed).latex();
        let halves: Vec<Term> = self
            .terms
            .iter()
            .map(|(coefficient, powers)| (coefficient - 1, powers.clone()))
            .collect();
        let rest: Vec<Term> = self.terms.iter().map(|(_, powers)| (1, powers.clone())).collect();
        let halves = self.with_terms(
            halves
                .into_iter()
                .filter(|(coefficient, _)| *coefficient != 0)
                .collect(),
        );
        let mut spellings = vec![
            ("spaces around +", latex.clone()),
            ("no spaces", self.spelt("+", "-", "", false)),
            ("sympy order", self.spelt(" + ", " - ", " ", true)),
            ("explicit \\cdot", self.spelt(" + ", " - ", " \\cdot ", false)),
            ("star", self.spelt(" + ", " - ", "*", false)),
            ("terms reversed", reversed),
            ("brackets around it", format!("\\left({latex}\\right)")),
            ("negated twice", format!("-\\left({}\\right)", self.scaled(-1).latex())),
            ("twice its half", format!("\\frac{{{}}}{{2}}", self.scaled(2).latex())),
            (
                "half of its double",
                format!("\\frac{{1}}{{2}}\\left({}\\right)", self.scaled(2).latex()),
            ),
            ("zero added", format!("{latex} + 0")),
            ("times one", format!("1\\left({latex}\\right)")),
        ];
        if halves.terms.is_empty() {
            return spellings;
        }
        spellings.push((
            "terms split in two",
            format!("{} + {}", halves.latex(), self.with_terms(rest).latex()),
        ));
        spellings
    }
}

/// A random polynomial with at least two terms.
pub(crate) fn polynomial(random: &mut Random) -> Polynomial {
    let variable = *random.pick(&["x", "t", "n", "y", "a"]);
    if random.once_in(3) {
        return two_variables(random);
    }
    let degree = random.between(1, 5) as usize;
    let mut coefficients: Vec<i128> = (0..=degree).map(|_| random.between(-12, 12)).collect();
    coefficients[0] = nonzero(random, 30);
    coefficients[degree] = nonzero(random, 12);
    Polynomial::of_coefficients(variable, &coefficients)
}

/// A random polynomial of at most the second degree in `x` and `y`, with both of them and a constant.
pub(crate) fn two_variables(random: &mut Random) -> Polynomial {
    let mut terms: Vec<Term> = Vec::new();
    for powers in [vec![2, 0], vec![1, 1], vec![0, 2]] {
        if random.once_in(2) {
            terms.push((nonzero(random, 12), powers));
        }
    }
    for powers in [vec![1, 0], vec![0, 1], vec![0, 0]] {
        terms.push((nonzero(random, 30), powers));
    }
    Polynomial {
        variables: vec!["x", "y"],
        terms,
    }
}

fn nonzero(random: &mut Random, bound: i128) -> i128 {
    let value = random.between(1, bound);
    if random.once_in(2) { -value } else { value }
}

/// A polynomial as an answer.
pub(crate) fn polynomial_cases(target: &mut Target<'_>, polynomial: &Polynomial) {
    let latex = polynomial.latex();
    target.same_wrapped();
    target.all_same(polynomial.spellings());
    for (why, neighbour) in polynomial.neighbours() {
        target.differs(why, neighbour.latex());
    }
    target.differs("variable renamed", polynomial.renamed("q").latex());
    target.differs("capital variable", polynomial.renamed("X").latex());
    target.differs("squared", format!("\\left({latex}\\right)^2"));
    target.differs("reciprocal", format!("\\frac{{1}}{{{latex}}}"));
    target.differs("square root added", format!("\\sqrt{{{latex}}}"));
    target.differs("a hair more", format!("{latex} + 10^{{-20}}"));
    target.differs(
        "a hair more in front",
        format!("1.00000000000000000001\\left({latex}\\right)"),
    );
    target.differs(
        "two guesses",
        format!("{latex}, {}", polynomial.with_constant(1).latex()),
    );
    target.differs("times i", format!("\\left({latex}\\right)i"));
}

/// `leading · (x - first)(x - second)` against its expanded and factored forms.
pub(crate) fn factored(sink: &mut Sink, random: &mut Random) {
    let variable = *random.pick(&["x", "t", "z"]);
    let (first, mut second, leading) = (nonzero(random, 15), nonzero(random, 15), random.between(1, 9));
    if first == second {
        second += if second == -1 { 2 } else { 1 };
    }
    let expanded = Polynomial::of_coefficients(
        variable,
        &[leading * first * second, -leading * (first + second), leading],
    );
    let bracket = |root: i128| Polynomial::of_coefficients(variable, &[-root, 1]).latex();
    let front = if leading == 1 {
        String::new()
    } else {
        leading.to_string()
    };
    let product = format!("{front}({})({})", bracket(first), bracket(second));
    let answers = [
        ("factored", product.clone()),
        (
            "factors reversed",
            format!("{front}({})({})", bracket(second), bracket(first)),
        ),
        (
            "factored with \\left \\right",
            format!(
                "{front}\\left({}\\right)\\left({}\\right)",
                bracket(first),
                bracket(second)
            ),
        ),
        (
            "factored with \\cdot",
            format!("{leading} \\cdot ({}) \\cdot ({})", bracket(first), bracket(second)),
        ),
        (
            "factor at the end",
            format!("({})({}) \\cdot {leading}", bracket(first), bracket(second)),
        ),
        (
            "both brackets negated",
            format!(
                "{front}({})({})",
                Polynomial::of_coefficients(variable, &[first, -1]).latex(),
                Polynomial::of_coefficients(variable, &[second, -1]).latex()
            ),
        ),
        (
            "factor in the first bracket",
            format!(
                "({})({})",
                Polynomial::of_coefficients(variable, &[-first * leading, leading]).latex(),
                bracket(second)
            ),
        ),
        (
            "completed square",
            format!(
                "{leading}\\left({variable} - \\frac{{{}}}{{2}}\\right)^2 - \\frac{{{}}}{{4}}",
                first + second,
                leading * (first - second) * (first - second)
            ),
        ),
        ("expanded", expanded.latex()),
        (
            "quotient with a factor more",
            format!("\\frac{{{product}({variable} + 17)}}{{{variable} + 17}}"),
        ),
    ];
    let misses = [
        (
            "a root +1",
            format!(
                "{front}({})({})",
                bracket(first + 1 + i128::from(first == -1)),
                bracket(second)
            ),
        ),
        (
            "a root's sign flipped",
            format!("{front}({})({})", bracket(-first), bracket(second)),
        ),
        (
            "a factor squared",
            format!("{front}({})^2({})", bracket(first), bracket(second)),
        ),
        ("a factor missing", format!("{front}({})", bracket(first))),
        (
            "a sum of the factors",
            format!("({}) + ({})", bracket(first), bracket(second)),
        ),
        (
            "leading factor +1",
            format!("{}({})({})", leading + 1, bracket(first), bracket(second)),
        ),
        ("negated", format!("-{product}")),
        ("equation of it", format!("{product} = 0")),
        ("its roots", format!("{first}, {second}")),
        (
            "brackets lost",
            format!("{front}{} \\cdot {}", bracket(first), bracket(second)),
        ),
    ];
    for truth in [expanded.latex(), product.clone()] {
        let mut target = sink.about("expression", truth);
        target.same_wrapped();
        for (why, answer) in &answers {
            target.same(why, answer.clone());
        }
        for (why, answer) in &misses {
            target.differs(why, answer.clone());
        }
    }
}

/// `name = polynomial`, the name being no variable of the polynomial.
pub(crate) fn equation(target: &mut Target<'_>, name: &str, right: &Polynomial) {
    let latex = right.latex();
    target.same_wrapped();
    target.same("spaces around =", format!("{name} = {latex}"));
    target.same("no spaces around =", format!("{name}={latex}"));
    target.same("sides swapped", format!("{latex} = {name}"));
    target.same("left-hand side dropped", latex.clone());
    target.same("trailing full stop", format!("{name} = {latex}."));
    target.same("dollar signs inside the box", format!("${name} = {latex}$"));
    for (why, answer) in right.spellings() {
        target.same(why, format!("{name} = {answer}"));
    }
    for (why, neighbour) in right.neighbours() {
        target.differs(why, format!("{name} = {}", neighbour.latex()));
    }
    target.differs("left-hand side dropped, plus one", right.with_constant(1).latex());
    target.differs("left-hand side negated", format!("-{name} = {latex}"));
    target.differs("left-hand side doubled", format!("2{name} = {latex}"));
    target.differs("an inequality instead", format!("{name} \\le {latex}"));
    target.differs("not equal instead", format!("{name} \\ne {latex}"));
    target.differs("left-hand side only", name.to_owned());
    target.differs(
        "another name",
        format!("{} = {latex}", if name == "w" { "v" } else { "w" }),
    );
}

/// `polynomial = 0` in two variables.
pub(crate) fn implicit_equation(target: &mut Target<'_>, left: &Polynomial) {
    let latex = left.latex();
    let (first, rest) = (
        left.with_terms(left.terms[..1].to_vec()),
        left.with_terms(left.terms[1..].to_vec()),
    );
    target.same_wrapped();
    target.same("no spaces around =", format!("{latex}=0"));
    target.same("sides swapped", format!("0 = {latex}"));
    target.same("both sides doubled", format!("{} = 0", left.scaled(2).latex()));
    target.same("both sides negated", format!("{} = 0", left.scaled(-1).latex()));
    target.same(
        "a term on the other side",
        format!("{} = {}", rest.latex(), first.scaled(-1).latex()),
    );
    target.same(
        "all but a term on the other side",
        format!("{} = {}", first.latex(), rest.scaled(-1).latex()),
    );
    target.same("one on both sides", format!("{latex} + 1 = 1"));
    target.same("a polynomial on both sides", format!("{latex} + x^2 = x^2"));
    target.same("trailing full stop", format!("{latex} = 0."));
    for (why, answer) in left.spellings() {
        target.same(why, format!("{answer} = 0"));
    }
    for (why, neighbour) in left.neighbours() {
        if !matches!(why, "doubled" | "negated" | "ten times") && neighbour.terms.len() > 1 {
            target.differs(why, format!("{} = 0", neighbour.latex()));
        }
    }
    target.differs("one instead of zero", format!("{latex} = 1"));
    target.differs("a variable instead of zero", format!("{latex} = q"));
    target.differs("an inequality instead", format!("{latex} > 0"));
    target.differs("not equal instead", format!("{latex} \\ne 0"));
    target.differs("variable renamed", format!("{} = 0", left.renamed("q").latex()));
}
