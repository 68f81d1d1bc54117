//! What every server process shares: telemetry, health and reflection, connections with deadlines, shutdown, exit codes.
#![forbid(unsafe_code)]

pub mod channel;
pub mod exit;
pub mod metric_names;
pub mod seconds;
pub mod server;
pub mod shutdown;
pub mod telemetry;
