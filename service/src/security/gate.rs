//! What every request passes before it reaches its service, and before its body is read: is the caller allowed to, and does
//! the server still take requests?

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use anytime_proto::Refusal;
use futures::future::Either;
use http_body_util::Full;
use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, StatusCode, header};
use tower_layer::Layer;
use tower_service::Service;

use super::access::Shown;
use super::refusals::{Reason, refuse};
use super::serving::{Caller, ServerSecurity};

/// The paths of health checks begin so. They are answered until the server ends.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The health check over HTTP.
const HTTP_HEALTH: &str = "/health";

/// Why a request does not pass.
enum Turned {
    Away(Reason),
    Draining,
}

impl Turned {
    /// The answer to a call over gRPC, or to a request over plain HTTP as OpenAI's clients read it.
    fn answer(self, is_call: bool) -> Response<Body> {
        if is_call {
            let status = match self {
                Self::Away(reason) => reason.status(),
                Self::Draining => Refusal::of_shutdown(SHUTTING_DOWN).into_status(),
            };
            return status.into_http();
        }
        let (status, kind, message) = match self {
            Self::Away(Reason::WrongRole) => (StatusCode::FORBIDDEN, "permission_error", Reason::WrongRole.text()),
            Self::Away(Reason::UnknownMethod) => (
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                Reason::UnknownMethod.text(),
            ),
            Self::Away(reason) => (StatusCode::UNAUTHORIZED, "authentication_error", reason.text()),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "server_error", SHUTTING_DOWN),
        };
        // These texts are the program's own, and have nothing that JSON would escape.
        let text =
            format!("{{\"error\":{{\"message\":\"{message}\",\"type\":\"{kind}\",\"param\":null,\"code\":null}}}}");
        let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
        *response.status_mut() = status;
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}

const SHUTTING_DOWN: &str = "the server is shutting down";

/// Whether it is a call over gRPC.
fn is_call(request: &Request<Body>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let is_method = ["/anytime.", "/grpc."]
        .iter()
        .any(|start| request.uri().path().starts_with(start));
    is_method || kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Decides about requests.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    security: ServerSecurity,
    draining: CancellationToken,
}

impl Gate {
    /// Once `draining` is cancelled, only health checks pass.
    pub(crate) fn new(security: ServerSecurity, draining: CancellationToken) -> Self {
        Self { security, draining }
    }

    fn judge(&self, request: &Request<Body>) -> Result<(), Turned> {
        let path = request.uri().path();
        if let Some(access) = self.security.access() {
            let caller = request.extensions().get::<Caller>();
            let shown = Shown {
                authorization: request
                    .headers()
                    .get(header::AUTHORIZATION)
                    .map(header::HeaderValue::as_bytes),
                name: caller.and_then(Caller::name),
            };
            if let Err(reason) = access.may_call(path, shown) {
                refuse(reason, caller.and_then(Caller::address), path);
                return Err(Turned::Away(reason));
            }
        }
        if self.draining.is_cancelled() && !path.starts_with(HEALTH) && path != HTTP_HEALTH {
            return Err(Turned::Draining);
        }
        Ok(())
    }
}

/// Puts the gate before services.
#[derive(Clone, Debug)]
pub struct GateLayer(Gate);

impl GateLayer {
    /// A layer that puts this gate before each service.
    pub(crate) fn new(gate: Gate) -> Self {
        Self(gate)
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated {
            gate: self.0.clone(),
            inner,
        }
    }
}

/// A service behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    gate: Gate,
    inner: S,
}

impl<S> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<S::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.gate.judge(&request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            // The body is dropped unread.
            Err(turned) => Either::Left(ready(Ok(turned.answer(is_call(&request))))),
        }
    }
}
