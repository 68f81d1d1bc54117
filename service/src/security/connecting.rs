//! The TLS connections of a caller, each made with the files as they are when it is made.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anytime_proto::limits::CONNECT_TIMEOUT;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};
use tonic::transport::Uri;
use tower_service::Service;

use super::pem_files::{Authority, Identity, provider};
use super::watched::Watched;
use crate::exit::ExitError;

/// gRPC speaks HTTP/2.
const ALPN_H2: &[u8] = b"h2";

/// Whatever keeps a connection from being made.
type ConnectError = Box<dyn std::error::Error + Send + Sync>;

/// Whom a caller trusts, and what it shows. Where there is no authority, those of the system are trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallFiles {
    pub(super) authority: Option<Authority>,
    pub(super) identity: Option<Identity>,
}

/// Makes TLS connections to one server.
#[derive(Clone)]
pub(crate) struct TlsConnector {
    tcp: HttpConnector,
    server: ServerName<'static>,
    files: Option<Watched<CallFiles>>,
    /// The CAs of this machine, where no other was named.
    system: Option<Arc<RootCertStore>>,
}

impl TlsConnector {
    /// Connections to a server of this name or address.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code where the name cannot stand in a certificate, or nothing is trusted.
    pub(super) fn try_new(name: &str, server: &str, files: Option<Watched<CallFiles>>) -> Result<Self, ExitError> {
        let host = server.trim_start_matches('[').trim_end_matches(']');
        let server = ServerName::try_from(host.to_owned())
            .map_err(|error| ExitError::configuration(format!("{name} address `{host}`: {error}")))?;
        let has_authority = files.as_ref().is_some_and(|files| files.get().authority.is_some());
        let system = if has_authority { None } else { Some(system_roots()?) };
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Ok(Self {
            tcp,
            server,
            files,
            system,
        })
    }

    async fn secure(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, ConnectError> {
        let files = match &self.files {
            Some(files) => Some(files.fresh().await),
            None => None,
        };
        let config = client_config(files.as_deref(), self.system.as_ref())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let connecting = connector.connect(self.server.clone(), tcp);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| "the TLS handshake took too long")??;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_H2) {
            return Err("the server does not speak HTTP/2 over TLS, as gRPC does".into());
        }
        Ok(stream)
    }
}

impl Service<Uri> for TlsConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, tls) = (self.tcp.call(uri), self.clone());
        Box::pin(async move {
            let tcp = connecting.await?.into_inner();
            Ok(TokioIo::new(tls.secure(tcp).await?))
        })
    }
}

/// A new one for each connection, so that no session of an earlier one is resumed with what was shown then.
fn client_config(files: Option<&CallFiles>, system: Option<&Arc<RootCertStore>>) -> Result<ClientConfig, TlsError> {
    let authority = files.and_then(|files| files.authority.as_ref());
    let roots = authority.map(Authority::roots).or_else(|| system.cloned());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.unwrap_or_else(|| Arc::new(RootCertStore::empty())));
    let mut config = match files.and_then(|files| files.identity.as_ref()) {
        Some(own) => builder.with_client_auth_cert(own.chain(), own.key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    Ok(config)
}

fn system_roots() -> Result<Arc<RootCertStore>, ExitError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(ExitError::configuration(
            "this machine trusts no CA, so that no server can show who it is; --tls-ca names the CA to trust",
        ));
    }
    Ok(Arc::new(roots))
}
