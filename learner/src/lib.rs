//! The training process: it leases problems to actors, queues the scored groups that they push, trains, and hands out
//! the weights.
//!
//! Each folder is a room with one purpose. ARCHITECTURE.md has the table of rooms, and a test checks every import
//! against it.
#![forbid(unsafe_code)]

pub mod args;
pub mod checkpoint;
pub mod data;
pub mod diagnosis;
pub mod evaluation;
mod health;
pub mod hub;
pub mod invariants;
pub mod jobs;
pub mod kept;
mod lock;
pub mod offline;
pub mod outputs;
pub mod queue;
pub mod ranks;
pub mod rollouts;
pub mod rpc;
pub mod run;
pub mod server;
pub mod server_state;
pub mod train;
pub mod weights;
