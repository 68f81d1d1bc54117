//! The gRPC surface: [`jobs`] is called by clients, [`rollouts`] and [`weights`] by actors. `status` turns errors into
//! gRPC statuses, and `stream` makes streamed answers.

pub mod jobs;
pub mod rollouts;
mod status;
mod stream;
pub mod weights;
