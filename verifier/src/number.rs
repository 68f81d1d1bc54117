//! Reads numbers exactly: integers of any size, decimals, fractions, mixed numbers, multiples of powers of ten.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::limits::MAX_EXPONENT;

/// The text asks for a number beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exponent above {MAX_EXPONENT}")]
pub(crate) struct NumberTooLarge;

/// The number that the whole text spells, or nothing if it spells none. Commands are expected as `notation`
/// leaves them.
pub(crate) fn parse_number(text: &str) -> Result<Option<BigRational>, NumberTooLarge> {
    let joined = join_groups_of_three(text.trim());
    let mut cursor = Cursor {
        rest: joined.as_deref().unwrap_or(text.trim()),
    };
    let negative = cursor.take_sign();
    let Some(magnitude) = parse_magnitude(&mut cursor)? else {
        return Ok(None);
    };
    if !cursor.rest.is_empty() {
        return Ok(None);
    }
    Ok(Some(if negative { -magnitude } else { magnitude }))
}

fn parse_magnitude(cursor: &mut Cursor) -> Result<Option<BigRational>, NumberTooLarge> {
    if cursor.take_command("\\frac") {
        return Ok(cursor.take_fraction_arguments());
    }
    let Some(first) = cursor.take_decimal() else {
        return Ok(None);
    };
    let spaced = cursor.skip_spaces();
    if cursor.rest.is_empty() {
        return Ok(Some(first));
    }
    if cursor.take("/") {
        cursor.skip_spaces();
        let denominator = cursor.take_decimal();
        return Ok(denominator.and_then(|denominator| quotient(first, &denominator)));
    }
    if cursor.take_command("\\times") || cursor.take_command("\\cdot") {
        return Ok(cursor.take_power_of_ten()?.map(|power| first * power));
    }
    // What is left to be is the fraction of a mixed number: `2\frac{1}{3}` or `2 1/3`.
    if !first.is_integer() {
        return Ok(None);
    }
    let fraction = if cursor.take_command("\\frac") {
        cursor.take_fraction_arguments()
    } else if spaced {
        cursor.take_slash_fraction()
    } else {
        None
    };
    // `2\frac{5}{3}` and `2\frac{-1}{3}` are no mixed numbers, and 0 has no fraction beside it.
    let mixed = fraction
        .filter(|fraction| !first.is_zero() && *fraction > BigRational::zero() && *fraction < BigRational::one())
        .map(|fraction| first + fraction);
    Ok(mixed)
}

fn quotient(numerator: BigRational, denominator: &BigRational) -> Option<BigRational> {
    if denominator.is_zero() {
        None
    } else {
        Some(numerator / denominator)
    }
}

/// `12 345 678` without its spaces. Only a text that is nothing but such groups: elsewhere a space may mean anything.
fn join_groups_of_three(text: &str) -> Option<String> {
    if !text.contains(' ') {
        return None;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).trim_start();
    let whole = unsigned.split_once('.').map_or(unsigned, |(whole, _)| whole);
    let mut groups = whole.split(' ');
    let first = groups.next()?;
    if !is_leading_group(first) {
        return None;
    }
    let mut count = 0;
    for group in groups {
        if group.len() != 3 || !is_digits(group) {
            return None;
        }
        count += 1;
    }
    if count == 0 {
        return None;
    }
    Some(text.replace(' ', ""))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One to three digits that do not start with zero, as before a thousands separator.
fn is_leading_group(text: &str) -> bool {
    text.len() <= 3 && is_digits(text) && !text.starts_with('0')
}

/// What is left to read.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a command and the spaces after it, but no longer command that starts with the same letters.
    fn take_command(&mut self, command: &str) -> bool {
        let Some(rest) = self.rest.strip_prefix(command) else {
            return false;
        };
        if rest.starts_with(|next: char| next.is_ascii_alphabetic()) {
            return false;
        }
        self.rest = rest.trim_start_matches(' ');
        true
    }

    fn skip_spaces(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches(' ');
        self.rest.len() < before
    }

    /// Whether a minus sign was taken; a plus sign is taken as well.
    fn take_sign(&mut self) -> bool {
        let negative = self.take("-");
        if !negative {
            self.take("+");
        }
        self.skip_spaces();
        negative
    }

    fn take_digits(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|next: char| !next.is_ascii_digit())
            .unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }

    /// `12`, `1,234`, `1.5`, `.5`, `5.` — without a sign.
    fn take_decimal(&mut self) -> Option<BigRational> {
        let first_group = self.take_digits();
        let mut digits = first_group.to_owned();
        while self.rest.starts_with(',') {
            // A comma that separates no thousands separates the entries of a list: no number.
            if !is_leading_group(first_group) {
                return None;
            }
            self.take(",");
            let group = self.take_digits();
            if group.len() != 3 {
                return None;
            }
            digits.push_str(group);
        }
        let mut decimals = "";
        if self.take(".") {
            decimals = self.take_digits();
            digits.push_str(decimals);
        }
        let numerator: BigInt = digits.parse().ok()?;
        if decimals.is_empty() {
            return Some(BigRational::from_integer(numerator));
        }
        Some(BigRational::new(numerator, power_of_ten(decimals.len() as u32)))
    }

    /// Both arguments of `\frac`: in braces, or one digit each.
    fn take_fraction_arguments(&mut self) -> Option<BigRational> {
        let numerator = self.take_argument()?;
        self.skip_spaces();
        let denominator = self.take_argument()?;
        quotient(numerator, &denominator)
    }

    fn take_argument(&mut self) -> Option<BigRational> {
        if self.take("{") {
            self.skip_spaces();
            let negative = self.take_sign();
            let magnitude = self.take_decimal()?;
            self.skip_spaces();
            if !self.take("}") {
                return None;
            }
            return Some(if negative { -magnitude } else { magnitude });
        }
        let digit = self.rest.chars().next()?.to_digit(10)?;
        self.rest = &self.rest[1..];
        Some(BigRational::from_integer(BigInt::from(digit)))
    }

    /// `1/3`, digits only.
    fn take_slash_fraction(&mut self) -> Option<BigRational> {
        let numerator: BigInt = self.take_digits().parse().ok()?;
        self.skip_spaces();
        if !self.take("/") {
            return None;
        }
        self.skip_spaces();
        let denominator: BigInt = self.take_digits().parse().ok()?;
        quotient(
            BigRational::from_integer(numerator),
            &BigRational::from_integer(denominator),
        )
    }

    /// `10^{-3}`, `10^5`.
    fn take_power_of_ten(&mut self) -> Result<Option<BigRational>, NumberTooLarge> {
        if !self.take("10") {
            return Ok(None);
        }
        self.skip_spaces();
        if !self.take("^") {
            return Ok(None);
        }
        self.skip_spaces();
        let braced = self.take("{");
        self.skip_spaces();
        let negative = self.take_sign();
        let digits = self.take_digits();
        self.skip_spaces();
        if digits.is_empty() || (braced && !self.take("}")) {
            return Ok(None);
        }
        let exponent: u32 = digits.parse().map_err(|_| NumberTooLarge)?;
        if exponent > MAX_EXPONENT {
            return Err(NumberTooLarge);
        }
        let power = power_of_ten(exponent);
        let value = if negative {
            BigRational::new(BigInt::one(), power)
        } else {
            BigRational::from_integer(power)
        };
        Ok(Some(value))
    }
}

fn power_of_ten(exponent: u32) -> BigInt {
    BigInt::from(10).pow(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(numerator: i64, denominator: i64) -> Option<BigRational> {
        Some(BigRational::new(numerator.into(), denominator.into()))
    }

    #[test]
    fn reads_numbers_exactly() {
        for (text, numerator, denominator) in [
            ("7", 7, 1),
            ("007", 7, 1),
            ("-7", -7, 1),
            ("+7", 7, 1),
            ("- 7", -7, 1),
            ("142.0", 142, 1),
            ("5.", 5, 1),
            (".5", 1, 2),
            ("-.25", -1, 4),
            ("1,000", 1000, 1),
            ("12,345,678.5", 24_691_357, 2),
            ("10 000", 10_000, 1),
            ("-10 000.5", -20_001, 2),
            ("3/4", 3, 4),
            ("-3 / 4", -3, 4),
            ("2/4", 1, 2),
            ("\\frac{3}{4}", 3, 4),
            ("\\frac34", 3, 4),
            ("\\frac 34", 3, 4),
            ("\\frac3{14}", 3, 14),
            ("\\frac{13}2", 13, 2),
            ("\\frac {13} {2}", 13, 2),
            ("\\frac{-3}{4}", -3, 4),
            ("-\\frac{3}{-4}", 3, 4),
            ("2\\frac{1}{3}", 7, 3),
            ("-2 \\frac13", -7, 3),
            ("2 1/3", 7, 3),
            ("1.39 \\times 10^9", 1_390_000_000, 1),
            ("5 \\cdot 10^{-3}", 1, 200),
        ] {
            assert_eq!(parse_number(text), Ok(ratio(numerator, denominator)), "{text:?}");
        }
    }

    #[test]
    fn takes_nothing_else_for_a_number() {
        for text in [
            "",
            "-",
            "+",
            ".",
            ",",
            "--5",
            "x",
            "5x",
            "1/0",
            "\\frac{1}{0}",
            "\\frac10",
            "1,00",
            "1,0000",
            "0,123",
            "1,234,5",
            "3,14",
            "1, 000",
            "1 2",
            "11 2/3x",
            "1 5/3",
            "0 1/3",
            "2.5 1/3",
            "2\\frac{5}{3}",
            "1 0000",
            "1/2/3",
            "2^{10}",
            "1.2.3",
            "\\frac{1}{x}",
            "\\frac{1}{2}3",
            "\\fraction12",
            "1e5",
            "2 \\times 3",
            "5 \\times 10",
            "5 \\times 10^{",
            "0.\\overline{3}",
            "\u{0663}",
        ] {
            assert_eq!(parse_number(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn an_exponent_has_a_bound() {
        assert!(parse_number("1 \\times 10^{4096}").unwrap().is_some());
        assert_eq!(parse_number("1 \\times 10^{4097}"), Err(NumberTooLarge));
        assert_eq!(
            parse_number("1 \\times 10^{-99999999999999999999}"),
            Err(NumberTooLarge)
        );
    }
}
