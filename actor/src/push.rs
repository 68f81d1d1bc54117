//! Hands the outcomes of leases to the learner. A push may be repeated, because the learner knows groups by their id;
//! so whatever may have been lost is sent again.

use std::time::Duration;

use anytime_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE_BYTES, MAX_PUSH_WAIT};
use anytime_proto::v1::push_request::Outcome;
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::{AbandonReason, AbandonedGroup, PushRequest, PushStatus, ScoredGroup};
use anytime_proto::{GroupId, JobId};
use anytime_service::channel::{Backoff, PeerChannel};
use anytime_service::clock;
use anytime_service::metric_names::ACTOR_GROUPS;
use anytime_service::peer::with_deadline;
use anytime_service::shutdown::sleep_unless_cancelled;
use bytes::Bytes;
use metrics::counter;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use crate::identity::Identity;
use crate::in_hand::Held;

/// How often giving a lease back is tried. After that the lease runs out by itself.
const ABANDON_TRIES: usize = 5;

/// Deadline of each last call once the process drains.
const DRAIN_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A lease that is given back without a group.
pub(crate) struct Abandoned {
    pub(crate) job_id: JobId,
    pub(crate) group_id: GroupId,
    pub(crate) reason: AbandonReason,
    pub(crate) detail: String,
    /// Tokens of the longest thinking so far.
    pub(crate) thinking_tokens: usize,
    /// The group stays in hand until the learner has answered.
    pub(crate) held: Held,
}

/// A scored group as it travels. It is encoded once, however often it is pushed.
#[derive(Clone, Debug)]
pub struct EncodedGroup {
    /// The job that it is of.
    pub job_id: JobId,
    /// Its id.
    pub group_id: GroupId,
    /// Tokens of its longest thinking.
    pub thinking_tokens: usize,
    /// The encoded [`ScoredGroup`].
    pub wire: Bytes,
}

impl From<&ScoredGroup> for EncodedGroup {
    fn from(group: &ScoredGroup) -> Self {
        let thinkings = group.traces.iter().filter_map(|trace| trace.thinking.as_ref());
        Self {
            job_id: JobId(group.job_id.clone()),
            group_id: GroupId(group.group_id.clone()),
            thinking_tokens: thinkings.map(|thinking| thinking.ids.len()).max().unwrap_or(0),
            wire: group.encode_to_vec().into(),
        }
    }
}

/// Pushes outcomes to the learner. Cheap to clone; every outcome is pushed by a task of its own.
#[derive(Clone)]
pub struct Pusher {
    client: RolloutServiceClient<PeerChannel>,
    identity: Identity,
    shutdown: CancellationToken,
}

impl Pusher {
    /// Pushes for the process `identity`.
    pub fn new(channel: PeerChannel, identity: Identity, shutdown: CancellationToken) -> Self {
        let client = RolloutServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            client,
            identity,
            shutdown,
        }
    }

    /// Pushes a group until the learner has decided about it, and returns what it decided. One that is refused for good
    /// is given back, so that the learner knows why it does not come. While the process drains there is one more try;
    /// after it the lease is given back. None where it was given back.
    pub async fn push(mut self, group: EncodedGroup, held: Held) -> Option<PushStatus> {
        let EncodedGroup {
            job_id,
            group_id,
            thinking_tokens,
            wire,
        } = group;
        let request = PushRequest {
            outcome: Some(Outcome::Group(wire)),
            lease_token: held.token(),
        };
        let mut backoff = Backoff::default();
        let mut is_reported = false;
        let (reason, detail) = loop {
            let is_last = self.shutdown.is_cancelled();
            let asked_at = clock::now();
            let problem = match self.send(request.clone()).await {
                Ok(PushStatus::QueueFull | PushStatus::Unspecified) => {
                    if has_waited(clock::now() - asked_at) {
                        backoff.reset();
                    }
                    "the queue is full".to_owned()
                }
                Ok(status) => {
                    let outcome = match status {
                        PushStatus::Duplicate => "duplicate",
                        PushStatus::Unwanted => "unwanted",
                        _ => "pushed",
                    };
                    conclude(outcome, &job_id, &group_id);
                    return Some(status);
                }
                Err(status) if is_final(&status) => {
                    warn!(%job_id, %group_id, code = ?status.code(), message = status.message(), "group refused");
                    conclude("refused", &job_id, &group_id);
                    break (AbandonReason::Refused, status.message().to_owned());
                }
                Err(status) => status.message().to_owned(),
            };
            if is_last {
                break (AbandonReason::Shutdown, problem);
            }
            if !is_reported {
                is_reported = true;
                info!(%job_id, %group_id, problem, "group kept, pushing again");
            }
            sleep_unless_cancelled(backoff.pause(), &self.shutdown).await;
        };
        self.abandon(Abandoned {
            job_id,
            group_id,
            reason,
            detail,
            thinking_tokens,
            held,
        })
        .await;
        None
    }

    /// Sends a group, unless it is larger than any message may be: the connection would refuse it with a code that does
    /// not say why, and again at every retry.
    async fn send(&mut self, request: PushRequest) -> Result<PushStatus, Status> {
        let bytes = request.encoded_len();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(Status::out_of_range(format!(
                "the group has {bytes} bytes; a message has at most {MAX_MESSAGE_BYTES}"
            )));
        }
        self.call(request).await
    }

    /// Gives a lease back.
    pub(crate) async fn abandon(mut self, abandoned: Abandoned) {
        let Abandoned {
            job_id,
            group_id,
            reason,
            detail,
            thinking_tokens,
            held,
        } = abandoned;
        info!(%job_id, %group_id, ?reason, detail, "lease given back");
        counter!(ACTOR_GROUPS, "outcome" => "abandoned").increment(1);
        let message = AbandonedGroup {
            job_id: job_id.0,
            group_id: group_id.0,
            actor_id: self.identity.actor_id.0.clone(),
            reason: reason.into(),
            detail,
            incarnation: self.identity.incarnation.clone(),
            thinking_tokens: thinking_tokens as u32,
        };
        let request = PushRequest {
            outcome: Some(Outcome::Abandoned(message)),
            lease_token: held.token(),
        };
        let mut backoff = Backoff::default();
        for _ in 0..ABANDON_TRIES {
            let is_last = self.shutdown.is_cancelled();
            match self.call(request.clone()).await {
                Ok(_) => return,
                Err(status) if is_last || is_final(&status) => return,
                Err(_) => sleep_unless_cancelled(backoff.pause(), &self.shutdown).await,
            };
        }
    }

    /// Makes one call. When the process drains, a call under way goes on, but with the drain's deadline.
    async fn call(&mut self, request: PushRequest) -> Result<PushStatus, Status> {
        let shutdown = self.shutdown.clone();
        let call = with_deadline(CALL_TIMEOUT, self.client.push(request));
        let drained = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN_CALL_TIMEOUT).await;
        };
        let response = tokio::select! {
            response = call => response?,
            () = drained => return Err(Status::deadline_exceeded("the actor drains")),
        };
        Ok(response.status())
    }
}

fn conclude(outcome: &'static str, job_id: &JobId, group_id: &GroupId) {
    debug!(%job_id, %group_id, outcome, "group concluded");
    counter!(ACTOR_GROUPS, "outcome" => outcome).increment(1);
}

/// Whether the learner itself has waited for room before it said that there is none. The group is then pushed again after
/// the shortest pause: the group may be the next that the trainer takes.
fn has_waited(took: Duration) -> bool {
    took >= MAX_PUSH_WAIT / 2
}

/// Whether the learner has understood and refused, so that sending it again would change nothing.
fn is_final(status: &Status) -> bool {
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::PermissionDenied => true,
        // Other servers and proxies say this of a message that is too large, and also where they are busy.
        Code::ResourceExhausted => ["larger", "too large", "size"]
            .iter()
            .any(|word| status.message().to_lowercase().contains(word)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use anytime_service::channel::lazy_channel;
    use anytime_service::security::CallSecurity;

    use super::*;

    #[test]
    fn what_is_too_large_is_refused_for_good_and_what_is_busy_is_not() {
        for (status, expected) in [
            (
                Status::resource_exhausted("Received message larger than max (70 vs. 64)"),
                true,
            ),
            (Status::resource_exhausted("message size exceeds the limit"), true),
            (Status::resource_exhausted("too many requests"), false),
            (Status::out_of_range("length too large"), true),
            (Status::invalid_argument("scored group: budgets"), true),
            (Status::unavailable("the learner is shutting down"), false),
            (Status::deadline_exceeded("no answer"), false),
        ] {
            assert_eq!(is_final(&status), expected, "{status:?}");
        }
    }

    #[test]
    fn a_learner_that_waited_for_room_is_told_from_one_that_answers_at_once() {
        assert!(has_waited(MAX_PUSH_WAIT));
        assert!(!has_waited(Duration::from_millis(20)));
    }

    #[tokio::test]
    async fn a_group_that_is_too_large_is_not_even_sent() {
        let channel = lazy_channel("learner", "http://127.0.0.1:1", &CallSecurity::default()).expect("an address");
        let identity = Identity::new(anytime_proto::ActorId("a".to_owned()));
        let mut pusher = Pusher::new(channel, identity, CancellationToken::new());
        let group = ScoredGroup {
            problem_id: "x".repeat(MAX_MESSAGE_BYTES),
            ..ScoredGroup::default()
        };
        let outcome = Some(Outcome::Group(group.encode_to_vec().into()));
        let status = pusher
            .send(PushRequest {
                outcome,
                lease_token: Vec::new(),
            })
            .await
            .expect_err("too large");
        assert!(
            is_final(&status) && status.message().contains("at most 67108864"),
            "{status:?}"
        );
    }
}
