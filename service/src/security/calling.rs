//! What a caller shows to the servers that it calls, and which of them it trusts.

use anytime_proto::limits::CONNECT_TIMEOUT;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Uri};
use tonic::{Request, Status};

use super::args::{CallingArgs, IdentityArgs};
use super::pem_files::{Authority, Identity, Origin, provider, read, warn_if_open};
use super::serving::load_identity;
use super::token;
use super::watched::Watched;
use crate::exit::ExitError;

/// TLS and token of all calls of a process. The default is neither. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallSecurity {
    authority: Option<Authority>,
    identity: Option<Identity>,
    token: Option<Watched<MetadataValue<Ascii>>>,
    is_insecure: bool,
    warnings: Vec<String>,
}

impl CallSecurity {
    /// Reads and checks every file that the arguments name. Needs a runtime, on which changes of the token are looked for.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument, the file and what is wrong with it.
    pub fn load(identity: &IdentityArgs, calling: &CallingArgs) -> Result<Self, ExitError> {
        let mut warnings = Vec::new();
        let own = load_identity(identity, &mut warnings)?;
        let authority = calling.tls_ca.as_deref().map(|path| {
            let flag = "--tls-ca";
            Authority::read(Origin { flag, path }, &mut warnings)
        });
        let authority = authority.transpose()?;
        let token = calling.token_file.as_deref().map(|path| {
            let flag = "--token-file";
            load_token(Origin { flag, path }, &mut warnings)
        });
        Ok(Self {
            authority,
            identity: own,
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
    pub(crate) fn bearer(&self) -> Bearer {
        Bearer(self.token.clone())
    }

    /// How to speak TLS with the server at `uri`; None where it is called without.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code where a token would travel unencrypted to another machine.
    pub(crate) fn tls_for(&self, name: &str, uri: &Uri) -> Result<Option<ClientTlsConfig>, ExitError> {
        if uri.scheme_str() != Some("https") {
            if self.token.is_some() && !self.is_insecure && !is_this_machine(uri.host().unwrap_or_default()) {
                return Err(ExitError::configuration(format!(
                    "{name} address `{uri}`: the token of --token-file would travel unencrypted to another machine; write \
                     https://, or give --insecure"
                )));
            }
            return Ok(None);
        }
        // Called for its effect: tonic takes the process's default provider, which this installs.
        let _ = provider();
        let mut tls = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
        tls = match &self.authority {
            Some(authority) => tls.ca_certificate(Certificate::from_pem(authority.pem())),
            None => tls.with_native_roots(),
        };
        if let Some(own) = &self.identity {
            tls = tls.identity(tonic::transport::Identity::from_pem(
                own.certificate_pem(),
                own.key_pem(),
            ));
        }
        Ok(Some(tls))
    }

    /// Whether a server whose address has no scheme is called over TLS. It is where a CA was given.
    pub(crate) fn prefers_tls(&self) -> bool {
        self.authority.is_some()
    }
}

/// Puts the token on every call, if the process has one.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<Watched<MetadataValue<Ascii>>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let value = token.get().as_ref().clone();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

fn load_token(origin: Origin<'_>, warnings: &mut Vec<String>) -> Result<Watched<MetadataValue<Ascii>>, ExitError> {
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
        let mut bearer = security.bearer();
        let mut shown = || {
            let request = bearer.call(Request::new(())).expect("passed on");
            let value = request.metadata().get("authorization").expect("a token");
            value.to_str().expect("text").to_owned()
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
