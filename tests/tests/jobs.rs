//! Jobs as a script sees them: submitted once however often it asks, listed, followed, cancelled; and the services that
//! every gRPC server has.
#![allow(clippy::unwrap_used)]

use anytime_proto::v1::JobState;
use anytime_tests::stack::{Stack, channel};
use anytime_tests::wait::{eventually, within};
use serde_json::Value;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

/// `[(id, state)]` of `anytime list --json`.
fn listed(jobs: &Value) -> Vec<(String, String)> {
    let text = |job: &Value, key: &str| job[key].as_str().unwrap().to_owned();
    let jobs = jobs.as_array().unwrap();
    jobs.iter().map(|job| (text(job, "id"), text(job, "state"))).collect()
}

fn pair(id: &str, state: &str) -> (String, String) {
    (id.to_owned(), state.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_are_submitted_once_listed_and_cancelled() {
    within(90, async {
        let mut stack = Stack::start(1).await;
        let first_file = stack.workplace.write_job(&stack.workplace.train("first", 500));
        let second_file = stack.workplace.write_job(&stack.workplace.train("second", 500));
        let (first_file, second_file) = (first_file.to_str().unwrap(), second_file.to_str().unwrap());

        let submit_first = ["submit", first_file, "--request-id", "request-1", "--json"];
        let first = stack.anytime(&submit_first, 30).await.expect(0).json();
        assert_eq!((&first["id"], &first["kind"]), (&"first".into(), &"train".into()));
        assert_eq!(first["spec"]["training"]["learning_rate"], 3e-4);
        assert_eq!(first["spec"]["training"]["clip"], 0.2, "defaults are filled in");
        stack.wait_for_step("first", 1, 60).await;

        let again = stack.anytime(&submit_first, 30).await.expect(0).json();
        assert_eq!(again["id"], "first", "the same request is the same job");
        let second = stack.anytime(&["submit", second_file], 30).await.expect(0);
        assert_eq!(second.stdout.trim(), "second");

        let jobs = stack.anytime(&["list", "--json"], 30).await.expect(0).json();
        assert_eq!(listed(&jobs), [pair("second", "queued"), pair("first", "running")]);
        let running = stack.anytime(&["get", "first", "--json"], 30).await.expect(0).json();
        assert_eq!(
            (&running["state"], &running["total_steps"]),
            (&"running".into(), &500.into())
        );
        assert!(
            running["last_step"]["reward_per_budget"].as_array().unwrap().len() == 2,
            "{running}"
        );

        // A job that waits ends at once, a job that runs ends after the step under way.
        let cancelled = stack
            .anytime(&["cancel", "second", "--json"], 30)
            .await
            .expect(0)
            .json();
        assert_eq!(cancelled["state"], "cancelled");
        stack.anytime(&["cancel", "first", "--json"], 30).await.expect(0);
        eventually("the end of the running job", 20, async || {
            (stack.job("first").await?.state() == JobState::Cancelled).then_some(())
        })
        .await;
        let jobs = stack.anytime(&["list", "--json"], 30).await.expect(0).json();
        assert_eq!(listed(&jobs), [pair("second", "cancelled"), pair("first", "cancelled")]);
        assert!(stack.job("first").await.unwrap().step < 500);
        assert_eq!(stack.job("second").await.unwrap().step, 0);

        // Following a cancelled job says that it was cancelled; an unknown job is bad configuration.
        stack.anytime(&["watch", "first", "--json"], 30).await.expect(130);
        let unknown = stack.anytime(&["get", "third", "--json"], 30).await.expect(64);
        assert!(
            unknown.stderr.contains("third") && unknown.stdout.is_empty(),
            "{}",
            unknown.stderr
        );

        // The learner is free for the next job.
        let spec = stack.workplace.train("next", 2);
        let next = stack.submit("request-2", spec).await;
        stack.wait_for_success(&next.id, 60).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_goes_on_where_it_was_after_the_learner_was_away() {
    let steps = 30;
    within(120, async {
        let mut stack = Stack::start(1).await;
        let job_file = stack.workplace.write_job(&stack.workplace.train("watched", steps));
        let learner = format!("http://{}", stack.learner.address);
        let arguments = [
            "submit",
            job_file.to_str().unwrap(),
            "--watch",
            "--json",
            "--learner",
            &learner,
        ];
        let workplace = &stack.workplace;
        let mut watch = tokio::process::Command::from(workplace.command(&arguments));
        watch
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        let watch = watch.spawn().unwrap();
        stack.wait_for_step("watched", 8, 60).await;
        assert_eq!(stack.learner.process.terminate().await, 0);
        stack.restart_learner().await;

        let output = watch.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("reconnecting"), "{said}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["id"], "watched", "the job itself comes first");
        let numbers: Vec<u64> = lines[1..]
            .iter()
            .map(|event| event["number"].as_u64().unwrap())
            .collect();
        assert_eq!(
            numbers,
            (1..=numbers.len() as u64).collect::<Vec<u64>>(),
            "each event once and in order"
        );
        assert_eq!(lines.last().unwrap()["state"], "succeeded");
        let history = stack.history("watched").await;
        assert_eq!(history.events.len(), numbers.len());
        let seen: Vec<u64> = lines[1..]
            .iter()
            .filter(|event| event["event"] == "step")
            .map(|event| event["step"].as_u64().unwrap())
            .collect();
        assert_eq!(seen, history.step_numbers());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn learner_and_verifier_tell_their_health_and_their_services() {
    within(60, async {
        let stack = Stack::start(0).await;
        let learner_services = ["JobService", "RolloutService", "WeightsService"];
        for (address, services) in [
            (&stack.learner.address, &learner_services[..]),
            (&stack.verifier.address, &["VerifierService"]),
        ] {
            let mut names: Vec<String> = services.iter().map(|name| format!("anytime.v1.{name}")).collect();
            for service in names.iter().map(String::as_str).chain([""]) {
                let request = HealthCheckRequest {
                    service: service.to_owned(),
                };
                let health = HealthClient::new(channel(address)).check(request).await.unwrap();
                assert_eq!(health.into_inner().status(), ServingStatus::Serving, "{service}");
            }
            names.push("grpc.health.v1.Health".to_owned());
            let told = reflected_services(address).await;
            assert!(names.iter().all(|name| told.contains(name)), "{names:?}: {told:?}");
            let told = reflected_services_as_before(address).await;
            assert!(
                names.iter().all(|name| told.contains(name)),
                "v1alpha: {names:?}: {told:?}"
            );
        }
    })
    .await;
}

/// The same by the older name of the service.
async fn reflected_services_as_before(address: &str) -> Vec<String> {
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(address));
    let requests = tokio_stream::iter([request]);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    match answer.message_response.unwrap() {
        v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list) => {
            list.service.into_iter().map(|service| service.name).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn reflected_services(address: &str) -> Vec<String> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel(address));
    // Our stream stays open until the answer is there, because the server ends its own with it.
    let requests = tokio_stream::iter([request]);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    match answer.message_response.unwrap() {
        MessageResponse::ListServicesResponse(list) => list.service.into_iter().map(|service| service.name).collect(),
        other => panic!("{other:?}"),
    }
}
