//! Simulated actors: each leases, makes a group up, and pushes it, with the actor's own client code and a connection of
//! its own. They follow the announcements of weights, as actors do, and fetch none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anytime_actor::identity::Identity;
use anytime_actor::in_hand::InHand;
use anytime_actor::lease::Leaser;
use anytime_actor::push::Pusher;
use anytime_proto::limits::{CALL_TIMEOUT, MAX_LEASE_WAIT};
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_proto::{ActorId, v1};
use anytime_service::channel::Backoff;
use anytime_service::channel::PeerChannel;
use anytime_service::peer::with_deadline;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::groups::GroupMaker;
use super::stack::Stack;

/// A fleet at work, until it is dropped.
pub struct Fleet {
    tally: Arc<Tally>,
    shutdown: CancellationToken,
    actors: JoinSet<()>,
}

/// What the actors saw.
#[derive(Default)]
struct Tally {
    seen: Mutex<Seen>,
    /// How many more groups may be leased.
    quota: AtomicU64,
}

/// What the actors of a fleet saw since the last call of [`Fleet::take_seen`].
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Groups that were accepted.
    pub accepted: u64,
    /// Bytes of these groups.
    pub bytes: u64,
    /// Groups that were not accepted, whatever the reason.
    pub others: u64,
    /// Lease requests that brought nothing.
    pub without_lease: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Milliseconds of lease requests that brought a lease.
    pub lease_ms: Vec<f32>,
    /// Milliseconds from the first try of a push to the decision.
    pub push_ms: Vec<f32>,
}

impl Fleet {
    /// Starts `actors` actors, which may lease `quota` groups together.
    ///
    /// # Errors
    /// If the learner's address is not valid.
    pub fn start(stack: &Stack, actors: usize, maker: &Arc<GroupMaker>, quota: u64) -> anyhow::Result<Self> {
        let mut fleet = Self {
            tally: Arc::default(),
            shutdown: CancellationToken::new(),
            actors: JoinSet::new(),
        };
        fleet.allow(quota);
        for index in 0..actors {
            let actor = Actor {
                identity: Identity::new(ActorId(format!("fleet-{index:03}"))),
                channel: stack.channel()?,
                maker: Arc::clone(maker),
                tally: Arc::clone(&fleet.tally),
                shutdown: fleet.shutdown.clone(),
            };
            fleet.actors.spawn(actor.live(index));
        }
        Ok(fleet)
    }

    /// Lets the actors lease `groups` more groups.
    pub fn allow(&self, groups: u64) {
        self.tally.quota.fetch_add(groups, Ordering::AcqRel);
    }

    /// What was seen since the last call.
    pub fn take_seen(&self) -> Seen {
        std::mem::take(&mut self.tally.lock())
    }

    /// Ends all actors at once.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        self.actors.shutdown().await;
    }
}

impl Tally {
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to lease one group.
    fn take_quota(&self) -> bool {
        let less = |quota: u64| quota.checked_sub(1);
        self.quota
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_ok()
    }
}

struct Actor {
    identity: Identity,
    channel: PeerChannel,
    maker: Arc<GroupMaker>,
    tally: Arc<Tally>,
    shutdown: CancellationToken,
}

impl Actor {
    async fn live(self, index: usize) {
        let (sender, announced) = watch::channel(v1::WeightsAnnouncement::default());
        let following = follow(self.channel.clone(), self.identity.clone(), sender);
        tokio::select! {
            () = following => {}
            () = self.work(index, announced) => {}
        }
    }

    async fn work(&self, index: usize, mut announced: watch::Receiver<v1::WeightsAnnouncement>) {
        let in_hand = InHand::default();
        let mut leaser = Leaser::new(self.channel.clone(), self.identity.clone(), in_hand.clone());
        let pusher = Pusher::new(self.channel.clone(), self.identity.clone(), self.shutdown.clone());
        let mut backoff = Backoff::default();
        // Without weights a lease would only run out.
        let is_there = |announced: &v1::WeightsAnnouncement| !announced.job_id.is_empty();
        if announced.wait_for(is_there).await.is_err() {
            return;
        }
        let mut number = index;
        while !self.shutdown.is_cancelled() {
            if !self.tally.take_quota() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
            let asked = Instant::now();
            let response = leaser.ask(1, MAX_LEASE_WAIT).await;
            let lease_ms = milliseconds(asked);
            let Ok(response) = response else {
                self.tally.lock().errors += 1;
                self.tally.quota.fetch_add(1, Ordering::AcqRel);
                tokio::time::sleep(backoff.pause()).await;
                continue;
            };
            backoff.reset();
            let Some(lease) = response.leases.into_iter().next() else {
                self.tally.lock().without_lease += 1;
                self.tally.quota.fetch_add(1, Ordering::AcqRel);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            self.tally.lock().lease_ms.push(lease_ms);
            let weights = weights_for(&lease, &announced.borrow());
            let held = in_hand.hold(&anytime_proto::GroupId(lease.group_id.clone()), lease.token.clone());
            let group = self
                .maker
                .group(&lease, self.identity.actor_id.as_str(), &weights, number);
            number += 1;
            let bytes = group.wire.len() as u64;
            let started = Instant::now();
            let status = pusher.clone().push(group, held).await;
            let push_ms = milliseconds(started);
            let mut seen = self.tally.lock();
            if status == Some(v1::PushStatus::Accepted) {
                seen.accepted += 1;
                seen.bytes += bytes;
                seen.push_ms.push(push_ms);
            } else {
                seen.others += 1;
            }
        }
    }
}

/// The newest announced weights, where the lease takes them.
fn weights_for(lease: &v1::Lease, announced: &v1::WeightsAnnouncement) -> v1::UsedWeights {
    if announced.version >= lease.min_weights_version {
        return v1::UsedWeights {
            version: announced.version,
            manifest_checksum: announced.manifest_checksum.clone(),
        };
    }
    // Published, but the announcement is on its way.
    v1::UsedWeights {
        version: lease.min_weights_version,
        manifest_checksum: String::new(),
    }
}

/// Follows the announcements, as long as anybody wants them.
async fn follow(channel: PeerChannel, identity: Identity, sender: watch::Sender<v1::WeightsAnnouncement>) {
    let mut client = WeightsServiceClient::new(channel);
    let mut backoff = Backoff::default();
    loop {
        let request = v1::WatchWeightsRequest {
            actor_id: identity.actor_id.0.clone(),
            job_id: String::new(),
            incarnation: identity.incarnation.clone(),
            serves: false,
        };
        if let Ok(mut stream) = with_deadline(CALL_TIMEOUT, client.watch(request)).await {
            while let Ok(Some(announcement)) = stream.message().await {
                backoff.reset();
                sender.send_replace(announcement);
            }
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

fn milliseconds(since: Instant) -> f32 {
    since.elapsed().as_secs_f32() * 1000.0
}

/// The value below which this share of the values lies; 0 where there are none.
pub fn percentile(values: &mut [f32], share: f64) -> f64 {
    values.sort_by(f32::total_cmp);
    let index = (values.len() as f64 * share).ceil() as usize;
    values.get(index.saturating_sub(1)).copied().map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut values: Vec<f32> = (1..=100).rev().map(|value| value as f32).collect();
        assert_eq!(percentile(&mut values, 0.5), 50.0);
        assert_eq!(percentile(&mut values, 0.99), 99.0);
        assert_eq!(percentile(&mut values[..1], 0.99), 1.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }
}
