//! The tests that cross processes, or look at the repository as a whole. They are one program: thirty would each link
//! everything, and wait for the last test of the one before. One file of them:
//!
//! ```sh
//! cargo build --workspace --bins && cargo test --workspace --test system main_job::
//! ```
//!
//! `decoders` is a program of its own, because its allocator counts.

mod actors;
mod alerts;
mod ask;
mod browser;
mod chaos;
mod check;
mod compose;
mod crash_points;
mod dead_letters;
mod deterministic;
mod docs;
mod doctor;
mod documented_commands;
mod endpoint;
mod evaluate;
mod figures;
mod fleet;
mod foreign_clients;
mod hub;
mod hung;
mod jobs;
mod kubernetes;
mod lengths;
mod lora;
mod main_job;
mod meetings;
mod models;
mod python_client;
mod refusals;
mod refusals_page;
mod related;
mod replay;
mod resume;
mod rooms;
mod security;
mod serve;
mod serve_follow;
mod shutdown;
mod simulated;
mod slow_actor;
mod slurm;
mod study;
mod weights;
