//! Accuracy at every budget, and what an evaluation keeps for reading.

pub mod bootstrap;
pub mod counts;
pub mod generations;
pub mod result;
