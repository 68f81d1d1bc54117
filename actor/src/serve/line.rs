//! The two ends of a request under way: what the engine says, and what the client is told.

use std::sync::Arc;
use std::time::Duration;

use anytime_proto::v1::AbandonReason;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::Update;
use super::dispatcher::Ticket;
use super::error::ApiError;
use super::orders::Order;
use super::settings::Served;
use crate::engine::{Event, NotContinued, ServedEvent};

/// Why a session ends before its answer.
pub(crate) enum Stop {
    Failed(ApiError),
    /// The client has gone.
    Gone,
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// A request under way. Dropped, the engine forgets it unless it is over.
pub(crate) struct Line {
    pub(crate) ticket: Ticket,
    pub(crate) served: Arc<Served>,
    /// The number by which the engine knows it.
    pub(crate) number: u64,
    updates: mpsc::Sender<Update>,
    events: mpsc::UnboundedReceiver<Event>,
    deadline: Instant,
    /// The trace that it goes on from, for refusals.
    continues: Option<String>,
}

impl Line {
    /// Asks the engine.
    pub(crate) fn open(
        mut ticket: Ticket,
        order: &Order,
        continues: Option<String>,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let served = Arc::clone(ticket.dispatcher().served());
        let deadline = Instant::now() + Duration::from_secs(served.limits.seconds);
        let (number, events) = ticket.ask(|number| order.request(number));
        Self {
            ticket,
            served,
            number,
            updates,
            events,
            deadline,
            continues,
        }
    }

    /// What the engine says next.
    ///
    /// # Errors
    /// Where there is no answer any more: the client has gone, the time is over, the engine has failed or refuses.
    pub(crate) async fn next(&mut self) -> Result<Event, Stop> {
        let end = self.ticket.dispatcher().end().clone();
        let event = tokio::select! {
            event = self.events.recv() => event,
            () = self.updates.closed() => return Err(Stop::Gone),
            () = tokio::time::sleep_until(self.deadline) => {
                return Err(ApiError::deadline(self.served.limits.seconds).into());
            }
            () = end.cancelled() => return Err(ApiError::unavailable("the server is shutting down").into()),
        };
        match event {
            None => Err(ApiError::unavailable("the engine has ended").into()),
            Some(Event::GroupFailed { reason, detail, .. }) => {
                self.ticket.close();
                Err(match reason {
                    AbandonReason::Shutdown => ApiError::unavailable(detail),
                    _ => ApiError::fault(detail),
                }
                .into())
            }
            Some(Event::Served(ServedEvent::NotContinued { reason, .. })) => {
                self.ticket.close();
                Err(not_continued(self.continues.as_deref().unwrap_or_default(), reason).into())
            }
            Some(event) => Ok(event),
        }
    }

    /// Tells the client.
    ///
    /// # Errors
    /// Where it has gone, or reads nothing for too long.
    pub(crate) async fn tell(&self, update: Update) -> Result<(), Stop> {
        match tokio::time::timeout_at(self.deadline, self.updates.send(update)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }

    /// Whether a token ends a sequence.
    pub(crate) fn ends_sequence(&self, id: u32) -> bool {
        self.served.tokenizer.eos_ids().contains(&id)
    }
}

fn not_continued(trace: &str, reason: NotContinued) -> ApiError {
    let field = |reason: String| ApiError::field("anytime.continue", format!("{trace:?}"), reason);
    match reason {
        NotContinued::Gone => ApiError::gone(trace),
        NotContinued::Ended(tokens) => field(format!(
            "its thinking has ended by itself after {tokens} tokens, so that there is nothing to go on from"
        )),
        NotContinued::NotLarger(tokens) => field(format!(
            "its thinking has {tokens} tokens already; every budget must be above that"
        )),
    }
}
