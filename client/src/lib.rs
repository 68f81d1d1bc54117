//! The command line: submits and watches jobs over gRPC, and runs whole jobs on this machine with every process as a
//! child. Follow a job file: [`job_file`] checks it, [`learner`] submits it, [`follow`] watches it, [`display`] shows
//! it, [`report`] with [`curves`] and [`timeline`] says what came of it, and [`show`] prints what was generated. [`local`] starts the
//! processes that a job needs, [`tasks`] makes problems and a small model, and [`demo`] trains it on them. [`presets`]
//! are the jobs of the paper, [`overrides`] changes single settings, and [`study`] compares methods over seeds. [`audit`]
//! proves what became of every group, [`compose`] says which container has which GPU, and [`doctor`] says what is wrong, on
//! a [`screen`] of its own where it goes on.
#![deny(unsafe_code)]

pub mod accuracy;
pub mod arguments;
mod asking;
pub mod audit;
pub mod certs;
mod check_view;
mod commands;
pub mod compose;
pub mod curves;
pub mod demo;
pub mod display;
pub mod doctor;
pub mod follow;
pub mod gpus;
pub mod interrupt;
pub mod job_file;
pub mod job_view;
pub mod learner;
pub mod local;
pub mod output;
pub mod overrides;
pub mod presets;
pub mod report;
pub mod screen;
pub mod show;
pub mod study;
pub mod tasks;
pub mod timeline;

pub use commands::run;
