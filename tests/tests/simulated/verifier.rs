//! The verifier. Its service answers as the real one does; verdicts are made up.

use anytime_proto::v1::verifier_service_server::{VerifierService, VerifierServiceServer};
use anytime_proto::v1::{Verdict, VerdictKind, VerifyRequest, VerifyResponse};
use anytime_service::security::ServerSecurity;
use anytime_service::server::router;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::simulated::network::connections;

pub(crate) const PORT: u16 = 7200;

struct Verifier;

#[tonic::async_trait]
impl VerifierService for Verifier {
    type VerifyStreamStream = ReceiverStream<Result<VerifyResponse, Status>>;

    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let items = request.into_inner().items;
        // Whether an answer is right does not matter here, and it differs from group to group.
        let verdicts = items.iter().enumerate().map(|(place, _)| Verdict {
            kind: if place % 2 == 0 {
                VerdictKind::Correct
            } else {
                VerdictKind::Wrong
            }
            .into(),
            ..Verdict::default()
        });
        Ok(Response::new(VerifyResponse {
            verdicts: verdicts.collect(),
            process: None,
        }))
    }

    async fn verify_stream(
        &self,
        _: Request<Streaming<VerifyRequest>>,
    ) -> Result<Response<Self::VerifyStreamStream>, Status> {
        Err(Status::unimplemented("actors send single batches"))
    }
}

pub(crate) async fn serve() -> turmoil::Result {
    let (router, _health) = router(&ServerSecurity::default(), CancellationToken::new())?;
    let router = router.add_service(VerifierServiceServer::new(Verifier));
    router.serve_with_incoming(connections(PORT).await?).await?;
    Ok(())
}
