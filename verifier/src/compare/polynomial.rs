//! Coefficients and integrals of polynomials.

use dashu_ratio::RBig;

use crate::expression::Expression;
use crate::steps::{Steps, Stop};

/// Highest degree.
const MAX_DEGREE: usize = 64;

/// The integral of a polynomial in a variable; none if it is no polynomial.
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
    let Some(coefficients) = coefficients(body, variable, steps)? else {
        return Ok(None);
    };
    let mut terms = Vec::with_capacity(coefficients.len());
    for (degree, coefficient) in coefficients.into_iter().enumerate() {
        let next = Expression::integer(degree as i64 + 1);
        let power = |base: &Expression| Expression::Power(Box::new(base.clone()), Box::new(next.clone()));
        steps.spend(4 * (from.node_count() + to.node_count()) as u64)?;
        terms.push(Expression::Product(vec![
            coefficient,
            power(to).minus(power(from)),
            next.clone().inverse(),
        ]));
    }
    Ok(Some(Expression::Sum(terms)))
}

/// The coefficients of a polynomial in a variable, from the constant one on.
///
/// # Errors
/// [`Stop::OutOfSteps`].
pub(super) fn coefficients(
    body: &Expression,
    variable: &str,
    steps: &mut Steps,
) -> Result<Option<Vec<Expression>>, Stop> {
    steps.spend(5 + 2 * body.node_count() as u64)?;
    if !body.has_name(&|name: &str| name == variable) {
        return Ok(Some(vec![body.clone()]));
    }
    match body {
        Expression::Symbol(_) => Ok(Some(vec![Expression::integer(0), Expression::integer(1)])),
        Expression::Sum(parts) => {
            let mut sum: Vec<Expression> = Vec::new();
            for part in parts {
                let Some(part) = coefficients(part, variable, steps)? else {
                    return Ok(None);
                };
                for (degree, coefficient) in part.into_iter().enumerate() {
                    add(&mut sum, degree, coefficient);
                }
            }
            Ok(Some(sum))
        }
        Expression::Product(parts) => {
            let mut product = vec![Expression::integer(1)];
            for part in parts {
                let Some(part) = coefficients(part, variable, steps)? else {
                    return Ok(None);
                };
                match multiplied(&product, &part, steps)? {
                    Some(larger) => product = larger,
                    None => return Ok(None),
                }
            }
            Ok(Some(product))
        }
        Expression::Power(base, exponent) => {
            let Expression::Number(exponent) = exponent.as_ref() else {
                return Ok(None);
            };
            let count = usize::try_from(exponent.numerator())
                .ok()
                .filter(|count| exponent.is_int() && *count <= MAX_DEGREE);
            let (Some(count), Some(base)) = (count, coefficients(base, variable, steps)?) else {
                return Ok(None);
            };
            let mut power = vec![Expression::integer(1)];
            for _ in 0..count {
                match multiplied(&power, &base, steps)? {
                    Some(larger) => power = larger,
                    None => return Ok(None),
                }
            }
            Ok(Some(power))
        }
        _ => Ok(None),
    }
}

fn multiplied(left: &[Expression], right: &[Expression], steps: &mut Steps) -> Result<Option<Vec<Expression>>, Stop> {
    if left.len() + right.len() > MAX_DEGREE + 2 {
        return Ok(None);
    }
    let mut product = Vec::new();
    for (degree, coefficient) in left.iter().enumerate() {
        for (more, other) in right.iter().enumerate() {
            steps.spend(10 + 4 * (coefficient.node_count() + other.node_count()) as u64)?;
            let factor = match (coefficient, other) {
                (Expression::Number(left), Expression::Number(right)) => {
                    let bits = crate::normal::numbers::bits(left).max(crate::normal::numbers::bits(right));
                    steps.spend_on_bits(bits, bits)?;
                    Expression::Number(left * right)
                }
                (one, single) | (single, one) if *one == Expression::integer(1) => single.clone(),
                _ => Expression::Product(vec![coefficient.clone(), other.clone()]),
            };
            add(&mut product, degree + more, factor);
        }
    }
    Ok(Some(product))
}

fn add(sum: &mut Vec<Expression>, degree: usize, term: Expression) {
    while sum.len() <= degree {
        sum.push(Expression::Number(RBig::ZERO));
    }
    let known = std::mem::replace(&mut sum[degree], Expression::Number(RBig::ZERO));
    sum[degree] = match (known, term) {
        (Expression::Number(left), Expression::Number(right)) => Expression::Number(left + right),
        (Expression::Number(zero), term) | (term, Expression::Number(zero)) if zero.is_zero() => term,
        (Expression::Sum(mut terms), term) => {
            terms.push(term);
            Expression::Sum(terms)
        }
        (known, term) => Expression::Sum(vec![known, term]),
    };
}
