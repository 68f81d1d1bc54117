//! The replay queue of one job in Redis. Two keys:
//!
//! - `{cluster}:{job_id}:groups`, a stream: one entry per scored group, with the fields `sequence` and `group` (prost).
//!   An entry is deleted when its sequence is settled.
//! - `{cluster}:{job_id}:seen`, a hash: what is known of each sequence (the id of its entry, or how it was settled) and,
//!   under `owner`, which job of that name the keys belong to. How it was settled is forgotten once a recovery checkpoint
//!   holds that all sequences up to it have ended: the lease table knows it from there.
//!
//! Both change together, in scripts, so that a group is in the stream exactly if the hash says so. Another key holds
//! the [`dead_letters`](super::dead_letters). Each script also checks the learner's right to the job
//! ([`fence`](super::fence)): of several learners on one Redis only the one that has it reads and writes. Its trainer
//! is the only reader of a stream, so entries need no consumer group.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use anytime_proto::JobId;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ScriptInvocation, ServerErrorKind};

use super::fence::Fence;
use super::redis::{RedisConnection, RedisUnavailable};

/// Takes the keys over, and deletes them first if they are of an earlier job with the same name. Repairs what somebody
/// else has done to the stream: sequences whose entries are gone leave the hash, and entries that are not in the hash
/// are deleted. It looks for these one by one only where the numbers differ, because Redis cannot look at an entry
/// without copying its group. Returns the hash.
static OPEN: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then
            redis.call('DEL', KEYS[1], KEYS[2], KEYS[4])
            redis.call('HSET', KEYS[2], 'owner', ARGV[1])
        end
        local seen = redis.call('HGETALL', KEYS[2])
        local queued = {}
        local known = {}
        local count = 0
        for index = 1, #seen, 2 do
            local id = seen[index + 1]
            if seen[index] ~= 'owner' and string.find(id, '-', 1, true) then
                queued[seen[index]] = id
                known[id] = true
                count = count + 1
            end
        end
        if count == redis.call('XLEN', KEYS[1]) then return seen end
        for sequence, id in pairs(queued) do
            if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
                redis.call('HDEL', KEYS[2], sequence)
                count = count - 1
            end
        end
        local start = '-'
        while redis.call('XLEN', KEYS[1]) > count do
            local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 8)
            if #entries == 0 then break end
            for _, entry in ipairs(entries) do
                if not known[entry[1]] then redis.call('XDEL', KEYS[1], entry[1]) end
                start = '(' .. entry[1]
            end
        end
        return redis.call('HGETALL', KEYS[2])
        ",
    )
});

/// Returns one group, or nothing where the queue does not hold it. An entry without a group reads as an empty one.
static READ: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return false end
        local id = redis.call('HGET', KEYS[2], ARGV[2])
        if not id or not string.find(id, '-', 1, true) then return false end
        local entries = redis.call('XRANGE', KEYS[1], id, id)
        if #entries == 0 then return false end
        local fields = entries[1][2]
        for index = 1, #fields, 2 do
            if fields[index] == 'group' then return fields[index + 1] end
        end
        return ''
        ",
    )
});

/// Adds one group. The bound (`ARGV[4]`) counts only entries that the trainer has not taken; `ARGV[5]` are taken and
/// not settled.
static PUSH: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 'foreign' end
        if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 'duplicate' end
        if redis.call('XLEN', KEYS[1]) - tonumber(ARGV[5]) >= tonumber(ARGV[4]) then return 'full' end
        local id = redis.call('XADD', KEYS[1], '*', 'sequence', ARGV[2], 'group', ARGV[3])
        redis.call('HSET', KEYS[2], ARGV[2], id)
        return 'accepted'
        ",
    )
});

/// Deletes the entries of sequences and remembers how they were settled; with an empty verdict nothing is remembered.
static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 'foreign' end
        for index = 3, #ARGV do
            local id = redis.call('HGET', KEYS[2], ARGV[index])
            if id and string.find(id, '-', 1, true) then
                redis.call('XDEL', KEYS[1], id)
            end
            if ARGV[2] == '' then
                redis.call('HDEL', KEYS[2], ARGV[index])
            else
                redis.call('HSET', KEYS[2], ARGV[index], ARGV[2])
            end
        end
        return 'settled'
        ",
    )
});

/// Forgets how sequences below one were settled. What is still in the queue stays.
static FORGET_BELOW: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 'foreign' end
        local below = tonumber(ARGV[2])
        for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
            local sequence = tonumber(name)
            if sequence and sequence < below
                and not string.find(redis.call('HGET', KEYS[2], name), '-', 1, true) then
                redis.call('HDEL', KEYS[2], name)
            end
        end
        return 'forgotten'
        ",
    )
});

/// Deletes the queue, whoever's job of this name it is. Its dead letters stay for a while.
static DELETE: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
        redis.call('EXPIRE', KEYS[4], ARGV[2])
        ",
    )
});

/// Dead letters are kept this long after their job has ended.
const KEEP_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Another learner has the right to the job; the text is the holder as Redis has it.
struct Refusal(String);

/// Makes a script do nothing where another learner has the right to the job, and return an error that names it. A right
/// that has run out does not stop this learner as long as nobody has taken it since.
pub(super) fn fenced(script: &str) -> Script {
    const LOOK: &str = r"
        local holder = redis.call('GET', KEYS[3])
        local own = table.remove(ARGV)
        if holder and string.match(holder, '^%S*') ~= string.match(own, '^%S*') then
            return redis.error_reply('FENCED ' .. holder)
        end
        ";
    Script::new(&format!("{LOOK}{script}"))
}

/// What a fenced script returned.
fn unless_fenced<T>(outcome: RedisResult<T>) -> RedisResult<Result<T, Refusal>> {
    match outcome {
        Err(error) if error.code() == Some("FENCED") => Ok(Err(Refusal(error.detail().unwrap_or_default().to_owned()))),
        outcome => outcome.map(Ok),
    }
}

/// Bytes that are reserved for the other arguments of a push. They may be longer.
const MOST_PUSH_ARGUMENTS: usize = 1024;

/// How many sequences one call settles. This bounds how long a script holds Redis.
const SETTLED_PER_CALL: usize = 500;

/// What Redis answered to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The group is in the queue.
    Accepted,
    /// It was there before, in the queue or settled.
    Duplicate,
    /// The queue is at its bound.
    Full,
    /// The keys of the job are not there: it has ended, or Redis came back without its data.
    KeysGone,
}

/// How a sequence leaves the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Trained, and a recovery checkpoint holds the update.
    Trained,
    /// Dropped as too old.
    Stale,
    /// Given up by actors too often.
    Skipped,
    /// Treated as if it had never come: it may come again.
    Forgotten,
}

impl Settlement {
    fn text(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Stale => "stale",
            Self::Skipped => "skipped",
            Self::Forgotten => "",
        }
    }
}

/// What Redis knows of a job's sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// In the stream, taken or not.
    pub queued: BTreeSet<u64>,
    /// Settled as trained.
    pub trained: BTreeSet<u64>,
    /// Settled as too old.
    pub stale: BTreeSet<u64>,
    /// Settled as given up.
    pub skipped: BTreeSet<u64>,
}

/// The queue of one job. Pushes add to it, the trainer reads its groups one by one and settles them. It is cheap to
/// clone.
#[derive(Clone)]
pub struct GroupStream {
    redis: Arc<RedisConnection>,
    groups_key: String,
    seen_key: String,
    dead_key: String,
    owner: String,
    fence: Arc<Fence>,
}

impl GroupStream {
    /// The queue of a job; `owner` tells it from an earlier job with the same id, and `fence` is the learner's right to
    /// it.
    pub fn new(redis: Arc<RedisConnection>, cluster: &str, job_id: &JobId, owner: String, fence: Arc<Fence>) -> Self {
        Self {
            redis,
            groups_key: format!("{cluster}:{job_id}:groups"),
            seen_key: format!("{cluster}:{job_id}:seen"),
            dead_key: format!("{cluster}:{job_id}:dead"),
            owner,
            fence,
        }
    }

    /// The learner's right to the job.
    pub fn fence(&self) -> &Arc<Fence> {
        &self.fence
    }

    pub(super) fn redis(&self) -> &RedisConnection {
        &self.redis
    }

    pub(super) fn dead_key(&self) -> &str {
        &self.dead_key
    }

    /// Runs a script over the keys. Every script gets the learner's name as its last argument.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        arguments: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T, RedisUnavailable> {
        let mut call = script.key(&self.groups_key);
        call.key(&self.seen_key)
            .key(&self.fence.key)
            .key(&self.dead_key)
            .arg(&self.owner);
        arguments(&mut call);
        call.arg(&self.fence.value);
        let outcome = self
            .redis
            .run(async |mut connection| unless_fenced(call.invoke_async(&mut connection).await));
        self.unless_refused(outcome.await?)
    }

    fn unless_refused<T>(&self, outcome: Result<T, Refusal>) -> Result<T, RedisUnavailable> {
        outcome.map_err(|Refusal(holder)| RedisUnavailable(self.fence.is_lost_to(&holder).to_string()))
    }

    /// Makes the keys ready and returns what they hold. May be repeated.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn open(&self) -> Result<Survey, RedisUnavailable> {
        let seen: HashMap<String, String> = self.run(&OPEN, |_| {}).await?;
        let mut survey = Survey::default();
        for (name, value) in seen {
            let Ok(sequence) = name.parse::<u64>() else {
                continue;
            };
            let set = match value.as_str() {
                "trained" => &mut survey.trained,
                "stale" => &mut survey.stale,
                "skipped" => &mut survey.skipped,
                _ => &mut survey.queued,
            };
            set.insert(sequence);
        }
        Ok(survey)
    }

    /// Adds a group, unless it was there before or `bound` groups wait. `taken` entries that the trainer holds do not
    /// count.
    ///
    /// # Errors
    /// If Redis is unavailable: whether the group was added is then unknown, and the caller pushes it again.
    pub async fn push(
        &self,
        sequence: u64,
        payload: &[u8],
        bound: u64,
        taken: u64,
    ) -> Result<PushOutcome, RedisUnavailable> {
        // The script is called as a plain command, which copies the payload once less.
        let mut call = Cmd::with_capacity(16, payload.len() + MOST_PUSH_ARGUMENTS);
        call.arg("EVALSHA").arg(PUSH.get_hash()).arg(4);
        call.arg(&self.groups_key).arg(&self.seen_key);
        call.arg(&self.fence.key).arg(&self.dead_key);
        call.arg(&self.owner).arg(sequence).arg(payload).arg(bound).arg(taken);
        call.arg(&self.fence.value);
        let outcome = self.redis.run_long(async |mut connection| {
            let outcome = call.query_async(&mut connection).await;
            match outcome {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    PUSH.load_async(&mut connection).await?;
                    unless_fenced(call.query_async(&mut connection).await)
                }
                outcome => unless_fenced(outcome),
            }
        });
        let answer: String = self.unless_refused(outcome.await?)?;
        match answer.as_str() {
            "accepted" => Ok(PushOutcome::Accepted),
            "duplicate" => Ok(PushOutcome::Duplicate),
            "full" => Ok(PushOutcome::Full),
            _ => Ok(PushOutcome::KeysGone),
        }
    }

    /// Takes sequences out of the queue for good. May be repeated.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn settle(&self, sequences: &[u64], settlement: Settlement) -> Result<(), RedisUnavailable> {
        for some in sequences.chunks(SETTLED_PER_CALL) {
            let answer: String = self
                .run(&SETTLE, |call| {
                    call.arg(settlement.text());
                    for sequence in some {
                        call.arg(*sequence);
                    }
                })
                .await?;
            if answer != "settled" {
                return Err(self.keys_are_gone());
            }
        }
        Ok(())
    }

    /// Forgets how the sequences below this one were settled. Call it once a recovery checkpoint holds that all of them
    /// have ended. May be repeated.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn forget_below(&self, sequence: u64) -> Result<(), RedisUnavailable> {
        let answer: String = self
            .run(&FORGET_BELOW, |call| {
                call.arg(sequence);
            })
            .await?;
        if answer == "forgotten" {
            Ok(())
        } else {
            Err(self.keys_are_gone())
        }
    }

    /// The encoded group with this sequence; none where the queue does not hold it. Nothing changes in Redis.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub(super) async fn read(&self, sequence: u64) -> Result<Option<Vec<u8>>, RedisUnavailable> {
        self.run(&READ, |call| {
            call.arg(sequence);
        })
        .await
    }

    /// How many entries the queue holds, whoever wrote them.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn length(&self) -> Result<u64, RedisUnavailable> {
        let length = async |mut connection| {
            redis::cmd("XLEN")
                .arg(&self.groups_key)
                .query_async(&mut connection)
                .await
        };
        self.redis.run(length).await
    }

    /// Deletes the queue, when the job has ended, unless another learner works on a job of this name.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn delete(&self) -> Result<(), RedisUnavailable> {
        self.run(&DELETE, |call| {
            call.arg(KEEP_SECONDS);
        })
        .await
    }

    /// As [`delete`](Self::delete), and deletes the dead letters too.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn forget(&self) -> Result<(), RedisUnavailable> {
        self.run(&DELETE, |call| {
            call.arg(0);
        })
        .await
    }

    /// The error for a Redis that came back without its data. The monitor then opens the keys again.
    pub(crate) fn keys_are_gone(&self) -> RedisUnavailable {
        self.has_lost("the keys of the job are gone")
    }

    /// The error for groups that should be in the queue and are not. The monitor then opens the keys again, which finds
    /// out which groups these are.
    pub(crate) fn entries_are_gone(&self) -> RedisUnavailable {
        self.has_lost("groups of the queue are gone")
    }

    fn has_lost(&self, what: &str) -> RedisUnavailable {
        let error = RedisUnavailable(what.to_owned());
        self.redis.mark_down(&error);
        error
    }
}
