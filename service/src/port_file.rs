//! Tells a launcher which port was taken.

use std::net::SocketAddr;
use std::path::Path;

use anytime_files::write_durably;

use crate::exit::ExitError;

/// Writes `host:port` and a line break to the file of `--port-file`. A launcher that polls for the file never sees half
/// an address.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the file.
pub fn write(path: &Path, address: SocketAddr) -> Result<(), ExitError> {
    write_durably(path, format!("{address}\n"))
        .map_err(|error| ExitError::configuration(format!("--port-file {}: {}", path.display(), error.source)))
}
