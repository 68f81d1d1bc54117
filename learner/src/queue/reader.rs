//! Reads the queue for the trainer, group by group. A read changes nothing in Redis, so that a lost answer costs only
//! another read. It asks by sequence, so that a group is found in whatever order the entries came, and even where the
//! ids of entries went backwards.

use super::redis::RedisUnavailable;
use super::stream::GroupStream;

/// The trainer's access to the queue of one job.
pub struct GroupReader {
    stream: GroupStream,
}

impl GroupReader {
    /// A reader of this queue.
    pub fn new(stream: GroupStream) -> Self {
        Self { stream }
    }

    /// The queue that is read.
    pub fn stream(&self) -> &GroupStream {
        &self.stream
    }

    /// The encoded group with this sequence; none where the queue does not hold it.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn read(&mut self, sequence: u64) -> Result<Option<Vec<u8>>, RedisUnavailable> {
        self.stream.read(sequence).await
    }
}
