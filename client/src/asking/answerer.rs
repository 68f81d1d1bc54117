//! A server of answers: sends it a question, and reads its answer within a deadline.

use std::time::Duration;

use anytime_service::channel::{HttpAnswer, PeerChannel, lazy_channel};
use anytime_service::exit::ExitError;
use anytime_service::security::CallSecurity;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::refusal::{of_break, of_document, of_stranger};
use super::stream::{News, Reader};

const PATH: &str = "/v1/chat/completions";

/// Longest error document that is read, in bytes.
const LONGEST_ERROR: usize = 1 << 20;

/// A server that answers; connects on first use.
#[derive(Debug)]
pub(crate) struct Answerer {
    channel: PeerChannel,
    address: String,
    timeout: Duration,
}

impl Answerer {
    /// The server at an address. `timeout` is how long an answer may take.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code if the address is no URI, or TLS cannot be spoken with it.
    pub(crate) fn try_new(address: &str, security: &CallSecurity, timeout: Duration) -> Result<Self, ExitError> {
        Ok(Self {
            channel: lazy_channel("--server", address, security)?,
            address: address.to_owned(),
            timeout,
        })
    }

    /// Asks, and hands on what the server tells, as it comes.
    ///
    /// # Errors
    /// [`ExitError`]: 64 where the server refuses the question, 69 where it is away, has no time or breaks off, 70 where it
    /// failed; and whatever `each` returns.
    pub(crate) async fn ask(
        &self,
        body: String,
        mut each: impl FnMut(&News) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        // The timeout was checked to be far from the end of time.
        let deadline = Instant::now() + self.timeout;
        let sent = timeout_at(deadline, self.channel.post_json(PATH, body)).await;
        let mut answer = sent.map_err(|_| self.late())?.map_err(|error| self.away(&error))?;
        if !answer.is_of_type("text/event-stream") {
            return Err(self.refused(answer, deadline).await.into());
        }
        let mut reader = Reader::new(&self.address);
        while !reader.is_over() {
            let read = timeout_at(deadline, answer.chunk()).await;
            let piece = read
                .map_err(|_| self.late())?
                .map_err(|status| of_break(&self.address, status.message()))?;
            let Some(piece) = piece else {
                return Err(of_break(&self.address, "the server ended it before its end").into());
            };
            let mut news = Vec::new();
            let read = reader.push(&piece, &mut news);
            // What came before an error is told before it.
            for one in &news {
                each(one)?;
            }
            read?;
        }
        Ok(())
    }

    /// What an answer that is no stream says.
    async fn refused(&self, mut answer: HttpAnswer, deadline: Instant) -> ExitError {
        let mut body = Vec::new();
        while let Ok(Ok(Some(piece))) = timeout_at(deadline, answer.chunk()).await {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST_ERROR {
                break;
            }
        }
        let document: Value = serde_json::from_slice(&body).unwrap_or_default();
        of_document(&self.address, &document)
            .unwrap_or_else(|| of_stranger(&self.address, &format!("it answers with {}", answer.status)))
    }

    fn late(&self) -> ExitError {
        let timeout = humantime::format_duration(self.timeout);
        ExitError::unavailable(format!(
            "{}: the answer took longer than --timeout {timeout}",
            self.address
        ))
    }

    fn away(&self, error: &dyn std::error::Error) -> ExitError {
        // The innermost cause says what happened; the others that something did.
        let mut cause = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        ExitError::unavailable(format!("{} cannot be reached: {cause}", self.address))
    }
}
