//! The gRPC face: checks a request, has it graded, counts.

use std::time::Duration;

use anytime_proto::settings::InvalidSetting;
use anytime_proto::v1::verifier_service_server::VerifierService;
use anytime_proto::v1::{Extraction, Verdict, VerifyItem, VerifyRequest, VerifyResponse};
use anytime_proto::{ShortName, invalid_setting_status};
use anytime_service::metric_names::{VERIFIER_BATCH_SECONDS, VERIFIER_ITEMS, VERIFIER_VERDICTS};
use metrics::{counter, histogram};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::debug;

use crate::batch::GradingPool;
use crate::deadline::work_time;
use crate::grade::grade;
use crate::limits::{MAX_ANSWER_CHARS, MAX_BATCH_ITEMS, MAX_GROUND_TRUTHS};
use crate::options::Options;

/// Answers `anytime.v1.VerifierService`.
#[derive(Debug)]
pub(crate) struct Verifier {
    pool: GradingPool,
    batch_time: Duration,
}

impl Verifier {
    /// A service that grades on this pool and spends no longer than this on a batch.
    pub(crate) fn new(pool: GradingPool, batch_time: Duration) -> Self {
        Self { pool, batch_time }
    }
}

#[tonic::async_trait]
impl VerifierService for Verifier {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let started = Instant::now();
        let deadline = started + work_time(request.metadata(), self.batch_time);
        let VerifyRequest { items, extraction, .. } = request.into_inner();
        let extraction = check_request(&items, extraction).map_err(|error| invalid_setting_status(&error))?;
        let options = Options {
            extraction,
            ..Options::default()
        };

        let verdicts = self.pool.grade_batch(items, options, deadline).await;

        let seconds = started.elapsed().as_secs_f64();
        histogram!(VERIFIER_BATCH_SECONDS).record(seconds);
        count(&verdicts);
        debug!(items = verdicts.len(), seconds, "batch graded");
        Ok(Response::new(VerifyResponse { verdicts }))
    }
}

/// Grades one item of a request.
pub(crate) fn grade_item(item: &VerifyItem, options: &Options) -> Verdict {
    grade(&item.response, &item.ground_truths, options)
}

/// Refuses what cannot be graded whatever the responses are: an item without a usable list of ground truths would
/// otherwise come back as a wrong answer.
fn check_request(items: &[VerifyItem], extraction: i32) -> Result<Extraction, InvalidSetting> {
    let Ok(extraction) = Extraction::try_from(extraction) else {
        return Err(InvalidSetting::new("extraction", extraction, "EXTRACTION_ANYTIME"));
    };
    if items.len() > MAX_BATCH_ITEMS {
        let allowed = format!("at most {MAX_BATCH_ITEMS} items");
        return Err(InvalidSetting::new("items", items.len(), allowed));
    }
    for (index, item) in items.iter().enumerate() {
        if item.ground_truths.is_empty() {
            let field = format!("items[{index}].ground_truths");
            return Err(InvalidSetting::new(&field, &item.ground_truths, "at least one"));
        }
        if item.ground_truths.len() > MAX_GROUND_TRUTHS {
            let field = format!("items[{index}].ground_truths");
            let allowed = format!("at most {MAX_GROUND_TRUTHS} entries");
            return Err(InvalidSetting::new(&field, item.ground_truths.len(), allowed));
        }
        for (truth_index, ground_truth) in item.ground_truths.iter().enumerate() {
            if ground_truth.chars().nth(MAX_ANSWER_CHARS).is_some() {
                let field = format!("items[{index}].ground_truths[{truth_index}]");
                let allowed = format!("at most {MAX_ANSWER_CHARS} characters");
                return Err(InvalidSetting::new(&field, ground_truth.len(), allowed));
            }
        }
    }
    Ok(extraction)
}

fn count(verdicts: &[Verdict]) {
    counter!(VERIFIER_ITEMS).increment(verdicts.len() as u64);
    for verdict in verdicts {
        counter!(VERIFIER_VERDICTS, "kind" => verdict.kind().short_name()).increment(1);
    }
}
