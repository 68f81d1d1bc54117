//! The replay queue in Redis: [`redis`](mod@redis) is the connection, [`stream`] the queue of one job, and [`reader`]
//! reads it for the trainer. [`dead_letters`] are
//! the groups that could not be trained. [`fence`] is the learner's right to a job, which keeps a second learner out.

pub mod dead_letters;
pub mod fence;
pub mod reader;
pub mod redis;
pub mod stream;
