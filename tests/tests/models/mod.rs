//! The state machines of the replay queue, of jobs and of the right to a job, explored by a model checker: every state
//! that they can reach under a bounded number of faults keeps the invariants of `learner/src/invariants.rs`, and from
//! every one of them the work can be finished. What is modelled of Redis is held against a real one.
//!
//! The deeper runs take minutes:
//!
//! ```sh
//! cargo test --workspace --test system models:: -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used)]

mod explore;
mod jobs;
mod jobs_explored;
mod queue;
mod queue_explored;
mod redis;
pub(crate) mod redis_model;
mod right;
