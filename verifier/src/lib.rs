//! The answer grader: a response goes through `extract` → [`parse`] (LaTeX and plain text to one expression tree) →
//! [`normal`] (canonical forms) → [`compare`] and comes out as a typed verdict; [`serve`] puts that behind
//! `anytime.v1.VerifierService`, [`offline`] behind lines of JSON.
//!
//! Two expressions are compared by their canonical forms, else at random points of finite fields ([`field`]), else by
//! ball arithmetic ([`ball`]): never by floating point. Grading is pure and bounded by construction: sizes
//! ([`limits`]) are limited before anything is made of a text, and work is counted in steps ([`steps`]), not in time.
#![forbid(unsafe_code)]

pub mod ball;
mod batch;
mod cache;
mod caught;
pub mod compare;
mod crew;
mod deadline;
pub mod equality;
mod explain;
pub mod expression;
mod extract;
pub mod field;
mod grade;
pub mod ground_truth;
pub mod limits;
mod meters;
mod modulus;
pub mod normal;
pub mod offline;
pub mod options;
pub mod parse;
mod request;
mod rpc;
pub mod serve;
pub mod steps;
mod stream;
#[cfg(test)]
mod testing;
mod watch;

pub use explain::{Explanation, explain};
pub use extract::extract;
pub use grade::{grade, grade_extracted};
