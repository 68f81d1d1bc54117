//! The dead letters of one job: the groups that were delivered several times and could not be trained, with the reasons.
//! They are a stream in Redis, `{cluster}:{job_id}:dead`, beside the queue. A sequence becomes a dead letter and is settled
//! as skipped in one script, and the same holds for the way back. So a letter is of a sequence that is left out.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use redis::{FromRedisValue, ParsingError, Script, Value};

use super::groups::{GroupQueue, fenced};
use super::redis::RedisUnavailable;

/// A job keeps this many dead letters, the newest.
pub const MAX_DEAD_LETTERS: usize = 64;

/// The largest group that is kept with its letter, in bytes: what cannot be trained may be of any size. All letters of a
/// job together keep 256 MiB at most.
const LARGEST_KEPT: usize = 4 * 1024 * 1024;

/// The most bytes of a text that an actor wrote, or that says what it wrote: texts stand in the log and the events too.
const LONGEST_TEXT: usize = 1024;

/// Settles a sequence as skipped and adds its letter, unless it is settled so already.
static BURY: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 'foreign' end
        local known = redis.call('HGET', KEYS[2], ARGV[3])
        if known == 'skipped' then return 'buried' end
        redis.call('HDEL', KEYS[1], ARGV[3])
        redis.call('HSET', KEYS[2], ARGV[3], 'skipped')
        redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[2], '*', 'sequence', ARGV[3], 'problem', ARGV[4], 'actor', ARGV[5],
            'reason', ARGV[6], 'deliveries', ARGV[7], 'group', ARGV[8])
        return 'buried'
        ",
    )
});

/// Removes the letters of a sequence and forgets how it was settled, so that its group may come again.
static DIG_UP: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 'foreign' end
        local start = '-'
        while true do
            local entries = redis.call('XRANGE', KEYS[4], start, '+', 'COUNT', 1)
            if #entries == 0 then break end
            if entries[1][2][2] == ARGV[2] then redis.call('XDEL', KEYS[4], entries[1][1]) end
            start = '(' .. entries[1][1]
        end
        if redis.call('HGET', KEYS[2], ARGV[2]) == 'skipped' then redis.call('HDEL', KEYS[2], ARGV[2]) end
        return 'open'
        ",
    )
});

/// The letters, oldest first, each with the size of its group instead of the group. The script reads them one by one,
/// because Redis cannot look at an entry without copying its group.
static LIST: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local letters = {}
        local start = '-'
        while true do
            local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 1)
            if #entries == 0 then return letters end
            local id, fields = entries[1][1], entries[1][2]
            letters[#letters + 1] = {id, fields[2], fields[4], fields[6], fields[8], fields[10], tostring(#fields[12])}
            start = '(' .. id
        end
        ",
    )
});

/// One letter: of a group that was delivered and could not be trained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// The place of its problem in the order of training.
    pub sequence: u64,
    /// Its problem; empty where no group was delivered.
    pub problem_id: String,
    /// Who delivered it, or gave it back, last.
    pub actor_id: String,
    /// Why the last delivery could not be trained.
    pub reason: String,
    /// How many deliveries could not be trained.
    pub deliveries: u32,
    /// The group as it was delivered last; empty where none was.
    pub group: Vec<u8>,
}

impl DeadLetter {
    /// The letter within its bounds: its texts are cut, and a group that is too large is left out.
    pub(crate) fn bounded(mut self) -> Self {
        for text in [&mut self.problem_id, &mut self.actor_id, &mut self.reason] {
            cut(text);
        }
        if self.group.len() > LARGEST_KEPT {
            self.reason = format!(
                "{} (the group has {} bytes and is not kept)",
                self.reason,
                self.group.len()
            );
            self.group = Vec::new();
        }
        self
    }
}

/// Cuts a text that an actor wrote.
pub(crate) fn cut(text: &mut String) {
    if text.len() > LONGEST_TEXT {
        let fits = (0..=LONGEST_TEXT).rev().find(|index| text.is_char_boundary(*index));
        text.truncate(fits.unwrap_or(0));
        text.push('…');
    }
}

/// A letter in the list: all but its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLetter {
    /// When it was written, in milliseconds since 1970, by the clock of Redis.
    pub unix_ms: u64,
    /// The letter, without its group.
    pub letter: DeadLetter,
    /// The size of the group.
    pub group_bytes: u64,
    /// The id of the entry.
    id: String,
}

impl FromRedisValue for ListedLetter {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Parts = (String, u64, String, String, Vec<u8>, u32, u64);
        let (id, sequence, problem_id, actor_id, reason, deliveries, group_bytes): Parts =
            redis::from_redis_value(value)?;
        let unix_ms = id.split('-').next().and_then(|digits| digits.parse().ok());
        Ok(Self {
            unix_ms: unix_ms.unwrap_or_default(),
            letter: DeadLetter {
                sequence,
                problem_id,
                actor_id,
                reason: String::from_utf8_lossy(&reason).into_owned(),
                deliveries,
                group: Vec::new(),
            },
            group_bytes,
            id,
        })
    }
}

impl GroupQueue {
    /// Settles a sequence as skipped and keeps its letter. May be repeated.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn bury(&self, letter: &DeadLetter) -> Result<(), RedisUnavailable> {
        let answer: String = self
            .run(&BURY, |call| {
                call.arg(MAX_DEAD_LETTERS)
                    .arg(letter.sequence)
                    .arg(&letter.problem_id)
                    .arg(&letter.actor_id)
                    .arg(&letter.reason)
                    .arg(letter.deliveries)
                    .arg(&letter.group);
            })
            .await?;
        if answer == "buried" {
            Ok(())
        } else {
            Err(self.keys_are_gone())
        }
    }

    /// Removes the letter of a sequence, which is treated as if it had never come. May be repeated.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dig_up(&self, sequence: u64) -> Result<(), RedisUnavailable> {
        let answer: String = self
            .run(&DIG_UP, |call| {
                call.arg(sequence);
            })
            .await?;
        if answer == "open" {
            Ok(())
        } else {
            Err(self.keys_are_gone())
        }
    }

    /// The letters without their groups, the oldest first. They can be read whoever works on the job, and after its end.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_letters(&self) -> Result<Vec<ListedLetter>, RedisUnavailable> {
        let list = async |mut connection| LIST.key(self.dead_key()).invoke_async(&mut connection).await;
        self.redis().run(list).await
    }

    /// How many letters there are.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_letter_count(&self) -> Result<u64, RedisUnavailable> {
        let key = self.dead_key().to_owned();
        let count = async |mut connection| redis::cmd("XLEN").arg(key).query_async(&mut connection).await;
        self.redis().run(count).await
    }

    /// The sequences that have a letter.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_sequences(&self) -> Result<BTreeSet<u64>, RedisUnavailable> {
        let letters = self.dead_letters().await?;
        Ok(letters.into_iter().map(|listed| listed.letter.sequence).collect())
    }

    /// The letter of a sequence with the group; none where there is none.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn dead_letter(&self, sequence: u64) -> Result<Option<(ListedLetter, Vec<u8>)>, RedisUnavailable> {
        let letters = self.dead_letters().await?;
        let Some(listed) = letters.into_iter().find(|listed| listed.letter.sequence == sequence) else {
            return Ok(None);
        };
        let read = async |mut connection| {
            redis::cmd("XRANGE")
                .arg(self.dead_key())
                .arg(&listed.id)
                .arg(&listed.id)
                .query_async::<Vec<(String, Vec<Vec<u8>>)>>(&mut connection)
                .await
        };
        let entries = self.redis().run(read).await?;
        let group = entries.into_iter().next().and_then(|(_, mut fields)| fields.pop());
        Ok(group.map(|group| (listed, group)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_actor_wrote_is_kept_within_bounds() {
        let letter = DeadLetter {
            problem_id: "ä".repeat(1_000_000),
            reason: "r".repeat(60_000_000),
            group: vec![7; LARGEST_KEPT + 1],
            ..DeadLetter::default()
        };
        let bounded = letter.bounded();
        assert!(bounded.problem_id.len() < 1100 && bounded.problem_id.ends_with('…'));
        assert!(bounded.reason.len() < 1200 && bounded.reason.ends_with("is not kept)"));
        assert!(bounded.group.is_empty());
        let small = DeadLetter {
            reason: "short".to_owned(),
            group: vec![7; LARGEST_KEPT],
            ..DeadLetter::default()
        };
        assert_eq!(small.clone().bounded(), small);
    }
}
