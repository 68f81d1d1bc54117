//! Hands the outcomes of leases to the learner. A push may be repeated, because the learner knows groups by their id;
//! so whatever may have been lost is sent again.

use std::time::Duration;

use anytime_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::push_request::Outcome;
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::{AbandonReason, AbandonedGroup, PushRequest, PushStatus, ScoredGroup};
use anytime_proto::{ActorId, GroupId, JobId};
use anytime_service::channel::Backoff;
use anytime_service::metric_names::ACTOR_GROUPS;
use anytime_service::peer::with_deadline;
use anytime_service::shutdown::sleep_unless_cancelled;
use metrics::counter;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tracing::{debug, info, warn};

/// How often giving a lease back is tried. After that the lease runs out by itself.
const ABANDON_TRIES: usize = 5;

/// Deadline of each last call once the process drains.
const DRAIN_CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A lease that is given back without a group.
#[derive(Clone, Debug)]
pub(crate) struct Abandoned {
    pub(crate) job_id: JobId,
    pub(crate) group_id: GroupId,
    pub(crate) reason: AbandonReason,
    pub(crate) detail: String,
}

/// Pushes outcomes to the learner. Cheap to clone; every outcome is pushed by a task of its own.
#[derive(Clone)]
pub(crate) struct Pusher {
    client: RolloutServiceClient<Channel>,
    actor_id: ActorId,
    shutdown: CancellationToken,
}

impl Pusher {
    pub(crate) fn new(channel: Channel, actor_id: ActorId, shutdown: CancellationToken) -> Self {
        let client = RolloutServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self {
            client,
            actor_id,
            shutdown,
        }
    }

    /// Pushes a group until the learner has decided about it. While the process drains there is one more try; after it
    /// the lease is given back.
    pub(crate) async fn push(mut self, group: ScoredGroup) {
        let job_id = JobId(group.job_id.clone());
        let group_id = GroupId(group.group_id.clone());
        let request = PushRequest {
            outcome: Some(Outcome::Group(group)),
        };
        let mut backoff = Backoff::default();
        let mut is_reported = false;
        loop {
            let is_last = self.shutdown.is_cancelled();
            let problem = match self.call(request.clone()).await {
                Ok(PushStatus::Accepted) => return conclude("pushed", &job_id, &group_id),
                Ok(PushStatus::Duplicate) => return conclude("duplicate", &job_id, &group_id),
                Ok(PushStatus::Unwanted) => return conclude("unwanted", &job_id, &group_id),
                Ok(PushStatus::QueueFull | PushStatus::Unspecified) => "the queue is full".to_owned(),
                Err(status) if is_final(&status) => {
                    warn!(%job_id, %group_id, code = ?status.code(), message = status.message(), "group refused");
                    return conclude("unwanted", &job_id, &group_id);
                }
                Err(status) => status.message().to_owned(),
            };
            if is_last {
                let (reason, detail) = (AbandonReason::Shutdown, problem);
                return self
                    .abandon(Abandoned {
                        job_id,
                        group_id,
                        reason,
                        detail,
                    })
                    .await;
            }
            if !is_reported {
                is_reported = true;
                info!(%job_id, %group_id, problem, "group kept, pushing again");
            }
            sleep_unless_cancelled(backoff.pause(), &self.shutdown).await;
        }
    }

    /// Gives a lease back.
    pub(crate) async fn abandon(mut self, abandoned: Abandoned) {
        let Abandoned {
            job_id,
            group_id,
            reason,
            detail,
        } = abandoned;
        info!(%job_id, %group_id, ?reason, detail, "lease given back");
        counter!(ACTOR_GROUPS, "outcome" => "abandoned").increment(1);
        let message = AbandonedGroup {
            job_id: job_id.0,
            group_id: group_id.0,
            actor_id: self.actor_id.0.clone(),
            reason: reason.into(),
            detail,
        };
        let request = PushRequest {
            outcome: Some(Outcome::Abandoned(message)),
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

/// Whether the learner has understood and refused, so that sending it again would change nothing.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::OutOfRange | Code::Unimplemented
    )
}
