//! The training process.
#![forbid(unsafe_code)]

pub mod desk;
