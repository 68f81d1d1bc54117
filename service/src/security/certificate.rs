//! What a certificate says: whose it is, and how long it is good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate that ends sooner than this is warned about.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Why a certificate cannot be used now.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CertificateProblem {
    #[error("it is no X.509 certificate")]
    Unreadable,
    #[error("the certificate expired on {0}; make or ask for a new one")]
    Expired(String),
    #[error("the certificate is good from {0} on only; is the clock of this machine right?")]
    NotYet(String),
}

/// The facts of a certificate (DER) that matter here.
#[derive(Debug)]
pub(super) struct Facts {
    /// The common name of its subject.
    pub(super) name: Option<String>,
    /// The day on which it ends, where that is soon.
    pub(super) ends_soon: Option<String>,
    /// When it ends, in seconds since 1970.
    pub(super) ends: i64,
}

/// The common name of a certificate that was checked before.
pub(super) fn common_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    name_of(&certificate)
}

/// Reads a certificate and checks that it is good now.
pub(super) fn check(der: &[u8], now: SystemTime) -> Result<Facts, CertificateProblem> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateProblem::Unreadable)?;
    let validity = certificate.validity();
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    if seconds > validity.not_after.timestamp() {
        return Err(CertificateProblem::Expired(validity.not_after.to_string()));
    }
    if seconds < validity.not_before.timestamp() {
        return Err(CertificateProblem::NotYet(validity.not_before.to_string()));
    }
    let rest = validity.not_after.timestamp().saturating_sub(seconds);
    let is_soon = u64::try_from(rest).unwrap_or(0) < SOON.as_secs();
    Ok(Facts {
        name: name_of(&certificate),
        ends_soon: is_soon.then(|| validity.not_after.to_string()),
        ends: validity.not_after.timestamp(),
    })
}

fn name_of(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    // Where a certificate has several common names, none counts: the choice would be a guess.
    names.next().is_none().then_some(name)
}
