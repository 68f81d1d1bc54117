//! What every server process shares: telemetry, health and reflection, shutdown, exit codes.
