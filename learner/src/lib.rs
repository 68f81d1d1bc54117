//! The training process: it leases problems to actors, queues the scored groups that they push, trains, and hands out
//! the weights.
//!
//! Each room (a folder, or a file by itself) has one purpose. A room imports only rooms that stand below it:
//!
//! | room | what lives there |
//! |---|---|
//! | `main` | start and exit code |
//! | [`args`] | the command line |
//! | [`server`] | the servers and the thread of jobs, from start to drain |
//! | [`rpc`] | the gRPC surface, a file for each service |
//! | [`run`] | what a job does on its thread |
//! | [`jobs`] | what was submitted, how far it is, the thread that runs it, and what that thread may ask for |
//! | [`server_state`] | what the jobs of one process share |
//! | [`rollouts`] | between actors and the trainer: leases, pushed groups, evaluations |
//! | [`queue`] | the replay queue in Redis |
//! | [`evaluation`] | accuracy at every budget, and the generations that are kept for reading |
//! | [`checkpoint`] | the model on disk: recovery checkpoints and exports |
//! | [`train`] | the update of the weights; knows neither jobs nor queues |
//! | [`weights`] | the versions that actors fetch |
//! | [`data`] | problems and completions |
//! | `durable` | files that survive a power failure |
//! | `lock` | mutexes that survive a panic |
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
