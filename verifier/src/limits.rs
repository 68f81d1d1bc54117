//! The sizes and times that bound the grader. Whatever exceeds them gets a verdict that says so, never a guess.

use std::num::NonZeroUsize;
use std::time::Duration;

/// Longest response that is searched for an answer. A summary is a few hundred tokens; a megabyte is no summary.
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Longest answer and longest ground truth, in characters. It bounds the digits of every number as well: the costliest
/// step, reducing a fraction of two numbers of this size, takes a few milliseconds.
pub const MAX_ANSWER_CHARS: usize = 4_096;

/// Most ground truths of one item: the clock is looked at between items, not within one.
pub const MAX_GROUND_TRUTHS: usize = 64;

/// Largest magnitude of the exponent in `a \times 10^{n}`, so that a few characters cannot ask for a huge number.
pub const MAX_EXPONENT: u32 = 4_096;

/// Deepest nesting of groups and brackets: it bounds the recursion over every tree.
pub const MAX_NESTING: usize = 64;

/// Most tokens of one answer.
pub const MAX_TOKENS: usize = 2_048;

/// Most items in one batch.
pub const MAX_BATCH_ITEMS: usize = 65_536;

/// Longest time of one item before its thread is given up.
pub(crate) const ITEM_TIME: Duration = Duration::from_secs(1);

/// How a server uses its machine.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Batches and parts of batches that are graded at once, over all requests.
    pub threads: NonZeroUsize,
    /// Longest time that a batch is worked on; a client that sets a deadline may ask for less. It is well below the
    /// time that a process has to end after SIGTERM, so that a batch which has just begun is still answered.
    pub batch_time: Duration,
    /// An item that takes longer hangs: its thread is given up and another one takes its place. It is far longer than
    /// the 20 ms that the step budget allows, so that a busy machine is not taken for a fault.
    pub item_time: Duration,
    /// Longest wait for requests under way after the shutdown began.
    pub drain_time: Duration,
    /// Batches that may wait for a thread, over all connections. One more is refused if it comes as a call of its own,
    /// and held back if it comes in a stream.
    pub waiting_batches: NonZeroUsize,
    /// Batches of one stream that are worked on, or wait to be read by the client, at a time.
    pub stream_batches: NonZeroUsize,
    /// Most bytes of verdicts that are kept for the next time the same answer comes; none are kept at 0.
    pub cache_bytes: u64,
}

const DEFAULT_WAITING_BATCHES: NonZeroUsize = NonZeroUsize::new(256).expect("not zero");
const DEFAULT_STREAM_BATCHES: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");
/// The size of a server's cache by default. Answers and ground truths are short, so that it holds some hundred thousand
/// verdicts.
pub const DEFAULT_CACHE_MIB: u64 = 64;

impl ServerLimits {
    /// The usual limits with this many threads.
    pub fn with_threads(threads: NonZeroUsize) -> Self {
        Self {
            threads,
            batch_time: Duration::from_secs(5),
            item_time: ITEM_TIME,
            drain_time: Duration::from_secs(6),
            waiting_batches: DEFAULT_WAITING_BATCHES,
            stream_batches: DEFAULT_STREAM_BATCHES,
            cache_bytes: DEFAULT_CACHE_MIB << 20,
        }
    }
}
