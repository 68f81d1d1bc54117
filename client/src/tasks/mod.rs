//! Tasks that the project makes itself: seeded problems with their answers, rows of a warm start, and the model and job
//! files that go with them. The demo, presets, studies and the end-to-end tests all take their problems from here.

mod chain;
mod data;
mod files;
mod name;
mod problem;
mod product;
mod rows;
mod sum;

pub use chain::Chain;
pub use data::{Sizes, write_data};
pub use files::{JobFiles, write_model};
pub use name::TaskName;
pub use problem::{Problem, Reasoned};
pub use product::ProductSum;
pub use rows::{CUT_MARKER, END_MARKER, SUMMARY_MARKER, SftRow, cut_row, full_row};
pub use sum::Sum;
