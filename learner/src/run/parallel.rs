//! The same work for many items on a few threads.

use std::num::NonZero;
use std::thread::available_parallelism;

/// Most threads at once: a submission must leave the machine to the job that runs.
const MAX_THREADS: usize = 8;

/// With fewer items for each thread, starting it costs more than it brings.
const ITEMS_PER_THREAD: usize = 64;

/// Applies `of` to every item. The results are in the order of the items.
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(MAX_THREADS).min(items.len() / ITEMS_PER_THREAD);
    if threads <= 1 {
        return items.iter().map(of).collect();
    }
    let of = &of;
    std::thread::scope(|scope| {
        let start = |items| scope.spawn(move || -> Vec<R> { <[T]>::iter(items).map(of).collect() });
        let started: Vec<_> = items.chunks(items.len().div_ceil(threads)).map(start).collect();
        let mut made = Vec::with_capacity(items.len());
        for thread in started {
            made.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        made
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_has_the_order_of_the_items() {
        for count in [0, 1, 63, 64, 1000, 1001] {
            let items: Vec<usize> = (0..count).collect();
            let expected: Vec<usize> = items.iter().map(|item| item * 3).collect();
            assert_eq!(in_parallel(&items, |item| item * 3), expected);
        }
    }
}
