//! The replay queue of one job in Redis. Two keys, both hashes:
//!
//! - `{cluster}:{job_id}:groups`: the encoded groups (prost) that wait or that the trainer has taken, by sequence. A group
//!   is deleted when its sequence is settled.
//! - `{cluster}:{job_id}:seen`: what is known of each sequence (that it is queued, or how it was settled) and, under
//!   `owner`, which job of that name the keys belong to. How it was settled is forgotten once a recovery checkpoint holds
//!   that all sequences up to it have ended: the lease table knows it from there.
//!
//! Both change together, in scripts, so that a group is there exactly if `seen` says so. The bytes of a group pass through
//! no script, which would copy them into Lua and out again: a transaction sets the field, and the script beside it takes
//! the field back where the group must not be queued.
//!
//! Another key holds the [`dead_letters`](super::dead_letters), and every script looks at the learner's right to the job
//! ([`fence`](super::fence)): of several learners on one Redis only the one that has it reads and writes. Its trainer is
//! the only reader of a queue.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use anytime_proto::JobId;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, Script, ScriptInvocation, ServerErrorKind};

use super::fence::Fence;
use super::redis::{RedisConnection, RedisUnavailable};

/// Takes the keys over: those of an earlier job with the same name are deleted. Returns the hash `seen`, without queued
/// sequences whose groups somebody else has deleted, and deletes groups that somebody else has added. Earlier versions of
/// this program kept the groups in a stream, which is deleted: its groups are leased again.
static OPEN: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        local is_hash = redis.call('TYPE', KEYS[1])['ok'] == 'hash'
        if not is_hash then redis.call('UNLINK', KEYS[1]) end
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then
            redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[4])
            redis.call('HSET', KEYS[2], 'owner', ARGV[1])
        end
        local strays = {}
        for _, sequence in ipairs(redis.call('HKEYS', KEYS[1])) do strays[sequence] = true end
        local seen = redis.call('HGETALL', KEYS[2])
        local known = {}
        for index = 1, #seen, 2 do
            local sequence, entry = seen[index], seen[index + 1]
            local was_in_stream = string.find(entry, '-', 1, true)
            if sequence ~= 'owner' and (was_in_stream or entry == 'queued' and not strays[sequence]) then
                redis.call('HDEL', KEYS[2], sequence)
            else
                known[#known + 1] = sequence
                known[#known + 1] = entry
                if entry == 'queued' then strays[sequence] = nil end
            end
        end
        for sequence in pairs(strays) do redis.call('HDEL', KEYS[1], sequence) end
        return known
        ",
    )
});

/// Whether the queue holds the group of a sequence.
static IS_QUEUED: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 0 end
        return redis.call('HGET', KEYS[2], ARGV[2]) == 'queued' and 1 or 0
        ",
    )
});

/// Queues the group that the command before it, in the same transaction, has set unless there was one. The bound counts
/// groups that the trainer has not taken (`ARGV[4]` are taken and not settled). A group of another length than the pushed
/// one (`ARGV[5]`) was set by somebody else.
static PUSH: LazyLock<Script> = LazyLock::new(|| {
    fenced_or(
        TAKE_BACK,
        &format!(
            r"
        local known = redis.call('HGET', KEYS[2], ARGV[2])
        if known == 'queued' then return 'duplicate' end
        local refusal = known and 'duplicate'
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then refusal = 'foreign' end
        if not refusal and redis.call('HLEN', KEYS[1]) - tonumber(ARGV[4]) > tonumber(ARGV[3]) then refusal = 'full' end
        if not refusal and redis.call('HSTRLEN', KEYS[1], ARGV[2]) ~= tonumber(ARGV[5]) then refusal = 'foreign' end
        if refusal then {TAKE_BACK} return refusal end
        redis.call('HSET', KEYS[2], ARGV[2], 'queued')
        return 'accepted'
        "
        ),
    )
});

/// Deletes the group that was set for a push, unless it is one that was queued before.
const TAKE_BACK: &str = r"
    if redis.call('HGET', KEYS[2], ARGV[2]) ~= 'queued' then redis.call('HDEL', KEYS[1], ARGV[2]) end
    ";

/// Deletes the groups of sequences and remembers how they were settled; with an empty verdict nothing is remembered.
static SETTLE: LazyLock<Script> = LazyLock::new(|| {
    fenced(
        r"
        if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 'foreign' end
        for index = 3, #ARGV do
            redis.call('HDEL', KEYS[1], ARGV[index])
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
            if sequence and sequence < below and redis.call('HGET', KEYS[2], name) ~= 'queued' then
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
        redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])
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
    fenced_or("", script)
}

/// The same, with what is done where another learner has the right.
fn fenced_or(otherwise: &str, script: &str) -> Script {
    Script::new(&format!(
        r"
        local holder = redis.call('GET', KEYS[3])
        local own = table.remove(ARGV)
        if holder and string.match(holder, '^%S*') ~= string.match(own, '^%S*') then
            {otherwise}
            return redis.error_reply('FENCED ' .. holder)
        end
        {script}"
    ))
}

/// What a fenced script returned.
fn unless_fenced<T>(outcome: RedisResult<T>) -> RedisResult<Result<T, Refusal>> {
    match outcome {
        Err(error) if error.code() == Some("FENCED") => Ok(Err(Refusal(error.detail().unwrap_or_default().to_owned()))),
        outcome => outcome.map(Ok),
    }
}

/// Bytes of the name of the key, the sequence and what stands between the arguments of a command; more is no error.
const MOST_OTHER_BYTES: usize = 1024;

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
    /// In the queue, taken or not.
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
pub struct GroupQueue {
    redis: Arc<RedisConnection>,
    groups_key: String,
    seen_key: String,
    dead_key: String,
    owner: String,
    fence: Arc<Fence>,
}

impl GroupQueue {
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
        let mut set = Cmd::with_capacity(4, payload.len() + MOST_OTHER_BYTES);
        set.arg("HSETNX").arg(&self.groups_key).arg(sequence).arg(payload);
        let mut decide = redis::cmd("EVALSHA");
        decide.arg(PUSH.get_hash()).arg(4);
        decide.arg(&self.groups_key).arg(&self.seen_key);
        decide.arg(&self.fence.key).arg(&self.dead_key);
        decide.arg(&self.owner).arg(sequence).arg(bound).arg(taken);
        decide.arg(payload.len()).arg(&self.fence.value);
        // Nobody sees a group that is not decided upon.
        let mut transaction = redis::pipe();
        transaction.atomic().ignore_errors();
        transaction.add_command(set).ignore().add_command(decide);
        let outcome = self.redis.run_long(async |mut connection| {
            let (decided,): (RedisResult<String>,) = transaction.query_async(&mut connection).await?;
            match decided {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    PUSH.load_async(&mut connection).await?;
                    let (decided,): (RedisResult<String>,) = transaction.query_async(&mut connection).await?;
                    unless_fenced(decided)
                }
                decided => unless_fenced(decided),
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
        let is_queued: u8 = self
            .run(&IS_QUEUED, |call| {
                call.arg(sequence);
            })
            .await?;
        if is_queued == 0 {
            return Ok(None);
        }
        let read = async |mut connection| {
            redis::cmd("HGET")
                .arg(&self.groups_key)
                .arg(sequence)
                .query_async(&mut connection)
                .await
        };
        self.redis.run(read).await
    }

    /// How many groups the queue holds, whoever wrote them.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn length(&self) -> Result<u64, RedisUnavailable> {
        let length = async |mut connection| {
            redis::cmd("HLEN")
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
        self.redis.mark_down(&error, true);
        error
    }
}
