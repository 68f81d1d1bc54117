//! `anytime health`: whether a learner or a verifier serves, by the call that a container's health check makes.

use std::time::Duration;

use anytime_service::channel::lazy_channel;
use anytime_service::exit::ExitError;
use anytime_service::peer::with_deadline;
use anytime_service::security::CallSecurity;
use serde_json::json;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::arguments::HealthArgs;
use crate::output::{print_json, print_line};

pub(super) async fn run(arguments: &HealthArgs, json: bool) -> anyhow::Result<()> {
    let security = CallSecurity::load(&arguments.security.identity, &arguments.security.calling)?;
    let channel = lazy_channel("server", &arguments.address, &security)?;
    for warning in security.warnings() {
        eprintln!("warning: {warning}");
    }
    let request = HealthCheckRequest {
        service: arguments.service.clone(),
    };
    let deadline = Duration::from_secs(arguments.seconds);
    let answer = with_deadline(deadline, HealthClient::new(channel).check(request)).await;
    let status = answer.map_err(|status| explain(arguments, &status))?.status();
    if json {
        print_json(&json!({ "service": arguments.service, "status": status.as_str_name() }))?;
    } else {
        print_line(status.as_str_name())?;
    }
    if status == ServingStatus::Serving {
        return Ok(());
    }
    let who = who(arguments);
    Err(ExitError::unavailable(format!("{who} answers, and does not serve: {}", status.as_str_name())).into())
}

fn who(arguments: &HealthArgs) -> String {
    if arguments.service.is_empty() {
        arguments.address.clone()
    } else {
        format!("{} at {}", arguments.service, arguments.address)
    }
}

fn explain(arguments: &HealthArgs, status: &Status) -> ExitError {
    let address = &arguments.address;
    match status.code() {
        Code::NotFound => ExitError::configuration(format!(
            "--service {}: there is no such service at {address}",
            arguments.service
        )),
        Code::Unimplemented => ExitError::configuration(format!("{address} answers no health checks")),
        Code::Unauthenticated | Code::PermissionDenied => {
            ExitError::configuration(format!("{address} refuses this: {}", status.message()))
        }
        _ => ExitError::unavailable(format!("{address}: {}", status.message())),
    }
}

#[cfg(test)]
mod tests {
    use anytime_service::exit::{CONFIGURATION, UNAVAILABLE, exit_code};
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic_health::server::health_reporter;

    use super::*;
    use crate::arguments::SecurityArgs;

    async fn asked(address: &str, service: &str) -> Result<(), (u8, String)> {
        let arguments = HealthArgs {
            address: address.to_owned(),
            service: service.to_owned(),
            seconds: 2,
            security: SecurityArgs::default(),
        };
        let outcome = run(&arguments, false).await;
        outcome.map_err(|error| (exit_code(&error), error.to_string()))
    }

    #[tokio::test]
    async fn only_a_server_that_serves_is_healthy() {
        let (reporter, service) = health_reporter();
        reporter
            .set_service_status("works", tonic_health::ServingStatus::Serving)
            .await;
        reporter
            .set_service_status("rests", tonic_health::ServingStatus::NotServing)
            .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        assert_eq!(asked(&address, "").await, Ok(()));
        assert_eq!(asked(&address, "works").await, Ok(()));
        let (code, message) = asked(&address, "rests").await.expect_err("it does not serve");
        assert_eq!(code, UNAVAILABLE);
        assert!(message.contains("rests at http://127.0.0.1"), "{message}");
        assert!(message.ends_with("does not serve: NOT_SERVING"), "{message}");
        let (code, message) = asked(&address, "sleeps").await.expect_err("there is none");
        assert_eq!(code, CONFIGURATION);
        assert!(
            message.contains("--service sleeps: there is no such service"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn who_listens_and_never_answers_is_not_healthy() {
        // The kernel takes the connection, as it does for a process that hangs.
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let (code, message) = asked(&address, "").await.expect_err("nobody answers");
        assert_eq!(code, UNAVAILABLE, "{message}");
        drop(listener);
        let (code, message) = asked(&address, "").await.expect_err("nobody listens");
        assert_eq!(code, UNAVAILABLE, "{message}");
    }
}
