//! What every request passes before it reaches its service, and before its body is read: is the caller allowed to, and does
//! the server still take requests?

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use anytime_proto::Refusal;
use futures::future::Either;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response, header};
use tower_layer::Layer;
use tower_service::Service;

use super::access::Shown;
use super::refusals::refuse;
use super::serving::{Caller, ServerSecurity};

/// The paths of health checks begin so. They are answered until the server ends.
const HEALTH: &str = "/grpc.health.v1.Health/";

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

    fn judge(&self, request: &Request<Body>) -> Result<(), Status> {
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
                return Err(reason.status());
            }
        }
        if self.draining.is_cancelled() && !path.starts_with(HEALTH) {
            return Err(Refusal::of_shutdown("the server is shutting down").into_status());
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
            Err(status) => Either::Left(ready(Ok(status.into_http()))),
        }
    }
}
