//! Work on all cores: the cases of a test, and of its long form, know nothing of each other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many threads are one for each core.
pub fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Hands out numbers from 0 to threads until one of them says that it is enough.
///
/// # Panics
/// If a case did; it has said how to repeat it.
pub fn on_all(threads: usize, work: impl Fn(u64) -> bool + Sync) {
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let one = || {
        while !enough.load(Ordering::Relaxed) {
            if !work(next.fetch_add(1, Ordering::Relaxed)) {
                enough.store(true, Ordering::Relaxed);
            }
        }
    };
    let failed = std::thread::scope(|scope| {
        let guarded = || {
            let done = catch_unwind(AssertUnwindSafe(one));
            enough.store(true, Ordering::Relaxed);
            done.is_err()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(guarded)).collect();
        threads.into_iter().any(|thread| thread.join().unwrap_or(true))
    });
    assert!(!failed, "a case failed");
}

/// Does something for each of these, and says what came of each.
///
/// # Panics
/// If it did for one of them.
pub fn for_each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    on_all(count().min(items.len()), |n| {
        let Some(i) = usize::try_from(n).ok().filter(|i| *i < items.len()) else { return false };
        let result = work(&items[i]);
        *results[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        true
    });
    results.into_iter().filter_map(|result| result.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}
