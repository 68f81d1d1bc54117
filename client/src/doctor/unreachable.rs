//! What can be said where the learner does not answer: how far the way to it leads, and what to look at.

use std::time::Duration;

use anytime_service::channel::{lazy_channel, uri_of};
use anytime_service::exit::ExitError;
use anytime_service::peer::with_deadline;
use anytime_service::security::CallSecurity;
use serde_json::{Value, json};
use tokio::net::{TcpStream, lookup_host};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::arguments::LearnerArgs;
use crate::show::one_line;

/// How long each part of the way is tried.
const PATIENCE: Duration = Duration::from_secs(3);

/// What was tried, and what came of it.
#[derive(Clone, Debug)]
pub struct Unreachable {
    /// Where the learner was looked for.
    pub learner: String,
    /// Each try with its outcome.
    pub tried: Vec<(String, String)>,
    /// What is most likely so.
    pub verdict: String,
    /// What to look at, in this order.
    pub look_at: Vec<String>,
}

/// How far a try led.
enum Reached {
    NoName(String),
    Refused,
    NoConnection(String),
    NoAnswer(String),
    Answers(String),
}

/// Tries the parts of the way to a learner whose diagnosis did not come, for the reason given.
///
/// # Errors
/// [`ExitError`] with the configuration code if the address is none.
pub async fn look(arguments: &LearnerArgs, reason: &str) -> Result<Unreachable, ExitError> {
    let security = CallSecurity::load(&arguments.security.identity, &arguments.security.calling)?;
    let channel = lazy_channel("learner", &arguments.learner, &security)?;
    let uri = uri_of("learner", &arguments.learner, &security)?;
    let host = uri.host().unwrap_or_default().to_owned();
    let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    let port = uri.port_u16().unwrap_or(default_port);
    let mut tried = vec![(format!("ask {} how it fares", arguments.learner), reason.to_owned())];
    let reached = connect(&host, port, &mut tried).await;
    let reached = match reached {
        Some(failed) => failed,
        None => {
            let health = async { HealthClient::new(channel).check(HealthCheckRequest::default()).await };
            let (outcome, reached) = match with_deadline(PATIENCE, health).await {
                Ok(answer) => {
                    let status = answer.status().as_str_name().to_owned();
                    (format!("it says {status}"), Reached::Answers(status))
                }
                Err(status) => (
                    status.message().to_owned(),
                    Reached::NoAnswer(status.message().to_owned()),
                ),
            };
            tried.push(("ask whether it serves (grpc.health.v1)".to_owned(), outcome));
            reached
        }
    };
    let (verdict, first) = conclude(&reached, &host, port);
    let mut look_at = vec![first];
    look_at.extend(
        [
            "the last lines of the learner's log, and its exit code (docs/jobs.md, \"Exit codes\"): 64 is an argument, 69 \
             is Redis, 70 is its device, its memory or its disk",
            "`docker-compose ps learner`, `kubectl get pods`, `systemctl status`, or whatever keeps it running",
            "nothing is lost meanwhile: jobs go on from their recovery checkpoints, and actors wait; on the learner's \
             machine `anytime audit JOB --runs-dir DIR` and `anytime export JOB --runs-dir DIR` work without it",
        ]
        .map(str::to_owned),
    );
    Ok(Unreachable {
        learner: arguments.learner.clone(),
        tried,
        verdict,
        look_at,
    })
}

/// Looks the name up and connects. None where a connection came to be.
async fn connect(host: &str, port: u16, tried: &mut Vec<(String, String)>) -> Option<Reached> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let what = format!("look up {host}");
    let addresses = match tokio::time::timeout(PATIENCE, lookup_host((name, port))).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            tried.push((what, error.to_string()));
            return Some(Reached::NoName(error.to_string()));
        }
        Err(_) => {
            let error = format!("no answer within {} s", PATIENCE.as_secs());
            tried.push((what, error.clone()));
            return Some(Reached::NoName(error));
        }
    };
    let mut last = Reached::NoName("it has no address".to_owned());
    for address in addresses {
        let what = format!("connect to {address}");
        match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                tried.push((what, "connected".to_owned()));
                return None;
            }
            Ok(Err(error)) => {
                tried.push((what, error.to_string()));
                last = if error.kind() == std::io::ErrorKind::ConnectionRefused {
                    Reached::Refused
                } else {
                    Reached::NoConnection(error.to_string())
                };
            }
            Err(_) => {
                let error = format!("no answer within {} s", PATIENCE.as_secs());
                tried.push((what, error.clone()));
                last = Reached::NoConnection(error);
            }
        }
    }
    Some(last)
}

/// What is most likely so, and what to look at first.
fn conclude(reached: &Reached, host: &str, port: u16) -> (String, String) {
    let (verdict, first) = match reached {
        Reached::NoName(error) => (
            format!("the name {host} leads nowhere ({error})"),
            "the address: --learner, or the variable ANYTIME_LEARNER".to_owned(),
        ),
        Reached::Refused => (
            format!("nobody listens at {host}:{port}: the learner does not run, or listens elsewhere"),
            format!("whether the learner runs on {host}, and its --listen"),
        ),
        Reached::NoConnection(error) => (
            format!(
                "{host}:{port} cannot be reached ({error}): its machine is down or frozen, or the network is in between"
            ),
            format!("whether {host} is up, and the firewall in between"),
        ),
        Reached::NoAnswer(error) => (
            format!(
                "{host}:{port} takes connections and does not answer ({error}): the process hangs, or speaks TLS where \
                this address does not, or the other way round"
            ),
            "http:// or https:// in the address, --tls-ca, and whether the process is stopped or out of memory"
                .to_owned(),
        ),
        Reached::Answers(status) => (
            format!("the learner answers ({status}) and does not say how it fares: it drains, or is overloaded"),
            "whether it is being restarted; ask again in ten seconds".to_owned(),
        ),
    };
    (verdict, first)
}

impl Unreachable {
    /// As one JSON object, with the names that an examination has where they mean the same.
    pub fn to_json(&self) -> Value {
        let tried = self.tried.iter();
        json!({
            "healthy": false,
            "verdict": self.verdict,
            "findings": [{
                "kind": "learner_unreachable",
                "fault": true,
                "about": "",
                "text": self.verdict,
                "do": self.look_at.first(),
            }],
            "learner_address": self.learner,
            "tried": tried.map(|(what, outcome)| json!({ "what": what, "outcome": outcome })).collect::<Vec<_>>(),
            "look_at": self.look_at,
        })
    }

    /// For people; the last line is the verdict.
    pub fn in_words(&self) -> String {
        const WIDTH: usize = 400;
        let tried = self.tried.iter();
        let mut lines: Vec<String> = tried
            .map(|(what, outcome)| format!("tried       {}: {}", one_line(what, WIDTH), one_line(outcome, WIDTH)))
            .collect();
        lines.extend(self.look_at.iter().map(|what| format!("look at     {what}")));
        lines.push(format!("verdict     {}", one_line(&self.verdict, WIDTH)));
        lines.join("\n")
    }
}
