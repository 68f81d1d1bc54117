//! How refused callers are reported: to themselves, as a metric, and in the log, where a flood of refusals is one line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anytime_proto::{ErrorReason, Refusal};
use metrics::counter;
use tonic::{Code, Status};
use tracing::warn;

use crate::metric_names::ACCESS_REFUSED;
use crate::seldom::Seldom;

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// It shows neither a token nor a certificate.
    NoToken,
    /// It shows a token that nobody has.
    WrongToken,
    /// Its certificate is good, but nobody has its name.
    UnknownName,
    /// It has a role that may not do this.
    WrongRole,
    /// No server has the method.
    UnknownMethod,
    /// It speaks without TLS where TLS is spoken.
    PlainText,
    /// It speaks TLS where it is not spoken.
    UnexpectedTls,
    /// It shows no certificate where one is asked for.
    NoCertificate,
    /// Its certificate is not good any more, or not yet.
    ExpiredCertificate,
    /// Its certificate is not signed by the CA, or not good for a caller.
    ForeignCertificate,
    /// The handshake failed otherwise, as where the caller does not trust this server.
    Handshake,
}

impl Reason {
    const ALL: [Self; 11] = [
        Self::NoToken,
        Self::WrongToken,
        Self::UnknownName,
        Self::WrongRole,
        Self::UnknownMethod,
        Self::PlainText,
        Self::UnexpectedTls,
        Self::NoCertificate,
        Self::ExpiredCertificate,
        Self::ForeignCertificate,
        Self::Handshake,
    ];

    /// The value of the metric's label.
    fn label(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::UnknownName => "unknown_name",
            Self::WrongRole => "wrong_role",
            Self::UnknownMethod => "unknown_method",
            Self::PlainText => "plain_text",
            Self::UnexpectedTls => "unexpected_tls",
            Self::NoCertificate => "no_certificate",
            Self::ExpiredCertificate => "expired_certificate",
            Self::ForeignCertificate => "foreign_certificate",
            Self::Handshake => "handshake",
        }
    }

    /// What the caller is told.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NoToken => "this server asks for a token; give the file that holds it (--token-file)",
            Self::WrongToken => "the token is not one that this server knows",
            Self::UnknownName => "the common name of the certificate is not one that this server knows",
            Self::WrongRole => "the role of the token or certificate does not allow this",
            Self::UnknownMethod => "this server has no such method",
            Self::PlainText => "this server speaks TLS only",
            Self::UnexpectedTls => "this server does not speak TLS",
            Self::NoCertificate => "this server asks for a certificate",
            Self::ExpiredCertificate => "the certificate has expired",
            Self::ForeignCertificate => "the certificate is not signed by a CA that this server trusts",
            Self::Handshake => "the TLS handshake failed",
        }
    }

    /// The answer over gRPC.
    pub(crate) fn status(self) -> Status {
        let (code, reason) = match self {
            Self::WrongRole => (Code::PermissionDenied, ErrorReason::RoleNotAllowed),
            Self::UnknownMethod => (Code::Unimplemented, ErrorReason::MethodUnknown),
            Self::WrongToken | Self::UnknownName => (Code::Unauthenticated, ErrorReason::CredentialsUnknown),
            // The others end before there is a call.
            _ => (Code::Unauthenticated, ErrorReason::CredentialsMissing),
        };
        Refusal::new(code, reason, self.text()).into_status()
    }
}

/// Makes the series appear, so that the first refusal shows in a rate.
pub(crate) fn show_refusals() {
    for reason in Reason::ALL {
        counter!(ACCESS_REFUSED, "reason" => reason.label()).increment(0);
    }
}

/// Counts a refusal and logs it. `what` is the method, or what is wrong with the connection.
pub(crate) fn refuse(reason: Reason, peer: Option<SocketAddr>, what: &str) {
    counter!(ACCESS_REFUSED, "reason" => reason.label()).increment(1);
    let Some(others) = may_say(
        &mut LOG.lock().unwrap_or_else(PoisonError::into_inner),
        reason,
        Instant::now(),
    ) else {
        return;
    };
    let peer = peer.map(|peer| peer.to_string()).unwrap_or_default();
    // The caller chooses the path, so it is cut to bound the line.
    let what: String = what.chars().take(120).collect();
    warn!(peer, reason = reason.label(), what, others, "a caller was turned away");
}

static LOG: Mutex<BTreeMap<Reason, Seldom>> = Mutex::new(BTreeMap::new());

/// How many earlier refusals for this reason were not logged, if this one is to be logged; None if it is not.
fn may_say(log: &mut BTreeMap<Reason, Seldom>, reason: Reason, now: Instant) -> Option<u64> {
    log.entry(reason).or_default().may_say(now)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_lines_of_its_own() {
        let (mut log, start) = (BTreeMap::new(), Instant::now());
        assert_eq!(may_say(&mut log, Reason::NoToken, start), Some(0));
        assert_eq!(may_say(&mut log, Reason::NoToken, start), None);
        assert_eq!(may_say(&mut log, Reason::WrongRole, start), Some(0));
    }

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: BTreeSet<&str> = Reason::ALL.into_iter().map(Reason::label).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
    }
}
