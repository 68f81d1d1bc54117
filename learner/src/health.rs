//! What health checks are told: a learner without its Redis takes no groups, and one that drains takes nothing.

use std::sync::Arc;

use anytime_proto::v1::{diagnosis_service_server, job_service_server, rollout_service_server, weights_service_server};
use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::queue::redis::RedisConnection;

/// The process as a whole.
const PROCESS: &str = "";

/// The services that need Redis. Jobs can be listed and weights fetched without it.
const WITH_REDIS: [&str; 2] = [PROCESS, rollout_service_server::SERVICE_NAME];

const ALL: [&str; 5] = [
    PROCESS,
    rollout_service_server::SERVICE_NAME,
    job_service_server::SERVICE_NAME,
    diagnosis_service_server::SERVICE_NAME,
    weights_service_server::SERVICE_NAME,
];

/// Keeps the answers right until the token is cancelled; from then on nothing serves.
pub(crate) async fn show(health: HealthReporter, redis: Arc<RedisConnection>, shutdown: CancellationToken) {
    set(&health, &ALL, ServingStatus::Serving).await;
    let follow = async {
        loop {
            redis.wait_until_down().await;
            set(&health, &WITH_REDIS, ServingStatus::NotServing).await;
            redis.wait_until_up().await;
            set(&health, &WITH_REDIS, ServingStatus::Serving).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow => {}
    }
    set(&health, &ALL, ServingStatus::NotServing).await;
}

/// Ends the streams of those who watch, because an open stream would hold up the end.
pub(crate) async fn end(mut health: HealthReporter) {
    for service in ALL {
        health.clear_service_status(service).await;
    }
}

async fn set(health: &HealthReporter, services: &[&str], status: ServingStatus) {
    for service in services {
        health.set_service_status(service, status).await;
    }
}
