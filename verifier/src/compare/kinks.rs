//! Functions with kinks, such as |x - 1000|. Equality at some points says nothing about the points beyond the kink, so
//! that points on both sides must be tried.

use std::collections::BTreeSet;

use compact_str::CompactString;
use dashu_base::BitTest as _;
use dashu_int::UBig;
use dashu_ratio::RBig;

use super::reach::Reach;
use crate::expression::{Constant, Expression, Function};
use crate::normal;
use crate::steps::{Steps, Stop};

/// Largest number, in bits, beyond which points are tried. Beside a larger one no precision shows anything else.
const MOST_BITS: usize = 1_024;

/// The variables of functions that change beyond some point, and how far off that point may be.
#[derive(Debug, Default)]
pub(super) struct Kinks {
    variables: BTreeSet<CompactString>,
    /// Bits of the largest number beside them.
    largest: usize,
    /// Bits of all numbers beside them in one function together: a kink of `|x/1000 - 1000|` is at their product.
    together: usize,
    /// What stands between the variables and the numbers.
    reach: Reach,
}

impl Kinks {
    /// The kinks of an expression.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn add(&mut self, expression: &Expression, steps: &mut Steps) -> Result<(), Stop> {
        match expression {
            Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => steps.spend(1),
            Expression::Sum(parts) | Expression::Product(parts) => {
                steps.spend(1)?;
                parts.iter().try_for_each(|part| self.add(part, steps))
            }
            Expression::Power(base, exponent) => {
                let is_root = matches!(&**exponent, Expression::Number(exponent) if !exponent.is_int());
                if is_root && !matches!(&**base, Expression::Symbol(_)) {
                    return self.add_function([&**base, &**exponent], steps);
                }
                steps.spend(1)?;
                self.add(base, steps)?;
                self.add(exponent, steps)
            }
            Expression::Call(function, parts) => {
                let bends = matches!(
                    function,
                    Function::Abs
                        | Function::Max
                        | Function::Min
                        | Function::Arcsin
                        | Function::Arccos
                        | Function::Arctan
                        | Function::Arccot
                );
                if bends {
                    return self.add_function(parts, steps);
                }
                steps.spend(1)?;
                parts.iter().try_for_each(|part| self.add(part, steps))
            }
        }
    }

    /// Whether there are any kinks.
    pub(super) fn is_empty(&self) -> bool {
        self.variables.is_empty()
    }

    /// Notes the variables and numbers in the arguments of such a function, those of functions in it among them.
    fn add_function<'e>(
        &mut self,
        arguments: impl IntoIterator<Item = &'e Expression>,
        steps: &mut Steps,
    ) -> Result<(), Stop> {
        let mut together = 0_usize;
        for argument in arguments {
            self.reach.add(argument, steps)?;
            match self.add_argument(argument, steps)? {
                Argument::Constant(bits) => {
                    self.largest = self.largest.max(bits);
                    together = together.saturating_add(bits);
                }
                Argument::Varies(bits) => together = together.saturating_add(bits),
            }
        }
        self.together = self.together.max(together);
        Ok(())
    }

    fn add_argument(&mut self, expression: &Expression, steps: &mut Steps) -> Result<Argument, Stop> {
        steps.spend(1)?;
        match expression {
            Expression::Number(value) => Ok(Argument::Constant(bits_of(value))),
            Expression::Constant(_) => Ok(Argument::Constant(BITS_OF_CONSTANT)),
            Expression::Symbol(name) => {
                self.variables.insert(name.clone());
                Ok(Argument::Varies(0))
            }
            // n! and n over k are below n^n.
            Expression::Call(Function::Factorial | Function::Binomial, parts) => {
                let bits = self.add_parts(parts, steps)?;
                match (
                    bits,
                    parts
                        .first()
                        .map(|above| largest_value(above, steps))
                        .transpose()?
                        .flatten(),
                ) {
                    (Argument::Constant(bits), Some(times)) => Ok(Argument::Constant(bits.saturating_mul(times))),
                    (bits, _) => Ok(bits),
                }
            }
            Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
                self.add_parts(parts, steps)
            }
            Expression::Power(base, exponent) => {
                let argument = self.add_argument(base, steps)?;
                if let (Argument::Constant(bits), Some(times)) = (argument, largest_value(exponent, steps)?) {
                    return Ok(Argument::Constant(bits.saturating_mul(times)));
                }
                let exponent = self.add_argument(exponent, steps)?;
                Ok(self.joined([argument, exponent]))
            }
        }
    }

    fn add_parts(&mut self, parts: &[Expression], steps: &mut Steps) -> Result<Argument, Stop> {
        let mut arguments = Vec::with_capacity(parts.len());
        for part in parts {
            arguments.push(self.add_argument(part, steps)?);
        }
        Ok(self.joined(arguments))
    }

    /// The bits of some parts together. A constant beside a variable is as large as it gets.
    fn joined(&mut self, parts: impl IntoIterator<Item = Argument> + Clone) -> Argument {
        let is_constant = parts
            .clone()
            .into_iter()
            .all(|part| matches!(part, Argument::Constant(_)));
        let mut together = 0_usize;
        for part in parts {
            let (Argument::Constant(bits) | Argument::Varies(bits)) = part;
            together = together.saturating_add(bits);
            if !is_constant && matches!(part, Argument::Constant(_)) {
                self.largest = self.largest.max(bits);
            }
        }
        if is_constant {
            Argument::Constant(together)
        } else {
            Argument::Varies(together)
        }
    }

    /// The expressions with these variables multiplied by powers of two, so that the same points lie beyond the kinks:
    /// beyond the largest number, and beyond the product of all.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn magnified(&self, pair: [&Expression; 2], steps: &mut Steps) -> Result<Vec<[Expression; 2]>, Stop> {
        let mut sizes = vec![self.largest.min(MOST_BITS)];
        // The points lie a little beyond the largest number anyway, which covers a product that is hardly larger.
        if self.together > self.largest + MARGIN_BITS / 2 && self.together <= MOST_BITS {
            sizes.push(self.together);
        }
        let factors = sizes
            .into_iter()
            .map(|bits| RBig::from(UBig::ONE << (bits + MARGIN_BITS)));
        self.multiplied(factors, pair, steps)
    }

    /// The same beyond the kinks where roots, reciprocals or exponentials of the variables are as large as the numbers.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn magnified_otherwise(
        &self,
        pair: [&Expression; 2],
        steps: &mut Steps,
    ) -> Result<Vec<[Expression; 2]>, Stop> {
        let all = self.largest.max(self.together);
        let of_roots = UBig::ONE << (all.saturating_mul(self.reach.roots).min(MOST_BITS) + MARGIN_BITS);
        let mut factors = Vec::new();
        if self.reach.roots > 1 {
            factors.push(RBig::from(of_roots.clone()));
        }
        if self.reach.reciprocals {
            factors.push(RBig::from_parts(dashu_int::IBig::ONE, of_roots));
        }
        if self.reach.exponentials {
            factors.push(RBig::from(UBig::ONE << (all.bit_len() + MARGIN_BITS / 2)));
        }
        self.multiplied(factors, pair, steps)
    }

    fn multiplied(
        &self,
        factors: impl IntoIterator<Item = RBig>,
        pair: [&Expression; 2],
        steps: &mut Steps,
    ) -> Result<Vec<[Expression; 2]>, Stop> {
        let mut multiplied = Vec::new();
        for factor in factors {
            let factor = Expression::Number(factor);
            let place = |variable: &Expression| Expression::Product(vec![factor.clone(), variable.clone()]);
            multiplied.push(replaced_in_both(pair, &self.variables, &place, steps)?);
        }
        Ok(multiplied)
    }

    /// Whether numbers stand beside logarithms of variables, so that kinks are at powers of e.
    pub(super) fn are_under_logarithms(&self) -> bool {
        self.reach.logarithms > 0
    }

    /// The expressions with powers of e in the place of the variables under logarithms, which are then as large as the
    /// numbers beside them, and both signs; first so that they are as large as the largest number, and then as the
    /// product of all. None if there is no power of e so large.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn exponentiated(
        &self,
        pair: [&Expression; 2],
        steps: &mut Steps,
    ) -> Result<Option<[Vec<[Expression; 2]>; 2]>, Stop> {
        let bits = self.largest.max(self.together).saturating_mul(self.reach.roots);
        let is_single = self.reach.logarithms == 1;
        let most = if is_single {
            MOST_BITS_OF_LOGARITHM
        } else {
            MOST_BITS_OF_TWO_LOGARITHMS
        };
        if self.reach.logarithms > 2 || bits > most {
            return Ok(None);
        }
        let variables = &self.reach.under_logarithms;
        let power = |exponent| Expression::Power(Box::new(Expression::Constant(Constant::Euler)), Box::new(exponent));
        let mut at_size = |bits: usize| {
            let bits = if is_single { bits } else { 0 };
            let factor = Expression::Number((UBig::ONE << (bits + MARGIN_BITS_OF_LOGARITHM)).into());
            let positive = |variable: &Expression| {
                let large = power(Expression::Product(vec![factor.clone(), variable.clone()]));
                if is_single { large } else { power(large) }
            };
            let negative = |variable: &Expression| positive(variable).negated();
            Ok(vec![
                replaced_in_both(pair, variables, &positive, steps)?,
                replaced_in_both(pair, variables, &negative, steps)?,
            ])
        };
        let near = at_size(self.largest.saturating_mul(self.reach.roots))?;
        let far = if is_single && bits > self.largest {
            at_size(bits)?
        } else {
            Vec::new()
        };
        Ok(Some([near, far]))
    }
}

/// Both expressions with something else in the place of some variables.
fn replaced_in_both(
    [left, right]: [&Expression; 2],
    variables: &BTreeSet<CompactString>,
    place: &impl Fn(&Expression) -> Expression,
    steps: &mut Steps,
) -> Result<[Expression; 2], Stop> {
    Ok([
        replaced(left, variables, place, steps)?,
        replaced(right, variables, place, steps)?,
    ])
}

fn replaced(
    expression: &Expression,
    variables: &BTreeSet<CompactString>,
    place: &impl Fn(&Expression) -> Expression,
    steps: &mut Steps,
) -> Result<Expression, Stop> {
    steps.spend(STEPS_PER_COPY)?;
    match expression {
        Expression::Symbol(name) if variables.contains(name) => Ok(place(expression)),
        _ => with_parts(expression, &mut |part| replaced(part, variables, place, steps)),
    }
}

/// How far beyond the largest number the points lie, in bits.
const MARGIN_BITS: usize = 6;
/// How far beyond the largest number logarithms lie, in bits: no further than the points of the least scale need.
const MARGIN_BITS_OF_LOGARITHM: usize = 3;
/// Largest number, in bits, beyond which logarithms can be tried: balls hold no larger powers of e.
const MOST_BITS_OF_LOGARITHM: usize = 32;
/// The same for logarithms of logarithms.
const MOST_BITS_OF_TWO_LOGARITHMS: usize = 3;
/// π, e and 1/180 of it are of this size at most.
const BITS_OF_CONSTANT: usize = 6;
/// Steps that a node of a copied tree costs.
const STEPS_PER_COPY: u64 = 4;

/// What stands in the argument of a function with a kink, and the bits of its numbers.
#[derive(Clone, Copy, Debug)]
enum Argument {
    Constant(usize),
    Varies(usize),
}

fn bits_of(value: &RBig) -> usize {
    value.numerator().bit_len().max(value.denominator().bit_len())
}

/// A bound of a constant exponent, if it is a small one.
fn largest_value(exponent: &Expression, steps: &mut Steps) -> Result<Option<usize>, Stop> {
    steps.spend(1)?;
    match exponent {
        Expression::Number(value) => {
            // Rounded up; what does not fit is too large for any use.
            let whole = value.numerator() / dashu_int::IBig::from(value.denominator().clone());
            let whole = i64::try_from(&whole).map_or(MOST_BITS, |whole| {
                usize::try_from(whole.unsigned_abs()).unwrap_or(MOST_BITS)
            });
            Ok(Some(whole.saturating_add(1)))
        }
        Expression::Constant(_) => Ok(Some(4)),
        Expression::Sum(parts) => largest_of_all(parts, usize::saturating_add, 0, steps),
        Expression::Product(parts) => largest_of_all(parts, usize::saturating_mul, 1, steps),
        Expression::Power(base, exponent) => {
            let (base, exponent) = (largest_value(base, steps)?, largest_value(exponent, steps)?);
            Ok(base.zip(exponent).map(|(base, exponent)| {
                let exponent = u32::try_from(exponent).unwrap_or(u32::MAX);
                base.saturating_pow(exponent)
            }))
        }
        Expression::Symbol(_) | Expression::Call(..) => Ok(None),
    }
}

fn largest_of_all(
    parts: &[Expression],
    join: fn(usize, usize) -> usize,
    neutral: usize,
    steps: &mut Steps,
) -> Result<Option<usize>, Stop> {
    let mut total = neutral;
    for part in parts {
        match largest_value(part, steps)? {
            Some(value) => total = join(total, value),
            None => return Ok(None),
        }
    }
    Ok(Some(total))
}

/// The expression with functions of integers replaced by unknown ones, which are equal only where their arguments are.
/// Points say little about functions that are constant between integers, and nothing about powers of zero, which are
/// zero but where the exponent is.
///
/// # Errors
/// [`Stop::OutOfSteps`].
pub(super) fn with_steps_unknown(expression: &Expression, steps: &mut Steps) -> Result<Expression, Stop> {
    without_steps(expression, steps).map(|(replaced, _)| replaced)
}

/// The replaced expression, and whether it is constant. Every part is visited once: a second visit in each of the
/// levels of nested functions would double the work per level.
fn without_steps(expression: &Expression, steps: &mut Steps) -> Result<(Expression, bool), Stop> {
    steps.spend(STEPS_PER_COPY)?;
    let mut is_constant = !matches!(
        expression,
        Expression::Symbol(_) | Expression::Call(Function::Named(_), _)
    );
    let replaced = with_parts(expression, &mut |part| {
        let (replaced, is_constant_part) = without_steps(part, steps)?;
        is_constant &= is_constant_part;
        Ok(replaced)
    })?;
    let replaced = match replaced {
        Expression::Call(Function::Floor, mut arguments) if !is_constant && arguments.len() == 1 => {
            unknown_floor(arguments.remove(0), false)
        }
        Expression::Call(Function::Ceiling, mut arguments) if !is_constant && arguments.len() == 1 => {
            unknown_floor(arguments.remove(0), true).negated()
        }
        Expression::Power(base, exponent) if !exponent.is_constant() && is_zero(&base, steps)? => {
            Expression::Call(Function::Named(CompactString::const_new("0^")), vec![*exponent])
        }
        other => other,
    };
    Ok((replaced, is_constant))
}

/// Whether an expression is zero whatever its variables are, as far as its canonical form tells.
fn is_zero(expression: &Expression, steps: &mut Steps) -> Result<bool, Stop> {
    if let Expression::Number(value) = expression {
        return Ok(value.is_zero());
    }
    if matches!(expression, Expression::Symbol(_) | Expression::Constant(_)) {
        return Ok(false);
    }
    match normal::normalise(expression, steps) {
        Ok(form) => Ok(form.as_rational().is_some_and(RBig::is_zero)),
        Err(Stop::OutOfSteps) => Err(Stop::OutOfSteps),
        Err(_) => Ok(false),
    }
}

/// `⌊x⌋`, or `⌊-x⌋`, with the integers among the terms of x taken out.
fn unknown_floor(argument: Expression, is_negated: bool) -> Expression {
    let sign = |part: Expression| if is_negated { part.negated() } else { part };
    let terms = match argument {
        Expression::Sum(terms) => terms,
        single => vec![single],
    };
    let is_integer = |term: &Expression| matches!(term, Expression::Number(value) if value.is_int());
    let (integers, others): (Vec<Expression>, Vec<Expression>) = terms.into_iter().map(sign).partition(is_integer);
    let name = Function::Named(CompactString::const_new("⌊⌋"));
    let mut sum = integers;
    sum.push(Expression::Call(name, vec![Expression::Sum(others)]));
    Expression::Sum(sum)
}

/// The expression with each of its direct parts replaced.
pub(super) fn with_parts(
    expression: &Expression,
    replace: &mut impl FnMut(&Expression) -> Result<Expression, Stop>,
) -> Result<Expression, Stop> {
    Ok(match expression {
        Expression::Number(_) | Expression::Constant(_) | Expression::Symbol(_) => expression.clone(),
        Expression::Sum(parts) => Expression::Sum(parts.iter().map(replace).collect::<Result<_, _>>()?),
        Expression::Product(parts) => Expression::Product(parts.iter().map(replace).collect::<Result<_, _>>()?),
        Expression::Call(function, parts) => {
            Expression::Call(function.clone(), parts.iter().map(replace).collect::<Result<_, _>>()?)
        }
        Expression::Power(base, exponent) => Expression::Power(Box::new(replace(base)?), Box::new(replace(exponent)?)),
    })
}
