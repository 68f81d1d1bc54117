//! Requests of plain HTTP over the connection of calls: the same TLS, the same token, the same keep-alive.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use tower_service::Service as _;

use super::PeerChannel;

/// An answer whose body is read piece by piece. Dropped, the peer learns that nobody reads on.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Its status.
    pub status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Body,
}

impl HttpAnswer {
    /// Whether the body is said to be of this media type.
    pub fn is_of_type(&self, media_type: &str) -> bool {
        let kind = self.content_type.as_ref().and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() == media_type)
    }

    /// The next piece of the body; None at its end.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Status> {
        while let Some(frame) = self.body.frame().await {
            // Trailers say nothing here.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl PeerChannel {
    /// Posts a JSON document over HTTP/2 and gives the head of the answer. The caller sets the deadline.
    ///
    /// # Errors
    /// If there is no connection, or it breaks before the head.
    pub async fn post_json(&self, path: &'static str, document: String) -> Result<HttpAnswer, tonic::transport::Error> {
        let mut request = Request::new(Body::new(Full::new(Bytes::from(document))));
        *request.method_mut() = Method::POST;
        // The channel adds the peer's scheme and name.
        *request.uri_mut() = Uri::from_static(path);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        let (head, body) = self.clone().call(request).await?.into_parts();
        Ok(HttpAnswer {
            status: head.status,
            content_type: head.headers.get(header::CONTENT_TYPE).cloned(),
            body,
        })
    }
}
