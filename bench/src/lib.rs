//! How fast the engine and the learner are, each case in the shape that the peers run too.
//!
//! `make bench` runs all of it through `bench/speed/run.sh`; every case of the binary prints one JSON object.
#![forbid(unsafe_code)]

pub mod decode;
pub mod engine;
pub mod fleet;
pub mod gpu;
pub mod limits;
pub mod model;
pub mod neighbours;
pub mod profile;
pub mod report;
pub mod rollout;
pub mod steady;
pub mod training;
