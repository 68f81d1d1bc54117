//! The gRPC service: checks a request, has it graded and counts it.

use std::sync::Arc;

use anytime_proto::v1::verifier_service_server::VerifierService;
use anytime_proto::v1::{VerifyRequest, VerifyResponse};
use anytime_proto::{Refusal, invalid_setting_status};
use anytime_service::program;
use anytime_service::traces::Span;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::debug;

use crate::batch::{GradingPool, Place};
use crate::cache::VerdictCache;
use crate::deadline::{call_time, work_time};
use crate::limits::ServerLimits;
use crate::meters::{Counted, Meters};
use crate::options::Options;
use crate::request::check_request;
use crate::stream::answer_stream;

/// Answers `anytime.v1.VerifierService`. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Verifier {
    pool: GradingPool,
    cache: Arc<VerdictCache>,
    meters: Arc<Meters>,
    limits: ServerLimits,
    /// Its cancellation ends the streams.
    shutdown: CancellationToken,
}

impl Verifier {
    /// A service that grades on this pool.
    pub(crate) fn new(
        pool: GradingPool,
        cache: Arc<VerdictCache>,
        meters: Arc<Meters>,
        limits: ServerLimits,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            pool,
            cache,
            meters,
            limits,
            shutdown,
        }
    }

    /// Grades a checked request that has its place in the queue.
    async fn answer(
        &self,
        request: VerifyRequest,
        options: Options,
        place: Place,
        started: Instant,
        deadline: Instant,
    ) -> VerifyResponse {
        let verdicts = self.pool.grade_batch(request.items, options, place, deadline).await;
        let time = started.elapsed();
        self.meters.record_batch(&verdicts, time);
        self.cache.show_size();
        debug!(items = verdicts.len(), seconds = time.as_secs_f64(), "batch graded");
        VerifyResponse {
            verdicts,
            process: Some(program::report()),
        }
    }

    /// Grades a checked request of a stream as soon as there is room for it.
    async fn answer_when_admitted(
        self,
        request: VerifyRequest,
        options: Options,
        stream_end: Option<Instant>,
    ) -> VerifyResponse {
        let started = Instant::now();
        let batch_end = started + self.limits.batch_time;
        let deadline = stream_end.map_or(batch_end, |stream_end| stream_end.min(batch_end));
        let place = self.pool.admit(deadline).await;
        self.answer(request, options, place, started, deadline).await
    }
}

#[tonic::async_trait]
impl VerifierService for Verifier {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let started = Instant::now();
        let deadline = started + work_time(request.metadata(), self.limits.batch_time);
        let mut span = Span::serve("judge", request.metadata());
        let request = request.into_inner();
        span.number("items", request.items.len() as u64);
        let options = check_request(&request).map_err(|error| invalid_setting_status(&error))?;
        let Some(place) = self.pool.try_admit() else {
            self.meters.refused.increment(1);
            let most = self.limits.waiting_batches;
            let message = format!("{most} batches wait for a thread already; send this one again later");
            return Err(Refusal::of_crowd(message).into_status());
        };
        let response = self.answer(request, options, place, started, deadline).await;
        Ok(Response::new(response))
    }

    type VerifyStreamStream = BoxStream<'static, Result<VerifyResponse, Status>>;

    async fn verify_stream(
        &self,
        requests: Request<Streaming<VerifyRequest>>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        let stream_end = call_time(requests.metadata()).map(|time| Instant::now() + time);
        let counted = Counted::new(&self.meters.streams);
        let verifier = self.clone();
        let answer = move |request, options| {
            // The stream counts as open until the last of these is gone.
            let _ = &counted;
            verifier.clone().answer_when_admitted(request, options, stream_end)
        };
        let at_a_time = self.limits.stream_batches.get();
        let responses = answer_stream(requests.into_inner(), self.shutdown.clone(), at_a_time, answer);
        Ok(Response::new(responses.boxed()))
    }
}
