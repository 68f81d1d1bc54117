//! Jobs: what was submitted, how far each is, and what happened.
//!
//! [`checked`] is the result of checking a specification, before there is a job. [`store`] keeps jobs on disk (`files`,
//! `old_events`), [`events`] is the event log of one job, and `rebuild` recreates a job whose file is damaged.
//! `standing_figures` says which figures of it stand, and `series` writes those for other tools.
//! [`entry`] is one job in memory: [`states`] decides what may become of it, [`pauses`] what happens when it is held
//! up, and [`crashes`] counts the processes that ended under it. `job_info` shows which one runs. `activity` is what the
//! thread does with a job now, and [`standing`] how a job stands. [`registry`] holds all jobs ([`turns`]: whose turn it
//! is, [`line`]: what those are told that wait), [`runner`] is the thread that runs them, and [`retention`] has
//! old ones deleted ([`deletion`]).
//! A [`fork`] is what a job takes of another one that it starts from ([`staged`]: on its way into the job's directory), and
//! [`forking`] is the submission of such a job. [`fault`] says whose fault a failure is, [`export_request`] is a
//! user's request to export a recovery checkpoint, [`context`] is a job as its thread sees it, [`disk`] watches the room on
//! the disk, and [`interrupt`] tells the thread why it has to stop.

mod activity;
pub mod checked;
pub mod context;
pub mod crashes;
pub mod deletion;
pub mod disk;
pub mod entry;
pub mod events;
pub mod export_request;
pub mod fault;
mod files;
pub mod fork;
pub mod forking;
pub mod interrupt;
mod job_info;
pub mod line;
mod live;
mod old_events;
pub mod pauses;
mod rebuild;
pub mod registry;
pub mod removal;
pub mod retention;
pub mod runner;
mod series;
pub mod staged;
pub mod standing;
mod standing_figures;
pub mod states;
pub mod store;
pub mod turns;
