//! Health and reflection on every gRPC server, and a serve loop that takes its listener and its shutdown.

use std::net::SocketAddr;

use anyhow::Context as _;
use anytime_proto::FILE_DESCRIPTORS;
use anytime_proto::limits::{KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MAX_FRAME_BYTES, MAX_STREAMS_PER_CONNECTION};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::server::HealthReporter;
use tower_layer::{Identity, Stack};

use crate::connections::connections;
use crate::exit::ExitError;
use crate::security::{Gate, GateLayer, Protocol, ServerSecurity};

/// Services behind the gate that asks who calls them.
pub type GatedRouter = Router<Stack<GateLayer, Identity>>;

/// Makes a router that answers grpc.health.v1 and reflection. The caller adds its services to it, and tells the
/// reporter which of them serve. Once `draining` is cancelled, only health checks are answered, and what is under way.
///
/// # Errors
/// If the embedded file descriptors do not decode.
pub fn router(security: &ServerSecurity, draining: CancellationToken) -> anyhow::Result<(GatedRouter, HealthReporter)> {
    router_beside(security, draining, None)
}

/// The same beside routes of plain HTTP, which HTTP/1.1 may ask for too. Their paths are those of
/// [`crate::security::roles::PATHS`].
///
/// # Errors
/// As [`router`].
pub fn router_beside(
    security: &ServerSecurity,
    draining: CancellationToken,
    routes: Option<Routes>,
) -> anyhow::Result<(GatedRouter, HealthReporter)> {
    let (health_reporter, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // The older name is for what still asks by it: Python's grpcio-reflection, Postman, grpcurl before 1.8.8. Each of the
    // two tells of the other.
    let described = reflection()
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("reflection service")?;
    let described_as_before = reflection()
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .build_v1alpha()
        .context("reflection service")?;
    let gate = Gate::new(security.clone(), draining);
    let mut server = Server::builder();
    if let Some(age) = security.connection_age() {
        // Without tonic's own grace: with it, tonic does not tell the peer that the connection ends, and closes it under
        // its calls. Ours closes what is still open behind the grace.
        server = server.max_connection_age(age);
    }
    let router = server
        .layer(GateLayer::new(gate))
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(Some(MAX_STREAMS_PER_CONNECTION))
        .max_frame_size(Some(MAX_FRAME_BYTES))
        .accept_http1(routes.is_some())
        .add_routes(routes.unwrap_or_default())
        .add_service(health_service)
        .add_service(described)
        .add_service(described_as_before);
    Ok((router, health_reporter))
}

/// Binds a listener; port 0 takes a free one.
///
/// # Errors
/// [`ExitError`] with the configuration code that names the address, also for one that other machines reach without TLS
/// and access.
pub async fn bind(address: SocketAddr, security: &ServerSecurity) -> Result<TcpListener, ExitError> {
    security.check_address("--listen", address)?;
    TcpListener::bind(address)
        .await
        .map_err(|error| ExitError::configuration(format!("--listen {address}: {error}")))
}

/// Serves until the token is cancelled, then takes no connection any more and finishes the requests under way.
///
/// # Errors
/// If the transport fails.
pub async fn serve(
    router: GatedRouter,
    listener: TcpListener,
    security: &ServerSecurity,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_protocol(router, listener, security, Protocol::Grpc, stop).await
}

/// The same for a router of [`router_beside`].
///
/// # Errors
/// If the transport fails.
pub async fn serve_beside(
    router: GatedRouter,
    listener: TcpListener,
    security: &ServerSecurity,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_protocol(router, listener, security, Protocol::Both, stop).await
}

async fn serve_protocol(
    router: GatedRouter,
    listener: TcpListener,
    security: &ServerSecurity,
    protocol: Protocol,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let connections = connections(listener, security.acceptor(protocol), security.connection_age());
    router
        .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
        .await
        .context("gRPC server")
}
