//! Reads a text: LaTeX and plain text go through `lexer` (tokens) and `grammar` (expressions) to an
//! [`Answer`] (lists, tuples, intervals, matrices, equations, units, words).

mod answer;
mod applied;
mod beside;
mod call;
mod cases;
mod choice;
mod clock;
mod combined;
mod command;
mod compound;
mod conditional;
mod differentials;
mod dress;
mod events;
mod figures;
mod grammar;
mod greek;
mod groups;
mod introduction;
mod kinds;
mod label;
mod leibniz;
mod letters;
pub mod lexer;
mod linear;
mod lines;
mod matrix;
mod meaning;
mod multiple;
mod names;
mod noncommuting;
mod numeral;
mod operation;
mod operator;
mod partial;
mod parts;
mod plus_minus;
mod primary;
mod quantity;
mod reduced;
mod said;
mod scale;
mod sense;
mod sets;
mod settle;
mod signs;
mod solutions;
mod spell;
mod statement;
mod structure;
pub mod token;
mod unit;
mod units;
mod upright;
mod width;
mod words;
mod work;
mod written;
use std::cell::OnceCell;

use compact_str::CompactString;

use self::answer::Source;
use self::dress::undress;
use self::kinds::Kinds;
use self::lexer::{Commas, Lexed, TooManyTokens, lex};
use self::spell::spell_text;
use self::token::{Bracket, Conjunction, Kind, Token};
use self::work::{Place, Work};
use crate::expression::{Constant, Expression};

pub use answer::{Answer, Body, Bold, Choice, Literal, Ordered, ParseError, Parsed, Quantity, Segments};
pub use label::Label;
pub use letters::{have_lengths, with_vectors};
pub(crate) use settle::NAME_OF_INTEGER as COUNTED;
pub use unit::{Unit, measures};
pub use units::is_same_dimension;
pub use words::{is_roman, is_same_word, say_the_same};
pub use written::Written;

/// Reads an answer or a ground truth.
///
/// # Errors
/// If the text cannot be read.
pub fn parse(raw: &str, commas: Commas) -> Result<Parsed, ParseError> {
    let narrow = width::narrow(raw);
    let (text, is_text, is_bold) = undress(&narrow);
    let words = is_text && dress::is_prose(text);
    let lexed = tokens_of(text, commas, words, false).map_err(|TooManyTokens| ParseError::TooLarge)?;
    let source = Source {
        text: text.into(),
        commas,
        words,
        is_text,
        is_bold,
        spelled: OnceCell::new(),
    };
    read(source, &lexed)
}

fn read(source: Source, lexed: &Lexed<'_>) -> Result<Parsed, ParseError> {
    let tokens = lexed.tokens.as_slice();
    let kinds = Kinds::of(tokens);
    if !tokens.iter().any(says_something) {
        return Err(ParseError::Nothing);
    }
    let is_text = source.is_text;
    let bold = letters::bold(tokens, kinds, source.is_bold);
    let work = Work::default();
    let place = Place::of_all(kinds, &work);
    let answer = structure::list(tokens, place)?;
    let answer = if is_text { words_of(answer) } else { answer };
    let joined = joined_by(tokens, kinds);
    let answer = without_choice(answer, tokens, joined);
    let choice = choice::choice(tokens, is_text);
    let beside_choice = match choice::beside(tokens) {
        Some(rest) if choice.is_some_and(|choice| !choice.is_alone) => Some(structure::list(rest, place)?),
        _ => None,
    };
    Ok(Parsed {
        answer,
        source,
        choice,
        beside_choice,
        ordered: letters::ordered(tokens, kinds),
        segments: letters::segments(tokens, kinds),
        joined,
        has_operators: kinds.has(Kinds::OTHER)
            && tokens
                .iter()
                .any(|token| matches!(token.kind, Kind::Other(sign) if signs::is_operator(sign))),
        ambiguous_comma: lexed.ambiguous_comma,
        bold,
        work: work.spent(),
    })
}

/// `in_bold` sets all letters in bold.
fn tokens_of(text: &str, commas: Commas, words: bool, in_bold: bool) -> Result<Lexed<'_>, TooManyTokens> {
    let mut lexed = lex(text, commas, words)?;
    if in_bold {
        letters::embolden(&mut lexed.tokens);
    }
    settle::all(&mut lexed);
    Ok(lexed)
}

impl Parsed {
    /// The same with letters that keep their order, as those of matrices do; None where something is divided by one, as
    /// no matrix can.
    pub fn in_order(&self, letters: Ordered) -> Option<Self> {
        let source = &self.source;
        let mut lexed = tokens_of(&source.text, source.commas, source.words, false).ok()?;
        if !letters::keep_order(&mut lexed.tokens, letters) {
            return None;
        }
        read(source.clone(), &lexed).ok()
    }

    /// The same with the letters behind its number as a unit; None where they name none.
    pub fn with_unit(&self) -> Option<Self> {
        let has_unit = |parsed: &Self| match &parsed.answer.body {
            Body::Quantity(quantity) => quantity.unit.is_some(),
            _ => true,
        };
        if self.answer.label.is_some() || has_unit(self) {
            return None;
        }
        let parsed = parse(&beside::set_upright(&self.source.text)?, self.source.commas).ok()?;
        parsed.is_measured().then_some(parsed)
    }

    /// Whether it is a number of a unit of measurement.
    pub fn is_measured(&self) -> bool {
        matches!(&self.answer.body, Body::Quantity(quantity) if matches!(quantity.unit, Some(Unit::Measure(..))))
    }

    /// Whether a fraction in it could be reduced.
    pub fn has_unreduced(&self) -> bool {
        let source = &self.source;
        let lexed = tokens_of(&source.text, source.commas, source.words, false);
        lexed.is_ok_and(|lexed| reduced::has_unreduced(&lexed.tokens))
    }

    /// The same with a letter for each length of a segment.
    pub fn in_segments(&self) -> Option<Self> {
        let source = &self.source;
        let mut lexed = tokens_of(&source.text, source.commas, source.words, false).ok()?;
        letters::join(&mut lexed.tokens);
        read(source.clone(), &lexed).ok()
    }

    /// The same with all its letters in bold, as those of vectors are.
    fn in_bold(&self) -> Option<Self> {
        let source = &self.source;
        let lexed = tokens_of(&source.text, source.commas, source.words, true).ok()?;
        read(source.clone(), &lexed).ok()
    }

    /// Its one spelling, for texts that are no mathematics.
    pub fn spelled(&self) -> &str {
        self.source.spelled.get_or_init(|| {
            let lexed = tokens_of(&self.source.text, self.source.commas, self.source.words, false);
            // It was not too long when it was read.
            lexed.map_or_else(
                |TooManyTokens| CompactString::default(),
                |lexed| spell_text(&lexed.tokens),
            )
        })
    }
}

/// The word that joins items where no other one does.
fn joined_by(tokens: &[Token<'_>], kinds: Kinds) -> Option<Conjunction> {
    if !kinds.has(Kinds::CONJUNCTION) {
        return None;
    }
    let mut joints = tokens.iter().filter_map(|token| match token.kind {
        Kind::Conjunction(by) => Some(by),
        _ => None,
    });
    let first = joints.next()?;
    joints.all(|next| next == first).then_some(first)
}

fn says_something(token: &Token<'_>) -> bool {
    !matches!(
        token.kind,
        Kind::Comma
            | Kind::Semicolon
            | Kind::Colon
            | Kind::Open(Bracket::Round | Bracket::Square)
            | Kind::Close(_)
            | Kind::GroupOpen
            | Kind::GroupClose
            | Kind::Bang
            | Kind::Prime
            | Kind::Currency(_)
            | Kind::Percent
            | Kind::Degree
            | Kind::Underscore
            | Kind::Caret
            | Kind::Ampersand
            | Kind::RowBreak
            | Kind::Dots
            | Kind::Bar
            | Kind::Operator(_)
            | Kind::Other("?" | "\"" | "`" | "\\")
    )
}

/// `\text{A or B}` does not say which letter it is, so that it is no list of both.
fn without_choice(answer: Answer, tokens: &[Token<'_>], joined: Option<Conjunction>) -> Answer {
    let is_letter = |item: &Answer| matches!(&item.body, Body::Text(text) if text.len() == 1) && item.label.is_none();
    match &answer.body {
        Body::List(items) if items.iter().all(is_letter) && joined == Some(Conjunction::Or) => Answer {
            label: None,
            body: Body::Text(spell_text(tokens)),
        },
        _ => answer,
    }
}

/// The answer as a text: in `\text{…}` letters are words, not variables.
fn words_of(answer: Answer) -> Answer {
    let body = match answer.body {
        Body::Quantity(Quantity {
            expression: Expression::Constant(Constant::Infinity),
            ..
        }) => answer.body,
        Body::Quantity(Quantity {
            spelled: Some(spelled), ..
        }) if answer.label.is_none() => {
            let spelled = words::folded(&spelled);
            match words::value(&spelled) {
                Some(value) => Body::Quantity(Quantity::new(Expression::Number(value))),
                None => Body::Text(spelled),
            }
        }
        Body::List(items) => Body::List(items.into_iter().map(words_of).collect()),
        other => other,
    };
    Answer {
        label: answer.label,
        body,
    }
}
