//! The crate's tests from outside, in one program, because linking libtorch takes longer than running them.

#![allow(clippy::unwrap_used)] // a test's helpers fail by panicking too

mod adapters;
mod branches;
mod checkpoint;
mod common;
mod config;
mod counts;
mod damaged;
mod generation;
mod score;
mod smollm2;
mod template_bounds;
mod templates;
mod tokenizer;
mod transformers;
mod tree;
mod ways;
