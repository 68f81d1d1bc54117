//! One request, from what the engine says about it to what its client is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use anytime_proto::v1::FinishReason;
use tokio::sync::mpsc;

use super::answer::{Checkpoint, Ended, Update, Usage, Versions, WhyEnded};
use super::branches;
use super::dispatcher::{Ticket, TraceRecord};
use super::error::ApiError;
use super::line::{Line, Stop};
use super::orders::Order;
use super::polling::{Chosen, poll};
use super::request::Ask;
use super::summary::SummaryText;
use super::text::{Guard, TextStream};
use super::vote::are_equal;
use crate::engine::{Event, ServedEvent};
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
        let mut line = Line::open(ticket, &order, ask.continues.clone(), sender.clone());
        let outcome = if ask.branches > 1 {
            branches::run(&mut line, &ask, order.record.prompt.len()).await
        } else {
            Session::new(line, ask, order.record, name).run().await
        };
        if let Err(Stop::Failed(error)) = outcome {
            // Where the client is gone nobody is told.
            let _ = sender.send(Update::Failed(error)).await;
        }
    });
    updates
}

/// One trace, with an answer at each of its budgets.
struct Session {
    line: Line,
    ask: Ask,
    name: String,
    record: TraceRecord,
    text: TextStream,
    guard: Guard,
    reasoning: String,
    /// All tokens of the thinking.
    thinking: Vec<u32>,
    finish: Option<FinishReason>,
    /// The nodes, once the thinking has ended; before, each budget has one.
    nodes: Option<Vec<NodePlan>>,
    elected: BTreeMap<usize, Chosen>,
    checkpoints: Vec<Checkpoint>,
    /// How many of the last cuts agreed on one answer.
    agreeing: usize,
    has_agreed: bool,
    /// The one summary of the last cut, told while it comes: of requests that are told of no budgets.
    live: Option<SummaryText>,
    usage: Usage,
    versions: Option<Versions>,
}

impl Session {
    fn new(line: Line, ask: Ask, mut record: TraceRecord, name: String) -> Self {
        let served = Arc::clone(&line.served);
        record.number = line.number;
        let before = &record.thinking[record.thinking.len().saturating_sub(CONTEXT)..];
        let text = TextStream::behind(Arc::clone(&served.tokenizer), before);
        let is_live = ask.streams && !ask.is_anytime && ask.summaries == 1;
        let live = is_live.then(|| SummaryText::new(&served, &ask.stops));
        Self {
            text,
            guard: Guard::new(vec![served.end_text.clone()]),
            thinking: record.thinking.to_vec(),
            usage: Usage {
                prompt: record.prompt.len() + record.thinking.len(),
                ..Usage::default()
            },
            line,
            ask,
            name,
            record,
            reasoning: String::new(),
            finish: None,
            nodes: None,
            elected: BTreeMap::new(),
            checkpoints: Vec::new(),
            agreeing: 0,
            has_agreed: false,
            live,
            versions: None,
        }
    }

    async fn run(&mut self) -> Result<(), Stop> {
        loop {
            let event = self.line.next().await?;
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
                let elected = poll(&self.line.served, &self.ask.stops, summaries).await?;
                self.elected.insert(node, elected);
                self.tell_checkpoints().await?;
            }
            Event::GroupFinished { .. } => {
                self.conclude().await?;
                return Ok(true);
            }
            Event::GroupFailed { .. } => {}
        }
        Ok(false)
    }

    async fn take_served(&mut self, event: ServedEvent) -> Result<(), Stop> {
        match event {
            ServedEvent::Started { cached, computed, .. } => {
                (self.usage.cached, self.usage.computed) = (cached, computed);
                self.line.tell(Update::Started).await
            }
            ServedEvent::Drawn {
                summary: None,
                id,
                version,
                ..
            } => {
                self.versions = Versions::and(self.versions, version);
                self.thinking.push(id);
                self.usage.reasoning += 1;
                if self.line.ends_sequence(id) {
                    return Ok(());
                }
                let text = self.text.push(id);
                let certain = self.guard.push(&text);
                self.tell_reasoning(certain).await
            }
            ServedEvent::Drawn {
                summary: Some((node, _)),
                id,
                version,
                ..
            } => {
                self.versions = Versions::and(self.versions, version);
                self.usage.summaries += 1;
                let is_last = self.nodes.as_ref().is_some_and(|nodes| node + 1 == nodes.len());
                let is_end = self.line.ends_sequence(id);
                match &mut self.live {
                    Some(live) if is_last && !is_end => {
                        let text = live.push(id);
                        self.tell_content(text).await
                    }
                    _ => Ok(()),
                }
            }
            ServedEvent::NotContinued { .. } => Ok(()),
        }
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
        self.line.tell(Update::Reasoning(text)).await
    }

    async fn tell_content(&self, text: String) -> Result<(), Stop> {
        if text.is_empty() {
            return Ok(());
        }
        self.line.tell(Update::Content(text)).await
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
                    self.line.tell(Update::Checkpoint(checkpoint)).await?;
                }
            }
            let is_enough = self.ask.stop.is_some_and(|stop| self.agreeing >= stop.rounds);
            if is_enough && self.checkpoints.len() < self.ask.budgets.len() {
                self.has_agreed = true;
                self.line.ticket.stop();
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

    fn count_agreement(&mut self, elected: &Chosen) {
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
        self.line.ticket.close();
        if self.finish.is_none() {
            // It was stopped while it thought.
            self.finish_reasoning().await?;
        }
        let Some(last) = self.checkpoints.last() else {
            return Err(ApiError::without_answer().into());
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
        self.line
            .ticket
            .dispatcher()
            .remember(&self.name, self.record.clone(), before);
        let ended = Ended {
            reasoning: std::mem::take(&mut self.reasoning),
            content,
            checkpoints: std::mem::take(&mut self.checkpoints),
            why,
            thinking_tokens: self.thinking.len(),
            ended_branches: None,
            pruned_branches: None,
            unscored_looks: None,
            usage: self.usage,
            versions: self.versions,
        };
        self.line.tell(Update::Ended(Box::new(ended))).await
    }
}
