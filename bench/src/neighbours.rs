//! Other work on the machine: threads that keep a core each busy while a case is measured, as another program does that
//! computes without a pause. To the system's scheduler a thread of this process is like one of any other.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Context as _;

/// How much a thread computes before it looks whether it shall end.
const ROUNDS: u32 = 10_000;

/// Busy threads, which end when this is dropped.
pub struct Neighbours {
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Neighbours {
    /// Starts `count` busy threads.
    ///
    /// # Errors
    /// If the operating system has no thread to give.
    pub fn start(count: usize) -> anyhow::Result<Self> {
        let end = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::with_capacity(count);
        for _ in 0..count {
            let end = Arc::clone(&end);
            let thread = std::thread::Builder::new().name("neighbour".to_owned());
            threads.push(thread.spawn(move || compute(&end)).context("busy thread")?);
        }
        Ok(Self { end, threads })
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It computes nothing that could panic.
            let _ = thread.join();
        }
    }
}

fn compute(end: &AtomicBool) {
    let mut number: u64 = 1;
    while !end.load(Ordering::Relaxed) {
        for _ in 0..ROUNDS {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}
