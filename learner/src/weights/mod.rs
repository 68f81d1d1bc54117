//! The weights as actors get them: [`shelf`] holds the current and the previous version of each job in memory, and the
//! last `steps` between versions as deltas; [`service`] announces and sends them. A crash costs nothing: the trainer
//! publishes again when it resumes, and actors fetch the whole once.

pub mod service;
pub mod shelf;
mod steps;
