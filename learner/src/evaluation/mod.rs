//! Accuracy at every budget: [`result`] makes the leases of an evaluation and its figures, [`bootstrap`] their
//! confidence intervals and [`counts`] the shares that training steps report too. [`tally`] is what is kept of a group
//! for the figures, and [`repeats`] says which leases are those of a problem that stands on several rows.
//! [`generations`] writes what was generated to a file for people.

pub mod bootstrap;
pub mod counts;
pub mod generations;
pub mod repeats;
pub mod result;
pub mod tally;
