//! Points at which expressions are evaluated. The value of a name is a function of the seed and the name alone, so that
//! both sides of a comparison, and every machine, see the same point.

use std::hash::{Hash, Hasher};

use dashu_int::IBig;

use super::complex::Complex;
use super::real::Ball;
use crate::expression::Expression;

/// Random bits of a coordinate.
const COORDINATE_BITS: u32 = 40;

/// The signs of the coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signs {
    /// All positive.
    Positive,
    /// All negative.
    Negative,
    /// Each at random.
    Mixed,
    /// Each as the bit says that [`slot`] gives its name.
    Chosen {
        /// The seed of the bits.
        seed: u64,
        /// The bits of those that are negative.
        negative: u64,
    },
}

impl Signs {
    /// Whether no coordinate is negative.
    pub fn are_positive(self) -> bool {
        matches!(self, Self::Positive | Self::Chosen { negative: 0, .. })
    }
}

/// The bit of a name, from 0 to 63. Two names may share one; with another seed they do not.
pub(super) fn slot(seed: u64, name: &str) -> u32 {
    let mut hasher = Fnv::seeded(seed);
    name.hash(&mut hasher);
    (hasher.mixed() >> 58) as u32
}

/// A point: a value for every name.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The seed: another one makes another point.
    pub seed: u64,
    /// The signs of its coordinates.
    pub signs: Signs,
    /// Coordinates are from 2^scale/8 to 2^scale·9/8; inverse functions want small ones.
    pub scale: i64,
    /// Whether coordinates have an imaginary part.
    pub complex: bool,
}

impl Point {
    /// The value of a variable.
    pub fn symbol(&self, name: &str) -> Complex {
        let mut hasher = Fnv::seeded(self.seed);
        name.hash(&mut hasher);
        let random = hasher.mixed();
        let real = match self.signs {
            Signs::Chosen { seed, negative } => self.signed(random, negative >> slot(seed, name) & 1 == 1),
            _ => self.coordinate(random),
        };
        if !self.complex {
            return Complex::from_real(real);
        }
        hasher.write_u8(1);
        Complex {
            real,
            imaginary: self.coordinate(hasher.mixed()),
        }
    }

    /// A coordinate from 64 random bits: 40 of them for the size, and one for the sign.
    fn coordinate(&self, random: u64) -> Ball {
        let negative = match self.signs {
            Signs::Positive => false,
            Signs::Negative => true,
            Signs::Mixed | Signs::Chosen { .. } => random & 1 == 1,
        };
        self.signed(random, negative)
    }

    fn signed(&self, random: u64, negative: bool) -> Ball {
        let fraction = (random >> (64 - COORDINATE_BITS)) + (1 << (COORDINATE_BITS - 3));
        // Odd, so that no coordinate is a simple number.
        let mantissa = IBig::from(2 * fraction + 1);
        let exponent = self.scale - i64::from(COORDINATE_BITS) - 1;
        Ball::exact(if negative { -mantissa } else { mantissa }, exponent)
    }
}

/// A real number for a key, in no way related to those of other keys.
pub(super) fn arbitrary(mut hasher: Fnv) -> Ball {
    hasher.write_u8(2);
    let point = Point {
        seed: 0,
        signs: Signs::Mixed,
        scale: 1,
        complex: false,
    };
    point.coordinate(hasher.mixed())
}

/// The FNV-1a hash, which is the same everywhere and always.
#[derive(Clone, Debug)]
pub struct Fnv(u64);

impl Fnv {
    /// A hasher that starts from a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(0xcbf2_9ce4_8422_2325 ^ seed)
    }

    /// The hash with all its bits stirred: FNV leaves the high bits of short keys alike.
    pub fn mixed(&self) -> u64 {
        let mut bits = self.0;
        for multiplier in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
            bits = (bits ^ bits >> 33).wrapping_mul(multiplier);
        }
        bits ^ bits >> 33
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, value: u64) {
        // A word at a time; `mixed` makes up for the weaker mixing.
        self.0 = (self.0 ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// Hashes an expression, so that the points that try it cannot be known from elsewhere.
pub(super) fn hash_expression(expression: &Expression, hasher: &mut Fnv) {
    match expression {
        Expression::Number(value) => {
            hasher.write_u8(1);
            value.hash(hasher);
        }
        Expression::Constant(constant) => {
            hasher.write_u8(2);
            constant.hash(hasher);
        }
        Expression::Symbol(name) => {
            hasher.write_u8(3);
            name.hash(hasher);
        }
        Expression::Sum(parts) | Expression::Product(parts) | Expression::Call(_, parts) => {
            match expression {
                Expression::Sum(_) => hasher.write_u8(4),
                Expression::Call(function, _) => function.hash(hasher),
                _ => hasher.write_u8(5),
            }
            hasher.write_usize(parts.len());
            for part in parts {
                hash_expression(part, hasher);
            }
        }
        Expression::Power(base, exponent) => {
            hasher.write_u8(6);
            hash_expression(base, hasher);
            hash_expression(exponent, hasher);
        }
    }
}
