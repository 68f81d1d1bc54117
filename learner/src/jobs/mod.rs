//! Jobs: what was submitted, how far each is, and what happened.
//!
//! [`store`] keeps jobs on disk and [`events`] is the log of one job there. [`entry`] is one job in memory,
//! [`registry`] holds them all. [`runner`] is the thread that runs them, [`context`] is a job as that thread sees it,
//! and [`interrupt`] tells the thread why it is to stop.

pub mod context;
pub mod entry;
pub mod events;
pub mod interrupt;
pub mod registry;
pub mod runner;
pub mod store;
