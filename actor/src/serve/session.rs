//! One request, from what the engine says about it to what its client is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anytime_policy::without_eos;
use anytime_proto::v1::{AbandonReason, FinishReason, Generated};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::{Checkpoint, Ended, Update, Usage, WhyEnded};
use super::dispatcher::{Ticket, TraceRecord};
use super::error::ApiError;
use super::orders::Order;
use super::request::Ask;
use super::settings::Served;
use super::summary::SummaryText;
use super::text::{Guard, TextStream};
use super::vote::{Ballot, are_equal, elect};
use crate::engine::{Event, NotContinued, ServedEvent};
use crate::nodes::NodePlan;

/// How many updates may wait for a client that reads slowly.
const WAITING_UPDATES: usize = 64;

/// How many tokens before its own a text is decoded with.
const CONTEXT: usize = 8;

/// Begins to serve a request; `name` is how the answer, and so its trace, is called. The receiver dropped, the engine
/// forgets the request within one step.
pub(crate) fn begin(ticket: Ticket, ask: Ask, order: Order, name: String) -> mpsc::Receiver<Update> {
    let (sender, updates) = mpsc::channel(WAITING_UPDATES);
    tokio::spawn(async move {
        let mut session = Session::new(ticket, ask, order, name, sender.clone());
        if let Err(Stop::Failed(error)) = session.run().await {
            // Where the client is gone nobody is told.
            let _ = sender.send(Update::Failed(error)).await;
        }
    });
    updates
}

/// Why a session ends before its answer.
enum Stop {
    Failed(ApiError),
    /// The client has gone.
    Gone,
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

/// What a node's summaries came to.
struct Elected {
    content: String,
    answer: Option<String>,
    agreement: f64,
    is_cut_off: bool,
}

struct Session {
    ticket: Ticket,
    served: Arc<Served>,
    ask: Ask,
    name: String,
    record: TraceRecord,
    updates: mpsc::Sender<Update>,
    events: mpsc::UnboundedReceiver<Event>,
    deadline: Instant,
    text: TextStream,
    guard: Guard,
    reasoning: String,
    /// All tokens of the thinking.
    thinking: Vec<u32>,
    finish: Option<FinishReason>,
    /// The nodes, once the thinking has ended; before, each budget has one.
    nodes: Option<Vec<NodePlan>>,
    elected: BTreeMap<usize, Elected>,
    checkpoints: Vec<Checkpoint>,
    /// How many of the last cuts agreed on one answer.
    agreeing: usize,
    has_agreed: bool,
    /// The one summary of the last cut, told while it comes: of requests that are told of no budgets.
    live: Option<SummaryText>,
    usage: Usage,
}

impl Session {
    fn new(mut ticket: Ticket, ask: Ask, order: Order, name: String, updates: mpsc::Sender<Update>) -> Self {
        let served = Arc::clone(ticket.dispatcher().served());
        let mut record = order.record.clone();
        let (number, events) = ticket.ask(|number| order.request(number));
        record.number = number;
        let before = &record.thinking[record.thinking.len().saturating_sub(CONTEXT)..];
        let text = TextStream::behind(Arc::clone(&served.tokenizer), before);
        let is_live = ask.streams && !ask.is_anytime && ask.summaries == 1;
        let live = is_live.then(|| SummaryText::new(&served, &ask.stops));
        let deadline = Instant::now() + Duration::from_secs(served.limits.seconds);
        Self {
            text,
            guard: Guard::new(vec![served.end_text.clone()]),
            thinking: record.thinking.to_vec(),
            usage: Usage {
                prompt: record.prompt.len() + record.thinking.len(),
                ..Usage::default()
            },
            ticket,
            served,
            ask,
            name,
            record,
            updates,
            events,
            deadline,
            reasoning: String::new(),
            finish: None,
            nodes: None,
            elected: BTreeMap::new(),
            checkpoints: Vec::new(),
            agreeing: 0,
            has_agreed: false,
            live,
        }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        let end = self.ticket.dispatcher().end().clone();
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                // The client has gone, or has given up.
                () = self.updates.closed() => return Err(Stop::Gone),
                () = tokio::time::sleep_until(self.deadline) => {
                    return Err(ApiError::deadline(self.served.limits.seconds).into());
                }
                () = end.cancelled() => return Err(ApiError::unavailable("the server is shutting down").into()),
            };
            let Some(event) = event else {
                return Err(ApiError::unavailable("the engine has ended").into());
            };
            if self.take(event).await? {
                return Ok(());
            }
        }
    }

    /// Takes an event; true where it was the last.
    async fn take(&mut self, event: Event) -> Result<bool, Stop> {
        match event {
            Event::Served(event) => self.take_served(event).await?,
            Event::TraceFinished { thinking, nodes, .. } => {
                self.finish = Some(thinking.finish());
                self.nodes = Some(nodes);
                self.finish_reasoning().await?;
            }
            Event::NodeFinished { node, summaries, .. } => {
                let elected = self.elect(summaries).await?;
                self.elected.insert(node, elected);
                self.tell_checkpoints().await?;
            }
            Event::GroupFinished { .. } => {
                self.conclude().await?;
                return Ok(true);
            }
            Event::GroupFailed { reason, detail, .. } => {
                self.ticket.is_over();
                return Err(match reason {
                    AbandonReason::Shutdown => ApiError::unavailable(detail),
                    _ => ApiError::fault(detail),
                }
                .into());
            }
        }
        Ok(false)
    }

    async fn take_served(&mut self, event: ServedEvent) -> Result<(), Stop> {
        match event {
            ServedEvent::Started { cached, computed, .. } => {
                (self.usage.cached, self.usage.computed) = (cached, computed);
                self.tell(Update::Started).await
            }
            ServedEvent::Drawn { summary: None, id, .. } => {
                self.thinking.push(id);
                self.usage.reasoning += 1;
                if self.ends_sequence(id) {
                    return Ok(());
                }
                let text = self.text.push(id);
                let certain = self.guard.push(&text);
                self.tell_reasoning(certain).await
            }
            ServedEvent::Drawn {
                summary: Some((node, _)),
                id,
                ..
            } => {
                self.usage.summaries += 1;
                let is_last = self.nodes.as_ref().is_some_and(|nodes| node + 1 == nodes.len());
                let is_end = self.ends_sequence(id);
                match &mut self.live {
                    Some(live) if is_last && !is_end => {
                        let text = live.push(id);
                        self.tell_content(text).await
                    }
                    _ => Ok(()),
                }
            }
            ServedEvent::NotContinued { reason, .. } => {
                self.ticket.is_over();
                let trace = self.ask.continues.clone().unwrap_or_default();
                Err(not_continued(&trace, reason).into())
            }
        }
    }

    fn ends_sequence(&self, id: u32) -> bool {
        self.served.tokenizer.eos_ids().contains(&id)
    }

    async fn finish_reasoning(&mut self) -> Result<(), Stop> {
        let text = self.text.finish();
        let certain = self.guard.push(&text);
        self.tell_reasoning(certain).await?;
        let rest = self.guard.finish();
        self.tell_reasoning(rest).await
    }

    async fn tell_reasoning(&mut self, text: String) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        self.reasoning.push_str(&text);
        self.tell(Update::Reasoning(text)).await
    }

    async fn tell_content(&self, text: String) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        self.tell(Update::Content(text)).await
    }

    async fn tell(&self, update: Update) -> Result<(), Stop> {
        let sent = tokio::time::timeout_at(self.deadline, self.updates.send(update)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            // Gone, or it reads nothing.
            Ok(Err(_)) | Err(_) => Err(Stop::Gone),
        }
    }

    /// Has the summaries of a node vote. Grading may take milliseconds, so it is not for an async thread.
    async fn elect(&self, summaries: Vec<Generated>) -> Result<Elected, Stop> {
        let (served, stops) = (Arc::clone(&self.served), self.ask.stops.clone());
        let vote = move || {
            let ballot = |summary: &Generated| Ballot {
                content: SummaryText::of(&served, &stops, without_eos(&summary.ids, served.tokenizer.eos_ids())),
                log_prob: summary.log_probs.iter().map(|&log_prob| f64::from(log_prob)).sum(),
            };
            let mut ballots: Vec<Ballot> = summaries.iter().map(ballot).collect();
            let elected = elect(&ballots)?;
            Some(Elected {
                is_cut_off: summaries[elected.ballot].finish() == FinishReason::Length,
                content: ballots.swap_remove(elected.ballot).content,
                answer: elected.answer,
                agreement: elected.agreement,
            })
        };
        let elected = tokio::task::spawn_blocking(vote).await;
        let elected = elected.ok().flatten();
        elected.ok_or_else(|| ApiError::fault("the summaries of a cut could not be compared").into())
    }

    /// Tells of the budgets whose answers are there, in their order.
    async fn tell_checkpoints(&mut self) -> Result<(), Stop> {
        while !self.has_agreed
            && let Some((cut, budgets)) = self.next_node()
        {
            let node = self.node_of(self.checkpoints.len());
            let Some(elected) = self.elected.remove(&node) else {
                return Ok(());
            };
            self.count_agreement(&elected);
            for budget in budgets {
                let checkpoint = Checkpoint {
                    budget,
                    thinking_tokens: cut,
                    answer: elected.answer.clone(),
                    content: elected.content.clone(),
                    agreement: elected.agreement,
                    is_cut_off: elected.is_cut_off,
                };
                self.checkpoints.push(checkpoint.clone());
                if self.ask.is_anytime {
                    self.tell(Update::Checkpoint(checkpoint)).await?;
                }
            }
            let is_enough = self.ask.stop.is_some_and(|stop| self.agreeing >= stop.rounds);
            if is_enough && self.checkpoints.len() < self.ask.budgets.len() {
                self.has_agreed = true;
                self.ticket.stop();
            }
        }
        Ok(())
    }

    /// The node that a budget (from 0) is answered by.
    fn node_of(&self, budget: usize) -> usize {
        match &self.nodes {
            Some(nodes) => budget.min(nodes.len().saturating_sub(1)),
            None => budget,
        }
    }

    /// Cut and budgets of the node whose answer comes next; None where all are told.
    fn next_node(&self) -> Option<(usize, Vec<u32>)> {
        let told = self.checkpoints.len();
        let rest = self.ask.budgets.get(told..).filter(|rest| !rest.is_empty())?;
        match &self.nodes {
            Some(nodes) => {
                let node = &nodes[self.node_of(told)];
                Some((node.cut, rest[..node.multiplicity.min(rest.len())].to_vec()))
            }
            None => Some((rest[0] as usize, vec![rest[0]])),
        }
    }

    fn count_agreement(&mut self, elected: &Elected) {
        let Some(stop) = self.ask.stop else { return };
        let is_same = self
            .checkpoints
            .last()
            .is_some_and(|last| match (&elected.answer, &last.answer) {
                (Some(now), Some(before)) => are_equal(now, before),
                // Without answers, texts are compared as they stand.
                (None, None) => elected.content.trim() == last.content.trim(),
                _ => false,
            });
        let agrees = elected.agreement >= stop.agreement;
        self.agreeing = match (agrees, is_same) {
            (false, _) => 0,
            (true, true) => self.agreeing + 1,
            (true, false) => 1,
        };
    }

    async fn conclude(&mut self) -> Result<(), Stop> {
        self.ticket.is_over();
        if self.finish.is_none() {
            // It was stopped while it thought.
            self.finish_reasoning().await?;
        }
        let Some(last) = self.checkpoints.last() else {
            return Err(ApiError::fault("the request ended without an answer").into());
        };
        let content = last.content.clone();
        let rest = match &mut self.live {
            Some(live) => live.finish(),
            None => content.clone(),
        };
        self.tell_content(rest).await?;
        let why = match self.finish {
            _ if self.has_agreed => WhyEnded::Agreement,
            Some(FinishReason::EndMarker) => WhyEnded::EndMarker,
            Some(FinishReason::Eos) => WhyEnded::EndOfSequence,
            _ => WhyEnded::Budget,
        };
        self.record.thinking = self.thinking.as_slice().into();
        let before = self.ask.continues.as_deref();
        self.ticket
            .dispatcher()
            .remember(&self.name, self.record.clone(), before);
        let ended = Ended {
            reasoning: std::mem::take(&mut self.reasoning),
            content,
            checkpoints: std::mem::take(&mut self.checkpoints),
            why,
            thinking_tokens: self.thinking.len(),
            usage: self.usage,
        };
        self.tell(Update::Ended(Box::new(ended))).await
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
