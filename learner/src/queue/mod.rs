//! The replay queue in Redis: [`redis`](mod@redis) is the connection, [`stream`] the queue of one job, and [`reader`]
//! reads it for the trainer.

pub mod reader;
pub mod redis;
pub mod stream;
