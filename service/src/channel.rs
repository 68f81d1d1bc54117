//! Client connections that are made on first use, kept alive, and never waited for without a bound.

mod http;
mod unsent;

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anytime_proto::limits::{CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MAX_FRAME_BYTES};
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response, StatusCode, header};
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

use crate::exit::ExitError;
use crate::security::{CallFiles, CallSecurity, TlsConnector, Watched};
pub use http::HttpAnswer;
use unsent::Resendable;

/// First pause after a failed call.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const LONGEST_BACKOFF: Duration = Duration::from_secs(3);

/// A connection to a peer, whose every call shows this process's token where it has one. Clones share the connection.
///
/// Token and certificate are read again when their files change: the token counts for the next call, certificate and CA
/// for the next connection. Where the peer says that it does not know the caller, the files are read again before the
/// answer is handed on, so that the next try shows what they hold by then.
#[derive(Clone)]
pub struct PeerChannel(Arc<Peer>);

struct Peer {
    /// Makes a channel that has no connection yet; none where the connections are somebody else's.
    make: Option<Box<dyn Fn() -> Channel + Send + Sync>>,
    current: Mutex<Current>,
    security: CallSecurity,
}

#[derive(Clone)]
struct Current {
    channel: Channel,
    /// What the files held when the channel was made.
    files: Option<Arc<CallFiles>>,
}

impl std::fmt::Debug for PeerChannel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PeerChannel").finish_non_exhaustive()
    }
}

impl PeerChannel {
    /// Calls over a connection that somebody else makes, without a token.
    pub fn over(channel: Channel) -> Self {
        let files = None;
        Self(Arc::new(Peer {
            make: None,
            current: Mutex::new(Current { channel, files }),
            security: CallSecurity::default(),
        }))
    }
}

impl Peer {
    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request over the present connection, or over a new one where there is none.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, tonic::transport::Error> {
        let mut channel = self.current().channel;
        std::future::poll_fn(|context| channel.poll_ready(context)).await?;
        channel.call(request).await
    }

    /// After a refusal: reads token and certificate again. A certificate counts by connection, so that another one needs
    /// another connection.
    async fn look_again(&self) {
        if let Some(token) = self.security.token() {
            token.fresh().await;
        }
        let (Some(files), Some(make)) = (self.security.files(), &self.make) else {
            return;
        };
        let fresh = files.fresh().await;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.files.as_ref().is_none_or(|held| !Arc::ptr_eq(held, &fresh)) {
            *current = Current {
                channel: make(),
                files: Some(fresh),
            };
        }
    }
}

impl Service<Request<Body>> for PeerChannel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // The channel is waited for within the call, because it may be another one by then.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let peer = self.0.clone();
        Box::pin(async move {
            if let Some(token) = peer.security.token()
                && let Ok(value) = token_header(token.get().as_encoded_bytes())
            {
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            let request = Resendable::new(request);
            let response = match peer.send(request.request()).await {
                Err(error) if request.is_unsent(&error) => peer.send(request.request()).await?,
                outcome => outcome?,
            };
            if is_unauthenticated(&response) {
                peer.look_again().await;
            }
            Ok(response)
        })
    }
}

/// The value is sensitive: it is never printed, and HTTP/2's header compression never keeps it.
fn token_header(value: &[u8]) -> Result<HeaderValue, tonic::codegen::http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::from_bytes(value)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Whether the peer answers that it does not know the caller, which it says in the head, before any message.
fn is_unauthenticated(response: &Response<Body>) -> bool {
    let status = response.headers().get("grpc-status");
    // The second is how plain HTTP says it.
    response.status() == StatusCode::UNAUTHORIZED
        || status.is_some_and(|status| Code::from_bytes(status.as_bytes()) == Code::Unauthenticated)
}

/// A channel to `http://host:port` or `https://host:port` that connects on first use and again after every loss. Calls set
/// their own deadline. An address without a scheme is called over TLS where a CA is given.
///
/// # Errors
/// [`ExitError`] with the configuration code if the address is no URI, or if TLS cannot be spoken with it.
pub fn lazy_channel(name: &str, address: &str, security: &CallSecurity) -> Result<PeerChannel, ExitError> {
    let uri = uri_of(name, address, security)?;
    let bad = |error: &dyn std::fmt::Display| bad_address(name, address, error);
    let make: Box<dyn Fn() -> Channel + Send + Sync> = match security.tls_for(name, &uri)? {
        None => {
            let endpoint = with_settings(Endpoint::from(uri));
            Box::new(move || endpoint.connect_lazy())
        }
        Some(tls) => {
            let endpoint = endpoint_of_tls(uri).map_err(|error| bad(&error))?;
            Box::new(move || over_tls(&endpoint, &tls))
        }
    };
    let current = Mutex::new(Current {
        channel: make(),
        files: security.files().map(Watched::get),
    });
    Ok(PeerChannel(Arc::new(Peer {
        make: Some(make),
        current,
        security: security.clone(),
    })))
}

/// The URI of a peer's address, with the scheme that a call of it has where the address names none.
///
/// # Errors
/// [`ExitError`] with the configuration code if the address is no URI.
pub fn uri_of(name: &str, address: &str, security: &CallSecurity) -> Result<Uri, ExitError> {
    let scheme = if security.prefers_tls() { "https" } else { "http" };
    let uri = if address.contains("://") {
        address.to_owned()
    } else {
        format!("{scheme}://{address}")
    };
    uri.parse().map_err(|error| bad_address(name, address, &error))
}

fn bad_address(name: &str, address: &str, error: &dyn std::fmt::Display) -> ExitError {
    ExitError::configuration(format!("{name} address `{address}`: {error}"))
}

/// The endpoint of a server that is called over TLS. To tonic the connection is one without, since our own connector
/// speaks TLS; calls name the server as it was written.
fn endpoint_of_tls(uri: Uri) -> Result<Endpoint, tonic::codegen::http::Error> {
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
    let place = Uri::builder()
        .scheme("http")
        .authority(format!("{host}:{port}"))
        .path_and_query("/")
        .build()?;
    Ok(with_settings(Endpoint::from(place)).origin(uri))
}

fn over_tls(endpoint: &Endpoint, tls: &TlsConnector) -> Channel {
    endpoint.connect_with_connector_lazy(tls.clone())
}

/// Deadlines, keep-alive and frames, the same for every connection.
pub fn with_settings(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .max_frame_size(MAX_FRAME_BYTES)
}

/// The pauses between the tries of a failing call: each is twice as long as the one before, up to a bound, and then
/// shortened at random by up to a half, so that all callers of a server that comes back do not return in step.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_BACKOFF }
    }
}

impl Backoff {
    /// Returns the pause before the next try, and doubles the one after it.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_BACKOFF);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts over with the shortest pause, after a success.
    pub fn reset(&mut self) {
        self.next = FIRST_BACKOFF;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;
    use crate::security::{IdentityArgs, ServerSecurity, ServingArgs};
    use crate::server::{router, serve};

    /// A server whose connections become old in a second.
    async fn aging() -> (String, CancellationToken) {
        let serving = ServingArgs {
            max_connection_age: Some(Duration::from_secs(1)),
            ..ServingArgs::default()
        };
        let security = ServerSecurity::load(&IdentityArgs::default(), &serving).expect("no files");
        let stop = CancellationToken::new();
        let (router, _reporter) = router(&security, stop.clone()).expect("a router");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let served = stop.clone();
        tokio::spawn(async move { serve(router, listener, &security, served).await });
        (format!("http://{address}"), stop)
    }

    #[tokio::test]
    async fn no_call_fails_and_no_stream_breaks_because_a_connection_becomes_old() {
        let (address, stop) = aging().await;
        let channel = lazy_channel("server", &address, &CallSecurity::default()).expect("an address");
        let mut client = HealthClient::new(channel);
        // Its stream keeps the first connection open, over which no call is taken any more.
        let mut watched = client.watch(HealthCheckRequest::default()).await.expect("watched");
        assert!(watched.get_mut().message().await.expect("no error").is_some());
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            client
                .check(HealthCheckRequest::default())
                .await
                .expect("every call is answered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let broken = tokio::time::timeout(Duration::from_millis(10), watched.get_mut().message()).await;
        assert!(broken.is_err(), "the stream goes on: {broken:?}");
        stop.cancel();
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_differ_between_callers() {
        let pauses = || -> Vec<Duration> {
            let mut backoff = Backoff::default();
            (0..20).map(|_| backoff.pause()).collect()
        };
        let mut longest = FIRST_BACKOFF;
        for pause in pauses() {
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?}");
            longest = (longest * 2).min(LONGEST_BACKOFF);
        }
        assert_ne!(pauses(), pauses());
    }
}
