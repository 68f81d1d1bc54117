//! Answers a stream of batches in order, with several batches in work at a time, but never more than the bound.
//!
//! Nothing here runs by itself. The transport asks for the next response once the client has room for it, and only then
//! are further requests read. So a client that does not read its responses is not read from either: the flow control
//! of HTTP/2 holds it back.

use std::future::Future;

use anytime_proto::v1::{VerifyRequest, VerifyResponse};
use anytime_proto::{Refusal, invalid_setting_status};
use futures::{Stream, StreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::options::Options;
use crate::request::check_request;

/// The responses to these requests. An error, which a shutdown is too, comes last, after the responses to all requests
/// that were read before it.
pub(crate) fn answer_stream<Requests, Answer, Answered>(
    requests: Requests,
    shutdown: CancellationToken,
    at_a_time: usize,
    answer: Answer,
) -> impl Stream<Item = Result<VerifyResponse, Status>> + Send
where
    Requests: Stream<Item = Result<VerifyRequest, Status>> + Send + Unpin,
    Answer: Fn(VerifyRequest, Options) -> Answered + Send,
    Answered: Future<Output = VerifyResponse> + Send,
{
    let checked = stream::unfold(Some(requests), move |requests| read_next(requests, shutdown.clone()));
    let answers = checked.map(move |read| {
        let answered = read.map(|(request, options)| answer(request, options));
        async move {
            match answered {
                Ok(answered) => Ok(answered.await),
                Err(status) => Err(status),
            }
        }
    });
    answers.buffered(at_a_time)
}

type Read = Result<(VerifyRequest, Options), Status>;

/// The next request, checked, and the rest of the stream; no rest after an error.
async fn read_next<Requests>(
    requests: Option<Requests>,
    shutdown: CancellationToken,
) -> Option<(Read, Option<Requests>)>
where
    Requests: Stream<Item = Result<VerifyRequest, Status>> + Unpin,
{
    let mut requests = requests?;
    let read = tokio::select! {
        // The shutdown is looked at first, or a client that always has more to send would hold it up.
        biased;
        () = shutdown.cancelled() => Err(shutting_down()),
        request = requests.next() => request?.and_then(check),
    };
    let rest = read.is_ok().then_some(requests);
    Some((read, rest))
}

fn shutting_down() -> Status {
    Refusal::of_shutdown("the server shuts down; send the rest to another one").into_status()
}

fn check(request: VerifyRequest) -> Read {
    let options = check_request(&request).map_err(|error| invalid_setting_status(&error))?;
    Ok((request, options))
}
