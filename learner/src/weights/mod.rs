//! The weights as actors get them: [`shelf`] holds the current and the previous version of each job in memory,
//! [`service`] announces and sends them. A crash costs nothing: the trainer publishes again when it resumes.

pub mod service;
pub mod shelf;
