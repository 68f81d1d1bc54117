//! What the processes share: telemetry, health and reflection, connections with deadlines, shutdown, exit codes.

// `exit` calls the C library once.
#![deny(unsafe_code)]

pub mod channel;
pub mod clock;
mod connections;
pub mod device_memory;
pub mod exit;
pub mod metric_names;
pub mod peer;
pub mod port_file;
pub mod seconds;
pub mod server;
pub mod shutdown;
pub mod telemetry;
