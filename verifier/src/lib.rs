//! The answer grader: a response goes through `extract` → `notation` → `value` → `compare` and comes out as a typed
//! verdict; [`serve`] puts that behind `anytime.v1.VerifierService`.
//!
//! Grading is pure and bounded by construction ([`limits`]): sizes are limited before anything is made of a text, and
//! the slowest text within them takes milliseconds, so a batch needs no more than a look at the clock between items.
#![forbid(unsafe_code)]

mod batch;
mod cache;
mod compare;
mod deadline;
mod extract;
mod grade;
pub mod limits;
mod meters;
mod notation;
mod number;
pub mod offline;
mod request;
mod rpc;
pub mod serve;
mod stream;
mod unit;
mod value;

pub mod equality;
pub mod expression;
pub mod options;
pub mod steps;

pub use extract::extract;
pub use grade::grade;
