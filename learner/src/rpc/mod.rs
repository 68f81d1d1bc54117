//! The gRPC surface: one file for each service, the errors that become statuses, and streamed answers.

pub(crate) mod jobs;
pub(crate) mod rollouts;
mod status;
mod stream;
pub(crate) mod weights;
