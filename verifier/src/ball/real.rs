//! Rigorous real arithmetic: a ball is a midpoint with an error bound, and the result of every operation contains the
//! true result for all numbers in its operands.

use std::cmp::Ordering;

use dashu_base::{BitTest, Sign, SquareRoot};
use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

use super::context::{Context, Trouble};
use super::radius::Radius;
use crate::steps::Stop;

/// Exponents of midpoints stay within this bound, far from overflow of any sum of a few of them.
const LARGEST_EXPONENT: i64 = 1 << 58;
/// An addend that is this many bits above the error of a sum is not lost in it.
const SEEN_BITS: i64 = 64;

/// All real numbers within `radius` of `mantissa · 2^exponent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ball {
    pub(super) mantissa: IBig,
    pub(super) exponent: i64,
    pub(super) radius: Radius,
}

impl Ball {
    /// Exactly zero.
    pub const ZERO: Self = Self {
        mantissa: IBig::ZERO,
        exponent: 0,
        radius: Radius::ZERO,
    };
    /// Exactly one.
    pub const ONE: Self = Self {
        mantissa: IBig::ONE,
        exponent: 0,
        radius: Radius::ZERO,
    };

    /// An integer, exactly.
    pub fn integer(value: i64) -> Self {
        Self::exact(IBig::from(value), 0)
    }

    /// `mantissa · 2^exponent`, exactly.
    pub fn exact(mantissa: IBig, exponent: i64) -> Self {
        Self {
            mantissa,
            exponent,
            radius: Radius::ZERO,
        }
    }

    /// Everything within a radius of zero.
    pub fn around_zero(radius: Radius) -> Self {
        Self {
            mantissa: IBig::ZERO,
            exponent: 0,
            radius,
        }
    }

    /// Rounds the midpoint to the precision and adds what that changes to the radius.
    pub(super) fn rounded(
        mantissa: IBig,
        exponent: i64,
        radius: Radius,
        context: &Context<'_>,
    ) -> Result<Self, Trouble> {
        let bits = mantissa.bit_len();
        let mut ball = Self {
            mantissa,
            exponent,
            radius,
        };
        if bits > context.precision {
            let shift = bits - context.precision;
            let exact = ball.mantissa.trailing_zeros().is_some_and(|zeros| zeros >= shift);
            ball.mantissa >>= shift;
            ball.exponent += shift as i64;
            if !exact {
                ball.radius = ball.radius.plus(Radius::power_of_two(ball.exponent));
            }
        }
        if !ball.mantissa.is_zero() && ball.exponent.abs() > LARGEST_EXPONENT || ball.radius.top() > LARGEST_EXPONENT {
            return Err(Stop::TooLarge.into());
        }
        Ok(ball)
    }

    /// The same ball at the precision of the context.
    pub fn round(self, context: &Context<'_>) -> Result<Self, Trouble> {
        Self::rounded(self.mantissa, self.exponent, self.radius, context)
    }

    /// A rational number. One that needs more bits than the precision offers counts as lost.
    pub fn from_rational(value: &RBig, context: &mut Context<'_>) -> Result<Self, Trouble> {
        let numerator_bits = value.numerator().bit_len();
        let denominator_bits = value.denominator().bit_len();
        if numerator_bits.max(denominator_bits) + SEEN_BITS as usize > context.precision {
            context.lost = true;
        }
        if value.is_int() {
            return Self::rounded(value.numerator().clone(), 0, Radius::ZERO, context);
        }
        context.steps.spend_on_bits(numerator_bits, denominator_bits)?;
        context.charge()?;
        let shift = (context.precision + 2 + denominator_bits).saturating_sub(numerator_bits);
        let quotient = (value.numerator() << shift) / IBig::from(value.denominator().clone());
        Self::rounded(
            quotient,
            -(shift as i64),
            Radius::power_of_two(-(shift as i64)),
            context,
        )
    }

    /// Whether it is exactly zero.
    pub fn is_zero(&self) -> bool {
        self.mantissa.is_zero() && self.radius.is_zero()
    }

    /// Whether zero is in it.
    pub fn contains_zero(&self) -> bool {
        self.sign().is_none()
    }

    /// The sign of everything in it, if that is one sign; zero has none.
    pub fn sign(&self) -> Option<Sign> {
        if self.mantissa.is_zero() || Radius::lower(&self.mantissa, self.exponent) <= self.radius {
            return None;
        }
        Some(self.mantissa.sign())
    }

    /// Whether all of it is positive.
    pub fn is_positive(&self) -> bool {
        self.sign() == Some(Sign::Positive)
    }

    /// Whether all of it is negative.
    pub fn is_negative(&self) -> bool {
        self.sign() == Some(Sign::Negative)
    }

    /// No number in it has a larger magnitude.
    pub fn upper(&self) -> Radius {
        Radius::upper(&self.mantissa, self.exponent).plus(self.radius)
    }

    /// No number in it has a smaller magnitude; none if zero may be in it.
    pub fn lower(&self) -> Option<Radius> {
        Radius::lower(&self.mantissa, self.exponent).minus_down(self.radius)
    }

    /// The error bound.
    pub fn radius(&self) -> Radius {
        self.radius
    }

    /// The exponent `t` with `|midpoint| < 2^t`, the least; far below all others for zero.
    pub fn top(&self) -> i64 {
        if self.mantissa.is_zero() {
            i64::MIN / 2
        } else {
            self.exponent + self.mantissa.bit_len() as i64
        }
    }

    /// The midpoint alone.
    #[must_use]
    pub fn midpoint(&self) -> Self {
        Self {
            mantissa: self.mantissa.clone(),
            exponent: self.exponent,
            radius: Radius::ZERO,
        }
    }

    /// The ball with a larger radius.
    #[must_use]
    pub fn widened(mut self, by: Radius) -> Self {
        self.radius = self.radius.plus(by);
        self
    }

    /// The midpoint as a float: for tests and for guesses that are checked.
    pub fn to_f64(&self) -> f64 {
        let bits = self.mantissa.bit_len();
        let shift = bits.saturating_sub(62);
        let leading = i64::try_from(&self.mantissa >> shift).unwrap_or(0);
        let exponent = (self.exponent + shift as i64).clamp(-4000, 4000) as i32;
        leading as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2)
    }

    /// The negative.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            mantissa: -self.mantissa,
            ..self
        }
    }

    /// The ball times `2^shift`, exactly.
    pub fn shifted(self, shift: i64) -> Result<Self, Trouble> {
        if shift.abs() > LARGEST_EXPONENT {
            return Err(Stop::TooLarge.into());
        }
        let exponent = self.exponent + shift;
        if !self.mantissa.is_zero() && exponent.abs() > LARGEST_EXPONENT {
            return Err(Stop::TooLarge.into());
        }
        let exponent = if self.mantissa.is_zero() { 0 } else { exponent };
        Ok(Self {
            mantissa: self.mantissa,
            exponent,
            radius: self.radius.shifted(shift),
        })
    }

    /// The sum. An addend that vanishes in the error of the sum is noted as lost.
    pub fn plus(&self, other: &Self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        if other.is_zero() {
            return Ok(self.clone());
        }
        if self.is_zero() {
            return Ok(other.clone());
        }
        context.charge()?;
        let (large, small) = if self.top() >= other.top() {
            (self, other)
        } else {
            (other, self)
        };
        let radius = large.radius.plus(small.radius);
        let sum = if small.mantissa.is_zero() {
            Self::rounded(large.mantissa.clone(), large.exponent, radius, context)?
        } else if small.top() < large.top() - context.precision as i64 - 4 {
            let folded = radius.plus(Radius::upper(&small.mantissa, small.exponent));
            Self::rounded(large.mantissa.clone(), large.exponent, folded, context)?
        } else {
            // The tops are within the precision of each other, so the shift is bounded by it and by the mantissas.
            let exponent = large.exponent.min(small.exponent);
            let aligned = |ball: &Self| &ball.mantissa << (ball.exponent - exponent) as usize;
            Self::rounded(aligned(large) + aligned(small), exponent, radius, context)?
        };
        if !sum.radius.is_zero() {
            let unseen = sum.radius.top() + SEEN_BITS;
            if small.top() < unseen && !small.contains_zero() || large.top() < unseen && !large.contains_zero() {
                context.lost = true;
            }
        }
        Ok(sum)
    }

    /// The difference.
    pub fn minus(&self, other: &Self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        self.plus(&other.clone().negated(), context)
    }

    /// The product.
    pub fn times(&self, other: &Self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        if self.is_zero() || other.is_zero() {
            return Ok(Self::ZERO);
        }
        context.charge()?;
        let radius = if self.radius.is_zero() && other.radius.is_zero() {
            Radius::ZERO
        } else {
            let left = Radius::upper(&self.mantissa, self.exponent);
            let right = Radius::upper(&other.mantissa, other.exponent);
            left.times(other.radius)
                .plus(right.plus(other.radius).times(self.radius))
        };
        Self::rounded(
            &self.mantissa * &other.mantissa,
            self.exponent + other.exponent,
            radius,
            context,
        )
    }

    /// The square.
    pub fn squared(&self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        self.times(self, context)
    }

    /// The quotient.
    ///
    /// # Errors
    /// [`Stop::Undefined`] if the divisor is exactly zero, [`Trouble::Imprecise`] if it may be.
    pub fn over(&self, divisor: &Self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        if divisor.is_zero() {
            return Err(Stop::Undefined.into());
        }
        let Some(least) = divisor.lower() else {
            return Err(Trouble::Imprecise);
        };
        if self.is_zero() {
            return Ok(Self::ZERO);
        }
        context.charge_many(2)?;
        let shift = (context.precision + 2 + divisor.mantissa.bit_len()).saturating_sub(self.mantissa.bit_len());
        let quotient = (&self.mantissa << shift) / &divisor.mantissa;
        let exponent = self.exponent - shift as i64 - divisor.exponent;
        let mut radius = if self.mantissa.is_zero() {
            Radius::ZERO
        } else {
            Radius::power_of_two(exponent)
        };
        if !(self.radius.is_zero() && divisor.radius.is_zero()) {
            // |a/b - a'/b'| ≤ (δa + |a/b|·δb) / |b'|, with |a/b| at most the quotient and its rounding error.
            let size = Radius::upper(&quotient, exponent).plus(radius);
            radius = radius.plus(self.radius.plus(size.times(divisor.radius)).over(least));
        }
        Self::rounded(quotient, exponent, radius, context)
    }

    /// The power to an integer.
    pub fn power(&self, exponent: i64, context: &mut Context<'_>) -> Result<Self, Trouble> {
        if exponent == 0 {
            return Ok(Self::ONE);
        }
        let mut result = self.clone();
        let magnitude = exponent.unsigned_abs();
        for bit in (0..magnitude.ilog2()).rev() {
            result = result.squared(context)?;
            if magnitude >> bit & 1 == 1 {
                result = result.times(self, context)?;
            }
        }
        if exponent < 0 {
            Self::ONE.over(&result, context)
        } else {
            Ok(result)
        }
    }

    /// The square root of a ball without negative numbers.
    ///
    /// # Errors
    /// [`Trouble::Imprecise`] if zero or negative numbers may be in it and it is not exactly zero.
    pub fn square_root(&self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        if self.is_zero() {
            return Ok(Self::ZERO);
        }
        let least = self.lower().filter(|_| self.is_positive()).ok_or(Trouble::Imprecise)?;
        context.charge_many(3)?;
        let bits = self.mantissa.bit_len();
        let mut shift = (2 * context.precision + 4).saturating_sub(bits) as i64;
        if (self.exponent - shift) % 2 != 0 {
            shift += 1;
        }
        let scaled = &self.mantissa << shift as usize;
        let exponent = (self.exponent - shift) / 2;
        let root = UBig::try_from(scaled).map_err(|_| Trouble::Imprecise)?.sqrt();
        let exact = self.radius.is_zero() && root.trailing_zeros().is_some_and(|zeros| zeros as i64 >= shift / 2) && {
            let square = &root * &root;
            IBig::from(square) == (&self.mantissa << shift as usize)
        };
        let root = IBig::from(root);
        let mut radius = if exact {
            Radius::ZERO
        } else {
            Radius::power_of_two(exponent)
        };
        if !self.radius.is_zero() {
            // |√(m+δ) - √m| = |δ| / (√(m+δ) + √m) ≤ √m · δ / (m-δ).
            let size = Radius::upper(&root, exponent).plus(radius);
            radius = radius.plus(size.times(self.radius.over(least)));
        }
        Self::rounded(root, exponent, radius, context)
    }

    /// The magnitude of everything in it.
    #[must_use]
    pub fn absolute(self) -> Self {
        match self.sign() {
            Some(Sign::Negative) => self.negated(),
            Some(Sign::Positive) => self,
            None if self.is_zero() => self,
            // From zero to the largest magnitude: half of it around half of it.
            None => {
                let (mantissa, exponent) = self.upper().parts();
                let half = Radius::up(mantissa, exponent - 1);
                Self {
                    mantissa: IBig::from(mantissa),
                    exponent: exponent - 1,
                    radius: half,
                }
            }
        }
    }

    /// The order of two numbers, if the balls tell.
    pub fn order(&self, other: &Self, context: &mut Context<'_>) -> Result<Ordering, Trouble> {
        let difference = self.minus(other, context)?;
        match difference.sign() {
            Some(Sign::Positive) => Ok(Ordering::Greater),
            Some(Sign::Negative) => Ok(Ordering::Less),
            None if difference.is_zero() => Ok(Ordering::Equal),
            None => Err(Trouble::Imprecise),
        }
    }

    /// The ball that contains two others.
    pub fn hull(&self, other: &Self, context: &mut Context<'_>) -> Result<Self, Trouble> {
        let reach = self.minus(other, context)?.upper().plus(other.radius);
        Ok(self.clone().widened(reach))
    }

    /// The midpoint times `2^bits`, rounded to an integer.
    pub(super) fn fixed(&self, bits: i64) -> IBig {
        let shift = self.exponent + bits;
        if shift >= 0 {
            &self.mantissa << shift as usize
        } else if -shift > self.mantissa.bit_len() as i64 + 1 {
            IBig::ZERO
        } else {
            // Half a unit is added, so that an error within half a unit of an integer rounds to it.
            ((&self.mantissa >> (-shift - 1) as usize) + IBig::ONE) >> 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Steps;

    #[test]
    fn numbers_of_very_different_size_meet() {
        let mut steps = Steps::default();
        let mut context = Context::new(128, &mut steps);
        let small = Ball::exact(IBig::from(3), -100_000);
        let sum = Ball::ONE.plus(&small, &mut context).expect("a sum");
        assert!(context.lost && sum.is_positive());
        let quotient = small
            .over(&Ball::exact(IBig::from(7), -100_000), &mut context)
            .expect("a quotient");
        assert!((quotient.to_f64() - 3.0 / 7.0).abs() < 1e-15);
        let beyond = Ball::exact(IBig::ONE, LARGEST_EXPONENT);
        assert_eq!(beyond.squared(&mut context), Err(Stop::TooLarge.into()));
        assert_eq!(Ball::ONE.over(&Ball::ZERO, &mut context), Err(Stop::Undefined.into()));
        let maybe_zero = Ball::around_zero(Radius::power_of_two(-10));
        assert_eq!(Ball::ONE.over(&maybe_zero, &mut context), Err(Trouble::Imprecise));
    }

    #[test]
    fn midpoints_round_to_the_nearest_integer() {
        for (mantissa, exponent, expected) in [
            (5, -1, 3),
            (-5, -1, -2),
            (7, -2, 2),
            (-7, -2, -2),
            (1, -5, 0),
            (-1, -5, 0),
            (-3, 2, -12),
            (-1, -70, 0),
        ] {
            let ball = Ball::exact(IBig::from(mantissa), exponent);
            assert_eq!(ball.fixed(0), IBig::from(expected), "{mantissa} {exponent}");
        }
    }

    #[test]
    fn absolute_values_of_what_may_be_zero_reach_from_zero() {
        let ball = Ball::exact(IBig::from(-3), 0).widened(Radius::up(5, 0)).absolute();
        let mut steps = Steps::default();
        let mut context = Context::new(64, &mut steps);
        assert!(
            ball.minus(&Ball::integer(8), &mut context)
                .expect("a value")
                .contains_zero()
        );
        assert!(ball.contains_zero());
    }
}
