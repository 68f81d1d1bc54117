//! Which kinds of tokens a text has: most looks through a text are for one that it lacks, and need not be taken.

use super::token::{Kind, Token};

/// A set of kinds. Those that nobody asks for are in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    /// A variable.
    pub(super) const SYMBOL: Self = Self(1);
    /// A word, as text or not.
    pub(super) const WORD: Self = Self(1 << 1);
    /// `or`, `and`.
    pub(super) const CONJUNCTION: Self = Self(1 << 2);
    /// An operation that is no product.
    pub(super) const OPERATOR: Self = Self(1 << 3);
    /// `±` or `∓`.
    pub(super) const EITHER_SIGN: Self = Self(1 << 4);
    /// `:`.
    pub(super) const COLON: Self = Self(1 << 5);
    /// `^`.
    pub(super) const CARET: Self = Self(1 << 6);
    /// `_`.
    pub(super) const UNDERSCORE: Self = Self(1 << 7);
    /// `'`.
    pub(super) const PRIME: Self = Self(1 << 8);
    /// `%`, `°` or a currency.
    pub(super) const UNIT_SIGN: Self = Self(1 << 9);
    /// An opening bracket.
    pub(super) const OPEN: Self = Self(1 << 10);
    /// `|`.
    pub(super) const BAR: Self = Self(1 << 11);
    /// `,` or `;`.
    pub(super) const SEPARATOR: Self = Self(1 << 12);
    /// `&`.
    pub(super) const AMPERSAND: Self = Self(1 << 13);
    /// `=`, `<` and their like.
    pub(super) const RELATION: Self = Self(1 << 14);
    /// `∪` or `∖`.
    pub(super) const JOINED_SETS: Self = Self(1 << 15);
    /// `∈`.
    pub(super) const IN: Self = Self(1 << 16);
    /// The beginning of a matrix.
    pub(super) const BEGIN: Self = Self(1 << 17);
    /// A mark above letters.
    pub(super) const ACCENT: Self = Self(1 << 18);
    /// What says of which figure the next letters are.
    pub(super) const SHAPE: Self = Self(1 << 19);
    /// A sign without a kind of its own.
    pub(super) const OTHER: Self = Self(1 << 20);
    /// A letter in bold or in script.
    pub(super) const STYLED: Self = Self(1 << 21);
    /// `ℝ`, which may be a factor of groups as the letters of other sets are.
    pub(super) const REALS: Self = Self(1 << 24);
    /// `…`.
    pub(super) const DOTS: Self = Self(1 << 23);
    /// The end of a row.
    pub(super) const ROW_BREAK: Self = Self(1 << 22);

    /// Those of some tokens.
    pub(super) fn of(tokens: &[Token<'_>]) -> Self {
        let of_styles = |token: &Token<'_>| match token.is_bold || token.is_script {
            true => Self::STYLED,
            false => Self::default(),
        };
        tokens.iter().fold(Self::default(), |kinds, token| {
            kinds.or(Self::of_kind(&token.kind)).or(of_styles(token))
        })
    }

    fn of_kind(kind: &Kind<'_>) -> Self {
        match kind {
            Kind::Symbol(_) => Self::SYMBOL,
            Kind::Word(_) | Kind::Text(_) => Self::WORD,
            Kind::Conjunction(_) => Self::CONJUNCTION,
            Kind::Operator(_) => Self::OPERATOR,
            Kind::PlusMinus | Kind::MinusPlus => Self::EITHER_SIGN,
            Kind::Colon => Self::COLON,
            Kind::Caret => Self::CARET,
            Kind::Underscore => Self::UNDERSCORE,
            Kind::Prime => Self::PRIME,
            Kind::Percent | Kind::Degree | Kind::Currency(_) => Self::UNIT_SIGN,
            Kind::Open(_) => Self::OPEN,
            Kind::Bar => Self::BAR,
            Kind::Comma | Kind::Semicolon => Self::SEPARATOR,
            Kind::Ampersand => Self::AMPERSAND,
            Kind::Relation(_) => Self::RELATION,
            Kind::Cup | Kind::SetMinus => Self::JOINED_SETS,
            Kind::In => Self::IN,
            Kind::Begin(_) => Self::BEGIN,
            Kind::Accent(_) => Self::ACCENT,
            Kind::Shape(_) => Self::SHAPE,
            Kind::Other(_) => Self::OTHER,
            Kind::RowBreak => Self::ROW_BREAK,
            Kind::Dots => Self::DOTS,
            Kind::Reals => Self::REALS,
            Kind::Number(..)
            | Kind::Constant(_)
            | Kind::Function(_)
            | Kind::Over
            | Kind::Choose
            | Kind::Plus
            | Kind::Minus
            | Kind::Times
            | Kind::Divide
            | Kind::Bang
            | Kind::Close(_)
            | Kind::GroupOpen
            | Kind::GroupClose
            | Kind::EmptySet
            | Kind::Frac
            | Kind::Sqrt
            | Kind::Binom
            | Kind::End => Self::default(),
        }
    }

    /// These and others.
    pub(super) const fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether one of these is among them.
    pub(super) const fn has(self, these: Self) -> bool {
        self.0 & these.0 != 0
    }
}
