//! The weights as actors get them: [`store`] holds the current and the previous version of each job in memory, and the
//! last [`deltas`] between versions as deltas; `rpc::weights` announces and sends them. A crash costs nothing: the trainer
//! publishes again when it resumes, and actors fetch the whole once.

pub(crate) mod deltas;
pub mod store;
