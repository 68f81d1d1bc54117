//! The replay queue in Redis.

pub mod reader;
pub mod redis;
pub mod stream;
