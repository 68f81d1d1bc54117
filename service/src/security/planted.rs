//! The checks of who gets in are able to fail: a real server over loopback is tried from outside, first as it is, and then
//! with one hole after the other, each of which must be found, by the name of what it breaks.
//!
//! Longer than 500 lines because the holes and what finds them belong side by side.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::transport::{Channel, Server};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower_layer::Layer;
use tower_service::Service;

use super::args::{CallingArgs, IdentityArgs, ServingArgs};
use super::calling::CallSecurity;
use super::gate::{Gate, GateLayer, Gated};
use super::roles::{METHODS, Role, Who, who_may_call};
use super::serving::{Protocol, ServerSecurity};
use super::token;
use crate::channel::{PeerChannel, lazy_channel};
use crate::connections::connections;

/// What is wrong with a server, or with the caller that tries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hole {
    Nothing,
    /// One method is not checked.
    OpenMethod,
    /// Nobody is asked for anything.
    NoGate,
    /// What nobody serves is passed on unchecked.
    UnknownMethodsPass,
    /// Whoever shows the beginning of a token is let in.
    TokenByPrefix,
    /// Every token has every role.
    AnyRole,
    /// A certificate counts, whatever its name.
    AnyName,
    /// A certificate makes a wrong token good.
    NameBesideWrongToken,
    /// The file of access is read at the start alone.
    AccessReadOnce,
    /// A file of access that cannot be read lets everybody in.
    BrokenAccessOpens,
    /// No certificate is asked for.
    NoClientCertificate,
    /// Certificates of any CA are taken.
    AnyClientCa,
    /// The port speaks plain text.
    PlainText,
    /// The health is SERVING, whatever is the matter.
    AlwaysServing,
    /// Calls are taken while the server drains.
    DrainIgnored,
    /// The caller takes the certificate of any server.
    ServerNameUnchecked,
    /// The caller trusts every CA.
    AnyServerCa,
}

/// Every hole, with what finds it.
const HOLES: [(Hole, &str); 16] = [
    (Hole::OpenMethod, "no token"),
    (Hole::NoGate, "no token"),
    (Hole::UnknownMethodsPass, "unknown method"),
    (Hole::TokenByPrefix, "a part of a token"),
    (Hole::AnyRole, "another role"),
    (Hole::AnyName, "a name without a role"),
    (Hole::NameBesideWrongToken, "a wrong token beside a good name"),
    (Hole::AccessReadOnce, "a token that was taken away"),
    (Hole::BrokenAccessOpens, "no token, and a broken file of access"),
    (Hole::NoClientCertificate, "no certificate"),
    (Hole::AnyClientCa, "a certificate of another CA"),
    (Hole::PlainText, "plain text"),
    (Hole::AlwaysServing, "the health of what does not serve"),
    (Hole::DrainIgnored, "a call in the drain"),
    (Hole::ServerNameUnchecked, "a server of another name"),
    (Hole::AnyServerCa, "a server of another CA"),
];

/// A CA, and what it has signed, in a directory.
struct Secrets {
    directory: TempDir,
}

impl Secrets {
    fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let secrets = Self { directory };
        let key = KeyPair::generate().expect("a key");
        let mut ca = CertificateParams::new(Vec::new()).expect("no names");
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        ca.not_after = date_time_ymd(2120, 1, 1);
        secrets.write("ca.pem", &ca.self_signed(&key).expect("signed").pem());
        let issuer = Issuer::new(ca, key);
        for (name, server) in [("server", true), ("act", false), ("read", false), ("somebody", false)] {
            let names = if server {
                vec!["localhost".to_owned()]
            } else {
                Vec::new()
            };
            let mut params = CertificateParams::new(names).expect("names");
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
            params.not_after = date_time_ymd(2120, 1, 1);
            let key = KeyPair::generate().expect("a key");
            let certificate = params.signed_by(&key, &issuer).expect("signed");
            secrets.write(&format!("{name}.pem"), &certificate.pem());
            secrets.write(&format!("{name}.key"), &key.serialize_pem());
        }
        secrets
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    fn identity(&self, name: &str) -> IdentityArgs {
        IdentityArgs {
            tls_cert: Some(self.path(&format!("{name}.pem"))),
            tls_key: Some(self.path(&format!("{name}.key"))),
            insecure: false,
        }
    }
}

/// The token of a role.
fn token_of(role: Role) -> String {
    format!("{0}-token-of-the-role-{0}", role.name())
}

/// The file of access, with what some holes amount to.
fn access(hole: Hole) -> String {
    let mut file = String::from("act certificate act\nread certificate read\n");
    for role in Role::ALL {
        let token = token_of(role);
        file.push_str(&format!("{} token {token}\n", role.name()));
        match hole {
            Hole::TokenByPrefix => file.push_str(&format!("{} token {}\n", role.name(), &token[..token.len() - 1])),
            Hole::AnyRole => {
                for other in Role::ALL {
                    file.push_str(&format!("{} token {token}\n", other.name()));
                }
            }
            _ => {}
        }
    }
    if hole == Hole::AnyName {
        file.push_str("act certificate somebody\n");
    }
    file
}

/// The gate, with a hole.
#[derive(Clone)]
struct Holed {
    gate: Gate,
    hole: Hole,
    access: PathBuf,
}

impl Holed {
    /// Whether a request is passed on unchecked.
    fn passes(&self, request: &mut Request<Body>) -> bool {
        let path = request.uri().path();
        match self.hole {
            Hole::OpenMethod => path == "/anytime.v1.JobService/Delete",
            Hole::NoGate => true,
            Hole::UnknownMethodsPass => who_may_call(path).is_none(),
            Hole::BrokenAccessOpens => std::fs::read(&self.access).is_ok_and(|bytes| bytes == b"broken"),
            Hole::NameBesideWrongToken => {
                let shown = request.headers().get("authorization");
                let is_known = Role::ALL.iter().any(|role| {
                    shown.is_some_and(|shown| shown.as_bytes() == token::header(&token_of(*role)).as_bytes())
                });
                if !is_known {
                    request.headers_mut().remove("authorization");
                }
                false
            }
            _ => false,
        }
    }
}

impl<S: Clone> Layer<S> for Holed {
    type Service = HoledService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HoledService {
            holed: self.clone(),
            gated: GateLayer::new(self.gate.clone()).layer(inner.clone()),
            inner,
        }
    }
}

#[derive(Clone)]
struct HoledService<S> {
    holed: Holed,
    gated: Gated<S>,
    inner: S,
}

impl<S> Service<Request<Body>> for HoledService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.gated.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if self.holed.passes(&mut request) {
            return Box::pin(self.inner.call(request));
        }
        Box::pin(self.gated.call(request))
    }
}

/// A server that runs, and what is needed to try it.
struct Tried {
    hole: Hole,
    secrets: Secrets,
    foreign: Secrets,
    address: SocketAddr,
    draining: CancellationToken,
    stop: CancellationToken,
}

impl Drop for Tried {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Tried {
    async fn start(hole: Hole) -> Self {
        let (secrets, foreign) = (Secrets::new(), Secrets::new());
        secrets.write("access", &access(hole));
        secrets.write("access.of.the.start", &access(hole));
        let (mut ca, other_ca) = (read(&secrets, "ca.pem"), read(&foreign, "ca.pem"));
        if hole == Hole::AnyClientCa {
            ca.push_str(&other_ca);
        }
        secrets.write("callers.pem", &ca);
        let file = if hole == Hole::AccessReadOnce {
            "access.of.the.start"
        } else {
            "access"
        };
        let serving = ServingArgs {
            tls_client_ca: (!matches!(hole, Hole::NoClientCertificate | Hole::PlainText))
                .then(|| secrets.path("callers.pem")),
            access: Some(secrets.path(file)),
            ..ServingArgs::default()
        };
        let identity = match hole {
            Hole::PlainText => IdentityArgs::default(),
            _ => secrets.identity("server"),
        };
        let security = ServerSecurity::load(&identity, &serving).expect("good files");
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let seen = match hole {
            Hole::DrainIgnored => CancellationToken::new(),
            _ => draining.clone(),
        };
        let (reporter, health) = tonic_health::server::health_reporter();
        if hole != Hole::AlwaysServing {
            reporter.set_service_status("", ServingStatus::NotServing).await;
        }
        let holed = Holed {
            gate: Gate::new(security.clone(), seen),
            hole,
            access: secrets.path("access"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let incoming = connections(listener, security.acceptor(Protocol::Grpc), None);
        let router = Server::builder().layer(holed).add_service(health);
        let serving = router.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
        tokio::spawn(serving);
        Self {
            hole,
            secrets,
            foreign,
            address,
            draining,
            stop,
        }
    }

    /// A channel of a caller that shows the certificate of this name, of this set.
    fn channel(&self, set: &Secrets, name: Option<&str>) -> PeerChannel {
        self.channel_to("localhost", &self.secrets, name.map(|name| (set, name)))
    }

    fn channel_to(&self, host: &str, trusted: &Secrets, own: Option<(&Secrets, &str)>) -> PeerChannel {
        let identity = own.map(|(set, name)| set.identity(name)).unwrap_or_default();
        let calling = CallingArgs {
            tls_ca: Some(trusted.path("ca.pem")),
            token_file: None,
        };
        let security = CallSecurity::load(&identity, &calling).expect("good files");
        let scheme = if self.hole == Hole::PlainText { "http" } else { "https" };
        let address = format!("{scheme}://{host}:{}", self.address.port());
        lazy_channel("server", &address, &security).expect("an address")
    }

    /// What a call is answered; None where there is no connection.
    async fn call(&self, channel: &PeerChannel, path: &str, token: Option<&str>) -> Option<Code> {
        let mut request = Request::post(path).header("content-type", "application/grpc");
        if let Some(token) = token {
            request = request.header("authorization", token::header(token));
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = channel.clone().call(request).await.ok()?;
        let status = response.headers().get("grpc-status");
        Some(status.map_or(Code::Ok, |status| Code::from_bytes(status.as_bytes())))
    }

    /// Everything that is not as it should be.
    async fn faults(&self) -> BTreeSet<&'static str> {
        let mut faults = BTreeSet::new();
        let mut expect = |what: &'static str, is_so: bool| {
            if !is_so {
                faults.insert(what);
            }
        };
        let somebody = self.channel(&self.secrets, Some("somebody"));
        let refused = Some(Code::Unauthenticated);
        for (path, who) in METHODS {
            let Who::Roles(allowed) = who else {
                continue;
            };
            expect("no token", self.call(&somebody, path, None).await == refused);
            for role in Role::ALL {
                let code = self.call(&somebody, path, Some(&token_of(role))).await;
                if allowed.contains(&role) {
                    expect(
                        "the right role",
                        !matches!(code, None | Some(Code::Unauthenticated | Code::PermissionDenied)),
                    );
                } else {
                    expect("another role", code == Some(Code::PermissionDenied));
                }
            }
        }
        let submit = "/anytime.v1.JobService/Submit";
        let lease = "/anytime.v1.RolloutService/Lease";
        let token = token_of(Role::Submit);
        for part in [&token[..token.len() - 1], &token[1..], &format!("{token}x")] {
            expect(
                "a part of a token",
                self.call(&somebody, submit, Some(part)).await == refused,
            );
        }
        let nowhere = "/anytime.v1.JobService/Destroy";
        expect("unknown method", self.call(&somebody, nowhere, None).await == refused);
        let told = self.call(&somebody, nowhere, Some(&token)).await;
        expect("unknown method", told == Some(Code::Unimplemented));

        expect(
            "a name without a role",
            self.call(&somebody, lease, None).await == refused,
        );
        if self.hole != Hole::PlainText && self.hole != Hole::NoClientCertificate {
            let act = self.channel(&self.secrets, Some("act"));
            expect(
                "a name with its role",
                self.call(&act, lease, None).await == Some(Code::Unimplemented),
            );
            expect(
                "another role",
                self.call(&act, submit, None).await == Some(Code::PermissionDenied),
            );
            let code = self.call(&act, lease, Some("no-token-that-anybody-knows")).await;
            expect("a wrong token beside a good name", code == refused);
        }
        let nobody = self.channel(&self.secrets, None);
        expect(
            "no certificate",
            self.call(&nobody, submit, Some(&token)).await.is_none(),
        );
        let stranger = self.channel(&self.foreign, Some("act"));
        expect(
            "a certificate of another CA",
            self.call(&stranger, submit, Some(&token)).await.is_none(),
        );
        let plain = Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        let plain = PeerChannel::over(plain.connect_lazy());
        expect("plain text", self.call(&plain, submit, Some(&token)).await.is_none());

        // The caller must not take this server for another one.
        let own = Some((&self.secrets, "act"));
        let name = if self.hole == Hole::ServerNameUnchecked {
            "localhost"
        } else {
            "127.0.0.1"
        };
        let other_name = self.channel_to(name, &self.secrets, own);
        expect(
            "a server of another name",
            self.call(&other_name, lease, None).await.is_none(),
        );
        let trusted = if self.hole == Hole::AnyServerCa {
            &self.secrets
        } else {
            &self.foreign
        };
        let distrusting = self.channel_to("localhost", trusted, own);
        expect(
            "a server of another CA",
            self.call(&distrusting, lease, None).await.is_none(),
        );

        let asked = HealthClient::new(somebody.clone())
            .check(HealthCheckRequest::default())
            .await;
        let status = asked.map(|answer| answer.into_inner().status);
        expect(
            "the health of what does not serve",
            status.is_ok_and(|status| status == ServingStatus::NotServing as i32),
        );

        // A token that is taken away, and then a file that is none.
        let changed = access(self.hole).replace(&token, "another-token-of-the-role-submit");
        self.secrets.write("access", &changed);
        expect(
            "a token that was taken away",
            self.comes_to(&somebody, &token, refused).await,
        );
        self.secrets.write("access", "broken");
        tokio::time::sleep(Duration::from_millis(1500)).await;
        expect(
            "no token, and a broken file of access",
            self.call(&somebody, submit, None).await == refused,
        );

        self.draining.cancel();
        let code = self
            .call(&somebody, "/anytime.v1.JobService/List", Some(&token_of(Role::Read)))
            .await;
        expect("a call in the drain", code == Some(Code::Unavailable));
        faults
    }

    /// Whether calls with a token come to be answered so, in the time that changed files are given.
    async fn comes_to(&self, channel: &PeerChannel, token: &str, code: Option<Code>) -> bool {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if self.call(channel, "/anytime.v1.JobService/Submit", Some(token)).await == code {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }
}

fn read(secrets: &Secrets, name: &str) -> String {
    std::fs::read_to_string(secrets.path(name)).expect("written before")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_hole_has_no_fault() {
    let faults = Tried::start(Hole::Nothing).await.faults().await;
    assert_eq!(faults, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hole_is_found() {
    let tried = HOLES.map(|(hole, found_by)| async move {
        let faults = Tried::start(hole).await.faults().await;
        assert!(faults.contains(found_by), "{hole:?}: found as {faults:?}");
    });
    // Most of the time of each goes into waiting for a look at a file.
    futures::future::join_all(tried).await;
}
