//! BLAKE3 over tensors, on several threads where they are large.

use std::sync::LazyLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Only one core in this many hashes, because the engine generates meanwhile.
const HASHING_SHARE: usize = 4;

/// Below this size threads cost more than they bring.
const HASHED_BY_ONE_THREAD: usize = 1 << 20;

/// `None` where there are too few cores for a second thread, or no threads can be started.
static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores / HASHING_SHARE;
    if threads < 2 {
        return None;
    }
    let name = |_| "weights hash".to_owned();
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(name)
        .build()
        .ok()
});

/// Adds data to a checksum. The result does not depend on the number of threads.
pub(super) fn update(hasher: &mut blake3::Hasher, data: &[u8]) {
    match POOL.as_ref().filter(|_| data.len() >= HASHED_BY_ONE_THREAD) {
        Some(pool) => pool.install(|| hasher.update_rayon(data)),
        None => hasher.update(data),
    };
}

/// The checksum of data as a manifest writes it, in lower-case hexadecimal.
pub(super) fn checksum(data: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    update(&mut hasher, data);
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_does_not_depend_on_threads() {
        let data: Vec<u8> = (0..3 * HASHED_BY_ONE_THREAD).map(|place| (place % 251) as u8).collect();
        assert_eq!(checksum(&data), blake3::hash(&data).to_hex().to_string());
        let in_parallel = blake3::Hasher::new().update_rayon(&data).finalize();
        assert_eq!(in_parallel, blake3::hash(&data));
    }
}
