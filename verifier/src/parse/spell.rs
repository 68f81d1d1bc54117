//! Gives tokens one spelling that keeps their structure: texts that are no expressions are compared by it, and
//! subscripts named. Spaces that TeX ignores are gone, every argument of a command stands in braces whether it was
//! written with them or not (`\frac12` is `\frac{1}{2}`, and `\frac125` is `\frac{1}{2} 5`), and so does every other
//! group of more than one item. Letters keep their case unless they are words.

use std::fmt::Write as _;

use compact_str::CompactString;

use super::noncommuting::is_idle_dot;
use super::token::{Bracket, Conjunction, Kind, Token};
use super::words;
use crate::expression::{Constant, Function};
use crate::limits::MAX_NESTING;

/// What is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// A name: its letters stand side by side.
    Name,
    /// A formula: its items stand apart.
    Formula,
    /// A text with words in it, which are told from variables by what stands around them.
    Prose {
        /// Whether all its words are in capitals, so that these say nothing.
        is_shouted: bool,
    },
}

/// Spells the tokens of a name.
pub(super) fn spell(tokens: &[Token<'_>]) -> CompactString {
    let mut spelled = CompactString::default();
    Speller::new(&mut spelled, Style::Name).items(tokens);
    spelled
}

/// Spells the tokens of a subscript without the group that encloses them.
pub(super) fn spell_argument(tokens: &[Token<'_>], out: &mut CompactString) {
    let inner = match group(tokens) {
        Some((inner, [])) => inner,
        _ => tokens,
    };
    Speller::new(out, Style::Name).items(inner);
}

/// Spells the tokens of a whole text: words in lower case, formulas as they are, one space between all of them.
pub(super) fn spell_text(tokens: &[Token<'_>]) -> CompactString {
    let mut spelled = CompactString::default();
    Speller::new(&mut spelled, style_of(tokens)).items(tokens);
    spelled
}

fn style_of(tokens: &[Token<'_>]) -> Style {
    let words = || {
        tokens.iter().filter_map(|token| match token.kind {
            Kind::Text(word) | Kind::Word(word) => Some(word),
            _ => None,
        })
    };
    let may_be_word = |token: &Token<'_>| {
        is_letter(token)
            || matches!(token.kind, Kind::Conjunction(_))
            || matches!(token.kind, Kind::Function(_) if !token.source.starts_with('\\'))
    };
    if words().next().is_none() && !tokens.iter().all(may_be_word) {
        return Style::Formula;
    }
    let is_shouted = words().all(is_upper);
    Style::Prose { is_shouted }
}

struct Speller<'o> {
    out: &'o mut CompactString,
    style: Style,
    depth: usize,
    /// Whether something was spelled in the group that is open.
    has_before: bool,
}

impl<'o> Speller<'o> {
    fn new(out: &'o mut CompactString, style: Style) -> Self {
        Self {
            out,
            style,
            depth: 0,
            has_before: false,
        }
    }

    fn items(&mut self, tokens: &[Token<'_>]) {
        let mut position = 0;
        while position < tokens.len() {
            position = self.item(tokens, position);
        }
    }

    /// Spells the item that begins here, and returns where the next one does.
    fn item(&mut self, tokens: &[Token<'_>], position: usize) -> usize {
        let (token, rest) = (&tokens[position], &tokens[position..]);
        if self.depth > MAX_NESTING {
            self.token(token);
            return position + 1;
        }
        match &token.kind {
            Kind::GroupOpen => match group(rest) {
                Some((inner, after)) => {
                    self.group(inner, after);
                    tokens.len() - after.len()
                }
                None => {
                    self.token(token);
                    position + 1
                }
            },
            Kind::Frac | Kind::Binom => {
                self.token(token);
                let next = self.argument(tokens, position + 1);
                self.argument(tokens, next)
            }
            Kind::Sqrt => {
                self.token(token);
                let mut next = position + 1;
                if let Some(length) = root_index_length(&tokens[next..]) {
                    self.out.push('[');
                    self.inside(|this| this.items(&tokens[next + 1..next + length - 1]));
                    self.out.push(']');
                    next += length;
                }
                self.argument(tokens, next)
            }
            // ∠ABC is ∠CBA.
            Kind::Shape("angle")
                if let [_, first, vertex, last, after @ ..] = rest
                    && [first, vertex, last].into_iter().all(Token::is_point)
                    && !after.first().is_some_and(|next| next.is_point() || next.is_mark()) =>
            {
                self.token(token);
                let is_reversed = first.source > last.source;
                let (first, last) = if is_reversed { (last, first) } else { (first, last) };
                for point in [first, vertex, last] {
                    self.token(point);
                }
                position + 4
            }
            // A triangle by itself has its vertices in any order; beside another one they correspond.
            Kind::Shape("triangle")
                if let ([_, vertices @ ..], 4, 0) = (tokens, tokens.len(), self.depth)
                    && vertices.iter().all(Token::is_point) =>
            {
                self.token(token);
                let mut vertices: Vec<&Token<'_>> = vertices.iter().collect();
                vertices.sort_unstable_by_key(|vertex| vertex.source);
                for vertex in vertices {
                    self.token(vertex);
                }
                tokens.len()
            }
            Kind::Accent(_) => {
                self.token(token);
                self.argument(tokens, position + 1)
            }
            Kind::Caret | Kind::Underscore => {
                self.token(token);
                // `x^-1` is read as `x^{-1}`.
                if let [sign, _, ..] = &tokens[position + 1..]
                    && sign.kind == Kind::Minus
                {
                    self.out.push_str("{-");
                    self.inside(|this| this.argument_inside(tokens, position + 2));
                    self.out.push('}');
                    return argument_end(tokens, position + 2);
                }
                self.argument(tokens, position + 1)
            }
            // `5\!6` is one numeral.
            Kind::Number(value, None)
                if continues_numeral(tokens, position) && self.out.ends_with(|last: char| last.is_ascii_digit()) =>
            {
                // Writing to a string cannot fail.
                let _ = write!(self.out, "{value}");
                position + 1
            }
            // Of vectors it is another product than the dot.
            Kind::Times if matches!(token.source, "\\times" | "×") && tokens.iter().any(Token::is_vector) => {
                self.separate(false);
                self.out.push('×');
                position + 1
            }
            Kind::Times if is_idle_dot(tokens, position) => position + 1,
            _ if self.is_article(tokens, position) => {
                self.separate(true);
                self.out.push('a');
                position + 1
            }
            _ if is_letter(token) => match self.word_length(tokens, position) {
                0 => {
                    self.token(token);
                    position + 1
                }
                length => {
                    let letters = &tokens[position..position + length];
                    let word: CompactString = letters.iter().map(|letter| letter.source).collect();
                    self.separate(true);
                    self.word(&word);
                    position + length
                }
            },
            _ => {
                self.token(token);
                position + 1
            }
        }
    }

    /// A group that is no argument: its braces stay unless they hold one item, as in `{g}_k`.
    fn group(&mut self, inner: &[Token<'_>], after: &[Token<'_>]) {
        if inner.is_empty() {
            return;
        }
        let is_base = matches!(after.first(), Some(next) if matches!(next.kind, Kind::Caret | Kind::Underscore | Kind::Bang | Kind::Prime));
        let is_one_item = inner.len() == 1 || !is_base && argument_end(inner, 0) == inner.len();
        if is_one_item {
            self.depth += 1;
            self.items(inner);
            self.depth -= 1;
            return;
        }
        if self.style != Style::Name && self.has_before {
            self.out.push(' ');
        }
        self.out.push('{');
        self.inside(|this| this.items(inner));
        self.out.push('}');
        self.has_before = true;
    }

    /// Spells the argument that begins here in braces, and returns where it ends.
    fn argument(&mut self, tokens: &[Token<'_>], position: usize) -> usize {
        self.out.push('{');
        self.inside(|this| this.argument_inside(tokens, position));
        self.out.push('}');
        argument_end(tokens, position)
    }

    fn argument_inside(&mut self, tokens: &[Token<'_>], position: usize) {
        let end = argument_end(tokens, position);
        let Some(argument) = tokens.get(position..end) else {
            return;
        };
        match (group(argument), argument) {
            (Some((inner, [])), _) => self.items(inner),
            (_, [single]) => self.token(single),
            _ => self.items(argument),
        }
    }

    fn inside(&mut self, spell: impl FnOnce(&mut Self)) {
        let had_before = std::mem::take(&mut self.has_before);
        self.depth += 1;
        spell(self);
        self.depth -= 1;
        self.has_before = had_before || self.style != Style::Name;
    }

    /// How many of the letters that begin here make a word; none if they are variables.
    fn word_length(&self, tokens: &[Token<'_>], position: usize) -> usize {
        if !matches!(self.style, Style::Prose { .. }) {
            return 0;
        }
        let joined = tokens[position + 1..]
            .iter()
            .take_while(|next| is_letter(next) && !next.spaced);
        let length = 1 + joined.count();
        let before = position.checked_sub(1).map(|index| &tokens[index]);
        let after = tokens.get(position + length);
        if length == 1 {
            return 0;
        }
        // `twenty-one`
        let is_hyphenated = matches!(
            &tokens[..position],
            [.., word, hyphen] if hyphen.kind == Kind::Minus && matches!(word.kind, Kind::Text(_) | Kind::Word(_))
        );
        let is_apart = (is_hyphenated
            || before.is_none_or(|before| stands_beside_words(before, tokens[position].spaced)))
            && after.is_none_or(|after| stands_beside_words(after, after.spaced));
        if is_apart { length } else { 0 }
    }

    /// Whether it is the article of `A parabola`, and no variable.
    fn is_article(&self, tokens: &[Token<'_>], position: usize) -> bool {
        let is_word = |token: &Token<'_>| matches!(token.kind, Kind::Text(_) | Kind::Word(_));
        matches!(self.style, Style::Prose { .. })
            && position == 0
            && matches!(tokens[0].source, "A" | "a")
            && tokens.get(1).is_some_and(is_word)
    }

    /// A word in lower case. A single letter is a name, and so is `AB` among words that are no capitals.
    fn word(&mut self, word: &str) {
        let is_initials = word.len() <= 3 && is_upper(word) && self.style == Style::Prose { is_shouted: false };
        let is_letter = word.chars().nth(1).is_none();
        if is_letter || is_initials || words::is_genotype(word) {
            self.out.push_str(word);
        } else {
            self.out.extend(word.chars().flat_map(char::to_lowercase));
        }
    }

    /// A space between two items of a text; between two of a name only where they would run together.
    fn separate(&mut self, runs_together: bool) {
        if self.has_before && (runs_together || self.style != Style::Name) {
            self.out.push(' ');
        }
        self.has_before = true;
    }

    fn token(&mut self, token: &Token<'_>) {
        let runs_together = match token.kind {
            Kind::Number(..) => self.out.ends_with(|last: char| last.is_ascii_digit()),
            Kind::Text(_) | Kind::Word(_) | Kind::Function(_) | Kind::Conjunction(_) => {
                token.spaced && self.out.ends_with(char::is_alphanumeric)
            }
            _ => false,
        };
        self.separate(runs_together);
        let piece = match &token.kind {
            // `|00\rangle` is no `|0\rangle`.
            Kind::Number(_, None) if token.has_leading_zero() => token.source,
            Kind::Number(value, _) => {
                // Writing to a string cannot fail.
                let _ = write!(self.out, "{value}");
                return;
            }
            Kind::Text(word) | Kind::Word(word) => return self.word(word),
            Kind::Symbol(name) => name.as_str(),
            Kind::Constant(constant) => constant_name(*constant),
            Kind::Function(Function::Named(name)) => name.as_str(),
            // The name and not the function: `\text{real}` is a word that could be one.
            Kind::Function(_) => token.source.trim_start_matches('\\'),
            Kind::Conjunction(Conjunction::Or) => "or",
            Kind::Conjunction(Conjunction::And) => "and",
            Kind::Open(bracket) => bracket.signs().0,
            Kind::Close(bracket) => bracket.signs().1,
            Kind::Relation(relation) => relation.sign(),
            Kind::Over => "\\over",
            Kind::Choose => "\\choose",
            Kind::Plus => "+",
            Kind::Minus => "-",
            Kind::PlusMinus => "±",
            Kind::MinusPlus => "∓",
            Kind::Times => "·",
            Kind::Divide => "/",
            Kind::Colon => ":",
            Kind::Caret => "^",
            Kind::Underscore => "_",
            Kind::Bang => "!",
            Kind::Prime => "'",
            Kind::Percent => "%",
            Kind::Degree => "°",
            Kind::Currency(sign) => *sign,
            Kind::GroupOpen => "{",
            Kind::GroupClose => "}",
            Kind::Bar => "|",
            Kind::Comma => ",",
            Kind::Semicolon => ";",
            Kind::Ampersand => "&",
            Kind::RowBreak => "\\\\",
            Kind::Cup => "∪",
            Kind::SetMinus => "∖",
            Kind::In => "∈",
            Kind::EmptySet => "∅",
            Kind::Reals => "ℝ",
            Kind::Frac => "\\frac",
            Kind::Sqrt => "\\sqrt",
            Kind::Binom => "\\binom",
            Kind::Begin(environment) => *environment,
            Kind::End => "\\end",
            Kind::Accent(mark) => *mark,
            Kind::Shape(shape) => *shape,
            Kind::Dots => "…",
            // A transpose, whichever way it is set.
            Kind::Other("\\top" | "\\intercal") => "T",
            Kind::Other(other) | Kind::Operator(other) => *other,
        };
        self.out.push_str(piece);
    }
}

/// Where the argument that begins here ends: a group, one token, or a command with its arguments.
pub(super) fn argument_end(tokens: &[Token<'_>], position: usize) -> usize {
    let mut end = position;
    let mut missing = 1usize;
    // A command among the arguments asks for its own, which stand before the rest of the outer ones.
    while missing > 0 {
        let Some(token) = tokens.get(end) else {
            return end;
        };
        missing -= 1;
        match &token.kind {
            Kind::GroupOpen => {
                end = match group(&tokens[end..]) {
                    Some((_, after)) => tokens.len() - after.len(),
                    None => end + 1,
                };
            }
            Kind::Frac | Kind::Binom => {
                missing += 2;
                end += 1;
            }
            Kind::Sqrt => {
                missing += 1;
                end += 1 + root_index_length(&tokens[end + 1..]).unwrap_or(0);
            }
            Kind::Accent(_) => {
                missing += 1;
                end += 1;
            }
            _ => end += 1,
        }
    }
    end
}

/// The length of `[3]` behind a root sign.
fn root_index_length(tokens: &[Token<'_>]) -> Option<usize> {
    let [open, ..] = tokens else {
        return None;
    };
    if open.kind != Kind::Open(Bracket::Square) {
        return None;
    }
    let close = tokens
        .iter()
        .position(|token| token.kind == Kind::Close(Bracket::Square))?;
    Some(close + 1)
}

/// What is inside of the group that begins here, and what follows it.
pub(super) fn group<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], &'t [Token<'a>])> {
    let (Kind::GroupOpen, rest) = tokens.split_first().map(|(first, rest)| (&first.kind, rest))? else {
        return None;
    };
    let mut depth = 0usize;
    for (index, token) in rest.iter().enumerate() {
        match token.kind {
            Kind::GroupOpen => depth += 1,
            Kind::GroupClose if depth == 0 => return Some((&rest[..index], &rest[index + 1..])),
            Kind::GroupClose => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Whether a numeral stands directly behind another one.
fn continues_numeral(tokens: &[Token<'_>], position: usize) -> bool {
    let before = position.checked_sub(1).map(|before| &tokens[before].kind);
    !tokens[position].spaced && matches!(before, Some(Kind::Number(before, None)) if before.is_int())
}

/// A letter of a run that was read as a product of variables.
fn is_letter(token: &Token<'_>) -> bool {
    matches!(
        token.kind,
        Kind::Symbol(_) | Kind::Constant(Constant::Euler | Constant::Imaginary)
    ) && matches!(token.source.as_bytes(), [letter] if letter.is_ascii_alphabetic())
}

/// Whether a run of letters beside this token may be a word.
fn stands_beside_words(token: &Token<'_>, is_spaced: bool) -> bool {
    match token.kind {
        Kind::Text(_) | Kind::Word(_) | Kind::Comma | Kind::Semicolon | Kind::Colon | Kind::Conjunction(_) => true,
        Kind::Symbol(_) | Kind::Constant(_) | Kind::Number(..) | Kind::Open(_) | Kind::Close(_) => is_spaced,
        Kind::Function(_) => is_spaced && !token.source.starts_with('\\'),
        _ => false,
    }
}

fn is_upper(word: &str) -> bool {
    word.chars().all(char::is_uppercase)
}

fn constant_name(constant: Constant) -> &'static str {
    match constant {
        Constant::Pi => "π",
        Constant::Euler => "e",
        Constant::Imaginary => "i",
        Constant::Degree => "°",
        Constant::Infinity => "∞",
    }
}
