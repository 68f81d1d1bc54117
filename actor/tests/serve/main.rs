//! The server of answers over HTTP, on a small random model.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

mod arguments;
mod bodies;
mod fields;
mod random;
mod server;
mod streams;
