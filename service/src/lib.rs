//! What the processes share: telemetry, health and reflection, connections with deadlines, who may
//! connect and call what, shutdown, exit codes.

// `exit` calls the C library once.
#![deny(unsafe_code)]

pub mod channel;
pub mod clock;
mod connections;
pub mod device_load;
pub mod device_memory;
pub mod exit;
pub mod last_lines;
pub mod metric_names;
mod metrics_server;
pub mod peer;
pub mod port_file;
mod process_metrics;
pub mod program;
pub mod seconds;
pub mod security;
pub mod seldom;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod traces;
