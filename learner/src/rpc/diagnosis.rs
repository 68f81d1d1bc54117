//! `DiagnosisService`, which operators call.

use anytime_proto::v1::diagnosis_service_server::DiagnosisService;
use anytime_proto::{JobId, v1};
use tonic::{Request, Response, Status};

use super::status;
use crate::diagnosis::Diagnostician;

/// `DiagnosisService` over the diagnostician: it says how everything stands.
pub struct DiagnosisRpc {
    diagnostician: Diagnostician,
}

impl DiagnosisRpc {
    /// The service over a diagnostician.
    pub fn new(diagnostician: Diagnostician) -> Self {
        Self { diagnostician }
    }
}

#[tonic::async_trait]
impl DiagnosisService for DiagnosisRpc {
    async fn diagnose(&self, request: Request<v1::DiagnoseRequest>) -> Result<Response<v1::Diagnosis>, Status> {
        let job_id = Some(JobId(request.into_inner().job_id)).filter(|job_id| !job_id.as_str().is_empty());
        let diagnosis = self.diagnostician.diagnose(job_id.as_ref()).await;
        diagnosis
            .map(Response::new)
            .ok_or_else(|| status::unknown_job(&job_id.unwrap_or_else(|| JobId(String::new()))))
    }
}
