//! Cuts LaTeX and plain text into tokens. Whatever only dresses an answer (sizes, fonts, spaces, dollar signs) leaves
//! no token.

mod brackets;
mod characters;
mod fonts;

use dashu_base::BitTest as _;
use dashu_ratio::RBig;

use super::applied;
use super::command::{
    argument, degree_length, is_dress, is_space, is_space_before_space, is_text_font, is_variable_font, letter,
    may_be_product, number_set, raised_primes, split_command, without_row_distance,
};
use super::dress::{group_end, roman_group};
use super::names;
use super::numeral;
use super::operation;
use super::token::{Bracket, Kind, Relation, Token};
use super::units;
use crate::limits::{MAX_NESTING, MAX_TOKENS};
use crate::steps::MAX_NUMERAL_BITS;

/// How a comma between groups of three digits is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commas {
    /// `1,000` is a thousand, unless it stands in brackets.
    Thousands,
    /// `1,000` is a list.
    Separators,
}

/// The tokens of a text.
#[derive(Debug)]
pub struct Lexed<'a> {
    /// The tokens in order.
    pub tokens: Vec<Token<'a>>,
    /// Whether a comma was taken for a separator of thousands that might separate items.
    pub ambiguous_comma: bool,
    /// The places of the tokens that stand behind wide spaces, in ascending order.
    pub gaps: Vec<usize>,
}

/// The text has more tokens or deeper groups than the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTokens;

/// Reads a text. With `words` its letters are words, as in `\text{…}`.
///
/// # Errors
/// If it exceeds the limits.
pub fn lex(text: &str, commas: Commas, words: bool) -> Result<Lexed<'_>, TooManyTokens> {
    let mut lexer = Lexer {
        tokens: Vec::with_capacity(text.len().min(64)),
        commas,
        ambiguous_comma: false,
        bracket_depth: 0,
        arguments: 0,
        outer_arguments: Vec::new(),
        numeral_bits: 0,
        spaced: false,
        is_bold: false,
        is_script: false,
        bare_bracket: None,
        is_prose: words,
        gaps: Vec::new(),
    };
    lexer.read(text, words, 0)?;
    Ok(Lexed {
        tokens: lexer.tokens,
        ambiguous_comma: lexer.ambiguous_comma,
        gaps: lexer.gaps,
    })
}

struct Lexer<'a> {
    tokens: Vec<Token<'a>>,
    commas: Commas,
    ambiguous_comma: bool,
    /// Brackets of tuples and sets that are open: in them a comma separates.
    bracket_depth: u32,
    /// Arguments that the last command still waits for: each takes one digit only, as `\frac12` does.
    arguments: u8,
    /// The same count for each of the open groups around.
    outer_arguments: Vec<u8>,
    /// Bits of all numerals so far.
    numeral_bits: usize,
    /// Whether a space was passed since the last token.
    spaced: bool,
    /// Whether letters are set in bold here.
    is_bold: bool,
    /// Whether they are set in script or Fraktur here.
    is_script: bool,
    /// The depth of a bracket that leaves no token, neither where it opens nor where it closes.
    bare_bracket: Option<u32>,
    /// Whether the whole text is words, with formulas between dollar signs.
    is_prose: bool,
    /// The tokens that stand behind wide spaces.
    gaps: Vec<usize>,
}

impl<'a> Lexer<'a> {
    fn read(&mut self, text: &'a str, words: bool, depth: usize) -> Result<(), TooManyTokens> {
        if depth > MAX_NESTING {
            return Err(TooManyTokens);
        }
        let mut rest = text;
        let mut words = words;
        while let Some(next) = rest.chars().next() {
            let is_too_large = self.tokens.len() > MAX_TOKENS || self.numeral_bits > MAX_NUMERAL_BITS;
            if is_too_large || self.outer_arguments.len() > MAX_NESTING {
                return Err(TooManyTokens);
            }
            // `{\rm m}` is `\mathrm{m}`.
            if next == '{'
                && let Some((content, behind)) = roman_group(rest)
            {
                self.styled(content, behind, true, depth)?;
                rest = behind;
                continue;
            }
            rest = match next {
                ' ' | '\n' | '\t' | '\r' | '~' | '$' => {
                    // `\text{if $x > 0$}`
                    words ^= next == '$' && (depth > 0 || self.is_prose);
                    self.spaced = true;
                    if rest.starts_with("~~") {
                        self.gap();
                    }
                    &rest[1..]
                }
                '0'..='9' => self.numeral(rest),
                '.' if numeral::begins_with_point(rest) => self.numeral(rest),
                'a'..='z' | 'A'..='Z' => self.letters(rest, words),
                '\\' => self.command(rest, words, depth)?,
                _ if next.is_ascii() => self.sign(rest, next),
                _ => self.character(rest, next),
            };
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind<'a>, source: &'a str) {
        let spaced = std::mem::take(&mut self.spaced);
        let is_bold = self.is_bold && matches!(kind, Kind::Symbol(_) | Kind::Constant(_));
        let is_script = self.is_script && matches!(kind, Kind::Symbol(_));
        self.tokens.push(Token {
            kind,
            spaced,
            is_bold,
            is_script,
            applies: false,
            source,
        });
    }

    /// Pushes a token that is an argument by itself.
    fn push_argument(&mut self, kind: Kind<'a>, source: &'a str) {
        self.arguments = self.arguments.saturating_sub(1);
        self.push(kind, source);
    }

    /// A wide space stands here.
    fn gap(&mut self) {
        if self.gaps.last() != Some(&self.tokens.len()) {
            self.gaps.push(self.tokens.len());
        }
    }

    /// Whether the last token may end a value.
    fn ends_value(&self) -> bool {
        matches!(
            self.last(),
            Some(
                Kind::Number(..) | Kind::Symbol(_) | Kind::Constant(_) | Kind::Close(_) | Kind::GroupClose | Kind::Bang
            )
        )
    }

    fn last(&self) -> Option<&Kind<'a>> {
        self.tokens.last().map(|token| &token.kind)
    }

    fn numeral(&mut self, rest: &'a str) -> &'a str {
        if self.arguments > 0 && rest.as_bytes()[0].is_ascii_digit() {
            let digit = rest.as_bytes()[0] - b'0';
            self.push_argument(Kind::Number(RBig::from(digit), None), &rest[..1]);
            return &rest[1..];
        }
        let joins = self.commas == Commas::Thousands && self.bracket_depth == 0;
        // A subscript or an exponent is a plain run of digits.
        let plain = matches!(self.last(), Some(Kind::Underscore));
        let read = numeral::read(rest, joins, plain);
        self.ambiguous_comma |= read.joined_comma;
        self.numeral_bits += read.value.numerator().bit_len() + read.value.denominator().bit_len();
        self.push_argument(Kind::Number(read.value, read.places), &rest[..read.length]);
        &rest[read.length..]
    }

    fn letters(&mut self, rest: &'a str, words: bool) -> &'a str {
        let length = rest
            .find(|next: char| !next.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let run = &rest[..length];
        if run == "mod" {
            self.modulus(run);
            return &rest[length..];
        }
        if words {
            // `min` and `sec` are units among words.
            let is_name = |kind: &Kind<'_>| !matches!(kind, Kind::Symbol(_) | Kind::Function(_));
            let kind = names::word(run).filter(is_name);
            self.push_argument(kind.unwrap_or(Kind::Text(run)), run);
            return &rest[length..];
        }
        let follows_number = matches!(self.last(), Some(Kind::Number(..)));
        // `7 to 3`
        if run == "to" && self.spaced && follows_number && rest[length..].starts_with([' ', '~', '\\', '$']) {
            self.push_argument(Kind::Word(run), run);
            return &rest[length..];
        }
        // `12cm` is a unit; most other letters directly behind a number are variables.
        let is_unit = self.spaced && units::is_unit_word(run) || matches!(run, "cm" | "km" | "kg" | "mph");
        if length > 1 && follows_number && is_unit {
            self.push_argument(Kind::Word(run), run);
            return &rest[length..];
        }
        if length == 1 {
            self.push_argument(letter(run), run);
            return &rest[1..];
        }
        if let Some(kind) = names::word(run) {
            self.named(kind, run);
            return &rest[length..];
        }
        if let Some(name) = applied::function_name(run, &rest[length..]) {
            self.push_argument(Kind::Symbol(name), run);
            return &rest[length..];
        }
        for name in [
            "arcsin", "arccos", "arctan", "sqrt", "sinh", "cosh", "tanh", "coth", "sin", "cos", "tan", "log", "ln",
            "pi",
        ] {
            // `sinx`, `pir`
            if length > name.len()
                && length <= name.len() + 2
                && run.starts_with(name)
                && let Some(kind) = names::word(name)
            {
                self.named(kind, name);
                return &rest[name.len()..];
            }
        }
        if !may_be_product(run) {
            self.push_argument(Kind::Word(run), run);
            return &rest[length..];
        }
        // One letter at a time, as a command may take only the first: `\frac ab`.
        self.push_argument(letter(&run[..1]), &run[..1]);
        for index in 1..length {
            self.push_argument(letter(&run[index..=index]), &run[index..=index]);
        }
        &rest[length..]
    }

    /// Pushes the tokens that a name stands for.
    fn named(&mut self, kind: Kind<'a>, source: &'a str) {
        match kind {
            Kind::Open(_) | Kind::Close(_) => self.bracket(kind, source),
            _ => self.push_argument(kind, source),
        }
    }

    fn sign(&mut self, rest: &'a str, next: char) -> &'a str {
        let second = rest.as_bytes().get(1).copied();
        let (kind, length) = match (next, second) {
            ('*', Some(b'*')) => (Kind::Caret, 2),
            ('<', Some(b'=')) => (Kind::Relation(Relation::LessOrEqual), 2),
            ('>', Some(b'=')) => (Kind::Relation(Relation::GreaterOrEqual), 2),
            // `n!=24` is a factorial, `x != 2` a relation.
            ('!', Some(b'=')) if self.spaced || !self.ends_value() => (Kind::Relation(Relation::NotEqual), 2),
            ('=' | ':', Some(b'=')) => (Kind::Relation(Relation::Equal), 2),
            ('{', Some(b':')) if rest.starts_with("{:}") => (Kind::Colon, 3),
            ('-', Some(b'>')) => (Kind::Other("\\to"), 2),
            ('=', Some(b'>')) => (Kind::Other(&rest[..2]), 2),
            ('*', _) => (Kind::Times, 1),
            ('+', _) => (Kind::Plus, 1),
            ('-', _) => (Kind::Minus, 1),
            ('/', _) => (Kind::Divide, 1),
            (':', _) => (Kind::Colon, 1),
            ('_', _) => (Kind::Underscore, 1),
            ('!', _) => (Kind::Bang, 1),
            ('\'', _) => (Kind::Prime, 1),
            ('%', _) => (Self::percent(rest), 1),
            ('|', _) => (Kind::Bar, 1),
            (',', _) => (Kind::Comma, 1),
            (';', _) => (Kind::Semicolon, 1),
            ('&', _) => (Kind::Ampersand, 1),
            ('=', _) => (Kind::Relation(Relation::Equal), 1),
            ('<', _) => (Kind::Relation(Relation::Less), 1),
            ('>', _) => (Kind::Relation(Relation::Greater), 1),
            ('^', _) => {
                if let Some(length) = degree_length(rest) {
                    (Kind::Degree, length)
                } else if let Some((count, length)) = raised_primes(rest) {
                    for _ in 1..count {
                        self.push(Kind::Prime, &rest[..length]);
                    }
                    (Kind::Prime, length)
                } else {
                    (Kind::Caret, 1)
                }
            }
            ('(', _) => {
                self.bracket(Kind::Open(Bracket::Round), &rest[..1]);
                return &rest[1..];
            }
            ('[', _) => {
                let kind = self.square_left(&rest[1..]);
                self.bracket(kind, &rest[..1]);
                return &rest[1..];
            }
            (')', _) => {
                self.bracket(Kind::Close(Bracket::Round), &rest[..1]);
                return &rest[1..];
            }
            (']', _) => {
                let kind = self.square_right(&rest[1..]);
                self.bracket(kind, &rest[..1]);
                return &rest[1..];
            }
            ('{', _) => {
                self.group_open(&rest[..1]);
                return &rest[1..];
            }
            ('}', _) => {
                self.group_close(&rest[..1]);
                return &rest[1..];
            }
            ('.', Some(b'.')) => {
                let length = rest.find(|dot| dot != '.').unwrap_or(rest.len());
                (Kind::Dots, length)
            }
            // `0.\overline{ab}`
            ('.', _)
                if !self.spaced
                    && matches!(self.last(), Some(Kind::Number(_, None)))
                    && numeral::continues_in_letters(&rest[1..]) =>
            {
                (Kind::Other(&rest[..1]), 1)
            }
            // The end of a sentence or of an abbreviation, as in `p.m.`.
            ('.', None | Some(b' ' | b'\n' | b'}' | b'$' | b'a'..=b'z' | b'A'..=b'Z')) => {
                self.spaced = true;
                return &rest[1..];
            }
            _ if next.is_ascii_control() => {
                self.spaced = true;
                return &rest[1..];
            }
            _ => (Kind::Other(&rest[..1]), 1),
        };
        self.push(kind, &rest[..length]);
        &rest[length..]
    }

    fn command(&mut self, rest: &'a str, words: bool, depth: usize) -> Result<&'a str, TooManyTokens> {
        let (name, after) = split_command(rest);
        let source = &rest[..rest.len() - after.len()];
        if let Some((kind, named, rest)) = Self::operator(name, source, after) {
            self.push_argument(kind, named);
            return Ok(rest);
        }
        // The rest of its group, which had the command not at its beginning.
        if name == "rm" && !after.trim_start().starts_with('{') {
            let end = group_end(after).unwrap_or(after.len());
            self.styled(&after[..end], &after[end..], true, depth)?;
            return Ok(&after[end..]);
        }
        if is_dress(name) {
            if matches!(name, "left" | "right") {
                let after = after.trim_start();
                return Ok(after.strip_prefix('.').unwrap_or(after));
            }
            return Ok(after);
        }
        if name == "!" {
            if operation::opens_multiset(self.last(), after) {
                self.push(Kind::Other("\\multiset"), source);
            }
            return Ok(after);
        }
        if is_space(name) {
            self.spaced = true;
            if matches!(name, "quad" | "qquad" | "enspace") || is_space_before_space(name, after) {
                self.gap();
            }
            return Ok(after);
        }
        if is_text_font(name) {
            return self.font(after.strip_prefix('*').unwrap_or(after), true, depth);
        }
        if is_variable_font(name) {
            let (was_bold, was_script) = (self.is_bold, self.is_script);
            self.is_bold |= matches!(name, "mathbf" | "boldsymbol" | "bm");
            self.is_script |= matches!(name, "mathcal" | "mathscr" | "mathfrak");
            let read = self.font(after, words, depth);
            (self.is_bold, self.is_script) = (was_bold, was_script);
            return read;
        }
        if let Some(name) = applied::function_command(name) {
            self.push_argument(Kind::Symbol(name), source);
            return Ok(after);
        }
        if let Some(operator) = operation::operator(name, self.last(), after) {
            self.push(operator, source);
            return Ok(after);
        }
        match name {
            "mathbb" | "Bbb" => {
                let (content, rest) = argument(after);
                self.push_argument(number_set(content), content);
                return Ok(rest);
            }
            "phantom" | "hphantom" | "vphantom" | "hspace" | "vspace" | "mspace" | "color" | "textcolor" | "label"
            | "tag" | "kern" => {
                self.spaced = true;
                if name == "hspace" {
                    self.gap();
                }
                return Ok(argument(after.strip_prefix('*').unwrap_or(after)).1);
            }
            "not" => {
                let after = after.trim_start();
                if let Some(rest) = after.strip_prefix('=') {
                    self.push(Kind::Relation(Relation::NotEqual), source);
                    return Ok(rest);
                }
                // `\not\in` is `\notin`.
                if let Some(rest) = after.strip_prefix("\\in")
                    && !rest.starts_with(|next: char| next.is_ascii_alphabetic())
                {
                    self.push(Kind::Other("\\notin"), source);
                    return Ok(rest);
                }
                self.push(Kind::Other(source), source);
                return Ok(after);
            }
            "begin" => {
                let (environment, mut rest) = argument(after);
                if matches!(environment, "array" | "tabular") {
                    rest = argument(rest).1;
                }
                self.outer_arguments.push(self.arguments.saturating_sub(1));
                self.arguments = 0;
                self.bracket_depth += 1;
                self.push(Kind::Begin(environment), source);
                return Ok(rest);
            }
            "end" => {
                let (_, rest) = argument(after);
                self.arguments = self.outer_arguments.pop().unwrap_or(0);
                self.bracket_depth = self.bracket_depth.saturating_sub(1);
                self.push(Kind::End, source);
                return Ok(rest);
            }
            "bmod" | "pmod" | "mod" | "pod" => {
                self.modulus(source);
                return Ok(after);
            }
            _ => {}
        }
        match names::command(name) {
            Some(kind @ (Kind::Open(_) | Kind::Close(_))) => self.bracket(kind, source),
            Some(Kind::RowBreak) => {
                self.push(Kind::RowBreak, source);
                return Ok(without_row_distance(after));
            }
            Some(Kind::Frac) => self.takes_arguments(Kind::Frac, 2, source),
            Some(Kind::Binom) => self.takes_arguments(Kind::Binom, 2, source),
            Some(Kind::Sqrt) => self.takes_arguments(Kind::Sqrt, 1, source),
            Some(kind @ (Kind::Symbol(_) | Kind::Constant(_) | Kind::Other(_))) => self.push_argument(kind, source),
            Some(kind) => self.push(kind, source),
            None => self.push_argument(Kind::Other(source), source),
        }
        Ok(after)
    }

    fn takes_arguments(&mut self, kind: Kind<'a>, count: u8, source: &'a str) {
        // A command that is an argument itself, as in `\frac\sqrt2 2`, leaves the rest of the outer ones to braces.
        self.arguments = count;
        self.push(kind, source);
    }
}
