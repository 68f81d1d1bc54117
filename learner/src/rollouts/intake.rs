//! Pushed groups on their way into the queue. They are decoded and checked on threads beside the runtime's, which keep
//! answering other requests. Only a bounded number of bytes is on its way at a time and the rest waits undecoded, so
//! that neither decoded tokens nor commands to Redis pile up.

use std::num::NonZero;

use anytime_proto::{InvalidGroup, check_group, decode_group, v1};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::inspection::longest_thinking;
use super::session::Asked;

/// The most bytes of groups, encoded, that are on their way at a time. A single group may be larger.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// The most bytes of groups that wait for room in a full queue, beside those that are on their way.
const MOST_WAITING_BYTES: usize = 32 * 1024 * 1024;

/// What one permit stands for.
const BYTES_PER_PERMIT: usize = 1024;

/// A group that is no longer than this is read at once: handing it to another thread would cost more.
const READ_AT_ONCE: usize = 32 * 1024;

/// The way of pushed groups into the queue.
pub(super) struct Intake {
    bytes: Semaphore,
    /// The groups that wait for room.
    waiting: Semaphore,
    /// Bounds the groups that are decoded at a time by the number of cores.
    readers: Semaphore,
}

impl Default for Intake {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            bytes: Semaphore::new(MOST_BYTES / BYTES_PER_PERMIT),
            waiting: Semaphore::new(MOST_WAITING_BYTES / BYTES_PER_PERMIT),
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
    /// Waits until a group of this many bytes may be on its way. It counts until the returned permit is dropped.
    pub(super) async fn enter(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let permits = bytes.min(MOST_BYTES).div_ceil(BYTES_PER_PERMIT);
        // The semaphore is never closed.
        self.bytes.acquire_many(permits as u32).await.ok()
    }

    /// A place among the groups that wait for room in the queue; None where too many bytes wait already. It counts until
    /// the permit is dropped.
    pub(super) fn wait_outside(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        self.waiting
            .try_acquire_many(bytes.div_ceil(BYTES_PER_PERMIT) as u32)
            .ok()
    }

    /// Decodes a group and checks it by itself and, where it is known, against what was asked for. None where it is of
    /// another problem or plan than its lease.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_bytes_wait_for_room_and_they_keep_nobody_else_out() {
        let intake = Intake::default();
        let first = intake.wait_outside(MOST_WAITING_BYTES / 2).expect("room");
        let _second = intake.wait_outside(MOST_WAITING_BYTES / 2).expect("room");
        assert!(intake.wait_outside(1).is_none(), "too many wait");
        assert_eq!(intake.bytes.available_permits(), MOST_BYTES / BYTES_PER_PERMIT);
        drop(first);
        assert!(intake.wait_outside(1).is_some());
        assert!(
            intake.wait_outside(2 * MOST_WAITING_BYTES).is_none(),
            "a group that is too large"
        );
    }
}
