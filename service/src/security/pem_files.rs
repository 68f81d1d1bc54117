//! Certificates, keys and secrets from files, checked when they are read: each problem is one sentence that names the
//! argument and the file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::certificate::{CertificateProblem, check};
use super::expiry;
use crate::exit::ExitError;

/// The largest file that is read, in bytes: a bundle of all public CAs has a quarter of it.
const LARGEST: u64 = 1 << 20;

/// A file and the argument that names it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Such as `--tls-cert`.
    pub flag: &'static str,
    /// Its value.
    pub path: &'a Path,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileProblem {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    #[error("it has {0} bytes; no such file has more than {LARGEST}")]
    TooLarge(u64),
    #[error("it is no regular file")]
    NoFile,
    #[error("it is empty")]
    Empty,
    #[error("it holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)")]
    NoCertificate,
    #[error("it holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)")]
    NoKey,
    #[error("{0}")]
    Certificate(#[from] CertificateProblem),
    #[error("it is not the key of the certificate {0}")]
    OtherKey(String),
    #[error("the key cannot be used: {0}")]
    BadKey(String),
    #[error("it is no certificate of a CA that can be trusted: {0}")]
    BadAuthority(String),
}

impl FileProblem {
    /// The problem as an error that ends the process.
    pub(super) fn of(self, origin: Origin<'_>) -> ExitError {
        ExitError::configuration(format!("{} {}: {self}", origin.flag, origin.path.display()))
    }
}

/// The cryptography of all connections.
pub(super) fn provider() -> Arc<CryptoProvider> {
    // Installed for crates that use the process's default, such as that of Redis. Where one is installed already, it
    // stays.
    let _ = ring::default_provider().install_default();
    Arc::new(ring::default_provider())
}

/// The bytes of a small file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, FileProblem> {
    // Checked first: reading a pipe would block, and reading a device would never end.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(FileProblem::NoFile);
    }
    if metadata.len() > LARGEST {
        return Err(FileProblem::TooLarge(metadata.len()));
    }
    let bytes = fs::read(path)?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(FileProblem::Empty);
    }
    Ok(bytes)
}

/// Adds a warning where users other than the owner may read a secret.
pub(super) fn warn_if_open(origin: Origin<'_>, warnings: &mut Vec<String>) {
    let Ok(metadata) = fs::metadata(origin.path) else {
        return;
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        warnings.push(format!(
            "{} {} may be read by other users of this machine (mode {mode:o}); `chmod 600` closes it",
            origin.flag,
            origin.path.display()
        ));
    }
}

/// The one line of a file with a secret, such as a password, and a warning where others may read it.
///
/// # Errors
/// [`ExitError`] with the configuration code that names argument and file, and nothing of what the file holds.
pub fn read_secret(origin: Origin<'_>, warnings: &mut Vec<String>) -> Result<String, ExitError> {
    let bytes = read(origin.path).map_err(|problem| problem.of(origin))?;
    let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
    let Some(secret) = text.filter(|text| !text.contains(['\n', '\r'])) else {
        return Err(ExitError::configuration(format!(
            "{} {}: it must hold one line of text",
            origin.flag,
            origin.path.display()
        )));
    };
    warn_if_open(origin, warnings);
    Ok(secret)
}

/// A certificate with those that sign it, and its key.
#[derive(Clone)]
pub struct Identity {
    /// When the first of its certificates ends, in seconds since 1970.
    ends: i64,
    certified: Arc<CertifiedKey>,
    key: Arc<PrivateKeyDer<'static>>,
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads both files.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code where a file cannot be read or is of another kind, where the
    /// certificate is not good now, and where the key is that of another certificate.
    pub fn read(certificate: Origin<'_>, key: Origin<'_>, warnings: &mut Vec<String>) -> Result<Self, ExitError> {
        let certificate_pem = read(certificate.path).map_err(|problem| problem.of(certificate))?;
        // The certificate's problems are told before those of the key's file.
        certificates(certificate, &certificate_pem, &mut Vec::new())?;
        let key_pem = read(key.path).map_err(|problem| problem.of(key))?;
        let identity = Self::of_pem((certificate, certificate_pem), (key, key_pem), warnings)?;
        identity.show_end(certificate.path);
        Ok(identity)
    }

    /// Shows as a metric until when the certificate of this file is good.
    pub(super) fn show_end(&self, path: &Path) {
        expiry::note(path, self.ends);
    }

    /// Checks what both files hold.
    ///
    /// # Errors
    /// As [`Identity::read`].
    pub(super) fn of_pem(
        (certificate, certificate_pem): (Origin<'_>, Vec<u8>),
        (key, key_pem): (Origin<'_>, Vec<u8>),
        warnings: &mut Vec<String>,
    ) -> Result<Self, ExitError> {
        let (chain, ends) = certificates(certificate, &certificate_pem, warnings)?;
        let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| FileProblem::NoKey.of(key))?;
        let certified = CertifiedKey::from_der(chain, private.clone_key(), &provider()).map_err(|error| {
            use tokio_rustls::rustls::Error;
            let problem = match error {
                Error::InconsistentKeys(_) => FileProblem::OtherKey(certificate.path.display().to_string()),
                other => FileProblem::BadKey(other.to_string()),
            };
            problem.of(key)
        })?;
        warn_if_open(key, warnings);
        Ok(Self {
            ends,
            certified: Arc::new(certified),
            key: Arc::new(private),
            certificate_pem,
            key_pem,
        })
    }

    /// The chain, the certificate itself first.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.certified.cert.clone()
    }

    /// The key.
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }

    /// The chain as it was read, in PEM form.
    pub fn certificate_pem(&self) -> &[u8] {
        &self.certificate_pem
    }

    /// The key as it was read, in PEM form.
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }
}

/// The certificates of a CA, or of several.
#[derive(Clone)]
pub struct Authority {
    /// When the first of its certificates ends, in seconds since 1970.
    ends: i64,
    pem: Vec<u8>,
    roots: Arc<RootCertStore>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("certificates", &self.roots.len())
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code where it cannot be read, holds no certificate, or one that is not good now
    /// or cannot be trusted.
    pub fn read(origin: Origin<'_>, warnings: &mut Vec<String>) -> Result<Self, ExitError> {
        let pem = read(origin.path).map_err(|problem| problem.of(origin))?;
        let authority = Self::of_pem(origin, pem, warnings)?;
        authority.show_end(origin.path);
        Ok(authority)
    }

    /// Shows as a metric until when the certificates of this file are good.
    pub(super) fn show_end(&self, path: &Path) {
        expiry::note(path, self.ends);
    }

    /// Checks what the file holds.
    ///
    /// # Errors
    /// As [`Authority::read`].
    pub(super) fn of_pem(origin: Origin<'_>, pem: Vec<u8>, warnings: &mut Vec<String>) -> Result<Self, ExitError> {
        let (certificates, ends) = certificates(origin, &pem, warnings)?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(certificate);
            added.map_err(|error| FileProblem::BadAuthority(error.to_string()).of(origin))?;
        }
        Ok(Self {
            ends,
            pem,
            roots: Arc::new(roots),
        })
    }

    /// The file as it was read.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// The certificates that this CA has signed are trusted.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.clone()
    }
}

/// The certificates of a file, all of which must be good now, and when the first of them ends, in seconds since 1970.
fn certificates(
    origin: Origin<'_>,
    pem: &[u8],
    warnings: &mut Vec<String>,
) -> Result<(Vec<CertificateDer<'static>>, i64), ExitError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    let all = all.ok_or_else(|| FileProblem::NoCertificate.of(origin))?;
    let now = SystemTime::now();
    let mut ends = i64::MAX;
    for certificate in &all {
        let facts = check(certificate, now).map_err(|problem| FileProblem::from(problem).of(origin))?;
        ends = ends.min(facts.ends);
        if let Some(day) = facts.ends_soon {
            let name = facts.name.unwrap_or_default();
            let path = origin.path.display();
            warnings.push(format!(
                "{} {path}: the certificate of `{name}` ends on {day}",
                origin.flag
            ));
        }
    }
    Ok((all, ends))
}
