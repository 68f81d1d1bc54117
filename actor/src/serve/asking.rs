//! From fields to a request under way, the same for every protocol.

use std::sync::Arc;

use rand::RngExt as _;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::answer::Update;
use super::dispatcher::{Ticket, TraceRecord};
use super::error::ApiError;
use super::orders::Order;
use super::prompt::{check_length, prompt_ids};
use super::request::Ask;
use super::session;

/// What the reply has to know of the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) streams: bool,
    pub(crate) includes_usage: bool,
}

/// Checks a request and begins to serve it; `read` gives its fields, and `name` is how its answer is called.
///
/// # Errors
/// Whatever is wrong with it.
pub(crate) async fn ask(
    ticket: Ticket,
    read: impl FnOnce() -> Result<Map<String, Value>, ApiError> + Send + 'static,
    name: String,
) -> Result<(Asked, mpsc::Receiver<Update>), ApiError> {
    let served = Arc::clone(ticket.dispatcher().served());
    let dispatcher = ticket.dispatcher().clone();
    let drawn = rand::rng().random();
    // A long prompt takes milliseconds to be rendered and spelled.
    let prepare = move || {
        let ask = Ask::try_new(&read()?, &served)?;
        let before: Option<TraceRecord> = match &ask.continues {
            Some(trace) => Some(dispatcher.trace(trace).ok_or_else(|| ApiError::gone(trace))?),
            None => None,
        };
        let prompt = match &before {
            Some(record) => {
                check_length(record.prompt.len(), &ask, &served)?;
                Vec::new()
            }
            None => prompt_ids(&ask, &served)?,
        };
        let order = Order::try_new(&ask, &served, prompt, before, drawn)?;
        Ok::<_, ApiError>((ask, order))
    };
    let prepared = tokio::task::spawn_blocking(prepare).await;
    let (ask, order) = prepared.map_err(|_| ApiError::fault("the request could not be read"))??;
    let asked = Asked {
        streams: ask.streams,
        includes_usage: ask.includes_usage,
    };
    Ok((asked, session::begin(ticket, ask, order, name)))
}
