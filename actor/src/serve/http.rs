//! The HTTP surface: `POST /v1/chat/completions`, `GET /v1/models`, `/health`, `/metrics`, and the page at `/`.

use std::convert::Infallible;
use std::time::Duration;

use anytime_service::telemetry::MetricsText;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::answer::Update;
use super::asking::ask;
use super::body;
use super::dispatcher::Dispatcher;
use super::error::ApiError;
use super::outcome::{Outcome, show_outcomes};
use super::page;
use super::reply::{self, Reply};
use super::request::read_object;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest request id of a client that is given back.
const LONGEST_ID: usize = 128;

/// What every handler has.
#[derive(Clone)]
pub(crate) struct Surface {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) metrics: MetricsText,
    /// When the model was loaded, in seconds since 1970.
    pub(crate) created: u64,
}

/// The routes of the surface.
pub(crate) fn routes(surface: Surface) -> Router {
    show_outcomes();
    let wrong = |method: &'static str| {
        move |request: Request| async move {
            let error = ApiError::wrong_method(request.uri().path(), method);
            refused(&error, request_id(request.headers()))
        }
    };
    let mut router = Router::new();
    for (path, kind, text) in page::FILES {
        let file = move || async move { page::file(kind, text) };
        router = router.route(path, get(file).fallback(wrong("GET")));
    }
    router
        .route("/v1/chat/completions", post(complete).fallback(wrong("POST")))
        .route("/v1/models", get(models).fallback(wrong("GET")))
        .route("/v1/models/{*name}", get(one_model).fallback(wrong("GET")))
        .route("/health", get(health).fallback(wrong("GET")))
        .route("/metrics", get(metrics_text).fallback(wrong("GET")))
        .fallback(nothing_here)
        .with_state(surface)
}

async fn complete(State(surface): State<Surface>, request: Request) -> Response {
    let id = request_id(request.headers());
    let mut outcome = Outcome::begin();
    match answer(&surface, request, &mut outcome).await {
        Ok(response) => with_id(response, id),
        Err(error) => {
            outcome.has_error(&error);
            refused(&error, id)
        }
    }
}

async fn answer(surface: &Surface, request: Request, outcome: &mut Outcome) -> Result<Response, ApiError> {
    let dispatcher = &surface.dispatcher;
    let ticket = dispatcher.enter()?;
    let served = dispatcher.served();
    let body = body::whole(request, served.limits.body, Duration::from_secs(served.limits.seconds)).await?;
    let name = format!("chatcmpl-{}", Uuid::new_v4().simple());
    let (asked, mut updates) = ask(ticket, move || read_object(&body), name.clone()).await?;
    let reply = Reply::new(name, served, asked.includes_usage);
    // Whatever keeps the request from beginning has a status of its own.
    let first = match updates.recv().await {
        Some(Update::Failed(error)) => return Err(error),
        Some(first) => first,
        None => return Err(ApiError::without_answer()),
    };
    if asked.streams {
        return Ok(streamed(
            reply,
            first,
            updates,
            std::mem::replace(outcome, Outcome::none()),
        ));
    }
    loop {
        match updates.recv().await {
            Some(Update::Ended(ended)) => {
                outcome.is_answered();
                return Ok(json(StatusCode::OK, &reply.whole(&ended)));
            }
            Some(Update::Failed(error)) => return Err(error),
            Some(update) => outcome.see(&update),
            None => return Err(ApiError::without_answer()),
        }
    }
}

/// A stream of server-sent events. Dropped with its connection, it drops the request.
fn streamed(reply: Reply, first: Update, updates: mpsc::Receiver<Update>, mut outcome: Outcome) -> Response {
    let all = tokio_stream::once(first).chain(ReceiverStream::new(updates));
    let lines = all.map(move |update| {
        outcome.see(&update);
        Ok::<_, Infallible>(Bytes::from(reply.lines(&update)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies would otherwise collect what is to be read as it comes.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

async fn models(State(surface): State<Surface>) -> Response {
    json(
        StatusCode::OK,
        &reply::models(surface.dispatcher.served(), surface.created),
    )
}

async fn one_model(State(surface): State<Surface>, Path(name): Path<String>) -> Response {
    let served = surface.dispatcher.served();
    if name == served.name {
        return json(StatusCode::OK, &reply::model(served, surface.created));
    }
    refused(&ApiError::no_model(&name, &served.name), None)
}

async fn health(State(surface): State<Surface>) -> Response {
    let is_ending = surface.dispatcher.end().is_cancelled();
    let status = if is_ending {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let says = serde_json::json!({
        "status": if is_ending { "ending" } else { "ok" }, "in_flight": surface.dispatcher.in_flight(),
        "slots_used": surface.dispatcher.slots_used(),
    });
    json(status, &says)
}

async fn metrics_text(State(surface): State<Surface>) -> Response {
    match tokio::task::spawn_blocking(move || surface.metrics.render()).await {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let plain = HeaderValue::from_static("text/plain; version=0.0.4");
            response.headers_mut().insert(header::CONTENT_TYPE, plain);
            response
        }
        Err(_) => refused(&ApiError::fault("the metrics could not be read"), None),
    }
}

async fn nothing_here(request: Request) -> Response {
    refused(&ApiError::no_path(request.uri().path()), request_id(request.headers()))
}

fn refused(error: &ApiError, id: Option<HeaderValue>) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, &error.to_json());
    if let Some(seconds) = error.retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    with_id(response, id)
}

fn json(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// The client's own id for its request.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(REQUEST_ID)?;
    let is_plain = id.len() <= LONGEST_ID && id.to_str().is_ok_and(|text| !text.is_empty());
    is_plain.then(|| id.clone())
}

/// Gives the client's id back, or a new one.
fn with_id(mut response: Response, id: Option<HeaderValue>) -> Response {
    let id = id.or_else(|| HeaderValue::from_str(&format!("req_{}", Uuid::new_v4().simple())).ok());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
