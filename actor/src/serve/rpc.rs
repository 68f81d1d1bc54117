//! The same answers over gRPC: `anytime.v1.ReasonService`.

use std::pin::Pin;

use anytime_proto::v1::reason_response::Event;
use anytime_proto::v1::reason_service_server::ReasonService;
use anytime_proto::v1::{
    ReasonBudget, ReasonEnd, ReasonRequest, ReasonResponse, ReasonThinking, ReasonUsage, ThinkingEnd,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::answer::{Checkpoint, Ended, Update, Usage, WhyEnded};
use super::asking::ask;
use super::dispatcher::Dispatcher;
use super::error::ApiError;
use super::outcome::Outcome;
use super::translation::{object_of, status_of};

/// What a client is told, one by one. Dropped with its connection, it drops the request.
type Events = Pin<Box<dyn Stream<Item = Result<ReasonResponse, Status>> + Send>>;

/// Answers `anytime.v1.ReasonService`. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reasoner(Dispatcher);

impl Reasoner {
    pub(crate) fn new(dispatcher: Dispatcher) -> Self {
        Self(dispatcher)
    }

    async fn answer(&self, request: ReasonRequest, outcome: &mut Outcome) -> Result<Events, ApiError> {
        let ticket = self.0.enter()?;
        let trace = format!("reason-{}", Uuid::new_v4().simple());
        let (_, mut updates) = ask(ticket, move || object_of(&request), trace.clone()).await?;
        // Whatever keeps the request from beginning is the status of the call, before any event.
        let first = match updates.recv().await {
            Some(Update::Failed(error)) => return Err(error),
            Some(first) => first,
            None => return Err(ApiError::without_answer()),
        };
        let model = self.0.served().name.clone();
        let mut outcome = std::mem::replace(outcome, Outcome::none());
        let all = tokio_stream::once(first).chain(ReceiverStream::new(updates));
        let events = all.filter_map(move |update| {
            outcome.see(&update);
            response_of(update, &trace, &model)
        });
        Ok(Box::pin(events))
    }
}

#[tonic::async_trait]
impl ReasonService for Reasoner {
    type ReasonStream = Events;

    async fn reason(&self, request: Request<ReasonRequest>) -> Result<Response<Events>, Status> {
        let mut outcome = Outcome::begin();
        match self.answer(request.into_inner(), &mut outcome).await {
            Ok(events) => Ok(Response::new(events)),
            Err(error) => {
                outcome.has_error(&error);
                Err(status_of(&error))
            }
        }
    }
}

/// What a client is told of an update; None where that is nothing.
fn response_of(update: Update, trace: &str, model: &str) -> Option<Result<ReasonResponse, Status>> {
    let event = match update {
        // The last budget has the whole of the content.
        Update::Started | Update::Content(_) => return None,
        Update::Reasoning(text) if text.is_empty() => return None,
        Update::Reasoning(text) => Event::Thinking(ReasonThinking { text }),
        Update::Checkpoint(checkpoint) => Event::Budget(budget_of(checkpoint)),
        Update::Ended(ended) => Event::End(end_of(&ended, trace, model)),
        Update::Failed(error) => return Some(Err(status_of(&error))),
    };
    Some(Ok(ReasonResponse { event: Some(event) }))
}

fn budget_of(checkpoint: Checkpoint) -> ReasonBudget {
    ReasonBudget {
        budget: checkpoint.budget,
        thinking_tokens: checkpoint.thinking_tokens as u64,
        content: checkpoint.content,
        answer: checkpoint.answer,
        agreement: checkpoint.agreement,
        is_cut_off: checkpoint.is_cut_off,
    }
}

fn end_of(ended: &Ended, trace: &str, model: &str) -> ReasonEnd {
    let why = match ended.why {
        WhyEnded::EndMarker => ThinkingEnd::EndMarker,
        WhyEnded::EndOfSequence => ThinkingEnd::EndOfSequence,
        WhyEnded::Budget => ThinkingEnd::Budget,
        WhyEnded::Agreement => ThinkingEnd::Agreement,
    };
    // Several traces do not go on.
    let trace = if ended.ended_branches.is_none() { trace } else { "" };
    ReasonEnd {
        ended: why.into(),
        thinking_tokens: ended.thinking_tokens as u64,
        trace: trace.to_owned(),
        // At most as many as were asked for.
        ended_branches: ended.ended_branches.map(|branches| branches as u32),
        pruned_branches: ended.pruned_branches.map(|branches| branches as u32),
        unscored_looks: ended
            .unscored_looks
            .map(|looks| u32::try_from(looks).unwrap_or(u32::MAX)),
        usage: Some(usage_of(&ended.usage)),
        model: model.to_owned(),
        first_weights_version: ended.versions.map_or(0, |versions| versions.first.0),
        weights_version: ended.versions.map_or(0, |versions| versions.last.0),
    }
}

fn usage_of(usage: &Usage) -> ReasonUsage {
    ReasonUsage {
        prompt_tokens: usage.prompt as u64,
        cached_tokens: usage.cached as u64,
        computed_prompt_tokens: usage.computed as u64,
        reasoning_tokens: usage.reasoning as u64,
        summary_tokens: usage.summaries as u64,
    }
}
