//! The replay queue in Redis: [`redis`](mod@redis) is the connection, [`groups`] the queue of one job, and [`reader`]
//! reads it for the trainer. [`dead_letters`] are the groups that could not be trained. [`fence`] is the learner's right to a
//! job, which keeps a second learner out. [`target`] is how Redis is reached, and [`info`] what it says of itself.

pub mod dead_letters;
pub mod fence;
pub mod groups;
pub mod info;
pub mod reader;
pub mod redis;
pub mod target;
