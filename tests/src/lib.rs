//! The harness of the tests that cross processes. A [`workplace::Workplace`] is a temporary directory with the demo's
//! data and model, and the command line in it; a [`stack::Stack`] is a Redis, a verifier, a learner and actors as real
//! processes on loopback. Whatever a test starts ends with it, also where the test panics.
//! [`secrets::Secrets`] are certificates and tokens for them.
//! [`chaos`] kills, stops and cuts it off at random, and [`link::Link`] is a connection that it disturbs.
//! [`collector::Collector`] receives the traces of processes that are told to send them.
//! [`outcome::Outcome`] is what a job came to, for the comparison of two runs.
//!
//! The binaries are those of this build: `cargo build --workspace --bins` makes them (the Makefile does).
#![forbid(unsafe_code)]

pub mod chaos;
pub mod collector;
pub mod dashboard;
pub mod documents;
pub mod help;
pub mod history;
pub mod link;
pub mod metrics;
pub mod outcome;
pub mod ports;
pub mod process;
pub mod programs;
pub mod prometheus;
mod ranks;
pub mod refusal_texts;
pub mod rooms;
pub mod secrets;
pub mod small_plan;
pub mod stack;
pub mod wait;
pub mod workplace;
