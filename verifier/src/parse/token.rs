//! The tokens of an answer.

use compact_str::CompactString;
use dashu_ratio::RBig;

use crate::expression::{Constant, Function};

/// A token and whether a space stood before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    /// The kind of token.
    pub kind: Kind<'a>,
    /// Whether it was set apart from the token before it.
    pub spaced: bool,
    /// Whether it is set in bold, as vectors are.
    pub is_bold: bool,
    /// Whether it is set in script or Fraktur letters.
    pub is_script: bool,
    /// Whether it is a letter that names a function of what stands in brackets behind it.
    pub applies: bool,
    /// The characters that it was read from.
    pub source: &'a str,
}

impl Token<'_> {
    /// Whether it names a point, by a capital.
    pub(super) fn is_point(&self) -> bool {
        matches!(&self.kind, Kind::Symbol(name) if name.starts_with(char::is_uppercase))
    }

    /// Whether it is set as a vector, or sets the next one so.
    pub(super) fn is_vector(&self) -> bool {
        self.is_bold || matches!(self.kind, Kind::Accent(_)) && matches!(self.source, "\\vec" | "\\hat")
    }

    /// Whether it is written with digits whose first is a zero.
    pub(super) fn has_leading_zero(&self) -> bool {
        let digits = self.source;
        digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|digit| digit.is_ascii_digit())
    }

    /// Whether it belongs to the letter before it.
    pub(super) fn is_mark(&self) -> bool {
        matches!(self.kind, Kind::Prime | Kind::Underscore | Kind::Caret)
    }
}

/// The kinds of tokens.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// A numeral, exactly, with its decimal places if it has a decimal point.
    Number(RBig, Option<u32>),
    /// A variable of one letter, Latin or Greek; fonts and `\var…` forms are dropped.
    Symbol(CompactString),
    /// π, e, i, ∞.
    Constant(Constant),
    /// A function that is written by its name.
    Function(Function),
    /// A run of letters that is neither a name nor a product of a few variables.
    Word(&'a str),
    /// The content of `\text{…}` and its like, where it is no number, letter or separator.
    Text(&'a str),
    /// `or`, `and`: ends an item of a list.
    Conjunction(Conjunction),
    /// `\over`: all of its group before it, over all that follows.
    Over,
    /// `\choose`.
    Choose,
    /// `+`.
    Plus,
    /// `-`.
    Minus,
    /// An operation that is no product: `∘` of functions, `⋆`; `⇒`, `∨` and `∧` of statements; `⋀` of vectors.
    Operator(&'static str),
    /// `±`.
    PlusMinus,
    /// `∓`.
    MinusPlus,
    /// `·`, `×`, `*`.
    Times,
    /// `/`, `÷`.
    Divide,
    /// `:`.
    Colon,
    /// `^`, `**`.
    Caret,
    /// `_`.
    Underscore,
    /// `!`.
    Bang,
    /// `'`.
    Prime,
    /// `%`.
    Percent,
    /// `°`, `^\circ`.
    Degree,
    /// `\$`, `€` and their like.
    Currency(&'static str),
    /// An opening bracket.
    Open(Bracket),
    /// A closing bracket.
    Close(Bracket),
    /// `{` that only groups.
    GroupOpen,
    /// `}` that only groups.
    GroupClose,
    /// `|`.
    Bar,
    /// `,`.
    Comma,
    /// `;`.
    Semicolon,
    /// `&`.
    Ampersand,
    /// `\\`.
    RowBreak,
    /// `=`, `<` and their like.
    Relation(Relation),
    /// `∪`.
    Cup,
    /// `∖`.
    SetMinus,
    /// `∈`.
    In,
    /// `∅`.
    EmptySet,
    /// `ℝ`.
    Reals,
    /// `\frac`.
    Frac,
    /// `\sqrt`, `√`.
    Sqrt,
    /// `\binom`.
    Binom,
    /// `\begin{…}` of a matrix.
    Begin(&'a str),
    /// `\end{…}` of a matrix.
    End,
    /// `\overline`, `\hat` and their like.
    Accent(&'static str),
    /// `\angle`, `\triangle`: says what kind of thing the next letters name.
    Shape(&'a str),
    /// `…`: something is left out.
    Dots,
    /// Anything else.
    Other(&'a str),
}

impl PartialEq for Kind<'_> {
    /// Most kinds that are compared differ, which is seen without a call.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.has_content_of(other)
    }
}

impl Kind<'_> {
    /// Whether two tokens of one kind hold the same.
    fn has_content_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(value, places), Self::Number(other, others)) => value == other && places == others,
            (Self::Symbol(name), Self::Symbol(other)) => name == other,
            (Self::Constant(constant), Self::Constant(other)) => constant == other,
            (Self::Function(function), Self::Function(other)) => function == other,
            (Self::Word(text), Self::Word(other))
            | (Self::Text(text), Self::Text(other))
            | (Self::Begin(text), Self::Begin(other))
            | (Self::Shape(text), Self::Shape(other))
            | (Self::Other(text), Self::Other(other)) => text == other,
            (Self::Operator(sign), Self::Operator(other))
            | (Self::Currency(sign), Self::Currency(other))
            | (Self::Accent(sign), Self::Accent(other)) => sign == other,
            (Self::Conjunction(conjunction), Self::Conjunction(other)) => conjunction == other,
            (Self::Open(bracket), Self::Open(other)) | (Self::Close(bracket), Self::Close(other)) => bracket == other,
            (Self::Relation(relation), Self::Relation(other)) => relation == other,
            (
                Self::Over
                | Self::Choose
                | Self::Plus
                | Self::Minus
                | Self::PlusMinus
                | Self::MinusPlus
                | Self::Times
                | Self::Divide
                | Self::Colon
                | Self::Caret
                | Self::Underscore
                | Self::Bang
                | Self::Prime
                | Self::Percent
                | Self::Degree
                | Self::GroupOpen
                | Self::GroupClose
                | Self::Bar
                | Self::Comma
                | Self::Semicolon
                | Self::Ampersand
                | Self::RowBreak
                | Self::Cup
                | Self::SetMinus
                | Self::In
                | Self::EmptySet
                | Self::Reals
                | Self::Frac
                | Self::Sqrt
                | Self::Binom
                | Self::End
                | Self::Dots,
                _,
            ) => true,
            (
                Self::Number(..)
                | Self::Symbol(_)
                | Self::Constant(_)
                | Self::Function(_)
                | Self::Word(_)
                | Self::Text(_)
                | Self::Begin(_)
                | Self::Shape(_)
                | Self::Other(_)
                | Self::Operator(_)
                | Self::Currency(_)
                | Self::Accent(_)
                | Self::Conjunction(_)
                | Self::Open(_)
                | Self::Close(_)
                | Self::Relation(_),
                _,
            ) => false,
        }
    }
}

/// How items are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conjunction {
    /// `or`, `∨`.
    Or,
    /// `and`, `∧`.
    And,
}

/// The kind of a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bracket {
    /// `( )`.
    Round,
    /// `[ ]`.
    Square,
    /// `\{ \}`.
    Brace,
    /// `⌊ ⌋`.
    Floor,
    /// `⌈ ⌉`.
    Ceiling,
    /// `⟨ ⟩`.
    Angle,
    /// `\lvert \rvert`.
    Bar,
}

/// The relation between two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `=`.
    Equal,
    /// `≈`.
    Approximate,
    /// `≠`.
    NotEqual,
    /// `<`.
    Less,
    /// `≤`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `≥`.
    GreaterOrEqual,
}

impl Relation {
    /// The relation read from right to left.
    pub fn reversed(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// Whether it says that two sides are the same, at least nearly.
    pub fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::Approximate)
    }

    /// Its usual sign.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Approximate => "≈",
            Self::NotEqual => "≠",
            Self::Less => "<",
            Self::LessOrEqual => "≤",
            Self::Greater => ">",
            Self::GreaterOrEqual => "≥",
        }
    }
}

/// Where the bracket, group or environment closes that opens at `open`; `None` where nothing closes it.
pub(super) fn closing(tokens: &[Token<'_>], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth += 1,
            Kind::Close(_) | Kind::GroupClose | Kind::End => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// Splits tokens where `is_split` says so, outside of all brackets and groups.
pub(super) fn split_outside<'t, 'a>(
    tokens: &'t [Token<'a>],
    is_split: impl Fn(&Kind<'_>) -> bool,
) -> Vec<(usize, &'t [Token<'a>])> {
    let mut parts = Vec::new();
    let mut depth = 0usize;
    let mut start = 0;
    for (index, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth += 1,
            Kind::Close(_) | Kind::GroupClose | Kind::End => depth = depth.saturating_sub(1),
            kind if depth == 0 && is_split(kind) => {
                parts.push((index, &tokens[start..index]));
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push((tokens.len(), &tokens[start..]));
    parts
}

impl Bracket {
    /// How it is spelled, where it opens and where it closes.
    pub(super) fn signs(self) -> (&'static str, &'static str) {
        match self {
            Self::Round => ("(", ")"),
            Self::Square => ("[", "]"),
            Self::Brace => ("\\{", "\\}"),
            Self::Floor => ("⌊", "⌋"),
            Self::Ceiling => ("⌈", "⌉"),
            Self::Angle => ("⟨", "⟩"),
            Self::Bar => ("|", "|"),
        }
    }
}
