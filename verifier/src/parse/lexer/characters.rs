//! Characters beyond ASCII: signs, fractions, small digits.

use dashu_ratio::RBig;

use super::super::token::Kind;
use super::super::{names, numeral, operation};
use super::Lexer;

impl<'a> Lexer<'a> {
    /// What a percent sign without a backslash is at the start of a text. Before a line that goes on it begins a comment, so
    /// that TeX prints the digits of `5%` and `0` side by side: nothing is read then.
    pub(super) fn percent(text: &'a str) -> Kind<'a> {
        let (sign, behind) = text.split_at(1);
        let line = behind.trim_start_matches([' ', '\t']).trim_start_matches('\r');
        let next = line.trim_start();
        let goes_on = next.starts_with(|next: char| next.is_alphanumeric() || matches!(next, '.' | '(' | '{' | '\\'));
        if line.starts_with('\n') && goes_on && !next.starts_with("\\text") {
            Kind::Other(sign)
        } else {
            Kind::Percent
        }
    }

    pub(super) fn character(&mut self, rest: &'a str, next: char) -> &'a str {
        let length = next.len_utf8();
        let source = &rest[..length];
        if let Some((numerator, denominator)) = names::vulgar_fraction(next) {
            self.push(Kind::Frac, source);
            self.push(Kind::Number(RBig::from(numerator), None), source);
            self.push(Kind::Number(RBig::from(denominator), None), source);
        } else if names::superscript(next).is_some() {
            return self.raised(rest, Kind::Caret, names::superscript);
        } else if names::subscript(next).is_some() {
            return self.raised(rest, Kind::Underscore, names::subscript);
        } else if let Some(operator) = operation::character(next, self.last(), &rest[length..]) {
            self.push(operator, source);
        } else if let '℃' | '℉' = next {
            self.push(Kind::Degree, source);
            self.push(Kind::Text(if next == '℃' { "C" } else { "F" }), source);
        } else if let Some(kind) = names::character(next) {
            self.named(kind, source);
        } else if next.is_whitespace() || matches!(next, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{2061}' | '\u{2062}')
        {
            self.spaced = true;
        } else {
            self.push_argument(Kind::Other(source), source);
        }
        &rest[length..]
    }

    /// Reads small digits, high or low, as an exponent or a subscript.
    fn raised(&mut self, rest: &'a str, sign: Kind<'a>, digit_of: fn(char) -> Option<char>) -> &'a str {
        let end = rest.find(|next| digit_of(next).is_none()).unwrap_or(rest.len());
        let source = &rest[..end];
        let digits: String = source.chars().filter_map(digit_of).collect();
        self.push(sign, source);
        let unsigned = digits.strip_prefix('-').inspect(|_| self.push(Kind::Minus, source));
        let read = numeral::read(unsigned.unwrap_or(&digits), false, true);
        self.push(Kind::Number(read.value, None), source);
        &rest[end..]
    }
}
