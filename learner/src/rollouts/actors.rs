//! Which actors are connected. An actor follows the weights over one long stream. Where that stream ends and no other
//! begins, its process is gone, and its leases can be given to others before their time runs out.

#![deny(clippy::disallowed_methods)]

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anytime_proto::ActorId;

use crate::lock::lock;

/// How long an actor may be away before it counts as gone. An actor that lives makes a broken connection again sooner.
pub const GRACE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Streams {
    open: u32,
    gone_since: Option<Instant>,
}

/// Counts the open streams of every actor. The service of weights tells it of streams that begin and end.
#[derive(Default)]
pub struct Actors {
    actors: Mutex<HashMap<ActorId, Streams>>,
}

impl Actors {
    /// A stream of that actor has begun.
    pub fn arrived(&self, actor: &ActorId) {
        let mut actors = lock(&self.actors);
        let streams = actors.entry(actor.clone()).or_default();
        streams.open += 1;
        streams.gone_since = None;
    }

    /// A stream of that actor has ended.
    pub fn left(&self, actor: &ActorId, now: Instant) {
        let mut actors = lock(&self.actors);
        let Some(streams) = actors.get_mut(actor) else {
            return;
        };
        streams.open = streams.open.saturating_sub(1);
        if streams.open == 0 {
            streams.gone_since = Some(now);
        }
    }

    /// Actors that have been away for longer than [`GRACE`]; each is named once.
    pub fn gone(&self, now: Instant) -> Vec<ActorId> {
        let mut actors = lock(&self.actors);
        let is_gone = |streams: &Streams| {
            streams
                .gone_since
                .is_some_and(|since| now.duration_since(since) >= GRACE)
        };
        let gone: Vec<ActorId> = actors
            .iter()
            .filter(|(_, streams)| is_gone(streams))
            .map(|(actor, _)| actor.clone())
            .collect();
        for actor in &gone {
            actors.remove(actor);
        }
        gone
    }
}
