//! The server's metrics. Their handles are made once, because looking a metric up costs as much as grading an item.

use std::time::Duration;

use anytime_proto::ShortName as _;
use anytime_proto::v1::{Verdict, VerdictKind};
use anytime_service::metric_names as names;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// One more than the largest number of a verdict's kind.
const KINDS: usize = VerdictKind::InternalError as usize + 1;

/// The metrics of one server.
pub(crate) struct Meters {
    items: Counter,
    batch_seconds: Histogram,
    pair_seconds: [Histogram; KINDS],
    /// Batches that were refused.
    pub(crate) refused: Counter,
    /// Items that hung and were given up with their thread.
    pub(crate) abandoned_items: Counter,
    /// Threads that were given up and have not ended.
    pub(crate) abandoned_threads: Gauge,
    /// Batches that wait for a thread.
    pub(crate) waiting: Gauge,
    /// Streams that are open.
    pub(crate) streams: Gauge,
    /// Verdicts that were in the cache.
    pub(crate) cache_hits: Counter,
    /// Verdicts that were not in the cache.
    pub(crate) cache_misses: Counter,
    /// Size of the cache.
    pub(crate) cache_bytes: Gauge,
}

impl Meters {
    /// Registers the metrics, so that they are served from the start.
    pub(crate) fn new() -> Self {
        let pair_seconds = std::array::from_fn(|number| {
            let kind = kind_of(number).short_name();
            histogram!(names::VERIFIER_PAIR_SECONDS, "kind" => kind)
        });
        let meters = Self {
            items: counter!(names::VERIFIER_ITEMS),
            batch_seconds: histogram!(names::VERIFIER_BATCH_SECONDS),
            pair_seconds,
            refused: counter!(names::VERIFIER_REFUSED),
            abandoned_items: counter!(names::VERIFIER_ABANDONED_ITEMS),
            abandoned_threads: gauge!(names::VERIFIER_ABANDONED_THREADS),
            waiting: gauge!(names::VERIFIER_WAITING),
            streams: gauge!(names::VERIFIER_STREAMS),
            cache_hits: counter!(names::VERIFIER_CACHE_HITS),
            cache_misses: counter!(names::VERIFIER_CACHE_MISSES),
            cache_bytes: gauge!(names::VERIFIER_CACHE_BYTES),
        };
        for counter in [
            &meters.refused,
            &meters.abandoned_items,
            &meters.cache_hits,
            &meters.cache_misses,
        ] {
            counter.increment(0);
        }
        for gauge in [
            &meters.waiting,
            &meters.streams,
            &meters.abandoned_threads,
            &meters.cache_bytes,
        ] {
            gauge.set(0.0);
        }
        meters
    }

    /// Counts an item that was graded.
    pub(crate) fn record_pair(&self, verdict: &Verdict, time: Duration) {
        self.pair_seconds[number_of(verdict)].record(time);
    }

    /// Counts a batch that was answered.
    pub(crate) fn record_batch(&self, verdicts: &[Verdict], time: Duration) {
        self.batch_seconds.record(time);
        self.items.increment(verdicts.len() as u64);
        let mut counts = [0; KINDS];
        for verdict in verdicts {
            counts[number_of(verdict)] += 1;
        }
        // The metric is looked up here and not registered at the start, because an alert takes its first appearance for
        // a fault.
        for (number, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            counter!(names::VERIFIER_VERDICTS, "kind" => kind_of(number).short_name()).increment(count);
        }
    }
}

fn number_of(verdict: &Verdict) -> usize {
    verdict.kind() as usize
}

fn kind_of(number: usize) -> VerdictKind {
    let kind = i32::try_from(number)
        .ok()
        .and_then(|number| VerdictKind::try_from(number).ok());
    kind.unwrap_or_default()
}

/// Adds one to a gauge for as long as it lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    /// Counts from now on.
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
