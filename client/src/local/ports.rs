//! Loopback ports for children that cannot tell which one they took.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;
use rand::RngExt as _;

/// The kernel gives ports above these (32768 and up by default) to outgoing connections: one of those would be taken by
/// accident between our look and the child's, and on a busy machine it is.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// Where the search goes on, so that no port is given twice. It starts at random, so that two runs try different ports.
static NEXT: OnceLock<AtomicU16> = OnceLock::new();

/// An address that is free now. Somebody else could take it before the child does: then the child says so and the run
/// ends, which is as rare as it is harmless.
///
/// # Errors
/// If no port is free.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    let next = NEXT.get_or_init(|| AtomicU16::new(rand::rng().random_range(0..COUNT)));
    for _ in 0..COUNT {
        let offset = next.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + offset));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!(
        "no port from {FIRST} to {} is free on {}",
        FIRST + COUNT - 1,
        Ipv4Addr::LOCALHOST
    )
}
