//! What a caller shows to the servers that it calls, and which of them it trusts.

use std::path::PathBuf;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;
use tracing::warn;

use super::args::{CallingArgs, IdentityArgs};
use super::connecting::{CallFiles, TlsConnector};
use super::pem_files::{Authority, Identity, Origin, read, warn_if_open};
use super::serving::{load_identity, of_certificate, of_key};
use super::token;
use super::watched::Watched;
use crate::exit::ExitError;

/// TLS and token of all calls of a process, read again when their files change. The default is neither. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallSecurity {
    files: Option<Watched<CallFiles>>,
    token: Option<CallToken>,
    is_insecure: bool,
    warnings: Vec<String>,
}

/// The token of every call, as it is sent.
pub(crate) type CallToken = Watched<MetadataValue<Ascii>>;

impl CallSecurity {
    /// Reads and checks every file that the arguments name. Needs a runtime, on which changes of the files are looked for.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument, the file and what is wrong with it.
    pub fn load(identity: &IdentityArgs, calling: &CallingArgs) -> Result<Self, ExitError> {
        let mut warnings = Vec::new();
        let files = load_files(identity, calling, &mut warnings)?;
        let token = calling.token_file.as_deref().map(|path| {
            let flag = "--token-file";
            load_token(Origin { flag, path }, &mut warnings)
        });
        Ok(Self {
            files,
            token: token.transpose()?,
            is_insecure: identity.insecure,
            warnings,
        })
    }

    /// Warnings about the files, for the user.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The token of every call.
    pub(crate) fn token(&self) -> Option<&CallToken> {
        self.token.as_ref()
    }

    /// Whom this process trusts, and the certificate that it shows.
    pub(crate) fn files(&self) -> Option<&Watched<CallFiles>> {
        self.files.as_ref()
    }

    /// Makes the TLS connections to the server at `uri`; None where it is called without.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code where a token would travel unencrypted to another machine, and where no
    /// certificate could be that of the server.
    pub(crate) fn tls_for(&self, name: &str, uri: &Uri) -> Result<Option<TlsConnector>, ExitError> {
        let host = uri.host().unwrap_or_default();
        if uri.scheme_str() == Some("https") {
            return TlsConnector::try_new(name, host, self.files.clone()).map(Some);
        }
        if self.token.is_some() && !self.is_insecure && !is_this_machine(host) {
            return Err(ExitError::configuration(format!(
                "{name} address `{uri}`: the token of --token-file would travel unencrypted to another machine; write \
                 https://, or give --insecure"
            )));
        }
        Ok(None)
    }

    /// Whether a server whose address has no scheme is called over TLS. It is where a CA was given.
    pub(crate) fn prefers_tls(&self) -> bool {
        let files = self.files.as_ref().map(Watched::get);
        files.is_some_and(|files| files.authority.is_some())
    }
}

/// Reads and checks the files for TLS, and watches them; None where the arguments name none.
fn load_files(
    identity: &IdentityArgs,
    calling: &CallingArgs,
    warnings: &mut Vec<String>,
) -> Result<Option<Watched<CallFiles>>, ExitError> {
    let own = load_identity(identity, warnings)?;
    let ca = calling.tls_ca.clone();
    let authority = ca.as_deref().map(|path| Authority::read(of_ca(path), warnings));
    let authority = authority.transpose()?;
    let (mut paths, mut bytes) = (Vec::new(), Vec::new());
    if let (Some(path), Some(authority)) = (&ca, &authority) {
        paths.push(path.clone());
        bytes.push(authority.pem().to_owned());
    }
    if let (Some(own), Some(certificate), Some(key)) = (&own, &identity.tls_cert, &identity.tls_key) {
        paths.extend([certificate.clone(), key.clone()]);
        bytes.extend([own.certificate_pem().to_owned(), own.key_pem().to_owned()]);
    }
    if paths.is_empty() {
        return Ok(None);
    }
    let files = CallFiles {
        authority,
        identity: own,
    };
    let named = paths.clone();
    let parse = move |bytes: &[Vec<u8>]| parse_files(&named, ca.is_some(), bytes);
    Ok(Some(Watched::start_several(paths, bytes, files, parse)))
}

/// The files for TLS: the CA where one is named, then certificate and key where they are.
fn parse_files(paths: &[PathBuf], has_ca: bool, bytes: &[Vec<u8>]) -> Result<CallFiles, String> {
    let mut named = paths.iter().zip(bytes.iter().cloned());
    let mut warnings = Vec::new();
    let mut files = CallFiles::default();
    let ca = if has_ca { named.next() } else { None };
    if let Some((path, pem)) = ca {
        let authority = Authority::of_pem(of_ca(path), pem, &mut warnings).map_err(|error| error.message)?;
        authority.show_end(path);
        files.authority = Some(authority);
    }
    if let (Some((certificate, certificate_pem)), Some((key, key_pem))) = (named.next(), named.next()) {
        let (shown, hidden) = (of_certificate(certificate), of_key(key));
        let own = Identity::of_pem((shown, certificate_pem), (hidden, key_pem), &mut warnings);
        let own = own.map_err(|error| error.message)?;
        own.show_end(certificate);
        files.identity = Some(own);
    }
    for warning in warnings {
        warn!("{warning}");
    }
    Ok(files)
}

fn of_ca(path: &std::path::Path) -> Origin<'_> {
    let flag = "--tls-ca";
    Origin { flag, path }
}

fn load_token(origin: Origin<'_>, warnings: &mut Vec<String>) -> Result<CallToken, ExitError> {
    let bytes = read(origin.path).map_err(|problem| problem.of(origin))?;
    let value = parse_token(&bytes)
        .map_err(|problem| ExitError::configuration(format!("{} {}: {problem}", origin.flag, origin.path.display())))?;
    warn_if_open(origin, warnings);
    Ok(Watched::start(origin.path, bytes, value, parse_token))
}

fn parse_token(bytes: &[u8]) -> Result<MetadataValue<Ascii>, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "it is not UTF-8".to_owned())?
        .trim();
    token::check_form(text).map_err(|problem| problem.to_string())?;
    let value = MetadataValue::try_from(token::header(text));
    let mut value = value.map_err(|_| "the token cannot be sent".to_owned())?;
    // A sensitive value is never printed, and HTTP/2's header compression never keeps it.
    value.set_sensitive(true);
    Ok(value)
}

fn is_this_machine(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_sent_a_token_in_the_clear() {
        for here in ["localhost", "127.0.0.1", "127.8.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_this_machine(here), "{here}");
        }
        for elsewhere in ["learner", "10.0.0.1", "[::]", "localhost.example.com", ""] {
            assert!(!is_this_machine(elsewhere), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn a_token_that_changes_is_shown_from_then_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        let write = |letter: &str| std::fs::write(&path, format!("{}\n", letter.repeat(32))).expect("written");
        write("a");
        let calling = CallingArgs {
            token_file: Some(path.clone()),
            ..CallingArgs::default()
        };
        let security = CallSecurity::load(&IdentityArgs::default(), &calling).expect("a token");
        let shown = || {
            let token = security.token().expect("a token").get();
            token.to_str().expect("text").to_owned()
        };
        let expected = |letter: &str| format!("Bearer {}", letter.repeat(32));
        assert_eq!(shown(), expected("a"));
        write("b");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while shown() != expected("b") {
            assert!(std::time::Instant::now() < deadline, "the file is read again");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        // A file that holds no token leaves the earlier one in force.
        std::fs::write(&path, "no").expect("written");
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert_eq!(shown(), expected("b"));
    }

    #[test]
    fn a_token_is_never_printed() {
        let value = parse_token(b" abcdefghijklmnopqrstuvwxyz\n").expect("a token");
        assert_eq!(value.to_str().expect("text"), "Bearer abcdefghijklmnopqrstuvwxyz");
        assert!(!format!("{value:?}").contains("abc"), "{value:?}");
        assert!(!parse_token(b"abc").expect_err("short").contains("abc"));
    }
}
