//! Ports for processes that need the same one after a restart, or cannot tell which one they took.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The kernel gives ports above these to outgoing connections, and would give them away while a server is restarted.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

static NEXT: OnceLock<AtomicU16> = OnceLock::new();

/// A loopback address that is free now, and given to nobody else by this process.
pub fn free_address() -> String {
    // Test processes that run at the same time start far from each other.
    let next = NEXT.get_or_init(|| AtomicU16::new((std::process::id() * 97 % u32::from(COUNT)) as u16));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no port from {FIRST} on is free");
}
