//! Reads the queue on the trainer's behalf, from its oldest entry on.
//!
//! The place of the reader is an id in memory. A read changes nothing in Redis, so that a lost answer costs another
//! read and no more. After a restart of the process, and whenever the keys of the queue were opened again, the reader
//! starts over with the oldest entry, and the lease table tells which of the entries the trainer has already. It has to
//! start over then: Redis may have come back with an older state or with none, and may give ids to new entries that are
//! lower than the one in memory.

use std::collections::VecDeque;

use super::redis::RedisUnavailable;
use super::stream::{Entry, GroupStream};

/// Entries read at once. Groups may be of many megabytes.
const ENTRIES_PER_CALL: usize = 8;

/// Entries read at once after a read that failed. All entries of one read must arrive before the deadline of a command,
/// and over a slow link that may be one group and no more.
const ENTRIES_AFTER_FAILURE: usize = 1;

/// The trainer's place in the queue of one job. An entry that [`front`](Self::front) gives stays in front until
/// [`pop_front`](Self::pop_front), so that one that could not be dealt with is not lost.
pub struct GroupReader {
    stream: GroupStream,
    /// The opening of the stream to which `last_id` belongs.
    opening: u64,
    /// The id of the newest entry that was read; none where the oldest entry comes next.
    last_id: Option<String>,
    /// At most this many entries are read at once.
    entries_per_call: usize,
    /// Entries that were read and have not been dealt with, oldest first.
    inbox: VecDeque<Entry>,
}

impl GroupReader {
    /// A reader that starts with the oldest entry.
    pub fn new(stream: GroupStream) -> Self {
        Self {
            opening: stream.openings(),
            stream,
            last_id: None,
            entries_per_call: ENTRIES_PER_CALL,
            inbox: VecDeque::new(),
        }
    }

    /// The queue that is read.
    pub fn stream(&self) -> &GroupStream {
        &self.stream
    }

    /// The next entry that has not been dealt with; none if there is none now. `wanted` is how many the caller can use.
    /// After the queue was opened again, entries come once more that came before and were not settled.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn front(&mut self, wanted: usize) -> Result<Option<&Entry>, RedisUnavailable> {
        if self.inbox.is_empty() {
            // Asked before the read: where the queue is opened during the read, the next one starts over.
            let opening = self.stream.openings();
            if opening != self.opening {
                self.opening = opening;
                self.last_id = None;
            }
            let count = wanted.clamp(1, self.entries_per_call);
            let read = self.stream.entries_after(self.last_id.as_deref(), count).await;
            let entries = read.inspect_err(|_| self.entries_per_call = ENTRIES_AFTER_FAILURE)?;
            // Only now that the entries are here: those of a lost answer are read again.
            match entries.last() {
                Some(newest) => self.last_id = Some(newest.id.clone()),
                // Not sooner: the entries that were too many at once have all arrived one by one.
                None => self.entries_per_call = ENTRIES_PER_CALL,
            }
            self.inbox.extend(entries);
        }
        Ok(self.inbox.front())
    }

    /// The entry in front has been dealt with.
    pub fn pop_front(&mut self) {
        self.inbox.pop_front();
    }
}
