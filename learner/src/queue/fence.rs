//! The right of one learner to a job: a key in Redis with the learner's name, renewed as long as it works on the job. A
//! second learner is refused with the first one's address, and one that has lost the right stops before it writes.
//!
//! A restarted learner has its right back at once, because its name is made of the machine and the runs directory, which
//! one process at a time can lock. A copy of that directory is another learner.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use anytime_proto::JobId;
use anytime_service::clock;
use redis::Script;

use super::redis::{RedisConnection, RedisUnavailable};
use crate::lock::lock;

/// How long a right lasts that is not renewed. The monitor renews it every two seconds.
pub const LASTS: Duration = Duration::from_secs(8);

/// Takes the right, or renews it, unless somebody else has it. In that case it returns the holder.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local holder = redis.call('GET', KEYS[1])
        if holder and string.match(holder, '^%S*') ~= string.match(ARGV[1], '^%S*') then return holder end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        return ''
        ",
    )
});

/// Gives the right back, if it is still this learner's.
static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return ''")
});

/// Another learner has the right to a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "another learner, at {address}, works on this job: two on one Redis need runs directories and job names of their own, \
     or --cluster names that differ; end one of them"
)]
pub struct HeldByAnother {
    /// The address at which it serves, by its own account.
    pub address: String,
}

/// Who a learner is to others that use the same Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnerName {
    /// Tells it from every other one: the machine and the runs directory.
    pub id: String,
    /// Where it serves, for people.
    pub address: String,
}

impl LearnerName {
    /// The name of the learner on this machine with this runs directory.
    ///
    /// # Errors
    /// If the directory cannot be looked at.
    pub fn of(runs_directory: &Path, address: &str) -> std::io::Result<Self> {
        let directory = runs_directory.canonicalize()?;
        let metadata = directory.metadata()?;
        let machine = nix::unistd::gethostname().unwrap_or_default();
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(machine.as_encoded_bytes())
            .update(&[0])
            .update(directory.as_os_str().as_encoded_bytes())
            .update(&metadata.dev().to_le_bytes())
            .update(&metadata.ino().to_le_bytes());
        let id = hasher.finalize().to_hex()[..24].to_owned();
        let address = format!("{address} on {}", machine.to_string_lossy());
        Ok(Self { id, address })
    }

    /// The name and the address as they are written in Redis.
    pub(super) fn value(&self) -> String {
        format!("{} {}", self.id, self.address)
    }
}

/// The address in what Redis holds.
fn address_of(value: &str) -> String {
    value.split_once(' ').map_or(value, |(_, address)| address).to_owned()
}

/// The right of this learner to one job. The queue's scripts look at it with every change.
pub struct Fence {
    redis: Arc<RedisConnection>,
    pub(super) key: String,
    pub(super) value: String,
    right: Mutex<Right>,
}

/// What a learner knows of its right to a job. A state machine without clock or I/O.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Right {
    /// When the last renewal that succeeded was asked for.
    renewed: Option<Instant>,
    lost_to: Option<HeldByAnother>,
}

impl Right {
    /// Redis gave the right, or renewed it. It counts from `asked`, when the learner sent the request: Redis cannot
    /// have begun to count earlier.
    pub fn is_given(&mut self, asked: Instant) {
        self.renewed = Some(asked);
        self.lost_to = None;
    }

    /// Redis said that another learner has it.
    pub fn is_lost_to(&mut self, rival: HeldByAnother) {
        self.lost_to = Some(rival);
    }

    /// The learner is about to give it back.
    pub fn is_given_back(&mut self) {
        self.renewed = None;
    }

    /// Who has the right instead, as far as is known.
    pub fn lost_to(&self) -> Option<&HeldByAnother> {
        self.lost_to.as_ref()
    }

    /// Whether nobody else can have the right now, unless Redis forgot it: the last renewal has not run out.
    pub fn is_certain(&self, now: Instant) -> bool {
        let renewed = self.renewed.is_some_and(|renewed| now < renewed + LASTS);
        renewed && self.lost_to.is_none()
    }
}

impl Fence {
    /// The right to a job of this cluster, not yet taken.
    pub fn new(redis: Arc<RedisConnection>, cluster: &str, job_id: &JobId, name: &LearnerName) -> Self {
        Self {
            redis,
            key: format!("{cluster}:{job_id}:learner"),
            value: name.value(),
            right: Mutex::default(),
        }
    }

    /// Takes the right, or renews it. Returns the learner that has it instead, if there is one.
    ///
    /// # Errors
    /// If Redis is unavailable.
    pub async fn take(&self) -> Result<Result<(), HeldByAnother>, RedisUnavailable> {
        let asked = clock::now();
        let mut call = TAKE.key(&self.key);
        call.arg(&self.value).arg(LASTS.as_millis() as u64);
        let holder: String = self
            .redis
            .run(async |mut connection| call.invoke_async(&mut connection).await)
            .await?;
        if holder.is_empty() {
            lock(&self.right).is_given(asked);
            return Ok(Ok(()));
        }
        Ok(Err(self.is_lost_to(&holder)))
    }

    /// Notes that a script found somebody else.
    pub(super) fn is_lost_to(&self, holder: &str) -> HeldByAnother {
        let rival = HeldByAnother {
            address: address_of(holder),
        };
        lock(&self.right).is_lost_to(rival.clone());
        rival
    }

    /// Who has the right instead, as far as is known.
    pub fn lost_to(&self) -> Option<HeldByAnother> {
        lock(&self.right).lost_to().cloned()
    }

    /// Whether nobody else can have the right now: the last renewal has not run out.
    pub fn is_certain(&self, now: Instant) -> bool {
        lock(&self.right).is_certain(now)
    }

    /// Gives the right back, so that another learner need not wait.
    ///
    /// # Errors
    /// If Redis is unavailable; the right runs out by itself then.
    pub async fn give_back(&self) -> Result<(), RedisUnavailable> {
        lock(&self.right).is_given_back();
        let mut call = GIVE_BACK.key(&self.key);
        call.arg(&self.value);
        let give_back = async |mut connection| call.invoke_async::<String>(&mut connection).await;
        self.redis.run(give_back).await.map(|_| ())
    }
}
