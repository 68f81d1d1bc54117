//! Reads the queue for the trainer, group by group. A read changes nothing in Redis, so that a lost answer costs only
//! another read. It asks by sequence, so that a group is found in whatever order the groups came.

use super::groups::GroupQueue;
use super::redis::RedisUnavailable;

/// The trainer's access to the queue of one job.
pub struct GroupReader {
    queue: GroupQueue,
}

impl GroupReader {
    /// A reader of this queue.
    pub fn new(queue: GroupQueue) -> Self {
        Self { queue }
    }

    /// The queue that is read.
    pub fn queue(&self) -> &GroupQueue {
        &self.queue
    }

    /// The encoded group with this sequence; none where the queue does not hold it.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn read(&mut self, sequence: u64) -> Result<Option<Vec<u8>>, RedisUnavailable> {
        self.queue.read(sequence).await
    }
}
