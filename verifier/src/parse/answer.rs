//! A whole answer, read: its structure and what is known about how it was written.

use std::cell::OnceCell;

use compact_str::CompactString;

use super::label::Label;
use super::lexer::Commas;
use super::sense::Sense;
use super::token::{Bracket, Conjunction, Relation};
use super::unit::Unit;
use super::written::Written;
use crate::expression::Expression;
use crate::normal::Form;
use crate::steps::Stop;

/// An answer, or a part of one.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The name that it was equated with, or that is said to be its member.
    pub label: Option<Label>,
    /// Its content.
    pub body: Body,
}

impl Answer {
    /// What it says, with its name; of a set with one tuple, `(x, y) \in \{(1, 2)\}`, that tuple.
    pub(crate) fn only_tuple(&self) -> (&Body, Option<&Label>) {
        match &self.body {
            Body::Set(items)
                if let [only] = items.as_slice()
                    && matches!(only.body, Body::Sequence(..)) =>
            {
                (&only.body, only.label.as_ref().or(self.label.as_ref()))
            }
            body => (body, self.label.as_ref()),
        }
    }
}

/// The content of an answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// A number or an expression, perhaps with a unit.
    Quantity(Quantity),
    /// Words, in one spelling.
    Text(CompactString),
    /// Items without brackets.
    List(Vec<Answer>),
    /// Items in braces; none is the empty set.
    Set(Vec<Answer>),
    /// Items in brackets: a tuple, a vector or an interval.
    Sequence(Bracket, Bracket, Vec<Answer>),
    /// The union of sets, or alternatives: `x < 1` or `x > 3`.
    Union(Vec<Answer>),
    /// Conditions that hold together: `x > 1` and `x < 3`. One alone is that of a set: `\{x \mid x > 1\}`.
    Intersection(Vec<Answer>),
    /// The first set without the second.
    Difference(Box<Answer>, Box<Answer>),
    /// A matrix, row by row.
    Matrix(Vec<Vec<Quantity>>),
    /// Sides and the relations between them: equations, inequalities, chains.
    Chain(Vec<Quantity>, Vec<Relation>),
    /// Values and the conditions under which they hold; at most one holds in all other cases.
    Cases(Vec<(Answer, Option<Answer>)>),
    /// `3 : 4`.
    Ratio(Vec<Quantity>),
}

impl Body {
    /// The condition of a set that is described by one.
    pub(crate) fn described(&self) -> Option<&Self> {
        match self {
            Self::Intersection(conditions) => match conditions.as_slice() {
                [only] => Some(&only.body),
                _ => None,
            },
            _ => None,
        }
    }
}

/// An expression with what is known of it.
#[derive(Clone, Debug)]
pub struct Quantity {
    /// Its value.
    pub expression: Expression,
    /// Its unit.
    pub unit: Option<Unit>,
    /// How a number was written.
    pub literal: Literal,
    /// What the words behind it say of its direction.
    pub(crate) sense: Option<Sense>,
    /// The words behind a sign, which say of what it is: `5\% \text{ of the boys}`.
    pub(crate) beside: Option<Box<str>>,
    /// Its spelling where it might be a word: letters only.
    pub spelled: Option<CompactString>,
    /// The numerals that it was written with, if it is a side of a relation and has no variables.
    pub written: Option<Box<Written>>,
    /// Its canonical form, computed when it is first needed.
    pub(crate) form: OnceCell<Box<Result<Form, Stop>>>,
}

/// How a number was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literal {
    /// As a decimal, with this many digits after the point.
    Decimal(u32),
    /// As a fraction of two integers.
    Fraction {
        /// Whether it is in lowest terms.
        is_reduced: bool,
    },
    /// As a measurement in two units, which both belong to it.
    Compound,
    /// In any other way.
    Other,
}

impl Quantity {
    /// A bare expression.
    pub(crate) fn new(expression: Expression) -> Self {
        Self {
            expression,
            unit: None,
            sense: None,
            beside: None,
            literal: Literal::Other,
            spelled: None,
            written: None,
            form: OnceCell::new(),
        }
    }
}

/// What a text was read from. Few texts are compared by their spelling, so it is worked out only when it is needed.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) text: CompactString,
    pub(super) commas: Commas,
    /// Whether its letters are words.
    pub(super) words: bool,
    /// Whether all of it stood in `\text{…}`.
    pub(super) is_text: bool,
    /// Whether all of it stood in `\mathbf{…}` or its like.
    pub(super) is_bold: bool,
    pub(super) spelled: OnceCell<CompactString>,
}

/// A whole text, read.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub answer: Answer,
    pub(super) source: Source,
    /// Whether there is a sum, a product, an integral or a limit in it.
    pub has_operators: bool,
    /// The letter of a multiple choice that it names.
    pub choice: Option<Choice>,
    /// What stands beside that letter: 14 in `(C) 14`.
    pub beside_choice: Option<Answer>,
    /// Which letters keep their order in a product.
    pub ordered: Ordered,
    /// Whether its capitals are the ends of segments, whose lengths it names.
    pub segments: Segments,
    /// What alone joins its items, where words do.
    pub joined: Option<Conjunction>,
    /// Whether a comma was taken for a separator of thousands that might separate items.
    pub ambiguous_comma: bool,
    /// How it is set in bold.
    pub bold: Bold,
    /// The steps that it took to read beyond those for its bytes.
    pub work: u64,
}

/// Letters that keep their order in a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ordered {
    /// None but those in bold.
    #[default]
    None,
    /// Capitals, which are matrices: `A^{-1}B`.
    Capitals,
    /// All, which are elements of a group: `gxg^{-1}`.
    Letters,
}

/// Whether the capitals of a text are the ends of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// Some stand alone, or there are none.
    No,
    /// Each stands beside one other, as in `AB`; so do letters of words, as in `\{HT, TH\}`.
    Perhaps,
    /// The same, and something is done with the pairs, as with lengths.
    Lengths,
}

/// How an answer is set in bold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bold {
    /// No letter is.
    No,
    /// Some letters are.
    Letters,
    /// All of it is.
    Whole {
        /// Whether it has a product as only vectors and matrices have it: capitals side by side, or a cross between letters.
        of_vectors: bool,
    },
}

/// A letter that may be the choice of a multiple-choice problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The letter.
    pub letter: char,
    /// Whether nothing else is said, as in `(B) 12`.
    pub is_alone: bool,
    /// Whether it was set as a choice: in brackets or as text.
    pub is_marked: bool,
    /// Whether the letter was set as text.
    pub is_text: bool,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is blank or punctuation.
    #[error("nothing to compare")]
    Nothing,
    /// It exceeds the limits on tokens or nesting.
    #[error("too many tokens, or nested too deep")]
    TooLarge,
}
