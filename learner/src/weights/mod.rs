//! The weights as actors get them. [`published`] is one version with its manifest, [`store`] holds the current and the
//! previous version of each job in memory, and [`deltas`] the differences between versions that follow each other. The
//! gRPC service is in `rpc::weights`.
//!
//! A crash costs nothing: the trainer publishes again when it resumes, and actors fetch the full weights once.

pub mod deltas;
pub mod published;
pub mod store;
