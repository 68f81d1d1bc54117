//! Arithmetic modulo an odd number of one word, in Montgomery's form: a residue a is kept as a·2^64.

use dashu_base::Sign;
use dashu_int::{IBig, UBig};

/// An odd modulus above 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Modulus {
    value: u64,
    /// The inverse of the modulus modulo 2^64.
    inverse: u64,
    /// 2^128 modulo the modulus; multiplying by it brings a residue into the form.
    into_form: u64,
}

/// A residue of one [`Modulus`], in its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Residue(u64);

impl Residue {
    pub(crate) const ZERO: Self = Self(0);

    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// A word that is different for different residues of one modulus.
    pub(crate) fn word(self) -> u64 {
        self.0
    }
}

impl Modulus {
    pub(crate) fn new(value: u64) -> Self {
        debug_assert!(value % 2 == 1 && value > 1);
        // Newton's iteration doubles the right bits; an odd number is its own inverse modulo 8.
        let mut inverse = value;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(value.wrapping_mul(inverse)));
        }
        let word = (1u128 << 64) % u128::from(value);
        let into_form = (word * word % u128::from(value)) as u64;
        Self {
            value,
            inverse,
            into_form,
        }
    }

    pub(crate) fn value(&self) -> u64 {
        self.value
    }

    pub(crate) fn one(&self) -> Residue {
        self.residue(1)
    }

    pub(crate) fn residue(&self, value: u64) -> Residue {
        self.multiply(Residue(value % self.value), Residue(self.into_form))
    }

    pub(crate) fn multiply(&self, left: Residue, right: Residue) -> Residue {
        let product = u128::from(left.0) * u128::from(right.0);
        let (high, low) = ((product >> 64) as u64, product as u64);
        let multiple = u128::from(low.wrapping_mul(self.inverse)) * u128::from(self.value);
        let (difference, borrowed) = high.overflowing_sub((multiple >> 64) as u64);
        Residue(if borrowed {
            difference.wrapping_add(self.value)
        } else {
            difference
        })
    }

    pub(crate) fn add(&self, left: Residue, right: Residue) -> Residue {
        let sum = u128::from(left.0) + u128::from(right.0);
        let modulus = u128::from(self.value);
        Residue(if sum >= modulus { sum - modulus } else { sum } as u64)
    }

    pub(crate) fn negate(&self, residue: Residue) -> Residue {
        Residue(if residue.0 == 0 { 0 } else { self.value - residue.0 })
    }

    pub(crate) fn power(&self, base: Residue, mut exponent: u64) -> Residue {
        let mut result = self.one();
        let mut square = base;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.multiply(result, square);
            }
            square = self.multiply(square, square);
            exponent >>= 1;
        }
        result
    }

    /// The inverse modulo a prime, by Fermat's little theorem; `None` for zero.
    pub(crate) fn invert(&self, residue: Residue) -> Option<Residue> {
        (!residue.is_zero()).then(|| self.power(residue, self.value - 2))
    }

    /// The residue of a natural number, and the number of its words.
    pub(crate) fn reduce(&self, value: &UBig) -> Residue {
        let word = self.residue_of_word_size();
        let mut result = Residue::ZERO;
        for &part in value.as_words().iter().rev() {
            result = self.add(self.multiply(result, word), self.residue(part));
        }
        result
    }

    /// The residue of an integer.
    pub(crate) fn reduce_signed(&self, value: &IBig) -> Residue {
        let (sign, words) = value.as_sign_words();
        let word = self.residue_of_word_size();
        let mut result = Residue::ZERO;
        for &part in words.iter().rev() {
            result = self.add(self.multiply(result, word), self.residue(part));
        }
        if sign == Sign::Negative {
            self.negate(result)
        } else {
            result
        }
    }

    /// 2^64 in the form is 2^128.
    fn residue_of_word_size(&self) -> Residue {
        Residue(self.into_form)
    }
}

/// Whether a number is prime, without error: the bases are enough for all numbers of 64 bits (Sinclair).
pub(crate) fn is_prime(value: u64) -> bool {
    const SMALL: [u64; 15] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47];
    const BASES: [u64; 7] = [2, 325, 9375, 28_178, 450_775, 9_780_504, 1_795_265_022];
    if value < 2 {
        return false;
    }
    for prime in SMALL {
        if value.is_multiple_of(prime) {
            return value == prime;
        }
    }
    let modulus = Modulus::new(value);
    let (one, minus_one) = (modulus.one(), modulus.negate(modulus.one()));
    let twos = (value - 1).trailing_zeros();
    let odd = (value - 1) >> twos;
    BASES.iter().all(|&base| {
        let base = modulus.residue(base);
        let mut power = modulus.power(base, odd);
        if base.is_zero() || power == one || power == minus_one {
            return true;
        }
        for _ in 1..twos {
            power = modulus.multiply(power, power);
            if power == minus_one {
                return true;
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_primes() {
        let primes: Vec<u64> = (0..60).filter(|&value| is_prime(value)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]);
        assert!(is_prime(18_446_744_073_709_551_557));
        assert!(is_prime((1 << 61) - 1));
        assert!(!is_prime(3_215_031_751));
        assert!(!is_prime(3_825_123_056_546_413_051));
        assert!(!is_prime(18_446_744_073_709_551_615));
        let below_million = (1..1_000_000).filter(|&value| is_prime(value)).count();
        assert_eq!(below_million, 78_498);
    }

    #[test]
    fn calculates_modulo_a_prime() {
        let modulus = Modulus::new((1 << 61) - 1);
        let huge: IBig = IBig::from(-3) * IBig::from(2).pow(6100);
        // 2^61 is 1.
        assert_eq!(modulus.reduce_signed(&huge), modulus.negate(modulus.residue(3)));
        let seven = modulus.residue(7);
        let inverse = modulus.invert(seven).unwrap();
        assert_eq!(modulus.multiply(seven, inverse), modulus.one());
        assert_eq!(modulus.invert(Residue::ZERO), None);
        assert_eq!(modulus.reduce(&UBig::from(1u128 << 122)), modulus.one());
    }
}
