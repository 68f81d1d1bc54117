//! Scores of branches by a service of the operator's own, such as a reward model: asked over HTTP at an address that
//! the server was started with, never at one of a request.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anytime_hub::{bearer_of_file, http_client, is_this_machine};
use anytime_service::exit::ExitError;
use anytime_service::peer::PeerLog;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::config::ServeArgs;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Questions under way at the same time; more wait.
const MOST_QUESTIONS: usize = 64;

/// The most bytes of an answer.
const LARGEST_ANSWER: usize = 64 << 10;

/// The name of the call in log and metrics.
const CALL: &str = "reward";

/// A branch as it is shown to the service: the body of a request.
#[derive(Debug, Serialize)]
pub(crate) struct Question {
    /// Each with `role` and `content`.
    pub(crate) messages: Vec<Value>,
    /// The text of its thinking up to where it is looked at.
    pub(crate) reasoning: String,
    /// Tokens of that thinking.
    pub(crate) thinking_tokens: usize,
    /// The summary that its votes chose there.
    pub(crate) content: String,
    pub(crate) answer: Option<String>,
    /// The share of its summaries with that answer.
    pub(crate) agreement: f64,
    /// Whether its thinking has ended there.
    pub(crate) ended: bool,
}

/// What the service answers.
#[derive(Debug, Deserialize)]
struct Answer {
    score: f64,
}

/// A service that scores branches.
pub(crate) struct RewardService {
    client: Client,
    url: Url,
    key: Option<HeaderValue>,
    timeout: Duration,
    room: Semaphore,
    log: Mutex<PeerLog>,
}

impl RewardService {
    /// The service of the arguments, which is not asked yet.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument.
    pub(crate) fn of(args: &ServeArgs) -> Result<Option<Arc<Self>>, ExitError> {
        let Some(address) = &args.reward else {
            return match &args.reward_key_file {
                Some(_) => Err(ExitError::configuration("--reward-key-file needs --reward")),
                None => Ok(None),
            };
        };
        let refuse = |reason: String| ExitError::configuration(format!("--reward {address}: {reason}"));
        let url = Url::parse(address).map_err(|error| refuse(format!("it is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(refuse("it must begin with http:// or https://".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let reason = "it must hold no password; --reward-key-file names a file with the key";
            return Err(ExitError::configuration(format!("--reward: {reason}")));
        }
        if args.reward_key_file.is_some() && url.scheme() == "http" && !is_this_machine(&url) {
            return Err(refuse(
                "it shows the key to the network; it must begin with https://".to_owned(),
            ));
        }
        Ok(Some(Arc::new(Self {
            client: http_client(CONNECT).map_err(|reason| refuse(format!("no client of HTTP: {reason}")))?,
            url,
            key: args.reward_key_file.as_deref().map(key).transpose()?,
            timeout: Duration::from_secs(args.reward_timeout),
            room: Semaphore::new(MOST_QUESTIONS),
            log: Mutex::new(PeerLog::new(CALL)),
        })))
    }

    /// A score from 0 to 1; None where the service has none in time, which the log says once.
    pub(crate) async fn score(&self, question: &Question) -> Option<f64> {
        // Where too many are asked, it is not the service that is away.
        let _room = tokio::time::timeout(self.timeout, self.room.acquire())
            .await
            .ok()?
            .ok()?;
        let asked = tokio::time::timeout(self.timeout, self.ask(question)).await;
        let late = || Status::deadline_exceeded(format!("no answer within {} s", self.timeout.as_secs()));
        let answered = asked.unwrap_or_else(|_| Err(late()));
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        match answered {
            Ok(score) => {
                log.is_up();
                Some(score)
            }
            Err(status) => {
                // The next look is the next try.
                log.failed(&status);
                None
            }
        }
    }

    async fn ask(&self, question: &Question) -> Result<f64, Status> {
        let lost = |error: reqwest::Error| Status::unavailable(error.without_url().to_string());
        let mut request = self.client.post(self.url.clone()).json(question);
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let mut response = request.send().await.map_err(lost)?;
        if !response.status().is_success() {
            return Err(Status::unknown(format!("it answers {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(Status::unknown(format!(
                    "its answer has more than {LARGEST_ANSWER} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| Status::unknown(format!("its answer is not {{\"score\": NUMBER}}: {error}")))?;
        if !(0.0..=1.0).contains(&answer.score) {
            let score = answer.score;
            return Err(Status::unknown(format!("its score is {score}; it must be from 0 to 1")));
        }
        Ok(answer.score)
    }
}

/// The header with the key of a file.
fn key(path: &Path) -> Result<HeaderValue, ExitError> {
    bearer_of_file(path)
        .map_err(|reason| ExitError::configuration(format!("--reward-key-file {}: {reason}", path.display())))
}
