//! The learner's services: the lease table against a model, the queue against a real Redis, and whole servers with a
//! fake trainer and fake actors, and in `real_jobs` with the real trainer.
// A test that cannot go on panics.
#![allow(clippy::unwrap_used)]

mod best_weights;
mod changed_data;
mod details;
mod evaluations;
mod faults;
mod figures;
mod forks;
mod full_disk;
mod generations;
mod hub;
#[path = "../../../hub/tests/support/mod.rs"]
mod hub_server;
mod jobs;
mod lease_table;
mod lease_table_model;
mod lease_table_restarts;
mod line;
mod outages;
mod pushed_groups;
mod queue;
mod queue_disturbed;
mod real_jobs;
mod removal;
mod renewals;
mod rollouts;
mod slow_disk;
mod store;
mod submissions;
mod support;
mod two_learners;
mod waits;
mod weights;
