//! Integrals of the functions of a school table, between ends between which they are continuous: powers, exponentials,
//! logarithms, sines and cosines of linear expressions, the first two also times a polynomial, and what `x^2 + c` makes.

use std::cmp::Ordering;

use dashu_base::{Sign, Signed as _};
use dashu_ratio::RBig;

use super::polynomial;
use crate::ball;
use crate::expression::{Constant, Expression, Function};
use crate::steps::{Steps, Stop};

/// Highest degree of a polynomial in front of an exponential, a sine or a cosine.
const MAX_DEGREE: usize = 8;

/// The integral of a function of a variable; none if it is not one of the table, or may not be continuous.
///
/// # Errors
/// [`Stop::OutOfSteps`].
pub(super) fn integral(
    body: &Expression,
    variable: &str,
    from: &Expression,
    to: &Expression,
    steps: &mut Steps,
) -> Result<Option<Expression>, Stop> {
    let terms = match body {
        Expression::Sum(terms) => terms.as_slice(),
        single => std::slice::from_ref(single),
    };
    let mut sum = Vec::new();
    for term in terms {
        steps.spend(8 * term.node_count() as u64)?;
        if let Some(value) = polynomial::integral(term, variable, from, to, steps)? {
            sum.push(value);
            continue;
        }
        let Some(found) = (Range { variable, from, to }).term(term, steps)? else {
            return Ok(None);
        };
        for end in [(to, 1), (from, -1)] {
            steps.spend(4 * (found.node_count() + end.0.node_count()) as u64)?;
            let value = found.substituted(variable, end.0);
            sum.push(Expression::Product(vec![Expression::integer(end.1), value]));
        }
    }
    Ok(Some(Expression::Sum(sum)))
}

/// The variable and the ends.
#[derive(Clone, Copy)]
struct Range<'e> {
    variable: &'e str,
    from: &'e Expression,
    to: &'e Expression,
}

impl Range<'_> {
    fn varies(&self, expression: &Expression) -> bool {
        expression.has_name(&|name: &str| name == self.variable)
    }

    /// A function whose derivative is this term.
    fn term(&self, term: &Expression, steps: &mut Steps) -> Result<Option<Expression>, Stop> {
        steps.spend(2 * term.node_count() as u64)?;
        let mut factors = Vec::new();
        add_factors(term, &mut factors);
        let (varying, mut outside): (Vec<Expression>, Vec<Expression>) =
            factors.into_iter().partition(|factor| self.varies(factor));
        let mut before = Vec::new();
        let mut core = None;
        let mut degree = 0;
        for factor in varying {
            match polynomial::coefficients(&factor, self.variable, steps)? {
                Some(coefficients) if degree + coefficients.len() <= MAX_DEGREE + 1 => {
                    degree += coefficients.len() - 1;
                    before.push(factor);
                }
                None if core.is_none() => core = Some(factor),
                _ => return Ok(None),
            }
        }
        let inside = match core {
            None => return Ok(None),
            Some(core) if before.is_empty() => self.of_table(&core, steps)?,
            Some(core) => {
                let Some(coefficients) = polynomial::coefficients(&Expression::Product(before), self.variable, steps)?
                else {
                    return Ok(None);
                };
                self.by_parts(&coefficients, &core, steps)?
            }
        };
        Ok(inside.map(|inside| {
            outside.push(inside);
            Expression::Product(outside)
        }))
    }

    /// The constant and the slope of a linear expression.
    fn linear(&self, expression: &Expression, steps: &mut Steps) -> Result<Option<[Expression; 2]>, Stop> {
        Ok(match polynomial::coefficients(expression, self.variable, steps)? {
            Some(coefficients) => <[Expression; 2]>::try_from(coefficients).ok(),
            None => None,
        })
    }

    fn of_table(&self, core: &Expression, steps: &mut Steps) -> Result<Option<Expression>, Stop> {
        match core {
            Expression::Power(base, exponent) => match &**exponent {
                Expression::Number(exponent) => self.of_power(base, exponent, steps),
                exponent if !self.varies(base) => {
                    let Some([_, slope]) = self.linear(exponent, steps)? else {
                        return Ok(None);
                    };
                    Ok(scale_of(base).map(|scale| product([core.clone(), slope.inverse(), scale.inverse()])))
                }
                _ => Ok(None),
            },
            Expression::Call(function, parts) => {
                let [argument] = parts.as_slice() else {
                    return Ok(None);
                };
                let Some([_, slope]) = self.linear(argument, steps)? else {
                    return Ok(None);
                };
                let call = |function| Expression::Call(function, vec![argument.clone()]);
                let found = match function {
                    Function::Sin => call(Function::Cos).negated(),
                    Function::Cos => call(Function::Sin),
                    Function::Sinh => call(Function::Cosh),
                    Function::Cosh => call(Function::Sinh),
                    Function::Ln if self.signs(argument, steps)? == Some(Sign::Positive) => {
                        product([argument.clone(), core.clone()]).minus(argument.clone())
                    }
                    _ => return Ok(None),
                };
                Ok(Some(product([found, slope.inverse()])))
            }
            _ => Ok(None),
        }
    }

    fn of_power(&self, base: &Expression, exponent: &RBig, steps: &mut Steps) -> Result<Option<Expression>, Stop> {
        if let Some([_, slope]) = self.linear(base, steps)? {
            let sign = match self.signs(base, steps)? {
                // √x is continuous from zero on.
                None if *exponent > RBig::ZERO && self.are_at_least_zero(base, steps)? => Some(Sign::Positive),
                sign => sign,
            };
            return Ok(match (sign, *exponent == RBig::from(-1)) {
                (Some(_), true) => {
                    let bars = Expression::Call(Function::Abs, vec![base.clone()]);
                    let logarithm = Expression::Call(Function::Ln, vec![bars]);
                    Some(product([logarithm, slope.inverse()]))
                }
                // A root is real for positive numbers, and powers with integers on both sides of zero.
                (Some(sign), false) if sign == Sign::Positive || exponent.is_int() => {
                    let next = exponent + RBig::ONE;
                    let raised = power(base.clone(), &next);
                    Some(product([raised, Expression::Number(next).inverse(), slope.inverse()]))
                }
                _ => None,
            });
        }
        if let (Expression::Call(function @ (Function::Sin | Function::Cos), parts), true) =
            (base, *exponent == RBig::from(2))
            && let [argument] = parts.as_slice()
            && let Some([_, slope]) = self.linear(argument, steps)?
        {
            // sin² u is (1 - cos 2u)/2.
            let sine = Expression::Call(Function::Sin, vec![product([Expression::integer(2), argument.clone()])]);
            let wave = product([sine, product([Expression::integer(4), slope]).inverse()]);
            let half = product([
                Expression::Symbol(self.variable.into()),
                Expression::integer(2).inverse(),
            ]);
            return Ok(Some(match function {
                Function::Sin => half.minus(wave),
                _ => Expression::Sum(vec![half, wave]),
            }));
        }
        self.of_square(base, exponent, steps)
    }

    /// The table of `c + a x^2` to a power, with numbers a and c.
    fn of_square(&self, base: &Expression, exponent: &RBig, steps: &mut Steps) -> Result<Option<Expression>, Stop> {
        let Some(coefficients) = polynomial::coefficients(base, self.variable, steps)? else {
            return Ok(None);
        };
        let [Expression::Number(constant), middle, Expression::Number(square)] = coefficients.as_slice() else {
            return Ok(None);
        };
        if *middle != Expression::integer(0) || !constant.is_positive() || square.is_zero() {
            return Ok(None);
        }
        let half = RBig::ONE / RBig::from(2);
        let root = |value: RBig| power(Expression::Number(value), &half);
        let size = if square.is_positive() {
            square.clone()
        } else {
            -square.clone()
        };
        let x = Expression::Symbol(self.variable.into());
        let inner = product([x.clone(), root(&size / constant)]);
        let arc = |function| Expression::Call(function, vec![inner.clone()]);
        if square.is_positive() {
            let is_inverse = *exponent == RBig::from(-1);
            return Ok(is_inverse.then(|| product([arc(Function::Arctan), root(constant * &size).inverse()])));
        }
        // √(c - a x²) is real between its zeros.
        if !self.are_at_least_zero(base, steps)? {
            return Ok(None);
        }
        let arc = product([arc(Function::Arcsin), root(size).inverse()]);
        Ok(if *exponent == -half.clone() {
            Some(arc)
        } else if *exponent == half {
            let height = product([x, power(base.clone(), &half)]);
            let area = product([Expression::Number(constant.clone()), arc]);
            Some(product([
                Expression::Sum(vec![height, area]),
                Expression::integer(2).inverse(),
            ]))
        } else {
            None
        })
    }

    /// The antiderivative of a polynomial times an exponential, a sine or a cosine of something linear.
    fn by_parts(
        &self,
        coefficients: &[Expression],
        core: &Expression,
        steps: &mut Steps,
    ) -> Result<Option<Expression>, Stop> {
        let is_endless = match core {
            Expression::Power(base, _) => !self.varies(base),
            Expression::Call(function, _) => {
                matches!(
                    function,
                    Function::Sin | Function::Cos | Function::Sinh | Function::Cosh
                )
            }
            _ => false,
        };
        if !is_endless {
            return Ok(None);
        }
        let x = Expression::Symbol(self.variable.into());
        let mut coefficients = coefficients.to_vec();
        let mut integrated = core.clone();
        let mut terms = Vec::new();
        let mut sign = 1;
        while !coefficients.is_empty() {
            let Some(next) = self.term(&integrated, steps)? else {
                return Ok(None);
            };
            integrated = next;
            steps.spend(4 * (integrated.node_count() * coefficients.len()) as u64)?;
            let value = value_of(&coefficients, &x);
            terms.push(product([Expression::integer(sign), value, integrated.clone()]));
            sign = -sign;
            // The next derivative of the polynomial.
            coefficients = (coefficients.into_iter().enumerate().skip(1))
                .map(|(degree, coefficient)| product([Expression::integer(degree as i64), coefficient]))
                .collect();
        }
        Ok(Some(Expression::Sum(terms)))
    }

    /// The sign of a linear expression, if it is the same at both ends and so between them.
    fn signs(&self, expression: &Expression, steps: &mut Steps) -> Result<Option<Sign>, Stop> {
        let orders = self.orders(expression, steps)?;
        Ok(match orders {
            Some([Ordering::Greater, Ordering::Greater]) => Some(Sign::Positive),
            Some([Ordering::Less, Ordering::Less]) => Some(Sign::Negative),
            _ => None,
        })
    }

    fn are_at_least_zero(&self, expression: &Expression, steps: &mut Steps) -> Result<bool, Stop> {
        let orders = self.orders(expression, steps)?;
        Ok(orders.is_some_and(|orders| orders.iter().all(|order| *order != Ordering::Less)))
    }

    /// How an expression compares with zero at both ends; none if they are no numbers.
    fn orders(&self, expression: &Expression, steps: &mut Steps) -> Result<Option<[Ordering; 2]>, Stop> {
        let mut orders = [Ordering::Equal; 2];
        for (order, end) in orders.iter_mut().zip([self.from, self.to]) {
            let value = expression.substituted(self.variable, end);
            if !value.is_constant() {
                return Ok(None);
            }
            match ball::compare(&value, &Expression::integer(0), steps) {
                Ok(Some(found)) => *order = found,
                Err(Stop::OutOfSteps) => return Err(Stop::OutOfSteps),
                _ => return Ok(None),
            }
        }
        Ok(Some(orders))
    }
}

/// Adds the factors of a product, those of products in it among them, and roots of powers as one power.
fn add_factors(expression: &Expression, factors: &mut Vec<Expression>) {
    match expression {
        Expression::Product(parts) => parts.iter().for_each(|part| add_factors(part, factors)),
        Expression::Power(base, outer) => match (&**base, &**outer) {
            (Expression::Power(base, inner), Expression::Number(outer)) if outer.is_int() => match &**inner {
                Expression::Number(inner) => factors.push(power((**base).clone(), &(inner * outer))),
                _ => factors.push(expression.clone()),
            },
            _ => factors.push(expression.clone()),
        },
        single => factors.push(single.clone()),
    }
}

/// A polynomial by its coefficients from the constant one on.
fn value_of(coefficients: &[Expression], x: &Expression) -> Expression {
    // x^0 has no value at zero.
    let terms = coefficients
        .iter()
        .enumerate()
        .map(|(degree, coefficient)| match degree {
            0 => coefficient.clone(),
            degree => product([coefficient.clone(), power(x.clone(), &RBig::from(degree as i64))]),
        });
    Expression::Sum(terms.collect())
}

/// The natural logarithm of a base; none if it may not be positive, or is one.
fn scale_of(base: &Expression) -> Option<Expression> {
    match base {
        Expression::Constant(Constant::Euler) => Some(Expression::integer(1)),
        Expression::Number(value) if value.is_positive() && *value != RBig::ONE => {
            Some(Expression::Call(Function::Ln, vec![base.clone()]))
        }
        _ => None,
    }
}

fn power(base: Expression, exponent: &RBig) -> Expression {
    Expression::Power(Box::new(base), Box::new(Expression::Number(exponent.clone())))
}

fn product<const N: usize>(factors: [Expression; N]) -> Expression {
    Expression::Product(factors.into())
}
