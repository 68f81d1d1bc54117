//! What every server process shares: telemetry, health and reflection, connections with deadlines, shutdown, exit codes.
#![deny(unsafe_code)] // but for one call of the C library in `exit`

pub mod channel;
pub mod exit;
pub mod metric_names;
pub mod peer;
pub mod port_file;
pub mod seconds;
pub mod server;
pub mod shutdown;
pub mod telemetry;
