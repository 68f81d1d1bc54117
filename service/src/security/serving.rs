//! How a server decides who may call it: its TLS, its access, and who the caller is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tonic::Request;
use tracing::warn;

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
    /// Either, as the caller likes.
    Both,
}

impl Protocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        let (grpc, http) = (b"h2".to_vec(), b"http/1.1".to_vec());
        match self {
            Self::Grpc => vec![grpc],
            Self::Http => vec![http],
            Self::Both => vec![grpc, http],
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    address: Option<SocketAddr>,
    name: Option<Arc<str>>,
    /// When its connection takes no new calls any more.
    old_at: Option<Instant>,
}

impl Caller {
    /// A caller at this address, with the certificates that the handshake has accepted.
    pub(crate) fn new(address: Option<SocketAddr>, certificates: Option<&[CertificateDer<'_>]>) -> Self {
        let own = certificates.and_then(<[_]>::first);
        Self {
            address,
            name: own.and_then(|der| common_name(der)).map(Arc::from),
            old_at: None,
        }
    }

    /// The same over a connection that takes no new calls from then on.
    pub(crate) fn old_at(self, old_at: Option<Instant>) -> Self {
        Self { old_at, ..self }
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

/// Ends when the connection of a request has become old, and a moment later, so that whoever makes the same request again
/// makes it over another connection. Streams that would never end by themselves end then. Never ends where connections
/// may be of any age.
pub fn connection_is_old<T>(request: &Request<T>) -> impl Future<Output = ()> + Send + use<T> {
    let caller = request.extensions().get::<Caller>();
    let old_at = caller.and_then(|caller| caller.old_at);
    async move {
        match old_at {
            Some(old_at) => tokio::time::sleep_until(old_at + A_MOMENT).await,
            None => std::future::pending().await,
        }
    }
}

/// The time that the notice of a connection's end takes to arrive.
const A_MOMENT: Duration = Duration::from_millis(500);

/// TLS and access of a server's ports. The default is neither, which is enough for loopback addresses only. Cheap to
/// clone.
#[derive(Clone, Debug, Default)]
pub struct ServerSecurity(Arc<Inner>);

#[derive(Default)]
struct Inner {
    tls: Option<Watched<Acceptors>>,
    access: Option<Watched<Access>>,
    connection_age: Option<Duration>,
    is_insecure: bool,
    warnings: Vec<String>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Inner")
            .field("tls", &self.tls.is_some())
            .field("access", &self.access.is_some())
            .field("is_insecure", &self.is_insecure)
            .finish_non_exhaustive()
    }
}

impl ServerSecurity {
    /// Reads and checks every file that the arguments name. Needs a runtime, on which changes of the files are looked for.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument, the file and what is wrong with it.
    pub fn load(identity: &IdentityArgs, serving: &ServingArgs) -> Result<Self, ExitError> {
        let mut warnings = Vec::new();
        let tls = load_tls(identity, serving, &mut warnings)?;
        let access = serving.access.as_deref().map(|path| {
            let flag = "--access";
            load_access(Origin { flag, path }, &mut warnings)
        });
        let access = access.transpose()?;
        Ok(Self(Arc::new(Inner {
            tls,
            access,
            connection_age: serving.max_connection_age,
            is_insecure: identity.insecure,
            warnings,
        })))
    }

    /// The age at which a connection takes no new calls any more; None where it may have any.
    pub(crate) fn connection_age(&self) -> Option<Duration> {
        self.0.connection_age
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
        let has_both = self.0.tls.is_some() && self.0.access.is_some();
        if address.ip().to_canonical().is_loopback() || has_both {
            return Ok(());
        }
        if self.0.is_insecure {
            warn!(
                %address,
                tls = self.0.tls.is_some(),
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
    pub(crate) fn acceptor(&self, protocol: Protocol) -> Option<Acceptor> {
        let tls = self.0.tls.clone()?;
        Some(Acceptor { tls, protocol })
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

/// How TLS connections are accepted with the present files.
struct Acceptors {
    grpc: TlsAcceptor,
    http: TlsAcceptor,
    both: TlsAcceptor,
}

impl Acceptors {
    fn new(own: &Identity, callers: Option<&Authority>) -> Result<Self, ExitError> {
        let acceptor = |protocol| {
            let config = server_config(own, callers, protocol)?;
            Ok::<_, ExitError>(TlsAcceptor::from(Arc::new(config)))
        };
        Ok(Self {
            grpc: acceptor(Protocol::Grpc)?,
            http: acceptor(Protocol::Http)?,
            both: acceptor(Protocol::Both)?,
        })
    }
}

/// Accepts the TLS connections of a port, each with the certificate, key and CA that the files hold when it comes. Cheap
/// to clone.
#[derive(Clone)]
pub(crate) struct Acceptor {
    tls: Watched<Acceptors>,
    protocol: Protocol,
}

impl Acceptor {
    /// The acceptor for a connection that has just come.
    pub(crate) fn now(&self) -> TlsAcceptor {
        let acceptors = self.tls.get();
        match self.protocol {
            Protocol::Grpc => acceptors.grpc.clone(),
            Protocol::Http => acceptors.http.clone(),
            Protocol::Both => acceptors.both.clone(),
        }
    }
}

/// The certificate and key that the arguments name.
pub(super) fn load_identity(args: &IdentityArgs, warnings: &mut Vec<String>) -> Result<Option<Identity>, ExitError> {
    let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) else {
        return Ok(None);
    };
    Identity::read(of_certificate(certificate), of_key(key), warnings).map(Some)
}

/// The TLS of this process's ports; None where it has no certificate. Files that are replaced are taken up.
fn load_tls(
    identity: &IdentityArgs,
    serving: &ServingArgs,
    warnings: &mut Vec<String>,
) -> Result<Option<Watched<Acceptors>>, ExitError> {
    let own = load_identity(identity, warnings)?;
    let callers = serving.tls_client_ca.clone();
    let authority = callers
        .as_deref()
        .map(|path| Authority::read(of_callers(path), warnings));
    let authority = authority.transpose()?;
    let (Some(own), Some(certificate), Some(key)) = (own, identity.tls_cert.clone(), identity.tls_key.clone()) else {
        return Ok(None);
    };
    let acceptors = Acceptors::new(&own, authority.as_ref())?;
    let mut paths = vec![certificate.clone(), key.clone()];
    let mut bytes = vec![own.certificate_pem().to_owned(), own.key_pem().to_owned()];
    if let (Some(path), Some(authority)) = (&callers, &authority) {
        paths.push(path.clone());
        bytes.push(authority.pem().to_owned());
    }
    let parse = move |files: &[Vec<u8>]| {
        let [certificate_pem, key_pem, rest @ ..] = files else {
            return Err("a file is missing".to_owned());
        };
        let mut warnings = Vec::new();
        let (certificate, key) = (of_certificate(&certificate), of_key(&key));
        let own = Identity::of_pem(
            (certificate, certificate_pem.clone()),
            (key, key_pem.clone()),
            &mut warnings,
        );
        let own = own.map_err(|error| error.message)?;
        let authority = match (&callers, rest) {
            (Some(path), [pem]) => Some(Authority::of_pem(of_callers(path), pem.clone(), &mut warnings)),
            _ => None,
        };
        let authority = authority.transpose().map_err(|error| error.message)?;
        let acceptors = Acceptors::new(&own, authority.as_ref()).map_err(|error| error.message)?;
        own.show_end(certificate.path);
        if let (Some(path), Some(authority)) = (&callers, &authority) {
            authority.show_end(path);
        }
        for warning in warnings {
            warn!("{warning}");
        }
        Ok(acceptors)
    };
    Ok(Some(Watched::start_several(paths, bytes, acceptors, parse)))
}

pub(super) fn of_certificate(path: &Path) -> Origin<'_> {
    let flag = "--tls-cert";
    Origin { flag, path }
}

pub(super) fn of_key(path: &Path) -> Origin<'_> {
    let flag = "--tls-key";
    Origin { flag, path }
}

fn of_callers(path: &Path) -> Origin<'_> {
    let flag = "--tls-client-ca";
    Origin { flag, path }
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
    config.alpn_protocols = protocol.alpn();
    // A session that is resumed would not ask again whether the caller's certificate is still good.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use rcgen::{CertificateParams, KeyPair};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;

    /// A certificate that signs itself: its PEM, that of its key, and the certificate as it is shown.
    fn identity() -> (String, String, CertificateDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed");
        (certificate.pem(), key.serialize_pem(), certificate.der().clone())
    }

    /// What a server shows to a new connection.
    async fn shown(acceptor: &Acceptor, trusted: &[&CertificateDer<'static>]) -> CertificateDer<'static> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add((*certificate).clone()).expect("a root");
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = acceptor.now();
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepted");
            tls.accept(stream).await
        });
        let stream = TcpStream::connect(address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = stream.expect("the handshake");
        server.await.expect("no panic").expect("the handshake");
        stream.get_ref().1.peer_certificates().expect("shown")[0].clone()
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_to_new_connections_and_a_broken_one_is_not_taken_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| -> PathBuf { directory.path().join(name) };
        let write = |name: &str, text: &str| std::fs::write(file(name), text).expect("written");
        let (first, second) = (identity(), identity());
        write("server.pem", &first.0);
        write("server.key", &first.1);
        let arguments = IdentityArgs {
            tls_cert: Some(file("server.pem")),
            tls_key: Some(file("server.key")),
            insecure: false,
        };
        let security = ServerSecurity::load(&arguments, &ServingArgs::default()).expect("loaded");
        let acceptor = security.acceptor(Protocol::Grpc).expect("TLS");
        let trusted = [&first.2, &second.2];
        assert_eq!(shown(&acceptor, &trusted).await, first.2);

        // Only the certificate has been replaced so far, and the key does not fit it.
        write("server.pem", &second.0);
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(shown(&acceptor, &trusted).await, first.2);
        write("server.key", &second.1);
        let deadline = Instant::now() + Duration::from_secs(20);
        while shown(&acceptor, &trusted).await != second.2 {
            assert!(Instant::now() < deadline, "the files are read again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        write("server.key", "no key");
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(shown(&acceptor, &trusted).await, second.2);
    }

    #[tokio::test]
    async fn a_renewed_ca_of_callers_is_taken_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str| -> PathBuf { directory.path().join(name) };
        let write = |name: &str, text: &str| std::fs::write(file(name), text).expect("written");
        let (own, first, second) = (identity(), identity(), identity());
        write("server.pem", &own.0);
        write("server.key", &own.1);
        write("callers.pem", &first.0);
        let arguments = IdentityArgs {
            tls_cert: Some(file("server.pem")),
            tls_key: Some(file("server.key")),
            insecure: false,
        };
        let serving = ServingArgs {
            tls_client_ca: Some(file("callers.pem")),
            ..ServingArgs::default()
        };
        let security = ServerSecurity::load(&arguments, &serving).expect("loaded");
        let tls = security.0.tls.clone().expect("TLS");
        let before = tls.get();
        write("callers.pem", &second.0);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Arc::ptr_eq(&before, &tls.get()) {
            assert!(Instant::now() < deadline, "the file is read again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
