//! The processes of a learner whose updates are computed by several: rank 0 has the jobs, the others compute with it.
//!
//! `meeting` is where they find each other, on rank 0's side; `worker` is a process that follows. `beginning` brings a rank to
//! where the job stands when a run begins; from then on it hears of one step after the other (`train::RankGroup`).

mod beginning;
mod meeting;
#[cfg(test)]
mod state_tests;
mod worker;

pub use beginning::{Place, tell_beginning};
pub use meeting::{Meeting, MeetingArgs};
pub use worker::follow;
