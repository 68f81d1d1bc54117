//! Exponents: small rational numbers.

use std::cmp::Ordering;
use std::fmt;

use dashu_ratio::RBig;

use super::numbers::ratio;
use crate::steps::Stop;

/// A reduced fraction of machine integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Exponent {
    numerator: i32,
    denominator: u32,
}

impl Exponent {
    pub(crate) const ZERO: Self = Self::integer(0);
    pub(crate) const ONE: Self = Self::integer(1);

    pub(crate) const fn integer(value: i32) -> Self {
        Self {
            numerator: value,
            denominator: 1,
        }
    }

    /// The reduced fraction; the denominator is not zero.
    pub(crate) fn new(numerator: i128, denominator: i128) -> Result<Self, Stop> {
        debug_assert!(denominator > 0);
        let divisor = common_divisor(numerator.unsigned_abs(), denominator.unsigned_abs()) as i128;
        let numerator = i32::try_from(numerator / divisor).map_err(|_| Stop::TooLarge)?;
        let denominator = i32::try_from(denominator / divisor).map_err(|_| Stop::TooLarge)?;
        Ok(Self::from_reduced(numerator, denominator))
    }

    /// A rational number as an exponent.
    pub(crate) fn from_rational(value: &RBig) -> Result<Self, Stop> {
        let numerator = i32::try_from(value.numerator()).map_err(|_| Stop::TooLarge)?;
        let denominator = i32::try_from(value.denominator()).map_err(|_| Stop::TooLarge)?;
        Ok(Self::from_reduced(numerator, denominator))
    }

    /// The denominator is positive and within `i32`, so that a rest below it is as well.
    const fn from_reduced(numerator: i32, denominator: i32) -> Self {
        Self {
            numerator,
            denominator: denominator.unsigned_abs(),
        }
    }

    pub(crate) fn to_rational(self) -> RBig {
        ratio(i64::from(self.numerator), u64::from(self.denominator))
    }

    pub(crate) fn numerator(self) -> i64 {
        i64::from(self.numerator)
    }

    pub(crate) fn denominator(self) -> u64 {
        u64::from(self.denominator)
    }

    pub(crate) fn is_zero(self) -> bool {
        self.numerator == 0
    }

    pub(crate) fn is_one(self) -> bool {
        self == Self::ONE
    }

    pub(crate) fn is_integer(self) -> bool {
        self.denominator == 1
    }

    pub(crate) fn is_negative(self) -> bool {
        self.numerator < 0
    }

    /// The exponent as an integer, if it is one.
    pub(crate) fn to_integer(self) -> Option<i64> {
        self.is_integer().then(|| self.numerator())
    }

    pub(crate) fn add(self, other: Self) -> Result<Self, Stop> {
        if self.is_integer() && other.is_integer() {
            let numerator = self.numerator.checked_add(other.numerator).ok_or(Stop::TooLarge)?;
            return Ok(Self::integer(numerator));
        }
        let (left, right) = (i128::from(self.numerator), i128::from(other.numerator));
        let (below_left, below_right) = (i128::from(self.denominator), i128::from(other.denominator));
        Self::new(left * below_right + right * below_left, below_left * below_right)
    }

    pub(crate) fn times(self, other: Self) -> Result<Self, Stop> {
        let numerator = i128::from(self.numerator) * i128::from(other.numerator);
        Self::new(numerator, i128::from(self.denominator) * i128::from(other.denominator))
    }

    pub(crate) fn negated(self) -> Result<Self, Stop> {
        self.times(Self::integer(-1))
    }

    /// The largest integer not above it, and what is left.
    pub(crate) fn split(self) -> (i64, Self) {
        let whole = i64::from(self.numerator).div_euclid(i64::from(self.denominator));
        let rest = i64::from(self.numerator).rem_euclid(i64::from(self.denominator));
        let fraction = Self {
            // The rest is below the denominator, which is within `i32`.
            numerator: rest as i32,
            denominator: if rest == 0 { 1 } else { self.denominator },
        };
        (whole, fraction)
    }

    /// Whether a power with this exponent is a principal one, even of a negative number.
    pub(crate) fn is_even_root(self) -> bool {
        self.denominator.is_multiple_of(2)
    }

    /// Whether powers of the same base with these exponents may be joined to one with the third, whatever the base.
    ///
    /// A negative base to an exponent with an odd denominator is the real root and not the principal one, and the two
    /// kinds do not mix: (-1)^(1/2)·(-1)^(1/6) is not (-1)^(2/3).
    pub(crate) fn joins(self, other: Self, joined: Self) -> bool {
        if self.is_integer() || other.is_integer() {
            return true;
        }
        match (self.is_even_root(), other.is_even_root()) {
            (true, true) => joined.is_integer() || joined.is_even_root(),
            (false, false) => true,
            _ => false,
        }
    }
}

impl Ord for Exponent {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = i64::from(self.numerator) * i64::from(other.denominator);
        let right = i64::from(other.numerator) * i64::from(self.denominator);
        left.cmp(&right)
    }
}

impl PartialOrd for Exponent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Exponent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_integer(), self.is_negative()) {
            (true, false) => write!(formatter, "{}", self.numerator),
            (true, true) => write!(formatter, "({})", self.numerator),
            (false, _) => write!(formatter, "({}/{})", self.numerator, self.denominator),
        }
    }
}

pub(crate) fn common_divisor(mut left: u128, mut right: u128) -> u128 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left.max(1)
}
