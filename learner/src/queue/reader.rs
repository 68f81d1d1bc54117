//! Reads the queue on the trainer's behalf: first what was delivered before and never settled (to this learner before
//! its restart, or to a consumer that died), then what is new.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use redis::streams::{StreamAutoClaimReply, StreamId, StreamRangeReply, StreamReadReply};
use redis::{RedisResult, Value};

use super::redis::RedisUnavailable;
use super::stream::{CONSUMER_GROUP, GroupStream};

/// Name of the trainer within the consumer group: the same after a restart, so that it gets its entries back.
const CONSUMER: &str = "trainer";

/// An entry that another consumer has held for so long is taken from it.
const CLAIM_AFTER: Duration = Duration::from_secs(60);

/// Pause between two looks at what other consumers hold.
const CLAIM_EVERY: Duration = Duration::from_secs(15);

/// Entry ids asked for at once.
const IDS_PER_CALL: usize = 1000;

/// Entries read at once: groups may be of many megabytes.
const ENTRIES_PER_CALL: usize = 8;

/// One entry of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id in the stream.
    pub id: String,
    /// The group's sequence; none where the entry is not one of ours.
    pub sequence: Option<u64>,
    /// The encoded group.
    pub payload: Vec<u8>,
}

/// See the module.
pub struct GroupReader {
    stream: GroupStream,
    /// Delivered earlier, to be read again.
    recovered: VecDeque<String>,
    /// Read and not yet dealt with.
    inbox: VecDeque<Entry>,
    /// The ids of all entries that were ever in the inbox.
    handed_out: HashSet<String>,
    /// Whether something may have been delivered whose answer was lost.
    must_recover: bool,
    claimed_at: Option<Instant>,
    claim_after: Duration,
}

impl GroupReader {
    /// A reader that starts with what was delivered and not settled.
    pub fn new(stream: GroupStream) -> Self {
        Self {
            stream,
            recovered: VecDeque::new(),
            inbox: VecDeque::new(),
            handed_out: HashSet::new(),
            must_recover: true,
            claimed_at: None,
            claim_after: CLAIM_AFTER,
        }
    }

    /// Takes entries from other consumers after this time instead of a minute.
    #[must_use]
    pub fn claiming_after(mut self, claim_after: Duration) -> Self {
        self.claim_after = claim_after;
        self
    }

    /// The queue that is read.
    pub fn stream(&self) -> &GroupStream {
        &self.stream
    }

    /// The next entry that has not been dealt with; none if there is none now. `wanted` is how many the caller can use.
    ///
    /// # Errors
    /// If Redis is unavailable. What was under way is read again the next time.
    pub async fn front(&mut self, wanted: usize) -> Result<Option<&Entry>, RedisUnavailable> {
        if self.inbox.is_empty() {
            let outcome = self.read(wanted.clamp(1, ENTRIES_PER_CALL)).await;
            self.must_recover |= outcome.is_err();
            let entries = outcome?;
            self.handed_out.extend(entries.iter().map(|entry| entry.id.clone()));
            self.inbox.extend(entries);
        }
        Ok(self.inbox.front())
    }

    /// The entry at the front has been dealt with.
    pub fn pop_front(&mut self) {
        self.inbox.pop_front();
    }

    async fn read(&mut self, count: usize) -> Result<Vec<Entry>, RedisUnavailable> {
        if self.must_recover {
            self.recover().await?;
            self.must_recover = false;
        }
        if self
            .claimed_at
            .is_none_or(|time| time.elapsed() >= CLAIM_EVERY.min(self.claim_after))
        {
            self.claim().await?;
            self.claimed_at = Some(Instant::now());
        }
        while let Some(id) = self.recovered.pop_front() {
            if let Some(entry) = self.read_again(&id).await? {
                return Ok(vec![entry]);
            }
        }
        let read = async |mut connection| -> RedisResult<Option<StreamReadReply>> {
            redis::cmd("XREADGROUP")
                .arg("GROUP")
                .arg(CONSUMER_GROUP)
                .arg(CONSUMER)
                .arg("COUNT")
                .arg(count)
                .arg("STREAMS")
                .arg(self.stream.groups_key())
                .arg(">")
                .query_async(&mut connection)
                .await
        };
        let reply = self.stream.redis().run(read).await?.unwrap_or_default();
        Ok(reply.keys.into_iter().flat_map(|key| key.ids).map(entry_of).collect())
    }

    /// Lists what this consumer was given and has not settled.
    async fn recover(&mut self) -> Result<(), RedisUnavailable> {
        let mut found = Vec::new();
        let mut start = "-".to_owned();
        loop {
            let pending = async |mut connection| -> RedisResult<Vec<(String, Value, Value, Value)>> {
                redis::cmd("XPENDING")
                    .arg(self.stream.groups_key())
                    .arg(CONSUMER_GROUP)
                    .arg(&start)
                    .arg("+")
                    .arg(IDS_PER_CALL)
                    .arg(CONSUMER)
                    .query_async(&mut connection)
                    .await
            };
            let page = self.stream.redis().run(pending).await?;
            let Some((last, ..)) = page.last() else {
                break;
            };
            start = format!("({last}");
            found.extend(page.into_iter().map(|(id, ..)| id));
        }
        self.recovered = found.into_iter().filter(|id| !self.handed_out.contains(id)).collect();
        Ok(())
    }

    /// Takes over what a consumer that died was given.
    async fn claim(&mut self) -> Result<(), RedisUnavailable> {
        let mut start = "0-0".to_owned();
        loop {
            let claim = async |mut connection| -> RedisResult<StreamAutoClaimReply> {
                redis::cmd("XAUTOCLAIM")
                    .arg(self.stream.groups_key())
                    .arg(CONSUMER_GROUP)
                    .arg(CONSUMER)
                    .arg(self.claim_after.as_millis() as u64)
                    .arg(&start)
                    .arg("COUNT")
                    .arg(IDS_PER_CALL)
                    .arg("JUSTID")
                    .query_async(&mut connection)
                    .await
            };
            let reply = self.stream.redis().run(claim).await?;
            for claimed in reply.claimed {
                let is_new = !self.handed_out.contains(&claimed.id) && !self.recovered.contains(&claimed.id);
                if is_new {
                    self.recovered.push_back(claimed.id);
                }
            }
            if reply.next_stream_id == "0-0" {
                return Ok(());
            }
            start = reply.next_stream_id;
        }
    }

    async fn read_again(&self, id: &str) -> Result<Option<Entry>, RedisUnavailable> {
        let range = async |mut connection| -> RedisResult<StreamRangeReply> {
            redis::cmd("XRANGE")
                .arg(self.stream.groups_key())
                .arg(id)
                .arg(id)
                .query_async(&mut connection)
                .await
        };
        let reply = self.stream.redis().run(range).await?;
        Ok(reply.ids.into_iter().next().map(entry_of))
    }
}

fn entry_of(stream_id: StreamId) -> Entry {
    let mut fields: HashMap<String, Value> = stream_id.map;
    let mut bytes_of = |name: &str| match fields.remove(name) {
        Some(Value::BulkString(bytes)) => bytes,
        _ => Vec::new(),
    };
    let payload = bytes_of("group");
    let sequence = String::from_utf8(bytes_of("sequence"))
        .ok()
        .and_then(|text| text.parse().ok());
    Entry {
        id: stream_id.id,
        sequence,
        payload,
    }
}
