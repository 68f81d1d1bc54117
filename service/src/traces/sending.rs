//! Sends spans in batches, beside everything else. Work never waits for it: a span that finds the queue full is dropped and
//! counted, and so is a batch that the collector does not take. The log says once that it is away, and once that it is back.

use std::time::Duration;

use metrics::{Counter, counter};
use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::metric_names::DROPPED_SPANS;

/// At most so many spans wait to be sent; a few megabytes.
const QUEUE: usize = 4096;

/// At most so many are sent together.
const BATCH: usize = 512;

/// A span is sent after at most this time.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// How long a collector may take for a batch, with repetitions.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of a process waits for what is still to be sent: as long as a drain leaves it.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Where finished spans wait.
#[derive(Debug)]
pub(super) struct Queue {
    spans: mpsc::Sender<SpanData>,
}

/// Sends what is left, at the end of the process. Without it nothing is sent.
#[derive(Debug)]
#[must_use]
pub struct Sending {
    /// Asks for the last batch; none where traces are off.
    end: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

impl Sending {
    pub(super) fn off() -> Self {
        begin_counters();
        Self { end: None }
    }

    /// Sends what is left, within a second.
    pub async fn finish(self) {
        let Some(end) = self.end else { return };
        let (done, is_done) = oneshot::channel();
        if end.send(done).is_ok() && tokio::time::timeout(LAST_PATIENCE, is_done).await.is_err() {
            warn!("traces were left behind, the collector did not take them in time");
        }
    }
}

/// Starts to send what the returned queue gets.
pub(super) fn start<E: SpanExporter + 'static>(
    mut exporter: E,
    resource: &Resource,
    endpoint: &str,
) -> (Queue, Sending) {
    exporter.set_resource(resource);
    begin_counters();
    let (spans, waiting) = mpsc::channel(QUEUE);
    let (end, ending) = oneshot::channel();
    let collector = Collector {
        exporter,
        endpoint: endpoint.to_owned(),
        is_away: false,
    };
    info!(endpoint, "traces are sent");
    tokio::spawn(send(collector, waiting, ending));
    (Queue { spans }, Sending { end: Some(end) })
}

/// The counters exist from the start, so that the first loss shows in a rate.
fn begin_counters() {
    for reason in ["queue_full", "not_sent"] {
        dropped(reason).absolute(0);
    }
}

fn dropped(reason: &'static str) -> Counter {
    counter!(DROPPED_SPANS, "reason" => reason)
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            dropped("queue_full").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The collector, and whether it takes what it is sent.
struct Collector<E> {
    exporter: E,
    endpoint: String,
    is_away: bool,
}

impl<E: SpanExporter> Collector<E> {
    async fn take(&mut self, batch: Vec<SpanData>) {
        let (count, endpoint) = (batch.len(), &self.endpoint);
        let problem = match tokio::time::timeout(PATIENCE, self.exporter.export(batch)).await {
            Ok(Ok(())) => {
                if std::mem::take(&mut self.is_away) {
                    info!(endpoint, "traces are sent again");
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        };
        dropped("not_sent").increment(count as u64);
        if !std::mem::replace(&mut self.is_away, true) {
            warn!(
                endpoint,
                problem, "traces cannot be sent, and are dropped until they can"
            );
        }
    }
}

async fn send<E: SpanExporter>(
    mut collector: Collector<E>,
    mut waiting: mpsc::Receiver<SpanData>,
    mut ending: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let mut tick = tokio::time::interval(SEND_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let last = loop {
        tokio::select! {
            end = &mut ending => break end,
            _ = tick.tick() => send_waiting(&mut collector, &mut waiting).await,
        }
    };
    // Where the process ends without a word, nobody waits for the rest.
    let Ok(done) = last else { return };
    if !collector.is_away {
        send_waiting(&mut collector, &mut waiting).await;
    }
    let _ = done.send(());
}

/// Sends the spans that wait now. Those that come meanwhile wait for the next time.
async fn send_waiting<E: SpanExporter>(collector: &mut Collector<E>, waiting: &mut mpsc::Receiver<SpanData>) {
    let mut left = waiting.len();
    while left > 0 {
        let mut batch = Vec::with_capacity(left.min(BATCH));
        left -= waiting.recv_many(&mut batch, left.min(BATCH)).await;
        collector.take(batch).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::error::OTelSdkError;
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// A collector that keeps the sizes of batches, takes nothing, or does not even answer.
    #[derive(Clone, Debug)]
    enum Fake {
        Keeps(Arc<Mutex<Vec<usize>>>),
        Refuses(Arc<Mutex<Vec<usize>>>),
        IsSilent,
    }

    impl SpanExporter for Fake {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            match self {
                Self::Keeps(sizes) => sizes.lock().unwrap().push(batch.len()),
                Self::Refuses(sizes) => {
                    sizes.lock().unwrap().push(batch.len());
                    return Err(OTelSdkError::InternalFailure("away".to_owned()));
                }
                Self::IsSilent => std::future::pending().await,
            }
            Ok(())
        }
    }

    /// Ends so many spans, and says how long all of it took.
    fn end_spans(queue: Queue, count: usize) -> Duration {
        let tracer = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .build()
            .tracer("test");
        let began = Instant::now();
        for _ in 0..count {
            tracer.start("span").end();
        }
        began.elapsed()
    }

    #[tokio::test]
    async fn everything_is_sent_in_batches_before_the_end() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let resource = Resource::builder_empty().build();
        let (queue, sending) = start(Fake::Keeps(sizes.clone()), &resource, "here");
        end_spans(queue, 1300);
        sending.finish().await;
        assert_eq!(*sizes.lock().unwrap(), [BATCH, BATCH, 276]);
    }

    #[tokio::test]
    async fn a_collector_that_is_away_holds_nothing_up() {
        let resource = Resource::builder_empty().build();
        let (queue, sending) = start(Fake::IsSilent, &resource, "here");
        let took = end_spans(queue, 3 * QUEUE);
        assert!(
            took < Duration::from_secs(5),
            "spans that find no room are dropped: {took:?}"
        );
        let began = Instant::now();
        sending.finish().await;
        assert!(
            began.elapsed() < LAST_PATIENCE + Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );

        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (queue, sending) = start(Fake::Refuses(sizes.clone()), &resource, "here");
        end_spans(queue, 10);
        sending.finish().await;
        // What was refused is not sent again.
        assert_eq!(sizes.lock().unwrap().iter().sum::<usize>(), 10);
    }
}
