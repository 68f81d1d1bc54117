//! Rectangular complex balls. A part that is exactly zero stays exactly zero, so that a real number is known to be
//! real.

use dashu_base::Sign;

use super::context::{Context, Trouble};
use super::elementary as real;
use super::radius::Radius;
use super::real::Ball;
use super::series;
use crate::steps::Stop;

/// A complex number within the rectangle of two balls.
#[derive(Clone, Debug, PartialEq)]
pub struct Complex {
    /// The real part.
    pub real: Ball,
    /// The imaginary part.
    pub imaginary: Ball,
}

type Result<T> = std::result::Result<T, Trouble>;

impl Complex {
    /// Exactly zero.
    pub const ZERO: Self = Self {
        real: Ball::ZERO,
        imaginary: Ball::ZERO,
    };
    /// Exactly one.
    pub const ONE: Self = Self {
        real: Ball::ONE,
        imaginary: Ball::ZERO,
    };
    /// The imaginary unit.
    pub const I: Self = Self {
        real: Ball::ZERO,
        imaginary: Ball::ONE,
    };

    /// A real number.
    pub fn from_real(real: Ball) -> Self {
        Self {
            real,
            imaginary: Ball::ZERO,
        }
    }

    /// Whether it is known to be real.
    pub fn is_real(&self) -> bool {
        self.imaginary.is_zero()
    }

    /// Whether it is exactly zero.
    pub fn is_zero(&self) -> bool {
        self.real.is_zero() && self.imaginary.is_zero()
    }

    /// Whether zero is in it.
    pub fn contains_zero(&self) -> bool {
        self.real.contains_zero() && self.imaginary.contains_zero()
    }

    /// No number in it has a larger modulus.
    pub fn upper(&self) -> Radius {
        self.real.upper().plus(self.imaginary.upper())
    }

    /// The larger radius of the two parts.
    pub fn radius(&self) -> Radius {
        self.real.radius().max(self.imaginary.radius())
    }

    /// The negative.
    #[must_use]
    pub fn negated(self) -> Self {
        Self {
            real: self.real.negated(),
            imaginary: self.imaginary.negated(),
        }
    }

    /// The complex conjugate.
    #[must_use]
    pub fn conjugated(self) -> Self {
        Self {
            real: self.real,
            imaginary: self.imaginary.negated(),
        }
    }

    /// The number times i.
    #[must_use]
    pub fn times_i(self) -> Self {
        Self {
            real: self.imaginary.negated(),
            imaginary: self.real,
        }
    }

    /// The number times `2^shift`.
    pub fn shifted(self, shift: i64) -> Result<Self> {
        Ok(Self {
            real: self.real.shifted(shift)?,
            imaginary: self.imaginary.shifted(shift)?,
        })
    }

    /// The sum.
    pub fn plus(&self, other: &Self, context: &mut Context<'_>) -> Result<Self> {
        Ok(Self {
            real: self.real.plus(&other.real, context)?,
            imaginary: self.imaginary.plus(&other.imaginary, context)?,
        })
    }

    /// The difference.
    pub fn minus(&self, other: &Self, context: &mut Context<'_>) -> Result<Self> {
        self.plus(&other.clone().negated(), context)
    }

    /// The product.
    pub fn times(&self, other: &Self, context: &mut Context<'_>) -> Result<Self> {
        let real = self.real.times(&other.real, context)?;
        let crossed = self.imaginary.times(&other.imaginary, context)?;
        let outer = self.real.times(&other.imaginary, context)?;
        let inner = self.imaginary.times(&other.real, context)?;
        Ok(Self {
            real: real.minus(&crossed, context)?,
            imaginary: outer.plus(&inner, context)?,
        })
    }

    /// One over the number.
    pub fn inverse(&self, context: &mut Context<'_>) -> Result<Self> {
        if self.is_real() {
            return Ok(Self::from_real(Ball::ONE.over(&self.real, context)?));
        }
        let square = self.square_of_modulus(context)?;
        Ok(Self {
            real: self.real.over(&square, context)?,
            imaginary: self.imaginary.over(&square, context)?.negated(),
        })
    }

    /// The quotient.
    pub fn over(&self, divisor: &Self, context: &mut Context<'_>) -> Result<Self> {
        if divisor.is_real() {
            return Ok(Self {
                real: self.real.over(&divisor.real, context)?,
                imaginary: self.imaginary.over(&divisor.real, context)?,
            });
        }
        let inverse = divisor.inverse(context)?;
        self.times(&inverse, context)
    }

    fn square_of_modulus(&self, context: &mut Context<'_>) -> Result<Ball> {
        self.real
            .squared(context)?
            .plus(&self.imaginary.squared(context)?, context)
    }

    /// The modulus.
    pub fn modulus(&self, context: &mut Context<'_>) -> Result<Ball> {
        if self.imaginary.is_zero() {
            return Ok(self.real.clone().absolute());
        }
        if self.real.is_zero() {
            return Ok(self.imaginary.clone().absolute());
        }
        if self.contains_zero() {
            let upper = self.upper();
            return Ok(Ball::around_zero(upper).absolute());
        }
        self.square_of_modulus(context)?.square_root(context)
    }

    /// The argument in (-π, π].
    ///
    /// # Errors
    /// [`Trouble::Imprecise`] if the negative real axis may be touched.
    pub fn argument(&self, context: &mut Context<'_>) -> Result<Ball> {
        if self.is_real() {
            return match self.real.sign() {
                Some(Sign::Positive) => Ok(Ball::ZERO),
                Some(Sign::Negative) => series::pi(context),
                None if self.real.is_zero() => Err(Stop::Undefined.into()),
                None => Err(Trouble::Imprecise),
            };
        }
        if self.real.is_positive() {
            let slope = self.imaginary.over(&self.real, context)?;
            return real::inverse_tangent(&slope, context);
        }
        let quarter = series::pi(context)?.shifted(-1)?;
        let quarter = match self.imaginary.sign() {
            Some(Sign::Positive) => quarter,
            Some(Sign::Negative) => quarter.negated(),
            None => return Err(Trouble::Imprecise),
        };
        let slope = self.real.over(&self.imaginary, context)?;
        quarter.minus(&real::inverse_tangent(&slope, context)?, context)
    }

    /// The principal logarithm.
    pub fn logarithm(&self, context: &mut Context<'_>) -> Result<Self> {
        if self.is_zero() {
            return Err(Stop::Undefined.into());
        }
        let real = if self.is_real() {
            real::logarithm(&self.real.clone().absolute(), context)?
        } else if self.real.is_zero() {
            real::logarithm(&self.imaginary.clone().absolute(), context)?
        } else {
            let square = self.square_of_modulus(context)?;
            real::logarithm(&square, context)?.shifted(-1)?
        };
        Ok(Self {
            real,
            imaginary: self.argument(context)?,
        })
    }

    /// The exponential.
    pub fn exponential(&self, context: &mut Context<'_>) -> Result<Self> {
        let size = real::exponential(&self.real, context)?;
        if self.is_real() {
            return Ok(Self::from_real(size));
        }
        let (sine, cosine) = real::sine_and_cosine(&self.imaginary, context)?;
        Ok(Self {
            real: size.times(&cosine, context)?,
            imaginary: size.times(&sine, context)?,
        })
    }

    /// The power to an integer.
    pub fn power(&self, exponent: i64, context: &mut Context<'_>) -> Result<Self> {
        if self.is_real() {
            return Ok(Self::from_real(self.real.power(exponent, context)?));
        }
        if exponent == 0 {
            return Ok(Self::ONE);
        }
        let mut result = self.clone();
        let magnitude = exponent.unsigned_abs();
        for bit in (0..magnitude.ilog2()).rev() {
            result = result.times(&result, context)?;
            if magnitude >> bit & 1 == 1 {
                result = result.times(self, context)?;
            }
        }
        if exponent < 0 {
            result.inverse(context)
        } else {
            Ok(result)
        }
    }

    /// The principal power.
    pub fn principal_power(&self, exponent: &Self, context: &mut Context<'_>) -> Result<Self> {
        let logarithm = self.logarithm(context)?;
        logarithm.times(exponent, context)?.exponential(context)
    }

    /// The principal square root. Around zero it is the disc that has all of them.
    pub fn square_root(&self, context: &mut Context<'_>) -> Result<Self> {
        if self.is_real() {
            return match self.real.sign() {
                Some(Sign::Positive) => Ok(Self::from_real(self.real.square_root(context)?)),
                Some(Sign::Negative) => {
                    let root = self.real.clone().negated().square_root(context)?;
                    Ok(Self::from_real(root).times_i())
                }
                None if self.is_zero() => Ok(Self::ZERO),
                None => Ok(Self::around_zero(self.upper().root(2))),
            };
        }
        if self.contains_zero() {
            return Ok(Self::around_zero(self.upper().root(2)));
        }
        let modulus = self.modulus(context)?;
        if self.real.is_negative() {
            let Some(sign) = self.imaginary.sign() else {
                return Err(Trouble::Imprecise);
            };
            let imaginary = modulus.minus(&self.real, context)?.shifted(-1)?.square_root(context)?;
            let imaginary = if sign == Sign::Negative {
                imaginary.negated()
            } else {
                imaginary
            };
            let real = self.imaginary.over(&imaginary, context)?.shifted(-1)?;
            return Ok(Self { real, imaginary });
        }
        let real = modulus.plus(&self.real, context)?.shifted(-1)?.square_root(context)?;
        let imaginary = self.imaginary.over(&real, context)?.shifted(-1)?;
        Ok(Self { real, imaginary })
    }

    /// All numbers whose parts are within a radius of zero.
    pub fn around_zero(radius: Radius) -> Self {
        Self {
            real: Ball::around_zero(radius),
            imaginary: Ball::around_zero(radius),
        }
    }

    /// The sine and the cosine.
    pub fn sine_and_cosine(&self, context: &mut Context<'_>) -> Result<(Self, Self)> {
        let (sine, cosine) = real::sine_and_cosine(&self.real, context)?;
        if self.is_real() {
            return Ok((Self::from_real(sine), Self::from_real(cosine)));
        }
        let (hyperbolic_sine, hyperbolic_cosine) = real::hyperbolic_sine_and_cosine(&self.imaginary, context)?;
        let complex_sine = Self {
            real: sine.times(&hyperbolic_cosine, context)?,
            imaginary: cosine.times(&hyperbolic_sine, context)?,
        };
        let complex_cosine = Self {
            real: cosine.times(&hyperbolic_cosine, context)?,
            imaginary: sine.times(&hyperbolic_sine, context)?.negated(),
        };
        Ok((complex_sine, complex_cosine))
    }

    /// The hyperbolic sine and cosine.
    pub fn hyperbolic_sine_and_cosine(&self, context: &mut Context<'_>) -> Result<(Self, Self)> {
        if self.is_real() {
            let (sine, cosine) = real::hyperbolic_sine_and_cosine(&self.real, context)?;
            return Ok((Self::from_real(sine), Self::from_real(cosine)));
        }
        // sinh z = -i sin(iz), cosh z = cos(iz).
        let (sine, cosine) = self.clone().times_i().sine_and_cosine(context)?;
        Ok((sine.times_i().negated(), cosine))
    }

    /// The principal inverse sine.
    pub fn inverse_sine(&self, context: &mut Context<'_>) -> Result<Self> {
        if self.is_real() {
            // asin x = 2 atan(x / (1 + √(1 - x²))) where 1 - x² is not negative.
            let rest = Ball::ONE.minus(&self.real.squared(context)?, context)?;
            if rest.is_zero() || rest.is_positive() {
                let below = rest.square_root(context)?.plus(&Ball::ONE, context)?;
                let ratio = self.real.over(&below, context)?;
                return Ok(Self::from_real(real::inverse_tangent(&ratio, context)?.shifted(1)?));
            }
            if !rest.is_negative() {
                return Err(Trouble::Imprecise);
            }
        }
        // asin z = -i ln(iz + √(1 - z²)).
        let root = Self::ONE
            .minus(&self.times(self, context)?, context)?
            .square_root(context)?;
        let inside = self.clone().times_i().plus(&root, context)?;
        Ok(inside.logarithm(context)?.times_i().negated())
    }

    /// The principal inverse cosine.
    pub fn inverse_cosine(&self, context: &mut Context<'_>) -> Result<Self> {
        let quarter = Self::from_real(series::pi(context)?.shifted(-1)?);
        quarter.minus(&self.inverse_sine(context)?, context)
    }

    /// The principal inverse tangent.
    pub fn inverse_tangent(&self, context: &mut Context<'_>) -> Result<Self> {
        if self.is_real() {
            return Ok(Self::from_real(real::inverse_tangent(&self.real, context)?));
        }
        // atan z = i/2 · (ln(1 - iz) - ln(1 + iz)).
        let turned = self.clone().times_i();
        let left = Self::ONE.minus(&turned, context)?.logarithm(context)?;
        let right = Self::ONE.plus(&turned, context)?.logarithm(context)?;
        left.minus(&right, context)?.times_i().shifted(-1)
    }
}
