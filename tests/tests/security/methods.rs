//! Every method of every server, found by reflection: without a token, with each role's, and by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anytime_service::security::roles::{METHODS, Role, Who};
use anytime_tests::secrets::{Secrets, secure_channel, with_token};
use anytime_tests::stack::start_redis;
use anytime_tests::wait::within;
use anytime_tests::workplace::Workplace;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::security::{ANSWERS, learner_arguments, start};
use crate::serve::{draw_weights, model_arguments};

/// The answer to an empty request: its code, OK also for a stream that says nothing yet.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Code {
    let outcome = async {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let codec: ProstCodec<(), ()> = ProstCodec::default();
        let path: PathAndQuery = path.parse().unwrap();
        let answer = grpc.server_streaming(with_token((), token), path, codec).await?;
        answer.into_inner().message().await
    };
    match tokio::time::timeout(Duration::from_secs(2), outcome).await {
        Ok(Ok(_)) | Err(_) => Code::Ok,
        Ok(Err(status)) => status.code(),
    }
}

async fn reflect(channel: &Channel, token: &str, question: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let mut client = ServerReflectionClient::new(channel.clone());
    let request = with_token(tokio_stream::iter([request]), Some(token));
    let mut answers = client.server_reflection_info(request).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

/// The paths of all methods that a server tells of.
async fn methods(channel: &Channel, token: &str) -> BTreeSet<String> {
    let listed = reflect(channel, token, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(services) = listed else {
        panic!("{listed:?}");
    };
    let mut paths = BTreeSet::new();
    for service in services.service {
        let question = MessageRequest::FileContainingSymbol(service.name.clone());
        let MessageResponse::FileDescriptorResponse(files) = reflect(channel, token, question).await else {
            panic!("{} is not described", service.name);
        };
        for file in files.file_descriptor_proto {
            let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
            for of_file in &file.service {
                if format!("{}.{}", file.package(), of_file.name()) == service.name {
                    paths.extend(
                        of_file
                            .method
                            .iter()
                            .map(|method| format!("/{}/{}", service.name, method.name())),
                    );
                }
            }
        }
    }
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_method_is_open_to_whom_the_table_does_not_name() {
    within(180, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let (_redis, redis_url) = start_redis(&workplace).await;
        let mut arguments = learner_arguments(&workplace, &redis_url);
        arguments.extend(secrets.serving("server", false));
        let learner = start(&workplace, "learner", "learner", &arguments).await;
        let verifier = start(&workplace, "verifier", "verifier", &secrets.serving("server", false)).await;
        draw_weights(&workplace);
        let mut arguments = model_arguments(&workplace);
        arguments.extend(secrets.serving("server", false));
        let answers = start(&workplace, ANSWERS, "answers", &arguments).await;
        let table: BTreeMap<&str, Who> = METHODS.iter().copied().collect();
        let mut seen = BTreeSet::new();
        for server in [&learner, &verifier, &answers] {
            let channel = secure_channel(&server.address, secrets.tls(None));
            let told = methods(&channel, &secrets.token("read")).await;
            assert!(told.len() >= 5, "{told:?}");
            for path in &told {
                let who = table
                    .get(path.as_str())
                    .unwrap_or_else(|| panic!("{path} is not in the table"));
                let without = call(&channel, path, None).await;
                let wrong = call(&channel, path, Some(&"x".repeat(40))).await;
                match who {
                    Who::Everybody => assert_ne!(without, Code::Unauthenticated, "{path}"),
                    Who::Roles(_) => assert_eq!(
                        (without, wrong),
                        (Code::Unauthenticated, Code::Unauthenticated),
                        "{path}"
                    ),
                }
                for role in Role::ALL {
                    let code = call(&channel, path, Some(&secrets.token(role.name()))).await;
                    let is_allowed = match who {
                        Who::Everybody => true,
                        Who::Roles(roles) => roles.contains(&role),
                    };
                    let is_refused = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
                    // An empty push shows no lease, which the learner itself refuses in this way only where one is needed.
                    assert_eq!(is_refused, !is_allowed, "{path} with {}: {code:?}", role.name());
                    if !is_allowed {
                        assert_eq!(code, Code::PermissionDenied, "{path}");
                    }
                }
            }
            // A method that no server has lets nobody in.
            let nowhere = "/anytime.v1.JobService/Destroy";
            assert_eq!(call(&channel, nowhere, None).await, Code::Unauthenticated);
            assert_eq!(
                call(&channel, nowhere, Some(&secrets.token("submit"))).await,
                Code::Unimplemented
            );
            seen.extend(told);
        }
        let all: BTreeSet<String> = table.keys().map(|path| (*path).to_owned()).collect();
        assert_eq!(seen, all, "the servers tell of every method, and of no other");
    })
    .await;
}
