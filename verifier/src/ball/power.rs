//! The powers of [`Evaluator`]: exact values if they are small rationals, real roots of negative numbers to odd
//! degrees, and otherwise principal values.

use dashu_base::{BitTest, Sign};
use dashu_int::IBig;
use dashu_ratio::RBig;

use super::complex::Complex;
use super::context::Trouble;
use super::elementary;
use super::evaluate::Evaluator;
use super::real::Ball;
use super::value::{EXACT_BITS, Value, rational_bits};
use crate::expression::{Constant, Expression};
use crate::normal::exact_root;
use crate::steps::Stop;

/// Powers to integers beyond this are too large, unless the base is 0, 1 or -1.
const LARGEST_POWER: i64 = 1 << 57;

type Evaluation = Result<Value, Trouble>;

impl<'tree> Evaluator<'tree, '_> {
    /// The value of a power.
    pub(super) fn power(&mut self, base: &'tree Expression, exponent: &'tree Expression) -> Evaluation {
        if *base == Expression::Constant(Constant::Euler) {
            return self.exponential(exponent);
        }
        let base_value = self.evaluate(base)?;
        let exponent = self.evaluate(exponent)?;
        let Value::Rational(ratio) = &exponent else {
            return self.general_power(base_value, &exponent);
        };
        if ratio.is_int() {
            let whole = i64::try_from(ratio.numerator())
                .ok()
                .filter(|whole| whole.abs() <= LARGEST_POWER);
            return match whole {
                Some(whole) => self.integer_power(base_value, whole),
                None => self.huge_power(base_value, ratio),
            };
        }
        self.rational_power(base, base_value, ratio)
    }

    /// A power of e; `e^(iπr)` is a root of unity.
    fn exponential(&mut self, exponent: &'tree Expression) -> Evaluation {
        if let Expression::Product(factors) = exponent {
            let imaginary = Expression::Constant(Constant::Imaginary);
            if let Some(index) = factors.iter().position(|factor| *factor == imaginary) {
                let angle = self.product(factors, Some(index))?;
                if matches!(angle, Value::PiMultiple(_)) {
                    let cosine = self.cosine(angle.clone())?;
                    let sine = self.sine(angle)?;
                    let imaginary = self.constant(Constant::Imaginary)?;
                    let imaginary = self.times(imaginary, sine)?;
                    return self.plus(cosine, imaginary);
                }
                let angle = angle.to_complex(&mut self.context)?.times_i();
                return Ok(Value::number(angle.exponential(&mut self.context)?, None));
            }
        }
        let exponent = self.evaluate(exponent)?;
        if exponent.is_zero() {
            return Ok(Value::integer(1));
        }
        let exponent = exponent.to_complex(&mut self.context)?;
        Ok(Value::number(exponent.exponential(&mut self.context)?, None))
    }

    /// The power to an integer that fits no machine word.
    fn huge_power(&mut self, base: Value, exponent: &RBig) -> Evaluation {
        match base {
            Value::Rational(base) if base.is_zero() && exponent.sign() == Sign::Positive => Ok(Value::integer(0)),
            Value::Rational(base) if base.is_zero() => Err(Stop::Undefined.into()),
            Value::Rational(base) if base.is_one() => Ok(Value::integer(1)),
            Value::Rational(base) if base == RBig::NEG_ONE => {
                let odd = exponent.numerator().bit(0);
                Ok(Value::integer(if odd { -1 } else { 1 }))
            }
            _ => Err(Stop::TooLarge.into()),
        }
    }

    /// The power to an integer.
    pub(super) fn integer_power(&mut self, base: Value, exponent: i64) -> Evaluation {
        if exponent == 0 {
            return Ok(Value::integer(1));
        }
        if base.is_zero() {
            return if exponent > 0 {
                Ok(Value::integer(0))
            } else {
                Err(Stop::Undefined.into())
            };
        }
        if let Value::Rational(ratio) = &base {
            let bits = rational_bits(ratio);
            let result_bits = exponent.unsigned_abs().saturating_mul(bits as u64);
            let unit = ratio.denominator().is_one() && ratio.numerator().bit_len() == 1;
            if unit {
                let negative = ratio.sign() == Sign::Negative && exponent % 2 != 0;
                return Ok(Value::integer(if negative { -1 } else { 1 }));
            }
            if result_bits <= EXACT_BITS as u64 {
                self.context
                    .steps
                    .spend_on_bits(result_bits as usize, result_bits as usize)?;
                let times = exponent.unsigned_abs() as usize;
                let (numerator, denominator) = (ratio.numerator().pow(times), ratio.denominator().pow(times));
                // Powers of coprime numbers are coprime, and what is inverted is not zero.
                let value = if exponent < 0 {
                    RBig::from_parts_signed(IBig::from(denominator), numerator)
                } else {
                    RBig::from_parts(numerator, denominator)
                };
                return Ok(Value::Rational(value));
            }
        }
        let bound = base.bound().map(|bound| bound.power(exponent));
        let base = base.to_complex(&mut self.context)?;
        Ok(Value::number(base.power(exponent, &mut self.context)?, bound))
    }

    /// The power to a fraction: the real root of a real number where there is one for a negative base, otherwise the
    /// principal value.
    fn rational_power(&mut self, tree: &'tree Expression, base: Value, exponent: &RBig) -> Evaluation {
        if base.is_zero() {
            return if exponent.sign() == Sign::Positive {
                Ok(Value::integer(0))
            } else {
                Err(Stop::Undefined.into())
            };
        }
        let numerator = i64::try_from(exponent.numerator())
            .ok()
            .filter(|whole| whole.abs() <= LARGEST_POWER);
        let degree = u64::try_from(exponent.denominator()).ok();
        let (Some(numerator), Some(degree)) = (numerator, degree) else {
            return self.general_power(base, &Value::Rational(exponent.clone()));
        };
        let odd = degree % 2 == 1;
        if odd && base.sign() == Some(Sign::Negative) {
            let positive = self.negated(base);
            let root = self.rational_power_of_positive(tree, positive, numerator, degree)?;
            return Ok(if numerator % 2 == 0 { root } else { self.negated(root) });
        }
        if degree == 2 && matches!(&base, Value::Rational(_)) && base.sign() == Some(Sign::Negative) {
            let positive = self.negated(base);
            let root = self.rational_power_of_positive(tree, positive, numerator, degree)?;
            let imaginary = self.constant(Constant::Imaginary)?;
            let turns = self.integer_power(imaginary, numerator)?;
            return self.times(turns, root);
        }
        if base.sign() == Some(Sign::Positive) || degree == 2 {
            return self.rational_power_of_positive(tree, base, numerator, degree);
        }
        if odd && !base.is_real() {
            let ball = base.to_complex(&mut self.context)?;
            if ball.imaginary.contains_zero() && !ball.real.is_positive() {
                // It may be a negative real number, whose root is not the principal one.
                return Err(Trouble::Imprecise);
            }
        }
        let bound = base.bound().map(|bound| bound.power(numerator).root(degree));
        if bound.is_some() {
            self.adjoin_root(tree, &base, degree)?;
        }
        let ball = base.to_complex(&mut self.context)?;
        if ball.contains_zero() && numerator > 0 {
            let root = ball.power(numerator, &mut self.context)?.upper().root(degree);
            return Ok(Value::number(Complex::around_zero(root), bound));
        }
        let ratio = Complex::from_real(Ball::from_rational(exponent, &mut self.context)?);
        Ok(Value::number(ball.principal_power(&ratio, &mut self.context)?, bound))
    }

    /// The power of a positive number to a fraction; with the degree 2 the base may be any number.
    fn rational_power_of_positive(
        &mut self,
        tree: &'tree Expression,
        base: Value,
        numerator: i64,
        degree: u64,
    ) -> Evaluation {
        if let Value::Rational(ratio) = &base
            && let Some(root) = self.exact_root(ratio, degree)?
        {
            return self.integer_power(Value::Rational(root), numerator);
        }
        let bound = base.bound().map(|bound| bound.power(numerator).root(degree));
        if bound.is_some() {
            self.adjoin_root(tree, &base, degree)?;
        }
        let ball = base.to_complex(&mut self.context)?;
        let context = &mut self.context;
        let value = if degree == 2 {
            ball.square_root(context)?.power(numerator, context)?
        } else {
            let logarithm = elementary::logarithm(&ball.real, context)?;
            let ratio = Ball::integer(numerator).over(&Ball::exact(IBig::from(degree), 0), context)?;
            Complex::from_real(elementary::exponential(&logarithm.times(&ratio, context)?, context)?)
        };
        Ok(Value::number(value, bound))
    }

    /// The root of a positive rational number, if it is rational.
    fn exact_root(&mut self, ratio: &RBig, degree: u64) -> Result<Option<RBig>, Trouble> {
        let bits = rational_bits(ratio);
        if ratio.sign() == Sign::Negative || degree > bits as u64 || bits > EXACT_BITS / 2 {
            return Ok(None);
        }
        let (numerator, denominator) = ratio.clone().into_parts();
        let Some(numerator) = exact_root(&numerator.into_parts().1, degree, self.context.steps)? else {
            return Ok(None);
        };
        let Some(denominator) = exact_root(&denominator, degree, self.context.steps)? else {
            return Ok(None);
        };
        Ok(Some(RBig::from_parts(IBig::from(numerator), denominator)))
    }

    /// The principal power to something that is not rational.
    fn general_power(&mut self, base: Value, exponent: &Value) -> Evaluation {
        let exponent_ball = exponent.to_complex(&mut self.context)?;
        if base.is_zero() {
            return if exponent_ball.real.is_positive() {
                Ok(Value::integer(0))
            } else if exponent_ball.real.is_negative() {
                Err(Stop::Undefined.into())
            } else {
                Err(Trouble::Imprecise)
            };
        }
        if matches!(&base, Value::Rational(one) if one.is_one()) {
            return Ok(base);
        }
        let base = base.to_complex(&mut self.context)?;
        Ok(Value::number(
            base.principal_power(&exponent_ball, &mut self.context)?,
            None,
        ))
    }
}
