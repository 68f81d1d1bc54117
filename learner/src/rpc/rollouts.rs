//! `RolloutService`, which actors call.

use std::sync::Arc;
use std::time::Duration;

use anytime_proto::codec::check_decoded_bytes;
use anytime_proto::limits::{MAX_LEASE_WAIT, MAX_REPORT_BYTES};
use anytime_proto::v1::rollout_service_server::RolloutService;
use anytime_proto::{GroupId, v1};
use anytime_service::clock;
use anytime_service::security::caller_of;
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::forged::{Named, TokenGate};
use super::status;
use super::who::holder;
use crate::rollouts::broker::{LeaseAsk, RolloutBroker};
use crate::rollouts::lease_token::LeaseTokens;

/// At most this many leases are given by one answer.
const MOST_LEASES: u32 = 256;

/// `RolloutService` over the broker: actors lease groups and push or give back what they leased.
pub struct RolloutsRpc {
    broker: Arc<RolloutBroker>,
    tokens: TokenGate,
}

impl RolloutsRpc {
    /// The service over a broker.
    pub fn new(broker: Arc<RolloutBroker>, tokens: LeaseTokens) -> Self {
        Self {
            broker,
            tokens: TokenGate::new(tokens),
        }
    }
}

#[tonic::async_trait]
impl RolloutService for RolloutsRpc {
    async fn lease(&self, request: Request<v1::LeaseRequest>) -> Result<Response<v1::LeaseResponse>, Status> {
        let request = request.into_inner();
        let holder = holder(request.actor_id, request.incarnation)?;
        let says_what_it_has = !holder.incarnation.is_empty();
        if request.max_groups == 0 && !says_what_it_has {
            return Err(status::bad_argument("max_groups", "max_groups is 0"));
        }
        let wait = Duration::from_millis(u64::from(request.wait_ms)).min(MAX_LEASE_WAIT);
        let ask = LeaseAsk {
            holder,
            number: request.number,
            held: says_what_it_has.then(|| request.held_group_ids.into_iter().map(GroupId).collect()),
            count: request.max_groups.min(MOST_LEASES) as usize,
            deadline: clock::now() + wait,
            report: request.report.filter(is_kept),
        };
        let response = self.broker.lease(&ask).await;
        let mut response = response.map_err(|error| status::lease(&error))?;
        for lease in &mut response.leases {
            lease.token = self
                .tokens
                .tokens
                .token(&lease.job_id, &lease.group_id, ask.holder.actor.as_str());
        }
        Ok(Response::new(response))
    }

    async fn push(&self, request: Request<v1::PushRequest>) -> Result<Response<v1::PushResponse>, Status> {
        let caller = caller_of(&request);
        let request = request.into_inner();
        let shown = request.lease_token.as_slice();
        let status = match request.outcome {
            Some(v1::push_request::Outcome::Group(wire)) => {
                let names = v1::GroupNames::decode(wire.clone()).map_err(|error| status::unreadable_group(&error))?;
                let named = Named {
                    job_id: &names.job_id,
                    group_id: &names.group_id,
                    actor_id: &names.actor_id,
                };
                self.tokens.check(shown, &named, &caller)?;
                check_decoded_bytes::<v1::ScoredGroup>(&wire)?;
                let pushed = self.broker.push(&names, wire).await;
                pushed.map_err(|error| status::push(&error))?
            }
            Some(v1::push_request::Outcome::Abandoned(abandoned)) => {
                let named = Named {
                    job_id: &abandoned.job_id,
                    group_id: &abandoned.group_id,
                    actor_id: &abandoned.actor_id,
                };
                self.tokens.check(shown, &named, &caller)?;
                self.broker.abandon(&abandoned)
            }
            None => return Err(status::bad_argument("outcome", "neither group nor abandoned is set")),
        };
        Ok(Response::new(v1::PushResponse { status: status.into() }))
    }
}

/// Whether a report is kept until somebody asks: one of every actor stays in memory, and goes into every diagnosis.
fn is_kept(report: &v1::ActorReport) -> bool {
    report.encoded_len() <= MAX_REPORT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_measure_is_not_kept() {
        let of_length = |length: usize| v1::ActorReport {
            weights_job_id: "a".repeat(length),
            ..v1::ActorReport::default()
        };
        assert!(is_kept(&v1::ActorReport::default()) && is_kept(&of_length(1000)));
        assert!(!is_kept(&of_length(MAX_REPORT_BYTES)));
    }
}
