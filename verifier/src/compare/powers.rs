//! Powers too large to write down: `2^{10^{20}}` is `4^{5·10^{19}}`, as both are the same power of the same prime.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use compact_str::CompactString;
use dashu_base::BitTest as _;
use dashu_int::UBig;
use dashu_ratio::RBig;

use crate::expression::Expression;
use crate::normal::{self, numbers};
use crate::steps::{MAX_BITS, Steps, Stop};

/// The primes of a number with their exponents, and whether it is negative. A number that could not be factored counts
/// as a prime; equal powers are then not always recognised as equal.
#[derive(Debug, Default)]
struct Powers {
    exponents: BTreeMap<UBig, RBig>,
    is_negative: bool,
}

impl Powers {
    fn multiply(&mut self, other: Self, steps: &mut Steps) -> Result<(), Stop> {
        self.is_negative ^= other.is_negative;
        for (prime, exponent) in other.exponents {
            let known = self.exponents.entry(prime).or_insert(RBig::ZERO);
            *known = numbers::add(known, &exponent, steps)?;
        }
        self.exponents.retain(|_, exponent| !exponent.is_zero());
        Ok(())
    }

    /// Whether the number is within the limits.
    fn is_small(&self) -> bool {
        let bits = self.exponents.iter().try_fold(0u64, |bits, (prime, exponent)| {
            let count = u64::try_from(exponent.numerator().clone().into_parts().1).ok()?;
            bits.checked_add(count.checked_mul(prime.bit_len() as u64)?)
        });
        bits.is_some_and(|bits| bits <= MAX_BITS as u64)
    }

    /// A variable that is named after the number, times its sign.
    fn named(&self) -> Expression {
        let mut name = CompactString::const_new("‹");
        for (prime, exponent) in &self.exponents {
            // Writing to a string cannot fail.
            let _ = write!(name, "{prime}^{exponent};");
        }
        name.push('›');
        let symbol = Expression::Symbol(name);
        if self.is_negative { symbol.negated() } else { symbol }
    }
}

/// The expression with variables in the place of its powers that are too large; none if there are none. Two of these
/// expressions that are equal, whatever the variables are, come from equal ones.
///
/// # Errors
/// At the limits of steps and sizes.
pub(super) fn named(expression: &Expression, steps: &mut Steps) -> Result<Option<Expression>, Stop> {
    steps.spend(10)?;
    if let Some(powers) = powers(expression, steps)? {
        return Ok((!powers.is_small()).then(|| powers.named()));
    }
    let mut all = |parts: &[Expression]| -> Result<Option<Vec<Expression>>, Stop> {
        let mut changed = false;
        let mut renamed = Vec::with_capacity(parts.len());
        for part in parts {
            let part_named = named(part, steps)?;
            changed |= part_named.is_some();
            renamed.push(part_named.unwrap_or_else(|| part.clone()));
        }
        Ok(changed.then_some(renamed))
    };
    Ok(match expression {
        Expression::Sum(parts) => all(parts)?.map(Expression::Sum),
        Expression::Call(function, parts) => all(parts)?.map(|parts| Expression::Call(function.clone(), parts)),
        Expression::Product(parts) => {
            let mut together = Powers::default();
            let mut others = Vec::new();
            for part in parts {
                match powers(part, steps)? {
                    Some(powers) => together.multiply(powers, steps)?,
                    None => others.push(part.clone()),
                }
            }
            let is_small = together.is_small();
            let mut changed = !is_small;
            let mut factors = Vec::with_capacity(others.len() + 1);
            for part in &others {
                let part_named = named(part, steps)?;
                changed |= part_named.is_some();
                factors.push(part_named.unwrap_or_else(|| part.clone()));
            }
            if is_small {
                let is_number = |part: &&Expression| !others.contains(part);
                factors.extend(parts.iter().filter(is_number).cloned());
            } else {
                factors.push(together.named());
            }
            changed.then_some(Expression::Product(factors))
        }
        Expression::Power(base, exponent) => {
            named(base, steps)?.map(|base| Expression::Power(Box::new(base), exponent.clone()))
        }
        _ => None,
    })
}

/// The primes of an expression that is a product of powers of rational numbers.
fn powers(expression: &Expression, steps: &mut Steps) -> Result<Option<Powers>, Stop> {
    steps.spend(10)?;
    match expression {
        Expression::Number(value) if !value.is_zero() => {
            let mut powers = Powers {
                is_negative: numbers::is_negative(value),
                ..Powers::default()
            };
            let above = value.numerator().clone().into_parts().1;
            for (number, sign) in [(&above, 1i64), (value.denominator(), -1)] {
                let factors = normal::factor(number, steps)?;
                for (prime, count) in factors.primes {
                    let exponent = RBig::from(sign * i64::from(count));
                    powers.exponents.insert(UBig::from(prime), exponent);
                }
                if let Some((rest, count)) = factors.rest {
                    powers.exponents.insert(rest, RBig::from(sign * i64::from(count)));
                }
            }
            Ok(Some(powers))
        }
        Expression::Product(parts) => {
            let mut product = Powers::default();
            for part in parts {
                match powers(part, steps)? {
                    Some(powers) => product.multiply(powers, steps)?,
                    None => return Ok(None),
                }
            }
            Ok(Some(product))
        }
        Expression::Power(base, exponent) => {
            let Some(mut power) = powers(base, steps)? else {
                return Ok(None);
            };
            let Ok(form) = normal::normalise(exponent, steps) else {
                return Ok(None);
            };
            let Some(times) = form.as_rational().filter(|times| times.is_int()) else {
                return Ok(None);
            };
            for exponent in power.exponents.values_mut() {
                *exponent = numbers::multiply(exponent, times, steps)?;
            }
            power.exponents.retain(|_, exponent| !exponent.is_zero());
            // The lowest bit is that of the size without the sign.
            power.is_negative &= times.numerator().clone().into_parts().1.bit(0);
            Ok(Some(power))
        }
        _ => Ok(None),
    }
}
