//! A request that was never sent because its connection had just ended. A server ends connections that have become old; the
//! client learns of it with the next request, where a stream keeps the connection open, and hyper hands that request back.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Request;
use tonic::codegen::http::request::Parts;

/// A request that can be sent again for as long as nothing of its body has been read.
pub(super) struct Resendable {
    head: Parts,
    body: Shared,
}

/// The body of all tries.
#[derive(Clone)]
struct Shared {
    body: Arc<Mutex<Body>>,
    is_read: Arc<AtomicBool>,
}

impl Resendable {
    pub(super) fn new(request: Request<Body>) -> Self {
        let (head, body) = request.into_parts();
        let body = Shared {
            body: Arc::new(Mutex::new(body)),
            is_read: Arc::default(),
        };
        Self { head, body }
    }

    /// The request for the next try.
    pub(super) fn request(&self) -> Request<Body> {
        Request::from_parts(self.head.clone(), Body::new(self.body.clone()))
    }

    /// Whether the last try failed before anything was sent.
    pub(super) fn is_unsent(&self, error: &tonic::transport::Error) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        let mut is_canceled = false;
        while let Some(error) = cause {
            is_canceled |= error
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_canceled);
            cause = error.source();
        }
        is_canceled && !self.body.is_read.load(Ordering::Acquire)
    }
}

impl HttpBody for Shared {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.is_read.store(true, Ordering::Release);
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}
