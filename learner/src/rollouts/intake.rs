//! Pushed groups on their way into the queue. They are read and looked at beside the runtime's threads, which answer
//! everybody else meanwhile, and only so many bytes of them are on their way at a time: others wait for their turn as
//! they came, so that neither their decoded tokens nor the commands to Redis pile up.

use std::num::NonZero;

use anytime_proto::{InvalidGroup, check_group, decode_group, v1};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::inspection::longest_thinking;
use super::session::Asked;

/// Groups of this many bytes, as they travel, may be on their way at a time; a single one may be larger.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// What one permit stands for.
const BYTES_PER_PERMIT: usize = 1024;

/// A group that is no longer than this is read at once: handing it to another thread would cost more.
const READ_AT_ONCE: usize = 32 * 1024;

/// The way of pushed groups into the queue.
pub(super) struct Intake {
    bytes: Semaphore,
    /// No more groups are read at a time than there are cores.
    readers: Semaphore,
}

impl Default for Intake {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            bytes: Semaphore::new(MOST_BYTES / BYTES_PER_PERMIT),
            readers: Semaphore::new(cores),
        }
    }
}

/// A group that is refused for good.
pub(super) struct Refused {
    /// What is wrong with it.
    pub(super) invalid: InvalidGroup,
    /// Tokens of its longest thinking; 0 where it cannot be read.
    pub(super) thinking_tokens: usize,
    /// Whether it can be read at all.
    pub(super) is_readable: bool,
}

impl Intake {
    /// Waits until a group of so many bytes may be on its way, which it is until what is returned is dropped.
    pub(super) async fn enter(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let permits = bytes.min(MOST_BYTES).div_ceil(BYTES_PER_PERMIT);
        // The semaphore is never closed.
        self.bytes.acquire_many(permits as u32).await.ok()
    }

    /// Reads a group and looks at everything that it says by itself, and beside what was asked for where that is known.
    /// None where it is of another problem or plan than its lease.
    pub(super) async fn look_at(&self, wire: &Bytes, asked: Option<Asked>) -> Result<Option<v1::ScoredGroup>, Refused> {
        if wire.len() <= READ_AT_ONCE {
            return look_at(wire, asked.as_ref());
        }
        let _reader = self.readers.acquire().await;
        let wire = wire.clone();
        let looking = tokio::task::spawn_blocking(move || look_at(&wire, asked.as_ref()));
        looking.await.unwrap_or_else(|error| {
            Err(Refused {
                invalid: InvalidGroup {
                    place: "group".to_owned(),
                    problem: format!("was not read: {error}"),
                },
                thinking_tokens: 0,
                is_readable: false,
            })
        })
    }
}

fn look_at(wire: &[u8], asked: Option<&Asked>) -> Result<Option<v1::ScoredGroup>, Refused> {
    let group = decode_group(wire).map_err(|invalid| Refused {
        invalid,
        thinking_tokens: 0,
        is_readable: false,
    })?;
    let refused = |invalid| Refused {
        invalid,
        thinking_tokens: longest_thinking(&group),
        is_readable: true,
    };
    check_group(&group).map_err(refused)?;
    if let Some(asked) = asked {
        if !asked.is_of_plan(&group) {
            return Ok(None);
        }
        asked.inspect(&group).map_err(refused)?;
    }
    Ok(Some(group))
}
