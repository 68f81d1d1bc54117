//! Sizes and deadlines that both ends of a connection agree on.

use std::time::Duration;

/// Largest message accepted on any connection, in bytes. A scored group of 16 traces of 32,000 tokens is about 10 MB.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// What a line of the learner's `--check` begins with that says how far a download is, for whoever has started it.
pub const PROGRESS: &str = "progress: ";

/// Largest message once it is decoded, in bytes of memory. It is measured before anything is decoded. A group of tokens
/// takes about twice the bytes in memory that it takes on the wire.
pub const MAX_DECODED_BYTES: usize = 4 * MAX_MESSAGE_BYTES;

/// Largest report that an actor sends of itself with a lease request, in bytes; a larger one is not kept. A diagnosis
/// holds one of every actor.
pub const MAX_REPORT_BYTES: usize = 4 * 1024;

/// Bytes of one entry in one chunk of weights: far below the message limit, large enough that framing costs nothing.
pub const WEIGHTS_CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Deadline of a call that only moves a message.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest that a learner may hold a lease request open; the caller waits [`CALL_TIMEOUT`] longer.
pub const MAX_LEASE_WAIT: Duration = Duration::from_secs(10);

/// How long a learner holds a push open whose group the full queue keeps out, in case there is room soon. An actor that
/// drains waits longer than this for an answer.
pub const MAX_PUSH_WAIT: Duration = Duration::from_secs(1);

/// Deadline for establishing a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream of weights that brings nothing for this long counts as dead.
pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// HTTP/2 keep-alive: a peer that vanished or hangs is noticed after interval + timeout, within ten seconds.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(4);

/// How long a keep-alive ping may go unanswered.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest frame that either end of a connection takes. Groups and weights come in hundreds of kilobytes and more:
/// in frames of 16 KiB, which is HTTP/2's default, they cost noticeably more.
pub const MAX_FRAME_BYTES: u32 = 256 * 1024;

/// Connections that a server has open at a time; more are closed at once.
pub const MAX_CONNECTIONS: usize = 4096;

/// How long the calls of a connection that has become old may go on before it is closed. No call has a longer deadline; an
/// export has this one.
pub const CONNECTION_GRACE: Duration = Duration::from_secs(1800);

/// A connection that does not send its first byte within this time is closed.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// Calls and streams that one connection has open at a time.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 1024;

/// Every process ends within this time of a SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
