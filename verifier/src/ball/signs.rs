//! Which signs the variables get at the points that are tried.
//!
//! `√(x²y)` and `x√y` are the same function for positive x and two functions for negative ones, and where y is negative
//! neither is real. So points of all sizes say nothing unless the signs are right: x negative and y positive. What
//! stands in a root, a logarithm, an absolute value and the like is divided by the signs of its variables into pieces,
//! and on every piece the functions are tried.

use compact_str::CompactString;
use dashu_base::{BitTest as _, Sign};

use super::point::{Fnv, Signs, slot};
use crate::expression::{Constant, Expression, Function};
use crate::steps::{Steps, Stop};

/// Most variables of which every combination of signs is tried.
const MOST_COMBINED: usize = 5;
/// Most combinations of signs of more variables.
const MOST_PATTERNS: usize = 32;
/// Most variables whose signs are chosen; those of further ones are random.
const MOST_VARIABLES: usize = 24;
/// Seeds that are tried to give every variable a bit of its own. With 24 variables one in 80 does.
const MOST_SEEDS: u64 = 4_096;

/// The variables by whose signs the domains of two functions are divided into pieces.
#[derive(Debug, Default)]
pub(super) struct Divisions {
    /// The variables in roots, absolute values and the like.
    names: Vec<CompactString>,
    /// For each side the variables of which it has a root or a logarithm, so that it is real for positive ones only.
    positive: [Vec<CompactString>; 2],
    /// Whether there are pieces beside those that signs make: `√(1 - sin² x)` is `cos x` on every second interval.
    pub(super) are_restless: bool,
    /// Whether a sum in a root divides further: `√((x² - y)²)` is `x² - y` on one side of a curve.
    pub(super) are_uneven: bool,
}

impl Divisions {
    /// The variables of two functions; none if nothing is divided.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn of(left: &Expression, right: &Expression, steps: &mut Steps) -> Result<Option<Self>, Stop> {
        steps.spend(2 * (left.node_count() + right.node_count()) as u64)?;
        let mut divisions = Self::default();
        for (side, expression) in [left, right].into_iter().enumerate() {
            divisions.add(expression, side, Divides::Not);
        }
        divisions.names.sort_unstable();
        divisions.names.truncate(MOST_VARIABLES);
        Ok(Some(divisions).filter(|divisions| !divisions.names.is_empty() || divisions.are_restless))
    }

    /// Notes the variables of an expression. `divides` says what its sign divides.
    fn add(&mut self, expression: &Expression, side: usize, divides: Divides) {
        match expression {
            Expression::Number(_) | Expression::Constant(_) => {}
            Expression::Symbol(name) if divides != Divides::Not && !self.names.contains(name) => {
                self.names.push(name.clone())
            }
            Expression::Symbol(_) => {}
            Expression::Sum(parts) | Expression::Product(parts) => {
                parts.iter().for_each(|part| self.add(part, side, divides));
            }
            Expression::Power(base, exponent) => match &**exponent {
                Expression::Number(exponent) if exponent.is_int() => self.add(base, side, divides),
                Expression::Number(exponent) => {
                    if !exponent.denominator().bit(0) {
                        self.needs_positive(base, side);
                    }
                    // A root of what is never zero has no pieces, √(x² + 1) for one.
                    let inside = if is_positive(base) { divides } else { Divides::InPieces };
                    self.are_uneven |= inside == Divides::InPieces && has_curved_sum(base);
                    self.add(base, side, inside);
                }
                _ => {
                    self.add(base, side, Divides::InPieces);
                    self.add(exponent, side, divides);
                }
            },
            // Bars under a logarithm only say where it is real.
            Expression::Call(Function::Ln | Function::Log, parts) => {
                for part in parts {
                    let inside = match part {
                        Expression::Call(Function::Abs, inside) => inside.as_slice(),
                        bare => {
                            self.needs_positive(bare, side);
                            std::slice::from_ref(bare)
                        }
                    };
                    inside
                        .iter()
                        .for_each(|part| self.add(part, side, Divides::InDomain.max(divides)));
                }
            }
            Expression::Call(function, parts) => {
                let inside = if divides_by_sign(function) {
                    Divides::InPieces
                } else {
                    divides
                };
                self.are_restless |=
                    divides == Divides::InPieces && !divides_by_sign(function) && !expression.is_constant();
                parts.iter().for_each(|part| self.add(part, side, inside));
            }
        }
    }

    fn needs_positive(&mut self, base: &Expression, side: usize) {
        if let Expression::Symbol(name) = base
            && let Some(names) = self.positive.get_mut(side)
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }

    /// The combinations of signs to be tried. With `only_real`, variables of which both sides have a root or a
    /// logarithm are positive in all of them: at other points neither side has a value.
    pub(super) fn patterns(&self, only_real: bool) -> Patterns {
        let (seed, slots) = (0..MOST_SEEDS)
            .map(|seed| (seed, self.names.iter().map(|name| 1_u64 << slot(seed, name)).collect()))
            .find(|(_, slots): &(u64, Vec<u64>)| {
                slots.iter().fold(0, |all, slot| all | slot).count_ones() as usize == slots.len()
            })
            .unwrap_or_default();
        let is_free = |name: &CompactString| !only_real || !self.positive.iter().all(|names| names.contains(name));
        let free: Vec<u64> = (self.names.iter().zip(&slots))
            .filter(|(name, _)| is_free(name))
            .map(|(_, slot)| *slot)
            .collect();
        let chosen = slots.iter().fold(0, |all, slot| all | slot);
        let varying = free.iter().fold(0, |all, slot| all | slot);
        Patterns {
            seed,
            others: !chosen,
            free: varying,
            patterns: combinations(&free),
        }
    }
}

/// What the sign of an expression divides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Divides {
    /// Nothing.
    Not,
    /// Points with a real value from those without.
    InDomain,
    /// Points at which the function it stands in is one function from those at which it is another.
    InPieces,
}

/// Whether a function is another one for arguments of another sign, or has no real value there.
pub(super) fn divides_by_sign(function: &Function) -> bool {
    matches!(
        function,
        Function::Abs
            | Function::Max
            | Function::Min
            | Function::Ln
            | Function::Log
            | Function::Arcsin
            | Function::Arccos
            | Function::Arctan
            | Function::Arccot
            | Function::Arcosh
            | Function::Artanh
    )
}

/// Whether there is a sum of other terms than multiples of variables.
fn has_curved_sum(expression: &Expression) -> bool {
    let varies = |part: &&Expression| !part.is_constant();
    let is_curved = |term: &Expression| match term {
        Expression::Power(..) => !term.is_constant(),
        Expression::Product(parts) => {
            parts.iter().filter(varies).count() > 1
                || parts
                    .iter()
                    .any(|part| matches!(part, Expression::Power(..)) && !part.is_constant())
        }
        _ => false,
    };
    match expression {
        Expression::Sum(parts) => parts.iter().any(|part| is_curved(part) || has_curved_sum(part)),
        Expression::Product(parts) => parts.iter().any(has_curved_sum),
        Expression::Power(base, _) => has_curved_sum(base),
        _ => false,
    }
}

/// Whether an expression is positive by its form wherever it is real.
fn is_positive(expression: &Expression) -> bool {
    match expression {
        Expression::Number(value) => value.sign() == Sign::Positive && !value.is_zero(),
        Expression::Constant(constant) => matches!(constant, Constant::Pi | Constant::Euler | Constant::Degree),
        Expression::Sum(parts) => parts.iter().any(is_positive) && parts.iter().all(is_not_negative),
        Expression::Product(parts) => parts.iter().all(is_positive),
        Expression::Power(base, _) => is_positive(base),
        Expression::Symbol(_) | Expression::Call(..) => false,
    }
}

fn is_not_negative(expression: &Expression) -> bool {
    match expression {
        Expression::Power(base, exponent) => {
            let is_even = matches!(&**exponent, Expression::Number(exponent)
                if exponent.is_int() && !exponent.numerator().bit(0));
            is_even && !has_imaginary_unit(base) || is_positive(base)
        }
        Expression::Sum(parts) | Expression::Product(parts) => parts.iter().all(is_not_negative),
        other => is_positive(other),
    }
}

fn has_imaginary_unit(expression: &Expression) -> bool {
    match expression {
        Expression::Constant(constant) => *constant == Constant::Imaginary,
        Expression::Number(_) | Expression::Symbol(_) => false,
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
            parts.iter().any(has_imaginary_unit)
        }
        Expression::Power(base, exponent) => has_imaginary_unit(base) || has_imaginary_unit(exponent),
    }
}

/// Combinations of negative variables, each of which is one bit: all of a few, and of many those in which one, two, all
/// or all but one are negative.
fn combinations(variables: &[u64]) -> Vec<u64> {
    let sum_of = |chosen: u64| {
        let bits = variables
            .iter()
            .enumerate()
            .filter(|(index, _)| chosen >> index & 1 == 1);
        bits.fold(0, |all, (_, bit)| all | bit)
    };
    if variables.len() <= MOST_COMBINED {
        return (0..1 << variables.len()).map(sum_of).collect();
    }
    let all = sum_of(u64::MAX);
    let mut patterns = vec![0, all];
    patterns.extend(variables);
    patterns.extend(variables.iter().map(|variable| all ^ variable));
    for (index, variable) in variables.iter().enumerate() {
        patterns.extend(variables[..index].iter().map(|other| variable | other));
    }
    patterns.truncate(MOST_PATTERNS.max(2 + variables.len()));
    patterns
}

/// Combinations of signs, as bits of those that are negative.
#[derive(Debug)]
pub(super) struct Patterns {
    seed: u64,
    /// The bits of all other variables.
    others: u64,
    /// The bits of the variables that may be negative.
    free: u64,
    patterns: Vec<u64>,
}

impl Patterns {
    /// All combinations. Variables that do not count have random signs, but for one combination in which all are
    /// positive.
    pub(super) fn all(&self, random: u64) -> impl Iterator<Item = Signs> {
        self.patterns.iter().map(move |&pattern| {
            let mut hasher = Fnv::seeded(random);
            std::hash::Hasher::write_u64(&mut hasher, pattern);
            let others = if pattern == 0 { 0 } else { hasher.mixed() & self.others };
            self.signs(pattern | others)
        })
    }

    /// The same kind of signs, for those variables only that may be negative.
    pub(super) fn like(&self, signs: Signs, random: u64) -> Signs {
        match signs {
            Signs::Positive => self.signs(0),
            Signs::Negative => self.signs(self.free | self.others),
            Signs::Mixed => self.signs(random & (self.free | self.others)),
            Signs::Chosen { .. } => signs,
        }
    }

    fn signs(&self, negative: u64) -> Signs {
        Signs::Chosen {
            seed: self.seed,
            negative,
        }
    }
}
