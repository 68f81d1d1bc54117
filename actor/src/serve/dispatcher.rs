//! Between requests and the engine: who is let in, which events are whose, and which traces may go on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anytime_proto::v1;
use anytime_service::metric_names::SERVE_IN_FLIGHT;
use metrics::gauge;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::settings::Served;
use crate::engine::{Command, EngineHandle, Event, GroupRequest};

/// The most traces that are remembered by name. The engine keeps no more than its cache has room for.
const MOST_TRACES: usize = 1024;

/// What it takes to go on from a trace, beside what the engine keeps.
#[derive(Clone, Debug)]
pub(crate) struct TraceRecord {
    /// The number by which the engine knows it.
    pub(crate) number: u64,
    pub(crate) prompt: Arc<[u32]>,
    pub(crate) thinking: Arc<[u32]>,
    pub(crate) seed: u64,
    pub(crate) sampling: v1::Sampling,
    pub(crate) is_deterministic: bool,
}

/// The traces by the answers that named them, in the order of their last use.
#[derive(Default)]
struct Traces {
    records: BTreeMap<String, TraceRecord>,
    order: VecDeque<String>,
}

/// What all requests share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Dispatcher(Arc<Inner>);

struct Inner {
    engine: EngineHandle,
    served: Arc<Served>,
    in_flight: AtomicUsize,
    next_number: AtomicU64,
    routes: Mutex<BTreeMap<u64, mpsc::UnboundedSender<Event>>>,
    traces: Mutex<Traces>,
    /// Ends what is under way.
    end: CancellationToken,
}

/// A request that is let in. Dropped, it makes room for another, and the engine forgets it unless it is over.
pub(crate) struct Ticket {
    dispatcher: Dispatcher,
    /// The engine's number, once it was asked.
    number: Option<u64>,
    is_over: bool,
}

impl Dispatcher {
    /// Hands the engine's events to the requests that they are of, until the engine ends.
    pub(crate) fn start(
        engine: EngineHandle,
        served: Arc<Served>,
        mut events: mpsc::UnboundedReceiver<Event>,
        end: CancellationToken,
    ) -> Self {
        gauge!(SERVE_IN_FLIGHT).set(0.0);
        let dispatcher = Self(Arc::new(Inner {
            engine,
            served,
            in_flight: AtomicUsize::new(0),
            next_number: AtomicU64::new(1),
            routes: Mutex::default(),
            traces: Mutex::default(),
            end,
        }));
        let routing = dispatcher.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                routing.route(event);
            }
            // Whoever waits for an event learns that none comes.
            locked(&routing.0.routes).clear();
            routing.0.end.cancel();
        });
        dispatcher
    }

    pub(crate) fn served(&self) -> &Arc<Served> {
        &self.0.served
    }

    /// Cancelled when requests under way must end.
    pub(crate) fn end(&self) -> &CancellationToken {
        &self.0.end
    }

    /// How many requests are under way or wait.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Acquire)
    }

    /// How many slots of the cache they have.
    pub(crate) fn slots_used(&self) -> usize {
        self.0.engine.load().slots_used()
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// Where there are as many as may be.
    pub(crate) fn enter(&self) -> Result<Ticket, ApiError> {
        let most = self.0.served.limits.requests;
        let before = self.0.in_flight.fetch_add(1, Ordering::AcqRel);
        if before >= most {
            self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
            // A round of the engine's rows takes a second or many; nobody knows which.
            let rounds = before / self.0.engine.load().slots().max(1);
            return Err(ApiError::full(before, 1 + rounds as u64));
        }
        gauge!(SERVE_IN_FLIGHT).set((before + 1) as f64);
        Ok(Ticket {
            dispatcher: self.clone(),
            number: None,
            is_over: false,
        })
    }

    /// The trace that an answer named.
    pub(crate) fn trace(&self, name: &str) -> Option<TraceRecord> {
        locked(&self.0.traces).records.get(name).cloned()
    }

    /// Remembers a trace by the answer that names it. The trace that it went on from goes by no other name any more.
    pub(crate) fn remember(&self, name: &str, record: TraceRecord, before: Option<&str>) {
        let mut traces = locked(&self.0.traces);
        if let Some(before) = before {
            traces.records.remove(before);
            traces.order.retain(|other| other != before);
        }
        traces.records.insert(name.to_owned(), record);
        traces.order.push_back(name.to_owned());
        while traces.order.len() > MOST_TRACES {
            if let Some(oldest) = traces.order.pop_front() {
                traces.records.remove(&oldest);
            }
        }
    }

    fn route(&self, event: Event) {
        let group = match &event {
            Event::TraceFinished { group, .. }
            | Event::NodeFinished { group, .. }
            | Event::GroupFinished { group }
            | Event::GroupFailed { group, .. } => *group,
            Event::Served(event) => event.group(),
        };
        if let Some(route) = locked(&self.0.routes).get(&group) {
            // Nobody listens where the client has gone.
            let _ = route.send(event);
        }
    }
}

impl Ticket {
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Asks the engine, and gives the events of the request. `request` is made with its number.
    pub(crate) fn ask(&mut self, request: impl FnOnce(u64) -> GroupRequest) -> (u64, mpsc::UnboundedReceiver<Event>) {
        let inner = &self.dispatcher.0;
        let number = inner.next_number.fetch_add(1, Ordering::AcqRel);
        let (sender, events) = mpsc::unbounded_channel();
        locked(&inner.routes).insert(number, sender);
        self.number = Some(number);
        inner.engine.send(Command::AddGroup(request(number)));
        (number, events)
    }

    /// Ends the thinking where it is.
    pub(crate) fn stop(&self) {
        if let Some(number) = self.number {
            self.dispatcher.0.engine.send(Command::StopGroup(number));
        }
    }

    /// Gives up one of several traces (from 0).
    pub(crate) fn prune(&self, trace: usize) {
        if let Some(number) = self.number {
            self.dispatcher.0.engine.send(Command::PruneTrace(number, trace));
        }
    }

    /// The engine has nothing of the request any more.
    pub(crate) fn close(&mut self) {
        self.is_over = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let inner = &self.dispatcher.0;
        if let Some(number) = self.number {
            locked(&inner.routes).remove(&number);
            if !self.is_over {
                inner.engine.send(Command::CancelGroup(number));
            }
        }
        let before = inner.in_flight.fetch_sub(1, Ordering::AcqRel);
        gauge!(SERVE_IN_FLIGHT).set(before.saturating_sub(1) as f64);
    }
}

/// What is behind a lock stays whole whoever panics with it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
