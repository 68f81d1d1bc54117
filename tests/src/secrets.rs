//! Certificates and tokens as `anytime certs` makes them, some that are no good, and callers that show them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::metrics::{Sample, samples};
use crate::workplace::Workplace;

/// A directory that `anytime certs` has written.
#[derive(Clone, Debug)]
pub struct Secrets {
    directory: PathBuf,
}

impl Secrets {
    /// Has a set made in the workplace.
    pub async fn make(workplace: &Workplace, name: &str) -> Self {
        Self::make_with(workplace, name, &[]).await
    }

    /// The same with further arguments of `anytime certs`.
    pub async fn make_with(workplace: &Workplace, name: &str, arguments: &[&str]) -> Self {
        let arguments = [&["certs", name], arguments].concat();
        workplace.anytime(&arguments, 30).await.expect(0);
        Self {
            directory: workplace.path(name),
        }
    }

    /// Writes a file of this set in the place of another one of it, as a renewal does: aside, and then renamed.
    pub fn replace(&self, file: &str, text: &str) {
        let aside = self.path(&format!("{file}.new"));
        std::fs::write(&aside, text).expect("written");
        std::fs::rename(&aside, self.path(file)).expect("renamed");
    }

    /// The path of one of its files.
    pub fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }

    /// What one of its files holds.
    pub fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("a file of the set")
    }

    /// The token of a role.
    pub fn token(&self, role: &str) -> String {
        self.text(&format!("{role}.token")).trim().to_owned()
    }

    /// The arguments of a server that shows the certificate of this name; with `mutual` callers must show one too.
    pub fn serving(&self, name: &str, mutual: bool) -> Vec<OsString> {
        let mut arguments = vec![
            "--tls-cert".into(),
            self.path(&format!("{name}.pem")).into(),
            "--tls-key".into(),
            self.path(&format!("{name}.key")).into(),
            "--access".into(),
            self.path("access").into(),
        ];
        if mutual {
            arguments.extend(["--tls-client-ca".into(), self.path("ca.pem").into()]);
        }
        arguments
    }

    /// Writes `NAME.pem` and `NAME.key`: signed by the CA of the set, and expired an hour ago.
    pub fn add_expired(&self, name: &str) {
        let key = KeyPair::from_pem(&self.text("ca.key")).expect("the key of the CA");
        let issuer = Issuer::from_ca_cert_pem(&self.text("ca.pem"), key).expect("the CA");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = time::OffsetDateTime::now_utc();
        params.not_before = now - time::Duration::hours(2);
        params.not_after = now - time::Duration::hours(1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }

    /// TLS that trusts this set's CA. With `own`, a set and a name, it shows the certificate of that name from that
    /// set.
    pub fn tls(&self, own: Option<(&Self, &str)>) -> ClientTlsConfig {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.text("ca.pem")));
        match own {
            Some((set, name)) => tls.identity(Identity::from_pem(
                set.text(&format!("{name}.pem")),
                set.text(&format!("{name}.key")),
            )),
            None => tls,
        }
    }

    /// TLS that trusts this set's CA and shows a certificate of it.
    fn client_config(&self, own: Option<&str>) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(self.roots());
        match own {
            Some(name) => {
                let (chain, key) = self.pair(name);
                builder.with_client_auth_cert(chain, key).expect("an identity")
            }
            None => builder.with_no_client_auth(),
        }
    }

    /// A server that shows `server.pem` and asks for a certificate of the CA.
    pub fn server_config(&self) -> ServerConfig {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider())
            .build()
            .expect("a verifier");
        let (chain, key) = self.pair("server");
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .expect("an identity")
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let pem = self.text("ca.pem");
        let ca = CertificateDer::from_pem_slice(pem.as_bytes()).expect("the CA");
        roots.add(ca).expect("a CA");
        roots
    }

    fn pair(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificate = self.text(&format!("{name}.pem"));
        let key = self.text(&format!("{name}.key"));
        (
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
        )
    }

    /// Asks for the metrics at `host:port` over TLS, and returns the status and the answer; None where there is none.
    pub async fn get(
        &self,
        address: &str,
        path: &str,
        own: Option<&str>,
        token: Option<&str>,
    ) -> Option<(u16, String)> {
        let connector = TlsConnector::from(Arc::new(self.client_config(own)));
        let stream = TcpStream::connect(address).await.ok()?;
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        let mut stream = connector.connect(name, stream).await.ok()?;
        let authorization = token
            .map(|token| format!("Authorization: Bearer {token}\r\n"))
            .unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // A server that ends the connection without TLS's closing message has sent its whole answer all the same.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// The metrics at `host:port`, with the token of the role `read` and the certificate of this name.
    pub async fn scrape(&self, address: &str, own: Option<&str>) -> Vec<Sample> {
        let token = self.token("read");
        let (status, text) = self
            .get(address, "/metrics", own, Some(&token))
            .await
            .expect("an answer");
        assert_eq!(status, 200, "{text}");
        samples(&text)
    }
}

fn provider() -> Arc<crypto::CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// A channel to `host:port` that connects on first use.
pub fn secure_channel(address: &str, tls: ClientTlsConfig) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address");
    endpoint.tls_config(tls).expect("TLS").connect_lazy()
}

/// A request that shows a token.
pub fn with_token<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().expect("a value");
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Speaks TLS in front of a server that does not, and asks for certificates. Returns its `host:port`.
pub async fn tls_in_front_of(address: &str, config: ServerConfig) -> String {
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let own = listener.local_addr().expect("an address").to_string();
    let behind = address.to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut front) = acceptor.accept(stream).await else {
                    return;
                };
                if let Ok(mut back) = TcpStream::connect(&behind).await {
                    let _ = tokio::io::copy_bidirectional(&mut front, &mut back).await;
                }
            });
        }
    });
    own
}
