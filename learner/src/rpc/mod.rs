//! The gRPC surface: [`jobs`] and [`diagnosis`] are called by clients, [`rollouts`] and [`weights`] by actors. `status` turns errors into
//! gRPC statuses, `stream` makes streamed answers, `submissions` knows which requests are under way, `pages`
//! cuts the list of jobs, `who` reads who calls, and `forged` refuses pushes without the token of a lease.

pub mod diagnosis;
mod forged;
pub mod jobs;
mod pages;
pub mod rollouts;
mod status;
mod stream;
mod submissions;
pub mod weights;
mod who;
