//! Styles: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[];
