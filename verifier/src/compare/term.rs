//! The term of a sum as what its index does to it: powers, factorials, a rational function, and the rest. Every step holds
//! exactly at every integer from 0 on, so that `(-x^2)^k` is `(-1)^k x^{2k}` though no power with a variable exponent is.

use dashu_base::Signed as _;
use dashu_ratio::RBig;

use super::polynomial;
use crate::expression::{Constant, Expression, Function};
use crate::normal::{self, numbers};
use crate::steps::{Steps, Stop};

/// Highest degree of the numerator.
const MAX_DEGREE: usize = 8;

/// Largest exponent, and largest factor of the index in one.
const MAX_EXPONENT: i64 = 64;

/// Most bits of a number that the index is multiplied with, or is an exponent of.
const MAX_RATIO_BITS: usize = 512;

/// Most factors of a term.
const MAX_FACTORS: usize = 64;

/// A term, the product of all its parts.
#[derive(Clone, Debug)]
pub(super) struct Term<'v> {
    variable: &'v str,
    /// The factors without the index.
    pub(super) outside: Vec<Expression>,
    /// Whether (−1)^k is a factor.
    pub(super) alternates: bool,
    /// The positive number that is a factor to the k.
    pub(super) ratio: RBig,
    /// Bases and how many times k they are to the power of.
    pub(super) powers: Vec<(Expression, i64)>,
    /// The coefficients of a polynomial of k, from the constant one on.
    pub(super) numerator: Vec<RBig>,
    /// What is added to k in each linear factor of the denominator.
    pub(super) denominators: Vec<RBig>,
    /// (αk + β)! to a power: α, β and the exponent.
    pub(super) factorials: Vec<(i64, i64, i64)>,
    /// All other factors.
    pub(super) rest: Vec<Expression>,
}

impl<'v> Term<'v> {
    /// Takes a term apart.
    ///
    /// # Errors
    /// [`Stop::OutOfSteps`].
    pub(super) fn read(body: &Expression, variable: &'v str, steps: &mut Steps) -> Result<Self, Stop> {
        let mut term = Term {
            variable,
            outside: Vec::new(),
            alternates: false,
            ratio: RBig::ONE,
            powers: Vec::new(),
            numerator: vec![RBig::ONE],
            denominators: Vec::new(),
            factorials: Vec::new(),
            rest: Vec::new(),
        };
        term.multiply(body, 1, steps)?;
        Ok(term)
    }

    /// The index of the term.
    fn index(&self) -> Expression {
        Expression::Symbol(self.variable.into())
    }

    fn depends(&self, part: &Expression) -> bool {
        part.has_name(&|name: &str| name.contains(self.variable))
    }

    /// Whether the index is part of a name, as in `a_k`, so that nothing is known of what it does.
    fn is_opaque(&self, part: &Expression) -> bool {
        part.has_name(&|name: &str| name != self.variable && name.contains(self.variable))
    }

    /// Multiplies by a factor to an integer.
    fn multiply(&mut self, factor: &Expression, exponent: i64, steps: &mut Steps) -> Result<(), Stop> {
        steps.spend(5 + 4 * factor.node_count() as u64)?;
        if !self.depends(factor) {
            self.outside.push(raised(factor, exponent));
            return Ok(());
        }
        match factor {
            Expression::Product(parts) if self.rest.len() + parts.len() <= MAX_FACTORS => {
                parts.iter().try_for_each(|part| self.multiply(part, exponent, steps))?;
                return Ok(());
            }
            Expression::Power(base, inner) => {
                if let Some(times) = whole(inner)
                    && let Some(exponent) = times.checked_mul(exponent).filter(|all| all.abs() <= MAX_EXPONENT)
                {
                    return self.multiply(base, exponent, steps);
                }
                if !self.depends(base) && self.raise(base, inner, exponent, steps)? {
                    return Ok(());
                }
            }
            Expression::Call(Function::Factorial, arguments) => {
                if let [argument] = arguments.as_slice()
                    && let Some((factor, shift)) = self.linear_integers(argument, steps)?
                    && (1..=2).contains(&factor)
                    && shift >= 0
                {
                    self.factorials.push((factor, shift, exponent));
                    return Ok(());
                }
            }
            Expression::Symbol(_) | Expression::Sum(_) if self.multiply_by_polynomial(factor, exponent, steps)? => {
                return Ok(());
            }
            _ => {}
        }
        self.rest.push(raised(factor, exponent));
        Ok(())
    }

    /// Multiplies by a polynomial of the index to an integer, if it is one.
    fn multiply_by_polynomial(&mut self, factor: &Expression, exponent: i64, steps: &mut Steps) -> Result<bool, Stop> {
        let Some(coefficients) = self.coefficients(factor, steps)? else {
            return Ok(false);
        };
        let count = exponent.unsigned_abs() as usize;
        if exponent > 0 {
            if (coefficients.len() - 1) * count + self.numerator.len() - 1 > MAX_DEGREE {
                return Ok(false);
            }
            for _ in 0..count {
                self.numerator = product(&self.numerator, &coefficients, steps)?;
            }
            return Ok(true);
        }
        let [shift, slope] = coefficients.as_slice() else {
            return Ok(false);
        };
        if count > MAX_DEGREE {
            return Ok(false);
        }
        self.outside.push(raised(&Expression::Number(slope.clone()), exponent));
        self.denominators.extend(std::iter::repeat_n(shift / slope, count));
        Ok(true)
    }

    /// Multiplies by a base without the index to an exponent with it, all to an integer. False if it cannot be split.
    fn raise(&mut self, base: &Expression, inner: &Expression, exponent: i64, steps: &mut Steps) -> Result<bool, Stop> {
        if let Some((factor, shift)) = self.linear_integers(inner, steps)? {
            let times = |value: i64| value.checked_mul(exponent).filter(|all| all.abs() <= MAX_EXPONENT);
            let (Some(factor), Some(shift)) = (times(factor), times(shift)) else {
                return Ok(false);
            };
            // A base that cannot be split leaves all as it was.
            let before = self.clone();
            if self.raise_to_integers(base, factor, shift, steps)? {
                return Ok(true);
            }
            *self = before;
            return Ok(false);
        }
        // e^{kt} is (e^t)^k.
        let is_positive = match base {
            Expression::Number(value) => value.is_positive(),
            Expression::Constant(Constant::Euler | Constant::Pi) => true,
            _ => false,
        };
        if !is_positive || self.is_opaque(inner) {
            return Ok(false);
        }
        match polynomial::coefficients(inner, self.variable, steps)?.as_deref() {
            Some([shift, slope]) => {
                let power = |part: &Expression| Expression::Power(Box::new(base.clone()), Box::new(part.clone()));
                self.outside.push(raised(&power(shift), exponent));
                self.push_power(power(slope), exponent);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Multiplies by a base to the power αk + β, both integers.
    fn raise_to_integers(
        &mut self,
        base: &Expression,
        factor: i64,
        shift: i64,
        steps: &mut Steps,
    ) -> Result<bool, Stop> {
        steps.spend(5 + base.node_count() as u64)?;
        match base {
            Expression::Product(parts) => {
                for part in parts {
                    if !self.raise_to_integers(part, factor, shift, steps)? {
                        return Ok(false);
                    }
                }
                return Ok(true);
            }
            Expression::Power(inner, exponent) => {
                if let Some(times) = whole(exponent) {
                    let all = |value: i64| value.checked_mul(times).filter(|all| all.abs() <= MAX_EXPONENT);
                    return match (all(factor), all(shift)) {
                        (Some(factor), Some(shift)) => self.raise_to_integers(inner, factor, shift, steps),
                        _ => Ok(false),
                    };
                }
            }
            _ => {}
        }
        let number = if base.is_constant() {
            rational(base, steps)?
        } else {
            None
        };
        let Some(number) = number else {
            // Nothing is known of 0 to the 0.
            let is_zero =
                normal::normalise(base, steps).is_ok_and(|form| form.as_rational().is_some_and(RBig::is_zero));
            if is_zero {
                return Ok(false);
            }
            self.outside.push(raised(base, shift));
            self.push_power(base.clone(), factor);
            return Ok(true);
        };
        let bits = 2 * numbers::bits(&number) * factor.unsigned_abs().max(shift.unsigned_abs()) as usize;
        if number.is_zero() || bits + numbers::bits(&self.ratio) > MAX_RATIO_BITS {
            return Ok(false);
        }
        if number.is_negative() {
            self.alternates ^= factor % 2 != 0;
            if shift % 2 != 0 {
                self.outside.push(Expression::integer(-1));
            }
        }
        let size = numbers::absolute(&number);
        self.ratio = numbers::multiply(&self.ratio, &numbers::power(&size, factor, steps)?, steps)?;
        self.outside
            .push(Expression::Number(numbers::power(&size, shift, steps)?));
        Ok(true)
    }

    fn push_power(&mut self, base: Expression, factor: i64) {
        match self.powers.iter().position(|(known, _)| *known == base) {
            Some(place) => {
                self.powers[place].1 += factor;
                if self.powers[place].1 == 0 {
                    self.powers.remove(place);
                }
            }
            None => self.powers.push((base, factor)),
        }
    }

    /// α and β of αk + β, if both are integers and the index occurs.
    fn linear_integers(&self, part: &Expression, steps: &mut Steps) -> Result<Option<(i64, i64)>, Stop> {
        let small = |value: &RBig| numbers::to_i64(value).filter(|value| value.abs() <= MAX_EXPONENT);
        Ok(match self.coefficients(part, steps)?.as_deref() {
            Some([shift, slope]) => small(slope).zip(small(shift)),
            _ => None,
        })
    }

    /// The coefficients of a polynomial of the index whose coefficients are rational numbers; the last is not zero.
    fn coefficients(&self, part: &Expression, steps: &mut Steps) -> Result<Option<Vec<RBig>>, Stop> {
        if self.is_opaque(part) {
            return Ok(None);
        }
        let Some(coefficients) = polynomial::coefficients(part, self.variable, steps)? else {
            return Ok(None);
        };
        if coefficients.len() > MAX_DEGREE + 1 {
            return Ok(None);
        }
        let mut found = Vec::with_capacity(coefficients.len());
        for coefficient in &coefficients {
            match rational(coefficient, steps)? {
                Some(number) if numbers::bits(&number) <= MAX_RATIO_BITS => found.push(number),
                _ => return Ok(None),
            }
        }
        while found.last().is_some_and(RBig::is_zero) {
            found.pop();
        }
        Ok((!found.is_empty()).then_some(found))
    }

    /// What is in front of a sum of such terms, and the term that is left, both in one spelling.
    pub(super) fn spread(mut self) -> (Vec<Expression>, Expression) {
        let index = self.index();
        let to_the_index = |base: Expression, factor: i64| {
            let exponent = match factor {
                1 => index.clone(),
                factor => Expression::Product(vec![Expression::integer(factor), index.clone()]),
            };
            Expression::Power(Box::new(base), Box::new(exponent))
        };
        let mut inside = Vec::new();
        if self.alternates {
            inside.push(to_the_index(Expression::integer(-1), 1));
        }
        if !self.ratio.is_one() {
            inside.push(to_the_index(Expression::Number(self.ratio.clone()), 1));
        }
        for (base, factor) in std::mem::take(&mut self.powers) {
            inside.push(to_the_index(base, factor));
        }
        let lead = self.numerator.last().cloned().unwrap_or(RBig::ONE);
        if self.numerator.len() > 1 {
            let terms = self.numerator.iter().enumerate().map(|(degree, coefficient)| {
                let power = Expression::Power(Box::new(index.clone()), Box::new(Expression::integer(degree as i64)));
                Expression::Product(vec![Expression::Number(coefficient / &lead), power])
            });
            inside.push(Expression::Sum(terms.collect()));
        }
        self.outside.push(Expression::Number(lead));
        let shifted = |shift: RBig| Expression::Sum(vec![index.clone(), Expression::Number(shift)]);
        inside.extend(
            std::mem::take(&mut self.denominators)
                .into_iter()
                .map(|shift| shifted(shift).inverse()),
        );
        for (factor, shift, exponent) in std::mem::take(&mut self.factorials) {
            let argument = Expression::Sum(vec![
                Expression::Product(vec![Expression::integer(factor), index.clone()]),
                Expression::integer(shift),
            ]);
            let factorial = Expression::Call(Function::Factorial, vec![argument]);
            inside.push(raised(&factorial, exponent));
        }
        inside.append(&mut self.rest);
        (self.outside, Expression::Product(inside))
    }
}

/// An expression to an integer.
pub(super) fn raised(base: &Expression, exponent: i64) -> Expression {
    match exponent {
        1 => base.clone(),
        exponent => Expression::Power(Box::new(base.clone()), Box::new(Expression::integer(exponent))),
    }
}

/// The product of two polynomials.
fn product(left: &[RBig], right: &[RBig], steps: &mut Steps) -> Result<Vec<RBig>, Stop> {
    let mut product = vec![RBig::ZERO; left.len() + right.len() - 1];
    for (degree, coefficient) in left.iter().enumerate() {
        for (more, other) in right.iter().enumerate() {
            steps.spend_on_bits(numbers::bits(coefficient), numbers::bits(other))?;
            product[degree + more] = &product[degree + more] + coefficient * other;
        }
    }
    Ok(product)
}

/// An integer that is written as one.
fn whole(expression: &Expression) -> Option<i64> {
    match expression {
        Expression::Number(value) if value.is_int() => numbers::to_i64(value),
        _ => None,
    }
}

/// The value of an expression that is a rational number.
pub(super) fn rational(expression: &Expression, steps: &mut Steps) -> Result<Option<RBig>, Stop> {
    if let Expression::Number(value) = expression {
        return Ok(Some(value.clone()));
    }
    match normal::normalise(expression, steps) {
        Ok(form) => Ok(form.as_rational().cloned()),
        Err(Stop::OutOfSteps) => Err(Stop::OutOfSteps),
        Err(_) => Ok(None),
    }
}
