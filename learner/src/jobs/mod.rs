//! Jobs: what was submitted, how far each is, and what happened.
//!
//! [`checked`] is what the check of a specification brings, before there is a job. [`store`] keeps jobs on disk (`files`,
//! `old_events`), [`events`] is the log of one job there, and `rebuild` makes a job again whose file is damaged. [`entry`]
//! is one job in memory ([`states`] decides what may become of it), [`pauses`] what it does when it is held up, [`crashes`] counts the processes that ended
//! under it, and [`registry`] holds them all ([`turns`]: whose turn it is). [`runner`] is the thread that runs them, [`fault`] says whose fault a failure
//! is, [`export_request`] is what a user asks of a recovery checkpoint, [`context`] is a job as that thread sees it, and
//! [`interrupt`] tells the thread why it is to stop.

pub mod checked;
pub mod context;
pub mod crashes;
pub mod entry;
pub mod events;
pub mod export_request;
pub mod fault;
mod files;
pub mod interrupt;
mod old_events;
pub mod pauses;
mod rebuild;
pub mod registry;
pub mod removal;
pub mod runner;
pub mod states;
pub mod store;
pub mod turns;
