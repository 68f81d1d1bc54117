//! The value of a subexpression. Rationals and rational multiples of π stay exact for as long as they can, so that
//! exponents, angles and the arguments of integer functions are known; everything else is a ball, with a root
//! separation bound if it is algebraic.

use dashu_base::{BitTest, Sign};
use dashu_int::UBig;
use dashu_ratio::RBig;

use super::complex::Complex;
use super::context::{Context, Trouble};
use super::real::Ball;
use super::series;

/// Exact rationals with more bits than this become balls.
pub(super) const EXACT_BITS: usize = 4096;

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A rational number, exactly.
    Rational(RBig),
    /// A rational multiple of π, exactly.
    PiMultiple(RBig),
    /// A number in a ball, with its separation bound if it is algebraic.
    Number(Complex, Option<Bound>),
}

/// The bound of Burnikel, Funke, Mehlhorn, Schirra and Schmitt (2001) for an algebraic number E = U/L with U and L
/// algebraic integers: all conjugates of U are at most `2^upper`, all of L at most `2^lower`. If E is not zero then the
/// norm of U is at least one, hence `|E| ≥ 2^-(upper·(D-1) + lower)`, where D bounds the degree of a field with both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    upper: u64,
    lower: u64,
}

impl Bound {
    /// The bound of algebraic integers of modulus one.
    pub(super) const UNIT: Self = Self { upper: 0, lower: 0 };
    /// The bound of half an algebraic integer whose conjugates are at most two, such as a cosine of a rational angle.
    pub(super) const COSINE: Self = Self { upper: 1, lower: 1 };

    fn rational(value: &RBig) -> Self {
        let bits = |magnitude: &UBig| {
            if magnitude.is_one() {
                0
            } else {
                magnitude.bit_len() as u64
            }
        };
        let numerator = value.numerator().as_sign_words().1;
        Self {
            upper: bits(&UBig::from_words(numerator)),
            lower: bits(value.denominator()),
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        let left = self.upper.saturating_add(other.lower);
        let right = self.lower.saturating_add(other.upper);
        Self {
            upper: left.max(right).saturating_add(1),
            lower: self.lower.saturating_add(other.lower),
        }
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self {
            upper: self.upper.saturating_add(other.upper),
            lower: self.lower.saturating_add(other.lower),
        }
    }

    pub(super) fn inverse(self) -> Self {
        Self {
            upper: self.lower,
            lower: self.upper,
        }
    }

    pub(super) fn power(self, exponent: i64) -> Self {
        let times = exponent.unsigned_abs();
        let bound = Self {
            upper: self.upper.saturating_mul(times),
            lower: self.lower.saturating_mul(times),
        };
        if exponent < 0 { bound.inverse() } else { bound }
    }

    /// The bound of a root: E^(1/k) is (U·L^(k-1))^(1/k) / L or U / (U^(k-1)·L)^(1/k), whichever is smaller.
    pub(super) fn root(self, degree: u64) -> Self {
        let mixed = |once: u64, often: u64| {
            often
                .saturating_mul(degree - 1)
                .saturating_add(once)
                .div_ceil(degree.max(1))
        };
        if self.upper >= self.lower {
            Self {
                upper: mixed(self.upper, self.lower),
                lower: self.lower,
            }
        } else {
            Self {
                upper: self.upper,
                lower: mixed(self.lower, self.upper),
            }
        }
    }

    /// A nonzero number with this bound in a field of this degree is at least two to the minus this.
    pub(super) fn separation(self, degree: u64) -> u64 {
        self.upper
            .saturating_mul(degree.saturating_sub(1))
            .saturating_add(self.lower)
    }
}

impl Value {
    /// An integer.
    pub(super) fn integer(value: i64) -> Self {
        Self::Rational(RBig::from(value))
    }

    /// A ball, or exactly zero if it is that.
    pub(super) fn number(value: Complex, bound: Option<Bound>) -> Self {
        if value.is_zero() {
            Self::Rational(RBig::ZERO)
        } else {
            Self::Number(value, bound)
        }
    }

    /// A real ball that is not known to be algebraic.
    pub(super) fn real(value: Ball) -> Self {
        Self::number(Complex::from_real(value), None)
    }

    /// The value as a ball.
    pub fn to_complex(&self, context: &mut Context<'_>) -> Result<Complex, Trouble> {
        Ok(match self {
            Self::Rational(value) => Complex::from_real(Ball::from_rational(value, context)?),
            Self::PiMultiple(multiple) => {
                let multiple = Ball::from_rational(multiple, context)?;
                let pi = series::pi(context)?;
                Complex::from_real(multiple.times(&pi, context)?)
            }
            Self::Number(value, _) => value.clone(),
        })
    }

    /// The value as a real ball.
    ///
    /// # Errors
    /// [`Trouble::Imprecise`] if it is not known to be real.
    pub(super) fn to_real(&self, context: &mut Context<'_>) -> Result<Ball, Trouble> {
        let value = self.to_complex(context)?;
        if value.is_real() {
            Ok(value.real)
        } else {
            Err(Trouble::Imprecise)
        }
    }

    /// The separation bound if it is algebraic.
    pub(super) fn bound(&self) -> Option<Bound> {
        match self {
            Self::Rational(value) => Some(Bound::rational(value)),
            Self::PiMultiple(multiple) if multiple.is_zero() => Some(Bound::UNIT),
            Self::PiMultiple(_) => None,
            Self::Number(_, bound) => *bound,
        }
    }

    /// Whether it is exactly zero.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Rational(value) | Self::PiMultiple(value) => value.is_zero(),
            Self::Number(value, _) => value.is_zero(),
        }
    }

    /// Whether it is known to be real.
    pub fn is_real(&self) -> bool {
        match self {
            Self::Rational(_) | Self::PiMultiple(_) => true,
            Self::Number(value, _) => value.is_real(),
        }
    }

    /// The sign, if it is known to be a real number that is not zero.
    pub fn sign(&self) -> Option<Sign> {
        match self {
            Self::Rational(value) | Self::PiMultiple(value) if value.is_zero() => None,
            Self::Rational(value) | Self::PiMultiple(value) => Some(value.sign()),
            Self::Number(value, _) if value.is_real() => value.real.sign(),
            Self::Number(..) => None,
        }
    }

    /// The integer that it is, exactly.
    pub(super) fn as_integer(&self) -> Option<&dashu_int::IBig> {
        match self {
            Self::Rational(value) if value.is_int() => Some(value.numerator()),
            _ => None,
        }
    }
}

/// Bits of the larger of numerator and denominator.
pub(super) fn rational_bits(value: &RBig) -> usize {
    value.numerator().bit_len().max(value.denominator().bit_len())
}
