//! How a server decides who may call it: its TLS, its access, and who the caller is.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tracing::warn;
use tonic::Request;

use super::access::{Access, Shown};
use super::args::{IdentityArgs, ServingArgs};
use super::certificate::common_name;
use super::pem_files::{Authority, Identity, Origin, provider, read, warn_if_open};
use super::refusals::{Reason, refuse};
use super::roles::LOOK;
use super::watched::Watched;
use crate::exit::ExitError;

/// The protocol that is spoken inside of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/2, as gRPC is.
    Grpc,
    /// HTTP/1.1, as Prometheus asks.
    Http,
}

impl Protocol {
    fn alpn(self) -> Vec<u8> {
        match self {
            Self::Grpc => b"h2".to_vec(),
            Self::Http => b"http/1.1".to_vec(),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    address: Option<SocketAddr>,
    name: Option<Arc<str>>,
}

impl Caller {
    /// A caller at this address, with the certificates that the handshake has accepted.
    pub(crate) fn new(address: Option<SocketAddr>, certificates: Option<&[CertificateDer<'_>]>) -> Self {
        let own = certificates.and_then(<[_]>::first);
        Self {
            address,
            name: own.and_then(|der| common_name(der)).map(Arc::from),
        }
    }

    /// Where it calls from.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The common name of its certificate.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// TLS and access of a server's ports. The default is neither, which is enough for loopback addresses only. Cheap to
/// Who sent a request, for the log: its address, and the common name of its certificate where it shows one. Empty where
/// that is not known.
pub fn caller_of<T>(request: &Request<T>) -> String {
    let Some(caller) = request.extensions().get::<Caller>() else {
        return String::new();
    };
    let address = caller.address().map(|address| address.to_string()).unwrap_or_default();
    match caller.name() {
        // Whoever asked for the certificate has chosen its name.
        Some(name) => format!("{address} ({})", name.chars().take(120).collect::<String>()),
        None => address,
    }
}

/// clone.
#[derive(Clone, Debug, Default)]
pub struct ServerSecurity(Arc<Inner>);

#[derive(Default)]
struct Inner {
    grpc: Option<TlsAcceptor>,
    http: Option<TlsAcceptor>,
    access: Option<Watched<Access>>,
    is_insecure: bool,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inner")
            .field("tls", &self.grpc.is_some())
            .field("access", &self.access.is_some())
            .field("is_insecure", &self.is_insecure)
            .finish_non_exhaustive()
    }
}

impl ServerSecurity {
    /// Reads and checks every file that the arguments name. Needs a runtime, on which changes of the file of access are
    /// looked for.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument, the file and what is wrong with it.
    pub fn load(identity: &IdentityArgs, serving: &ServingArgs) -> Result<Self, ExitError> {
        let mut warnings = Vec::new();
        let own = load_identity(identity, &mut warnings)?;
        let callers = serving.tls_client_ca.as_deref();
        let callers = callers.map(|path| {
            let flag = "--tls-client-ca";
            Authority::read(Origin { flag, path }, &mut warnings)
        });
        let callers = callers.transpose()?;
        let access = serving.access.as_deref().map(|path| {
            let flag = "--access";
            load_access(Origin { flag, path }, &mut warnings)
        });
        let access = access.transpose()?;
        let acceptor = |protocol| {
            let config = own.as_ref().map(|own| server_config(own, callers.as_ref(), protocol));
            Ok::<_, ExitError>(config.transpose()?.map(|config| TlsAcceptor::from(Arc::new(config))))
        };
        Ok(Self(Arc::new(Inner {
            grpc: acceptor(Protocol::Grpc)?,
            http: acceptor(Protocol::Http)?,
            access,
            is_insecure: identity.insecure,
            warnings,
        })))
    }

    /// Warnings about the files, for the log.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Refuses an address that other machines reach, unless both TLS and access are set. With `--insecure` it is only a
    /// warning in the log.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument.
    pub fn check_address(&self, flag: &str, address: SocketAddr) -> Result<(), ExitError> {
        let has_both = self.0.grpc.is_some() && self.0.access.is_some();
        if address.ip().to_canonical().is_loopback() || has_both {
            return Ok(());
        }
        if self.0.is_insecure {
            warn!(
                %address,
                tls = self.0.grpc.is_some(),
                tokens = self.0.access.is_some(),
                "{flag} is reached from other machines without TLS and tokens, as --insecure allows: whoever reaches it can \
                 do everything"
            );
            return Ok(());
        }
        Err(ExitError::configuration(format!(
            "{flag} {address} is reached from other machines: it needs TLS (--tls-cert, --tls-key) and a file that says who \
             may do what (--access), which `anytime certs` makes; --insecure serves whoever comes"
        )))
    }

    /// The acceptor of TLS connections; None where the server does not speak TLS.
    pub(crate) fn acceptor(&self, protocol: Protocol) -> Option<TlsAcceptor> {
        match protocol {
            Protocol::Grpc => self.0.grpc.clone(),
            Protocol::Http => self.0.http.clone(),
        }
    }

    /// Who may do what, as it is now; None where everybody may do everything.
    pub(super) fn access(&self) -> Option<Arc<Access>> {
        self.0.access.as_ref().map(Watched::get)
    }

    /// Whether a caller may look at the metrics.
    pub(crate) fn may_scrape(&self, authorization: Option<&[u8]>, caller: &Caller) -> Result<(), Reason> {
        let Some(access) = self.access() else {
            return Ok(());
        };
        let shown = Shown {
            authorization,
            name: caller.name(),
        };
        let outcome = access.may(LOOK, shown);
        if let Err(reason) = outcome {
            refuse(reason, caller.address(), "metrics");
        }
        outcome
    }
}

/// The certificate and key that the arguments name.
pub(super) fn load_identity(args: &IdentityArgs, warnings: &mut Vec<String>) -> Result<Option<Identity>, ExitError> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    let certificate = Origin {
        flag: "--tls-cert",
        path: certificate,
    };
    let key = Origin {
        flag: "--tls-key",
        path: key,
    };
    Identity::read(certificate, key, warnings).map(Some)
}

fn load_access(origin: Origin<'_>, warnings: &mut Vec<String>) -> Result<Watched<Access>, ExitError> {
    let bytes = read(origin.path).map_err(|problem| problem.of(origin))?;
    let refuse = |problem| ExitError::configuration(format!("{} {}: {problem}", origin.flag, origin.path.display()));
    let access = Access::parse(&bytes).map_err(refuse)?;
    warn_if_open(origin, warnings);
    Ok(Watched::start(origin.path, bytes, access, |bytes| {
        Access::parse(bytes).map_err(|problem| problem.to_string())
    }))
}

fn server_config(own: &Identity, callers: Option<&Authority>, protocol: Protocol) -> Result<ServerConfig, ExitError> {
    let refuse = |flag: &str, error: &dyn std::fmt::Display| ExitError::configuration(format!("{flag}: {error}"));
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refuse("--tls-cert", &error))?;
    let builder = match callers {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authority.roots(), provider())
                .build()
                .map_err(|error| refuse("--tls-client-ca", &error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(own.chain(), own.key());
    let mut config = config.map_err(|error| refuse("--tls-cert", &error))?;
    config.alpn_protocols = vec![protocol.alpn()];
    // A session that is resumed would not ask again whether the caller's certificate is still good.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
