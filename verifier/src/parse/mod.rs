//! A text to what it says: LaTeX and plain text go through [`lexer`] (tokens) and [`grammar`] (expressions) to an
//! [`Answer`] (lists, tuples, intervals, matrices, equations, units, words).

mod answer;
mod dress;
mod grammar;
mod label;
pub mod lexer;
mod matrix;
mod names;
mod numeral;
mod spell;
pub mod token;
mod unit;

pub use answer::{Answer, Body, Choice, Literal, ParseError, Parsed, Quantity, parse};
pub use label::Label;
pub use unit::Unit;
