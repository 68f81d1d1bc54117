//! The server of answers over HTTP and gRPC, on a small random model.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

mod arguments;
mod bodies;
mod calls;
mod fields;
mod page;
mod random;
mod reward;
mod server;
mod streams;
