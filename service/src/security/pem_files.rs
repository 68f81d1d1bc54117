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
    let secret = secret_of(origin, bytes)?;
    warn_if_open(origin, warnings);
    Ok(secret)
}

/// The one line that a file with a secret holds.
///
/// # Errors
/// As [`read_secret`].
pub fn secret_of(origin: Origin<'_>, bytes: Vec<u8>) -> Result<String, ExitError> {
    let text = String::from_utf8(bytes).ok().map(|text| text.trim().to_owned());
    text.filter(|text| !text.contains(['\n', '\r'])).ok_or_else(|| {
        ExitError::configuration(format!(
            "{} {}: it must hold one line of text",
            origin.flag,
            origin.path.display()
        ))
    })
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
        good_now(certificate, parse(certificate, &certificate_pem)?, &mut Vec::new())?;
        let key_pem = read(key.path).map_err(|problem| problem.of(key))?;
        let identity = Self::of_pem((certificate, certificate_pem), (key, key_pem), warnings)?;
        identity.show_end(certificate.path);
        Ok(identity)
    }

    /// Shows as a metric until when the certificate of this file is good.
    pub fn show_end(&self, path: &Path) {
        expiry::note(path, self.ends);
    }

    /// Checks what both files hold.
    ///
    /// # Errors
    /// As [`Identity::read`].
    pub fn of_pem(
        (certificate, certificate_pem): (Origin<'_>, Vec<u8>),
        (key, key_pem): (Origin<'_>, Vec<u8>),
        warnings: &mut Vec<String>,
    ) -> Result<Self, ExitError> {
        let (chain, ends) = good_now(certificate, parse(certificate, &certificate_pem)?, warnings)?;
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
    pub fn show_end(&self, path: &Path) {
        expiry::note(path, self.ends);
    }

    /// Checks what the file holds. Where it has the CA before and the CA after a change, the one that is not good now is
    /// left out with a warning, so that the end of the old one ends no process.
    ///
    /// # Errors
    /// As [`Authority::read`].
    pub fn of_pem(origin: Origin<'_>, pem: Vec<u8>, warnings: &mut Vec<String>) -> Result<Self, ExitError> {
        let (all, now) = (parse(origin, &pem)?, SystemTime::now());
        let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(|each| check(each, now).is_ok());
        for certificate in &bad {
            let Err(problem) = check(certificate, now) else {
                continue;
            };
            if good.is_empty() || problem == CertificateProblem::Unreadable {
                return Err(FileProblem::from(problem).of(origin));
            }
            let path = origin.path.display();
            warnings.push(format!(
                "{} {path}: one of its certificates is left out: {problem}",
                origin.flag
            ));
        }
        let (certificates, ends) = good_now(origin, good, warnings)?;
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

/// The certificates of a file, at least one.
fn parse(origin: Origin<'_>, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ExitError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    all.ok_or_else(|| FileProblem::NoCertificate.of(origin))
}

/// Certificates all of which must be good now, and when the first of them ends, in seconds since 1970.
fn good_now(
    origin: Origin<'_>,
    all: Vec<CertificateDer<'static>>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<CertificateDer<'static>>, i64), ExitError> {
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// The certificate of a CA that is good until the end of a year.
    fn ca(name: &str, until: i32) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signed").pem()
    }

    fn read(pem: &str) -> Result<(usize, Vec<String>), String> {
        let origin = Origin {
            flag: "--tls-ca",
            path: Path::new("ca.pem"),
        };
        let mut warnings = Vec::new();
        let authority = Authority::of_pem(origin, pem.as_bytes().to_vec(), &mut warnings);
        let authority = authority.map_err(|error| error.message)?;
        Ok((authority.roots().len(), warnings))
    }

    #[test]
    fn the_ca_before_a_change_may_end_beside_the_one_after_it() {
        let (old, new) = (ca("old", 2021), ca("new", 2120));
        assert_eq!(read(&new), Ok((1, Vec::new())));
        for both in [format!("{old}{new}"), format!("{new}{old}")] {
            let (roots, warnings) = read(&both).expect("one is good");
            assert_eq!((roots, warnings.len()), (1, 1));
            assert!(
                warnings[0]
                    .starts_with("--tls-ca ca.pem: one of its certificates is left out: the certificate expired on"),
                "{warnings:?}"
            );
        }
        assert_eq!(read(&format!("{new}{}", ca("newer", 2121))), Ok((2, Vec::new())));
        let refused = read(&format!("{old}{}", ca("older", 2022))).expect_err("none is good");
        assert!(
            refused.starts_with("--tls-ca ca.pem: the certificate expired on"),
            "{refused}"
        );
    }

    #[test]
    fn what_is_no_certificate_is_not_left_out() {
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let refused = read(&format!("{}{garbage}", ca("new", 2120))).expect_err("refused");
        assert_eq!(refused, "--tls-ca ca.pem: it is no X.509 certificate");
    }
}
