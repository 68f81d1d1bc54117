//! Tells a launcher which port was taken.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use crate::exit::ExitError;

/// Writes `host:port` and a line break. Written aside and renamed: who sees the file sees all of it.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the file.
pub fn write(path: &Path, address: SocketAddr) -> Result<(), ExitError> {
    let mut aside = OsString::from(path);
    aside.push(format!(".{}", std::process::id()));
    std::fs::write(&aside, format!("{address}\n"))
        .and_then(|()| std::fs::rename(&aside, path))
        .map_err(|error| ExitError::configuration(format!("--port-file {}: {error}", path.display())))
}
