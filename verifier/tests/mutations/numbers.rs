//! Integers, fractions, decimals, scientific notation and numbers in a base.

use crate::rational::Rational;
use crate::sink::Target;

/// Digits in groups of three.
pub(crate) fn grouped(value: i128, separator: &str) -> String {
    let digits = value.abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push_str(separator);
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// An integer, however it is written as the ground truth.
pub(crate) fn integer(target: &mut Target<'_>, value: i128) {
    let number = Rational::integer(value);
    let (sign, size) = (number.sign(), value.abs());
    target.same_wrapped();
    target.same("plain digits", value.to_string());
    target.same("trailing .0", format!("{value}.0"));
    target.same("trailing .00", format!("{value}.00"));
    target.same("trailing full stop", format!("{value}."));
    target.same("\\text wrapper", format!("\\text{{{value}}}"));
    target.same("\\mathrm wrapper", format!("\\mathrm{{{value}}}"));
    target.same("\\mathbf wrapper", format!("\\mathbf{{{value}}}"));
    target.same("extra braces", format!("{{{value}}}"));
    target.same("brackets around it", format!("\\left({value}\\right)"));
    target.same("trailing unit", format!("{value}\\text{{ units}}"));
    target.same("x= prefix", format!("x={value}"));
    target.same("n = prefix", format!("n = {value}"));
    target.same("prefix with \\text", format!("\\text{{Answer: }} {value}"));
    target.same("leading zero", format!("{sign}0{size}"));
    target.same("over one", format!("\\frac{{{value}}}{{1}}"));
    target.same("over one, slash", format!("{value}/1"));
    target.same("not reduced", format!("\\frac{{{}}}{{7}}", 7 * value));
    target.same("a sum", format!("{} + 1", value - 1));
    target.same(
        "a product",
        format!("2 \\cdot ({}) - {}", value, value).replace("- -", "+ "),
    );
    target.same("scientific", format!("{value} \\times 10^{{0}}"));
    target.same(
        "a difference of unlike decimals",
        format!("{value}.5 - {sign}0.5").replace("- -", "+ "),
    );
    if size >= 1000 {
        target.same("thousands with a comma", grouped(value, ","));
        target.same("thousands with {,}", grouped(value, "{,}"));
        target.same("thousands with ,\\!", grouped(value, ",\\!"));
        target.same("thousands with a thin space", grouped(value, "\\,"));
        if !target.truth().contains(',') {
            target.differs("a list of its groups", grouped(value, ", "));
        }
    }
    if value < 0 {
        target.same("unicode minus", format!("−{size}"));
        target.same("blank after the sign", format!("- {size}"));
        target.same("negated brackets", format!("-({size})"));
        target.differs("absolute value", format!("|{value}|"));
    } else {
        target.same("plus sign", format!("+{value}"));
        target.same("twice negated", format!("-(-{value})"));
        target.same("absolute value of the negative", format!("|-{value}|"));
        target.same(
            "square root of the square",
            format!("\\sqrt{{{}}}", i128::pow(value.min(1 << 60), 2)),
        );
        target.differs("square root of n+1", format!("\\sqrt{{{}}}", value + 1));
    }
    target.all_differ(number.near_misses());
    let last = value % 10;
    target.differs("last digit changed", (value - last + (last + 3) % 10).to_string());
    target.differs("plus a half", format!("{value}.5"));
    target.differs("plus a millionth", format!("{value}.000001"));
    target.differs(
        "too small a difference for a float",
        format!("{value}.00000000000000000000001"),
    );
    target.differs("digit in front", format!("{sign}1{size}"));
    target.differs("off by two", (value + 2).to_string());
    if value != -1 {
        target.differs("a range", format!("{value} - {}", value + 1).replace("- -", "+ "));
    }
    if size >= 10 {
        target.differs("last digit dropped", (value / 10).to_string());
        let (tens, ones) = (size / 10 % 10, size % 10);
        if tens != ones {
            target.differs(
                "last digits swapped",
                format!("{sign}{}", size / 100 * 100 + ones * 10 + tens),
            );
        }
        target.differs(
            "a decimal point in it",
            format!("{sign}{}.{}", size / 10, size % 10).replace(".0", ".05"),
        );
    }
    if (3..=20).contains(&value) {
        target.differs("its factorial", format!("{value}!"));
    }
}

/// A fraction that is no integer.
pub(crate) fn rational(target: &mut Target<'_>, value: Rational) {
    target.same_wrapped();
    target.all_same(value.fraction_spellings());
    target.same("x = prefix", format!("x = {}", value.latex()));
    target.same("trailing unit", format!("{}\\text{{ units}}", value.latex()));
    target.same("trailing full stop", format!("{}.", value.latex()));
    target.all_differ(value.near_misses());
    target.all_differ(value.fraction_near_misses());
}

/// A decimal, given by its digits: `-12.50`.
pub(crate) fn decimal(target: &mut Target<'_>, digits: &str) {
    let Some(value) = decimal_value(digits) else {
        return;
    };
    let places = value.decimal_places().unwrap_or(0);
    let written = value.truncated(places.max(1));
    let scale = 10_i128.pow(places);
    let scaled = value.numerator * scale / value.denominator;
    target.same_wrapped();
    target.same("identical value", value.truncated(places));
    target.same("trailing zero", format!("{written}0"));
    target.same("trailing zeros", format!("{written}000"));
    target.same("trailing full stop", format!("{written}."));
    target.same("x = prefix", format!("x = {written}"));
    target.same("\\text wrapper", format!("\\text{{{written}}}"));
    target.same("trailing unit", format!("{written}\\text{{ units}}"));
    target.same("fraction over a power of ten", format!("\\frac{{{scaled}}}{{{scale}}}"));
    target.same("a/b", format!("{scaled}/{scale}"));
    target.same("scientific", format!("{scaled} \\times 10^{{-{places}}}"));
    target.same("e-notation", format!("{scaled}e-{places}"));
    target.same("a sum", format!("{written} + 0.25 - \\frac{{1}}{{4}}"));
    if value.is_integer() {
        target.same("without its decimals", value.latex());
    } else {
        target.all_same(value.fraction_spellings());
        target.differs("rounded to a whole number", value.truncated(0));
    }
    if written.starts_with("0.") || written.starts_with("-0.") {
        target.same("without the leading zero", written.replacen("0.", ".", 1));
    } else {
        let sign = value.sign();
        target.same("leading zero", format!("{sign}0{}", written.trim_start_matches('-')));
    }
    target.all_differ(value.near_misses());
    target.differs("numerator +1", format!("\\frac{{{}}}{{{scale}}}", scaled + 1));
    target.differs("last digit changed", Rational::new(scaled + 1, scale).truncated(places));
    target.differs("a digit more", format!("{}1", value.truncated(places.max(1))));
    target.differs(
        "a digit far behind",
        format!("{}00000000000000000000001", value.truncated(places.max(1))),
    );
    if places >= 2 {
        target.differs("a digit less", value.truncated(places - 1));
    }
    if scaled != 0 {
        if places > 0 {
            target.differs("decimal point dropped", scaled.to_string());
        }
        target.differs(
            "decimal point moved right",
            value.times(Rational::integer(10)).truncated(places),
        );
        target.differs(
            "decimal point moved left",
            value.times(Rational::new(1, 10)).truncated(places + 1),
        );
    }
}

/// The value of `-12.50`, `.5`.
pub(crate) fn decimal_value(digits: &str) -> Option<Rational> {
    let (sign, size) = digits.strip_prefix('-').map_or((1, digits), |size| (-1, size));
    let (whole, part) = size.split_once('.')?;
    let all = format!("{whole}{part}");
    if part.is_empty() || all.len() > 15 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(part.len()).ok()?);
    Some(Rational::new(sign * all.parse::<i128>().ok()?, scale))
}

/// `mantissa · 10^exponent`; the mantissa in hundredths.
pub(crate) fn scientific(target: &mut Target<'_>, hundredths: i128, exponent: i128) {
    let mantissa_of = |hundredths: i128| Rational::new(hundredths, 100).truncated(2);
    let mantissa = mantissa_of(hundredths);
    let plus = if exponent < 0 { "" } else { "+" };
    target.same_wrapped();
    target.same("no spaces", format!("{mantissa}\\times10^{{{exponent}}}"));
    target.same("\\cdot", format!("{mantissa} \\cdot 10^{{{exponent}}}"));
    target.same("unicode times", format!("{mantissa} × 10^{{{exponent}}}"));
    target.same("star", format!("{mantissa}*10^{{{exponent}}}"));
    target.same("star, two stars", format!("{mantissa}*10**({exponent})"));
    target.same("e-notation", format!("{mantissa}e{exponent}"));
    target.same("E-notation with a sign", format!("{mantissa}E{plus}{exponent}"));
    target.same(
        "a digit more in the mantissa",
        format!("{mantissa}0 \\times 10^{{{exponent}}}"),
    );
    target.same(
        "mantissa ten times larger",
        format!("{} \\times 10^{{{}}}", mantissa_of(hundredths * 10), exponent - 1),
    );
    target.same(
        "mantissa a whole number",
        format!("{hundredths} \\times 10^{{{}}}", exponent - 2),
    );
    target.same("power first", format!("10^{{{exponent}}} \\times {mantissa}"));
    target.same(
        "braces around the base",
        format!("{mantissa}\\times{{10}}^{{{exponent}}}"),
    );
    target.same("x = prefix", format!("x = {mantissa} \\times 10^{{{exponent}}}"));
    target.same(
        "a unit added",
        format!("{mantissa} \\times 10^{{{exponent}}} \\text{{ m}}"),
    );
    target.same(
        "a unit in \\mathrm",
        format!("{mantissa} \\times 10^{{{exponent}}}~\\mathrm{{kg}}"),
    );
    target.same(
        "brackets",
        format!("\\left({mantissa}\\right) \\times 10^{{{exponent}}}"),
    );
    if exponent < 0 {
        target.same(
            "over the power",
            format!("\\frac{{{mantissa}}}{{10^{{{}}}}}", -exponent),
        );
        target.same("unicode minus", format!("{mantissa} \\times 10^{{−{}}}", -exponent));
        let zeros = "0".repeat((-exponent - 1) as usize);
        if hundredths >= 100 {
            target.same("written out", format!("0.{zeros}{hundredths}"));
            target.differs("a zero too many", format!("0.{zeros}0{hundredths}"));
        }
    } else if exponent >= 2 {
        let zeros = "0".repeat((exponent - 2) as usize);
        target.same("written out", format!("{hundredths}{zeros}"));
        target.differs("a zero too many", format!("{hundredths}{zeros}0"));
        if exponent >= 3 {
            let plus_one = (10_i128.pow(exponent as u32 - 2) + 1).to_string();
            target.differs("written out, plus one", format!("{hundredths}{}", &plus_one[1..]));
        }
    }
    let power = format!("10^{{{exponent}}}");
    target.differs("sign flipped", format!("-{mantissa} \\times {power}"));
    target.differs("zero", "0");
    target.differs(
        "mantissa +1",
        format!("{} \\times {power}", mantissa_of(hundredths + 100)),
    );
    target.differs(
        "last digit of the mantissa",
        format!("{} \\times {power}", mantissa_of(hundredths + 1)),
    );
    target.differs("a digit behind the mantissa", format!("{mantissa}1 \\times {power}"));
    target.differs("exponent +1", format!("{mantissa}e{}", exponent + 1));
    target.differs("exponent -1", format!("{mantissa} \\times 10^{{{}}}", exponent - 1));
    if exponent != 0 {
        target.differs(
            "exponent sign flipped",
            format!("{mantissa} \\times 10^{{{}}}", -exponent),
        );
        target.differs("another base", format!("{mantissa} \\times 11^{{{exponent}}}"));
        target.differs("mantissa only", mantissa.clone());
    }
    if exponent != 1 {
        target.differs("power lost", format!("{mantissa} \\times 10"));
        target.differs(
            "exponent as a factor",
            format!("{mantissa} \\times 10 \\cdot {exponent}"),
        );
    }
    target.differs("plus instead of times", format!("{mantissa} + {power}"));
    if hundredths != 100 {
        target.differs("power only", power);
    }
    target.differs(
        "two guesses",
        format!(
            "{mantissa} \\times 10^{{{exponent}}}, {mantissa} \\times 10^{{{}}}",
            exponent + 1
        ),
    );
}

/// The names of bases.
const BASE_NAMES: [(u32, &str); 6] = [
    (2, "two"),
    (3, "three"),
    (4, "four"),
    (5, "five"),
    (8, "eight"),
    (9, "nine"),
];

/// Digits in a base from 2 to 16, in upper case.
pub(crate) fn in_base(target: &mut Target<'_>, digits: &str, base: u32) {
    target.same_wrapped();
    target.same("n_b", format!("{digits}_{{{base}}}"));
    target.same("extra braces", format!("{{{digits}}}_{{{base}}}"));
    target.same("blank before _", format!("{digits} _{{{base}}}"));
    target.same("blank after _", format!("{digits}_ {{{base}}}"));
    target.same("brackets", format!("({digits})_{{{base}}}"));
    target.same("\\left \\right", format!("\\left({digits}\\right)_{{{base}}}"));
    target.same("dollar signs, braces", format!("${digits}_{{{base}}}$"));
    target.same("base in \\text", format!("{digits}_{{\\text{{{base}}}}}"));
    target.same("base in brackets", format!("{digits}_{{({base})}}"));
    target.same("leading zero", format!("0{digits}_{{{base}}}"));
    target.same("x = prefix", format!("x = {digits}_{{{base}}}"));
    target.same("digits in \\text", format!("\\text{{{digits}}}_{{{base}}}"));
    target.same("digits in \\mathrm", format!("\\mathrm{{{digits}}}_{{{base}}}"));
    target.same("trailing full stop", format!("{digits}_{{{base}}}."));
    if base < 10 {
        target.same("n_b without braces", format!("{digits}_{base}"));
    }
    for (value, name) in BASE_NAMES {
        if value == base {
            target.same("base as a word", format!("{digits}_{{\\text{{{name}}}}}"));
        }
    }
    let last = digits.chars().last().and_then(|digit| digit.to_digit(16)).unwrap_or(0);
    let head = &digits[..digits.len() - 1];
    let other = char::from_digit((last + 1) % base, 16)
        .unwrap_or('0')
        .to_ascii_uppercase();
    target.differs("last digit changed", format!("{head}{other}_{{{base}}}"));
    target.differs("times base", format!("{digits}0_{{{base}}}"));
    target.differs("digit in front", format!("1{digits}_{{{base}}}"));
    target.differs("sign flipped", format!("-{digits}_{{{base}}}"));
    target.differs("two guesses", format!("{digits}_{{{base}}}, {digits}0_{{{base}}}"));
    target.differs("plus one", format!("{digits}_{{{base}}} + 1"));
    target.differs("off by one in the last place", format!("{digits}.1_{{{base}}}"));
    if digits.len() > 1 {
        target.differs("last digit dropped", format!("{head}_{{{base}}}"));
        target.differs("next base", format!("{digits}_{{{}}}", base + 1));
        target.differs("twice the base", format!("{digits}_{{{}}}", 2 * base));
        target.differs("squared", format!("({digits}_{{{base}}})^2"));
        if base <= 10 {
            target.differs("base as an exponent", format!("{digits}^{{{base}}}"));
        }
        target.differs("base as another digit", format!("{digits}{base}"));
        let reversed: String = digits.chars().rev().collect();
        if reversed != digits {
            target.differs("digits reversed", format!("{reversed}_{{{base}}}"));
        }
    }
}
