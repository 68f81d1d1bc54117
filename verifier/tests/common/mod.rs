//! A server in this process, and the requests that the tests send to it.
#![allow(dead_code, reason = "every test program uses its part of it")]
#![allow(unreachable_pub, reason = "shared by test programs, not published")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use anytime_proto::limits::MAX_MESSAGE_BYTES;
use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{VerifyItem, VerifyRequest};
use anytime_service::security::ServerSecurity;
use anytime_verifier::limits::ServerLimits;
use anytime_verifier::serve::run;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

pub struct TestServer {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl TestServer {
    pub async fn start(limits: ServerLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(listener, shutdown.clone(), limits, ServerSecurity::default()));
        Self {
            address,
            shutdown,
            task,
        }
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    pub async fn client(&self) -> VerifierServiceClient<Channel> {
        VerifierServiceClient::new(self.channel().await)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}

pub fn limits() -> ServerLimits {
    ServerLimits::with_threads(NonZeroUsize::new(2).unwrap())
}

pub fn item(answer: impl std::fmt::Display, ground_truth: impl std::fmt::Display) -> VerifyItem {
    VerifyItem {
        response: format!("\n\n**Final Answer**\n\\boxed{{{answer}}}"),
        ground_truths: vec![ground_truth.to_string()],
    }
}

pub fn request(items: Vec<VerifyItem>) -> VerifyRequest {
    VerifyRequest {
        items,
        ..Default::default()
    }
}
