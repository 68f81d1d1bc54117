//! Small rational numbers and the ways in which people write them.

/// A fraction in lowest terms with a positive denominator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rational {
    /// The numerator, which carries the sign.
    pub(crate) numerator: i128,
    /// The denominator, which is positive.
    pub(crate) denominator: i128,
}

fn greatest_common_divisor(left: i128, right: i128) -> i128 {
    if right == 0 {
        left.abs()
    } else {
        greatest_common_divisor(right, left % right)
    }
}

impl Rational {
    /// Reduces; the denominator must not be zero.
    pub(crate) fn new(numerator: i128, denominator: i128) -> Self {
        let divisor = greatest_common_divisor(numerator, denominator) * denominator.signum();
        Self {
            numerator: numerator / divisor,
            denominator: denominator / divisor,
        }
    }

    /// A whole number.
    pub(crate) fn integer(value: i128) -> Self {
        Self::new(value, 1)
    }

    /// Whether it is whole.
    pub(crate) fn is_integer(self) -> bool {
        self.denominator == 1
    }

    /// The sum.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self::new(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )
    }

    /// The product.
    pub(crate) fn times(self, other: Self) -> Self {
        Self::new(self.numerator * other.numerator, self.denominator * other.denominator)
    }

    /// The negative.
    pub(crate) fn negated(self) -> Self {
        Self::new(-self.numerator, self.denominator)
    }

    /// The sign as it is written.
    pub(crate) fn sign(self) -> &'static str {
        if self.numerator < 0 { "-" } else { "" }
    }

    /// The spelling of textbooks.
    pub(crate) fn latex(self) -> String {
        if self.is_integer() {
            return self.numerator.to_string();
        }
        format!(
            "{}\\frac{{{}}}{{{}}}",
            self.sign(),
            self.numerator.abs(),
            self.denominator
        )
    }

    /// Decimal digits, cut off after `places` places.
    pub(crate) fn truncated(self, places: u32) -> String {
        let scale = 10_i128.pow(places);
        let digits = self.numerator.abs() * scale / self.denominator;
        let (whole, part) = (digits / scale, digits % scale);
        if places == 0 {
            return format!("{}{whole}", self.sign());
        }
        format!("{}{whole}.{part:0width$}", self.sign(), width = places as usize)
    }

    /// How many decimal places it takes to write the number, if it ends.
    pub(crate) fn decimal_places(self) -> Option<u32> {
        (0..25).find(|places| 10_i128.pow(*places) % self.denominator == 0)
    }

    /// All digits, if they end.
    pub(crate) fn finite_decimal(self) -> Option<String> {
        self.decimal_places().map(|places| self.truncated(places))
    }

    /// Digits before the period and the period itself, if both are short.
    pub(crate) fn repeating_decimal(self) -> Option<(String, String)> {
        for lead in 0..4_u32 {
            for length in 1..7_u32 {
                let multiple = 10_i128.pow(lead) * (10_i128.pow(length) - 1);
                if multiple % self.denominator == 0 && self.decimal_places().is_none() {
                    let digits = self.truncated(lead + length);
                    let (head, period) = digits.split_at(digits.len() - length as usize);
                    return Some((head.to_owned(), period.to_owned()));
                }
            }
        }
        None
    }

    /// Other ways to write a number that is no integer.
    pub(crate) fn fraction_spellings(self) -> Vec<(&'static str, String)> {
        let (sign, top, bottom) = (self.sign(), self.numerator.abs(), self.denominator);
        let mut spellings = vec![
            ("\\frac form", format!("{sign}\\frac{{{top}}}{{{bottom}}}")),
            ("\\dfrac", format!("{sign}\\dfrac{{{top}}}{{{bottom}}}")),
            ("\\tfrac", format!("{sign}\\tfrac{{{top}}}{{{bottom}}}")),
            ("\\cfrac", format!("{sign}\\cfrac{{{top}}}{{{bottom}}}")),
            ("a/b", format!("{sign}{top}/{bottom}")),
            ("a / b with spaces", format!("{sign}{top} / {bottom}")),
            ("a/b in braces", format!("{sign}{{{top}}}/{{{bottom}}}")),
            (
                "blanks between \\frac arguments",
                format!("{sign}\\frac {{{top}}} {{{bottom}}}"),
            ),
            ("\\over", format!("{{{sign}{top} \\over {bottom}}}")),
            ("not reduced", format!("{sign}\\frac{{{}}}{{{}}}", 3 * top, 3 * bottom)),
            ("sign in the numerator", format!("\\frac{{{sign}{top}}}{{{bottom}}}")),
            (
                "\\displaystyle",
                format!("\\displaystyle{sign}\\frac{{{top}}}{{{bottom}}}"),
            ),
            (
                "brackets around it",
                format!("\\left({sign}\\frac{{{top}}}{{{bottom}}}\\right)"),
            ),
            (
                "times a unit fraction",
                format!("{sign}{top} \\cdot \\frac{{1}}{{{bottom}}}"),
            ),
            ("denominator as a power", format!("{sign}{top} \\cdot {bottom}^{{-1}}")),
            ("\\div", format!("{sign}{top} \\div {bottom}")),
        ];
        if bottom < 10 {
            spellings.push(("\\frac{a}b", format!("{sign}\\frac{{{top}}}{bottom}")));
        }
        if top < 10 && bottom < 10 {
            spellings.push(("\\frac ab without braces", format!("{sign}\\frac{top}{bottom}")));
            spellings.push(("\\dfrac ab without braces", format!("{sign}\\dfrac {top}{bottom}")));
        }
        if self.numerator < 0 {
            spellings.push(("sign in the denominator", format!("\\frac{{{top}}}{{-{bottom}}}")));
            spellings.push(("unicode minus", format!("−\\frac{{{top}}}{{{bottom}}}")));
        }
        if top > bottom {
            let (whole, rest) = (top / bottom, top % bottom);
            spellings.push(("mixed number", format!("{sign}{whole}\\frac{{{rest}}}{{{bottom}}}")));
            spellings.push((
                "mixed number with a blank",
                format!("{sign}{whole} \\tfrac{{{rest}}}{{{bottom}}}"),
            ));
            spellings.push((
                "whole plus fraction",
                format!("{sign}({whole} + \\frac{{{rest}}}{{{bottom}}})"),
            ));
        }
        if let Some(decimal) = self.finite_decimal() {
            spellings.push(("decimal", decimal.clone()));
            spellings.push(("decimal with a trailing zero", format!("{decimal}0")));
            if decimal.contains("0.") && top < bottom {
                spellings.push(("decimal without its zero", decimal.replacen("0.", ".", 1)));
            }
        }
        if let Some((head, period)) = self.repeating_decimal() {
            spellings.push(("repeating decimal", format!("{head}\\overline{{{period}}}")));
            spellings.push(("repeating decimal, \\bar", format!("{head}\\bar{{{period}}}")));
        }
        spellings
    }

    /// Near misses of any number.
    pub(crate) fn near_misses(self) -> Vec<(&'static str, String)> {
        let one = Self::integer(1);
        let latex = self.latex();
        let mut misses = vec![
            ("plus one", self.plus(one).latex()),
            ("minus one", self.plus(one.negated()).latex()),
            ("two guesses", format!("{latex}, {}", self.plus(one).latex())),
            (
                "two guesses with or",
                format!("{latex} \\text{{ or }} {}", self.plus(one).latex()),
            ),
            (
                "a pair instead of a number",
                format!("({latex}, {})", self.plus(one).latex()),
            ),
            ("plus i", format!("{latex} + i")),
            ("plus 1e-20", format!("{latex} + 10^{{-20}}")),
            ("plus or minus", format!("{latex} \\pm 1")),
            ("an inequality", format!("x > {latex}")),
            ("not equal to it", format!("x \\ne {latex}")),
            ("an interval from it", format!("[{latex}, \\infty)")),
            ("infinity", "\\infty".to_owned()),
            ("a word", "\\text{none}".to_owned()),
        ];
        if self.numerator != 0 {
            misses.push(("sign flipped", self.negated().latex()));
            misses.push(("times ten", self.times(Self::integer(10)).latex()));
            misses.push(("a tenth", self.times(Self::new(1, 10)).latex()));
            misses.push(("times sqrt 2", format!("{latex}\\sqrt{{2}}")));
            misses.push(("times pi", format!("{latex}\\pi")));
            misses.push(("times x", format!("{latex}x")));
            misses.push(("times i", format!("{latex}i")));
            if self.numerator.abs() != self.denominator {
                misses.push(("reciprocal", Self::new(self.denominator, self.numerator).latex()));
                misses.push(("squared", self.times(self).latex()));
            }
        }
        if self.numerator > 0 && self.numerator != self.denominator {
            misses.push(("square root added", format!("\\sqrt{{{latex}}}")));
        }
        misses
    }

    /// Near misses of a number that is no integer.
    pub(crate) fn fraction_near_misses(self) -> Vec<(&'static str, String)> {
        let (sign, top, bottom) = (self.sign(), self.numerator.abs(), self.denominator);
        let mut misses = vec![
            ("numerator +1", format!("{sign}\\frac{{{}}}{{{bottom}}}", top + 1)),
            ("denominator +1", format!("{sign}\\frac{{{top}}}{{{}}}", bottom + 1)),
            ("numerator only", format!("{sign}{top}")),
            ("denominator only", format!("{sign}{bottom}")),
            ("slash lost", format!("{sign}{top}{bottom}")),
            ("a pair of its parts", format!("({sign}{top}, {bottom})")),
            ("rounded to a whole number", self.truncated(0)),
            ("a power of its parts", format!("{sign}{top}^{{{}}}", bottom.min(20))),
        ];
        if top > bottom {
            let (whole, rest) = (top / bottom, top % bottom);
            misses.push((
                "mixed number, numerator +1",
                format!("{sign}{whole}\\frac{{{}}}{{{bottom}}}", rest + 1),
            ));
            misses.push(("mixed number, whole part only", format!("{sign}{whole}")));
        }
        let places = self.decimal_places().unwrap_or(u32::MAX);
        for (why, cut) in [
            ("truncated to one place", 1),
            ("truncated to two places", 2),
            ("truncated to three places", 3),
            ("truncated to 15 places", 15),
            ("truncated to 20 places", 20),
        ] {
            if cut < places && top < 1_000_000_000 {
                misses.push((why, self.truncated(cut)));
            }
        }
        if places == u32::MAX {
            misses.push(("a decimal that ends in 1", format!("{}1", self.truncated(8))));
        }
        misses
    }
}
