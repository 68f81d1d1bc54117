//! Magnitudes of errors. They are 32-bit floats with a wide exponent, and every operation rounds up, so that a bound
//! stays a bound.

use std::cmp::Ordering;

use dashu_int::IBig;

/// Bits of a normalised mantissa.
const BITS: i64 = 32;
/// Smaller magnitudes are rounded up to this one: a radius needs no more, and its exponent cannot underflow.
const SMALLEST_EXPONENT: i64 = -(1 << 61);

/// A non-negative number `mantissa · 2^exponent`, zero or with exactly 32 bits of mantissa.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Radius {
    mantissa: u64,
    exponent: i64,
}

impl Radius {
    /// Zero.
    pub const ZERO: Self = Self {
        mantissa: 0,
        exponent: 0,
    };

    /// `2^exponent`.
    pub fn power_of_two(exponent: i64) -> Self {
        Self::up(1, exponent)
    }

    /// At least `mantissa · 2^exponent`.
    pub fn up(mantissa: u64, exponent: i64) -> Self {
        if mantissa == 0 {
            return Self::ZERO;
        }
        let excess = 64 - BITS - i64::from(mantissa.leading_zeros());
        let (mut mantissa, mut exponent) = if excess > 0 {
            let kept = mantissa >> excess;
            let lost = mantissa & ((1 << excess) - 1) != 0;
            (kept + u64::from(lost), exponent.saturating_add(excess))
        } else {
            (mantissa << -excess, exponent.saturating_add(excess))
        };
        if mantissa >> BITS != 0 {
            mantissa >>= 1;
            exponent = exponent.saturating_add(1);
        }
        if exponent < SMALLEST_EXPONENT {
            return Self {
                mantissa: 1 << (BITS - 1),
                exponent: SMALLEST_EXPONENT,
            };
        }
        Self { mantissa, exponent }
    }

    /// The magnitude of `mantissa · 2^exponent`, rounded up.
    pub fn upper(mantissa: &IBig, exponent: i64) -> Self {
        let (top, shift, exact) = Self::leading(mantissa);
        Self::up(top + u64::from(!exact), exponent.saturating_add(shift))
    }

    /// The magnitude of `mantissa · 2^exponent`, rounded down.
    pub fn lower(mantissa: &IBig, exponent: i64) -> Self {
        let (top, shift, _) = Self::leading(mantissa);
        if top == 0 {
            return Self::ZERO;
        }
        Self {
            mantissa: top,
            exponent: exponent.saturating_add(shift),
        }
    }

    /// The leading 32 bits of a magnitude, their exponent, and whether these bits are all of it.
    fn leading(mantissa: &IBig) -> (u64, i64, bool) {
        let words = mantissa.as_sign_words().1;
        let Some((&high, rest)) = words.split_last() else {
            return (0, 0, true);
        };
        let low = rest.last().copied().unwrap_or(0);
        let zeros = high.leading_zeros();
        let joined = (u128::from(high) << 64 | u128::from(low)) << zeros;
        let top = (joined >> (128 - BITS)) as u64;
        let exact = joined << BITS == 0 && rest.iter().rev().skip(1).all(|&word| word == 0);
        (top, 64 * rest.len() as i64 + 64 - i64::from(zeros) - BITS, exact)
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The exponent `t` with `2^(t-1) ≤ self < 2^t`; the least of all for zero.
    pub fn top(self) -> i64 {
        if self.mantissa == 0 {
            i64::MIN / 2
        } else {
            self.exponent + BITS
        }
    }

    /// The sum, rounded up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (large, small) = if self.top() >= other.top() {
            (self, other)
        } else {
            (other, self)
        };
        if small.is_zero() {
            return large;
        }
        let shift = large.exponent - small.exponent;
        let added = if shift >= BITS {
            1
        } else {
            (small.mantissa >> shift) + 1
        };
        Self::up(large.mantissa + added, large.exponent)
    }

    /// The product, rounded up.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self::up(
            self.mantissa * other.mantissa,
            self.exponent.saturating_add(other.exponent),
        )
    }

    /// The quotient by a nonzero magnitude that is rounded down, rounded up.
    #[must_use]
    pub fn over(self, divisor: Self) -> Self {
        debug_assert!(!divisor.is_zero());
        if self.is_zero() {
            return self;
        }
        let quotient = (self.mantissa << BITS) / divisor.mantissa.max(1);
        Self::up(
            quotient + 1,
            self.exponent.saturating_sub(divisor.exponent).saturating_sub(BITS),
        )
    }

    /// `self - other` rounded down, or none if that is not positive.
    pub fn minus_down(self, other: Self) -> Option<Self> {
        if self <= other {
            return None;
        }
        let shift = self.exponent - other.exponent;
        let taken = if other.is_zero() {
            0
        } else if shift >= BITS {
            1
        } else {
            (other.mantissa >> shift) + 1
        };
        let mantissa = self.mantissa.checked_sub(taken)?;
        if mantissa == 0 {
            return None;
        }
        // Fewer than 32 bits shift up exactly.
        Some(Self::up(mantissa, self.exponent))
    }

    /// The magnitude times `2^shift`.
    #[must_use]
    pub fn shifted(self, shift: i64) -> Self {
        if self.is_zero() {
            self
        } else {
            Self::up(self.mantissa, self.exponent.saturating_add(shift))
        }
    }

    /// A power of two that is not below the n-th root.
    #[must_use]
    pub fn root(self, degree: u64) -> Self {
        if self.is_zero() {
            return self;
        }
        let degree = i64::try_from(degree).unwrap_or(i64::MAX).max(1);
        Self::power_of_two(self.top().div_euclid(degree) + 1)
    }

    /// The mantissa and the exponent.
    pub fn parts(self) -> (u64, i64) {
        (self.mantissa, self.exponent)
    }
}

impl PartialOrd for Radius {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Radius {
    fn cmp(&self, other: &Self) -> Ordering {
        self.top().cmp(&other.top()).then(self.mantissa.cmp(&other.mantissa))
    }
}

#[cfg(test)]
mod tests {
    use dashu_base::BitTest;

    use super::*;

    fn value(radius: Radius) -> f64 {
        radius.mantissa as f64 * 2f64.powi(radius.exponent as i32)
    }

    #[test]
    fn every_operation_rounds_the_right_way() {
        let samples = [0.0, 1.0, 3.0, 0.1, 12345.678, 7e-9, 5e20, 4294967295.0, 4294967297.0];
        for left in samples {
            for right in samples {
                let of = |x: f64| Radius::up((x * 1e6) as u64, 0);
                let (a, b) = (of(left), of(right));
                assert!(value(a.plus(b)) >= value(a) + value(b));
                assert!(value(a.plus(b)) <= (value(a) + value(b)) * 1.000001);
                assert!(value(a.times(b)) >= value(a) * value(b));
                if !b.is_zero() {
                    assert!(value(a.over(b)) >= value(a) / value(b));
                    assert!(value(a.over(b)) <= value(a) / value(b) * 1.000001);
                }
                if let Some(difference) = a.minus_down(b) {
                    assert!(value(difference) <= value(a) - value(b));
                }
            }
        }
    }

    #[test]
    fn big_numbers_are_bounded_from_both_sides() {
        let big = (IBig::from(1) << 200) + IBig::from(1);
        assert!(Radius::upper(&big, 0) > Radius::power_of_two(200));
        assert_eq!(Radius::lower(&big, 0), Radius::power_of_two(200));
        assert_eq!(Radius::upper(&(IBig::from(-1) << 200), -200), Radius::power_of_two(0));
        assert_eq!(big.bit_len() as i64, Radius::upper(&big, 0).top());
        assert!(value(Radius::power_of_two(-7).root(2)) >= 2f64.powf(-3.5));
    }
}
