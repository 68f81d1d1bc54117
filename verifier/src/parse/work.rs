//! The steps that reading one text may take beyond those for its bytes: for what is calculated with its matrices. Whoever
//! asked for the text to be read pays for them.

use std::cell::Cell;

use dashu_base::BitTest as _;
use dashu_ratio::RBig;

use super::kinds::Kinds;

/// Most steps of one text.
const MAX_WORK: u64 = 240_000;

/// The steps that a text took so far.
#[derive(Debug, Default)]
pub(super) struct Work(Cell<u64>);

impl Work {
    /// Takes steps before the work is done; none if these are too many.
    pub(super) fn spend(&self, steps: u64) -> Option<()> {
        let spent = self.0.get().saturating_add(steps);
        (spent <= MAX_WORK).then(|| self.0.set(spent))
    }

    /// Takes the steps of one product of two numbers and of adding it to others.
    pub(super) fn spend_on_product(&self, left: &RBig, right: &RBig) -> Option<()> {
        self.spend(PRODUCT + words(left) * words(right))
    }

    /// All steps so far.
    pub(super) fn spent(&self) -> u64 {
        self.0.get()
    }
}

/// Steps that a product and a sum of small numbers take.
const PRODUCT: u64 = 20;

/// The words of 64 bits that a number has above and below its line. Below a line common factors are looked for, so that these
/// count more.
fn words(value: &RBig) -> u64 {
    let below = if value.is_int() {
        0
    } else {
        2 * (value.denominator().bit_len() as u64 / 64 + 1)
    };
    value.numerator().bit_len() as u64 / 64 + 1 + below
}

/// Where in an answer something is read.
#[derive(Clone, Copy)]
pub(super) struct Place<'w> {
    /// The kinds of the tokens of the whole text, which has more of them than any of its parts.
    pub(super) kinds: Kinds,
    /// How many lists stand around it.
    pub(super) depth: usize,
    /// The work of the whole text.
    pub(super) work: &'w Work,
}

impl<'w> Place<'w> {
    /// That of a whole text.
    pub(super) fn of_all(kinds: Kinds, work: &'w Work) -> Self {
        Self { kinds, depth: 0, work }
    }

    /// Within a list that stands here.
    pub(super) fn deeper(self) -> Self {
        Self {
            depth: self.depth + 1,
            ..self
        }
    }
}
