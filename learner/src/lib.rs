//! The training process: it leases problems to actors, queues the scored groups that they push, trains, and hands out
//! the weights.
//!
//! Each folder is a room with one purpose, and imports between rooms run down this list only:
//!
//! | room | what lives there | imports |
//! |---|---|---|
//! | `main` | start and exit code | `args`, `server`, `run` |
//! | [`args`] | the command line | `server` |
//! | [`server`] | the servers and the thread of jobs, from start to drain | `rpc`, `jobs`, `server_state`, `rollouts`, `queue`, `weights` |
//! | [`rpc`] | the gRPC surface, a file for each service | `jobs`, `rollouts`, `queue`, `weights` |
//! | [`run`] | what a job does on its thread | `jobs`, `rollouts`, `evaluation`, `checkpoint`, `train`, `data`, `lock` |
//! | [`jobs`] | what was submitted, how far it is, the thread that runs it, and what that thread may ask for | `server_state`, `rollouts`, `queue`, `weights`, `durable`, `lock` |
//! | [`server_state`] | what the jobs of one process share | `rollouts`, `weights` |
//! | [`rollouts`] | between actors and the trainer: leases, pushed groups, evaluations | `queue`, `lock` |
//! | [`queue`] | the replay queue in Redis | – |
//! | [`evaluation`] | accuracy at every budget, and the generations that are kept for reading | `data`, `durable` |
//! | [`checkpoint`] | what a job leaves on disk | `train`, `weights` |
//! | [`train`] | the update of the weights; knows neither jobs nor queues | – |
//! | [`weights`] | the versions that actors fetch | `lock` |
//! | [`data`] | problems and completions | – |
//! | `durable`, `lock` | files that survive a power failure, mutexes that survive a panic | – |
#![forbid(unsafe_code)]

pub mod args;
pub mod checkpoint;
pub mod data;
mod durable;
pub mod evaluation;
pub mod jobs;
mod lock;
pub mod queue;
pub mod rollouts;
pub mod rpc;
pub mod run;
pub mod server;
pub mod server_state;
pub mod train;
pub mod weights;
