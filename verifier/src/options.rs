//! What a request may choose: how the answer is found, and what mathematics leaves to convention.

use anytime_proto::v1;

/// The choices of a request. The default extraction is `anytime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// How the answer is found in the response.
    pub extraction: v1::Extraction,
    /// What the answer is held to.
    pub conventions: Conventions,
}

/// What mathematics leaves to convention; see `anytime.v1.Conventions` for what each means. The defaults follow the
/// labels of the public cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conventions {
    /// `PERCENTS_EXACT`: 50 % is not 50.
    pub exact_percents: bool,
    /// `FRACTIONS_REDUCED`: 2/4 is not 1/2.
    pub reduced_fractions: bool,
    /// `ROUNDING_TO_GROUND_TRUTH`: 1.547 is 1.55.
    pub rounding: bool,
    /// What a unit is worth.
    pub units: Units,
    /// `LISTS_ORDERED`: `1, 2` is not `2, 1`.
    pub ordered_lists: bool,
    /// `BRACKETS_EXACT`: `1, 2` is not `(1, 2)`.
    pub exact_brackets: bool,
}

/// What a unit of measurement is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Units {
    /// It may be left out or added, but not be another one.
    #[default]
    Optional,
    /// It must be there exactly if the ground truth has one.
    Required,
    /// It counts for nothing.
    Ignored,
}
