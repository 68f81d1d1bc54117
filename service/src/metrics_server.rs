//! Serves the metrics to Prometheus. Where the process is configured so, that is over TLS and to permitted callers
//! alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anytime_proto::limits::FIRST_BYTE_TIMEOUT;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_stream::StreamExt as _;
use tracing::debug;

use crate::connections::{Connection, scrapes};
use crate::process_metrics;
use crate::security::{Caller, Protocol, Reason, ServerSecurity};

/// How often the samples of histograms are summed up. Without a scrape they would pile up.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Binds the listener.
///
/// # Errors
/// If the address cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves until the process ends: `/health` answers everybody, every other path has the metrics.
pub(crate) fn start(listener: TcpListener, handle: PrometheusHandle, security: ServerSecurity) {
    sum_up(handle.clone());
    let mut connections = scrapes(listener, security.acceptor(Protocol::Http), security.connection_age());
    tokio::spawn(async move {
        while let Some(connection) = connections.next().await {
            if let Ok(connection) = connection {
                tokio::spawn(serve(connection, handle.clone(), security.clone()));
            }
        }
    });
}

/// Sums the samples of histograms up from time to time.
pub(crate) fn sum_up(handle: PrometheusHandle) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            handle.run_upkeep();
        }
    });
}

async fn serve(connection: Connection, handle: PrometheusHandle, security: ServerSecurity) {
    let caller = connection.caller();
    let answer = service_fn(|request| answer(request, &caller, &handle, &security));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_BYTE_TIMEOUT)
        .serve_connection(TokioIo::new(connection), answer)
        .await;
    if let Err(error) = served {
        debug!(%error, "a connection for metrics broke");
    }
}

async fn answer(
    request: Request<Incoming>,
    caller: &Caller,
    handle: &PrometheusHandle,
    security: &ServerSecurity,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/health" {
        return Ok(plain(StatusCode::OK, "OK".into()));
    }
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if let Err(reason) = security.may_scrape(shown, caller) {
        let code = match reason {
            Reason::WrongRole => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        return Ok(plain(code, reason.text().into()));
    }
    let handle = handle.clone();
    let render = move || {
        process_metrics::read();
        handle.render()
    };
    Ok(match tokio::task::spawn_blocking(render).await {
        Ok(text) => plain(StatusCode::OK, text.into()),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new()),
    })
}

fn plain(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
