//! Words behind a quantity that say its direction, and have an opposite: a profit of \$5 is no loss of \$5.

use super::token::{Kind, Token};

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sense {
    /// Which pair of opposites it is of.
    pair: u8,
    is_second: bool,
}

impl Sense {
    /// Whether both speak of the same thing, and say the opposite.
    pub(crate) fn contradicts(self, other: Self) -> bool {
        self.pair == other.pair && self.is_second != other.is_second
    }
}

/// Words and their opposites.
const OPPOSITES: [[&[&str]; 2]; 10] = [
    [
        &[
            "increase",
            "increased",
            "gain",
            "profit",
            "surplus",
            "rise",
            "up",
            "upward",
            "upwards",
        ],
        &[
            "decrease",
            "decreased",
            "loss",
            "deficit",
            "reduction",
            "drop",
            "discount",
            "down",
            "downward",
            "downwards",
        ],
    ],
    [&["north", "northward"], &["south", "southward"]],
    [&["east", "eastward"], &["west", "westward"]],
    [&["left"], &["right"]],
    [&["clockwise"], &["counterclockwise", "anticlockwise"]],
    [&["heads"], &["tails"]],
    [&["even"], &["odd"]],
    [&["positive"], &["negative"]],
    [&["distinct", "different"], &["equal", "repeated", "identical"]],
    [&["real"], &["imaginary", "nonreal"]],
];

/// The direction that the words among some tokens say; none if they say none, or both.
pub(super) fn of(tokens: &[Token<'_>]) -> Option<Sense> {
    let mut found = None;
    for token in tokens {
        let (Kind::Text(word) | Kind::Word(word)) = token.kind else {
            continue;
        };
        let word = word.to_lowercase();
        for (pair, sides) in (0_u8..).zip(&OPPOSITES) {
            for (side, words) in sides.iter().enumerate() {
                if words.contains(&word.as_str()) {
                    let sense = Sense {
                        pair,
                        is_second: side == 1,
                    };
                    if found.is_some_and(|known| known != sense) {
                        return None;
                    }
                    found = Some(sense);
                }
            }
        }
    }
    found
}
