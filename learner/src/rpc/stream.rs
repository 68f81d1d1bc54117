//! Streamed answers: a task feeds a bounded channel, and the stream ends as the task ended.

use std::future::{Future, ready};
use std::pin::Pin;

use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// A streamed answer.
pub(crate) type ReplyStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Starts the task that feeds an answer; `ahead` items may wait for the connection. An error that the task returns
/// comes after all items, also where the peer is slow and the channel full: it must not take a broken stream for a
/// finished one.
pub(crate) fn reply_stream<T, F>(ahead: usize, feed: impl FnOnce(mpsc::Sender<T>) -> F) -> ReplyStream<T>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(ahead);
    let (failed, failure) = oneshot::channel();
    let feeding = feed(sender);
    tokio::spawn(async move {
        if let Err(status) = feeding.await {
            // Nobody is left to tell if this fails.
            let _ = failed.send(status);
        }
    });
    let items = ReceiverStream::new(receiver).map(Ok);
    let end = stream::once(failure).filter_map(|outcome| ready(outcome.ok().map(Err)));
    Box::pin(items.chain(end))
}
