//! Grades batches off the async threads, in parallel, with the verdicts in order, within a time. A fault of one item
//! does not touch the others.

use std::any::Any;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anytime_proto::v1::{Verdict, VerdictKind, VerifyItem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::grade::verdict;
use crate::limits::ServerLimits;
use crate::meters::{Counted, Meters};
use crate::options::Options;

/// Grades one item. It is a parameter, so that a test can put in a function that fails.
pub(crate) type GradeItem = Arc<dyn Fn(&VerifyItem, &Options) -> Verdict + Send + Sync>;

/// With fewer items than this, a further thread costs more than it saves.
const ITEMS_PER_WORKER: usize = 16;

/// The threads that grade, shared by all requests.
#[derive(Clone)]
pub(crate) struct GradingPool {
    threads: NonZeroUsize,
    permits: Arc<Semaphore>,
    /// One permit for each batch that may wait for a thread.
    places: Arc<Semaphore>,
    grade_item: GradeItem,
    meters: Arc<Meters>,
}

/// A batch's place among those that wait; given back when it gets its first thread.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

/// One request while it is worked on.
struct Batch {
    items: Vec<VerifyItem>,
    options: Options,
    deadline: Instant,
    /// The first item that no worker has taken.
    next: AtomicUsize,
    /// Cancelled when nobody waits for the verdicts any more.
    unwanted: CancellationToken,
    /// The place in the queue, until the batch has a thread.
    place: Mutex<Option<Place>>,
}

impl GradingPool {
    /// A pool with these limits.
    pub(crate) fn new(limits: &ServerLimits, grade_item: GradeItem, meters: Arc<Meters>) -> Self {
        let semaphore = |permits: NonZeroUsize| Arc::new(Semaphore::new(permits.get().min(Semaphore::MAX_PERMITS)));
        Self {
            threads: limits.threads,
            permits: semaphore(limits.threads),
            places: semaphore(limits.waiting_batches),
            grade_item,
            meters,
        }
    }

    /// A place for a batch, unless too many wait already.
    pub(crate) fn try_admit(&self) -> Option<Place> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(self.place(Some(permit)))
    }

    /// Waits for a place for a batch. Past the deadline it needs none, because nothing of the batch is graded then.
    pub(crate) async fn admit(&self, deadline: Instant) -> Place {
        let acquired = timeout_at(deadline, self.places.clone().acquire_owned()).await;
        // The semaphore is never closed, so only the time can run out.
        let permit = acquired.ok().and_then(Result::ok);
        self.place(permit)
    }

    fn place(&self, permit: Option<OwnedSemaphorePermit>) -> Place {
        Place {
            _permit: permit,
            _counted: Counted::new(&self.meters.waiting),
        }
    }

    /// Grades a batch and returns the verdicts in the order of the items. An item that is not reached by the deadline
    /// is [`VerdictKind::OutOfTime`].
    pub(crate) async fn grade_batch(
        &self,
        items: Vec<VerifyItem>,
        options: Options,
        place: Place,
        deadline: Instant,
    ) -> Vec<Verdict> {
        let unwanted = CancellationToken::new();
        // A client that goes away drops this future; its work ends after the items in hand.
        let _cancel_on_drop = unwanted.clone().drop_guard();
        let item_count = items.len();
        let worker_count = self.threads.get().min(item_count.div_ceil(ITEMS_PER_WORKER));
        let batch = Arc::new(Batch {
            items,
            options,
            deadline,
            next: AtomicUsize::new(0),
            unwanted,
            place: Mutex::new(Some(place)),
        });

        let mut workers = JoinSet::new();
        for _ in 0..worker_count {
            workers.spawn(run_worker(self.clone(), batch.clone()));
        }
        let mut verdicts: Vec<Option<Verdict>> = vec![None; item_count];
        let mut failed = false;
        while let Some(outcome) = workers.join_next().await {
            match outcome {
                Ok(Ok(graded)) => {
                    for (index, graded_verdict) in graded {
                        verdicts[index] = Some(graded_verdict);
                    }
                }
                Ok(Err(join_error)) | Err(join_error) => {
                    error!(error = %join_error, "grading thread failed");
                    failed = true;
                }
            }
        }
        let missing = if failed {
            verdict(VerdictKind::InternalError, "", "grading thread failed")
        } else {
            verdict(VerdictKind::OutOfTime, "", "not reached within the time of the batch")
        };
        verdicts
            .into_iter()
            .map(|graded| graded.unwrap_or_else(|| missing.clone()))
            .collect()
    }

    /// Waits until no batch is worked on.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(self.threads.get()).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this can only succeed.
        let _ = self.permits.acquire_many(all).await;
    }
}

/// Waits for a thread of the pool and works on the batch there.
async fn run_worker(pool: GradingPool, batch: Arc<Batch>) -> Result<Vec<(usize, Verdict)>, JoinError> {
    let permit = tokio::select! {
        permit = timeout_at(batch.deadline, pool.permits.clone().acquire_owned()) => permit,
        () = batch.unwanted.cancelled() => return Ok(Vec::new()),
    };
    let Ok(Ok(permit)) = permit else {
        return Ok(Vec::new());
    };
    batch.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let work = move || grade_items(&batch, &pool, permit);
    tokio::task::spawn_blocking(work).await
}

/// Takes items until none is left or the time is up, and holds the thread's permit meanwhile.
fn grade_items(batch: &Batch, pool: &GradingPool, _permit: OwnedSemaphorePermit) -> Vec<(usize, Verdict)> {
    let mut graded = Vec::new();
    // One look at the clock for each item tells both how long it took and whether there is time for the next.
    let mut now = Instant::now();
    while now < batch.deadline && !batch.unwanted.is_cancelled() {
        let index = batch.next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = batch.items.get(index) else {
            break;
        };
        let item_verdict = grade_caught(index, item, &batch.options, &*pool.grade_item);
        let item_started = std::mem::replace(&mut now, Instant::now());
        pool.meters.record_pair(&item_verdict, now - item_started);
        graded.push((index, item_verdict));
    }
    graded
}

/// A panic becomes a fault of this item, and the batch goes on.
fn grade_caught(
    index: usize,
    item: &VerifyItem,
    options: &Options,
    grade_item: impl Fn(&VerifyItem, &Options) -> Verdict,
) -> Verdict {
    let graded = catch_panic(|| grade_item(item, options));
    if graded.kind() == VerdictKind::InternalError {
        error!(index, reason = graded.detail, "grading failed");
    }
    graded
}

/// A panic says nothing about the answer: it becomes a fault.
pub(crate) fn catch_panic(grade: impl FnOnce() -> Verdict) -> Verdict {
    // Grading is pure and the cache is written after it: there is no state that a panic could leave half changed.
    match catch_unwind(AssertUnwindSafe(grade)) {
        Ok(graded) => graded,
        Err(payload) => {
            let reason = panic_message(payload.as_ref());
            verdict(VerdictKind::InternalError, "", format!("grading panicked: {reason}"))
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown reason")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn items(count: usize) -> Vec<VerifyItem> {
        let item = |index: usize| VerifyItem {
            response: index.to_string(),
            ground_truths: vec!["1".to_owned()],
        };
        (0..count).map(item).collect()
    }

    fn echo(item: &VerifyItem, _options: &Options) -> Verdict {
        assert!(!item.response.ends_with('7'), "an item that ends in seven");
        verdict(VerdictKind::Correct, &item.response, "")
    }

    fn slow(item: &VerifyItem, _options: &Options) -> Verdict {
        std::thread::sleep(Duration::from_millis(20));
        verdict(VerdictKind::Correct, &item.response, "")
    }

    fn pool(threads: usize, grade_item: fn(&VerifyItem, &Options) -> Verdict) -> GradingPool {
        let limits = ServerLimits::with_threads(NonZeroUsize::new(threads).unwrap());
        GradingPool::new(&limits, Arc::new(grade_item), Arc::new(Meters::new()))
    }

    async fn grade_all(pool: &GradingPool, count: usize, deadline: Instant) -> Vec<Verdict> {
        let place = pool.try_admit().unwrap();
        pool.grade_batch(items(count), Options::default(), place, deadline)
            .await
    }

    #[tokio::test]
    async fn keeps_the_order_and_a_panic_to_its_item() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let verdicts = grade_all(&pool(4, echo), 500, deadline).await;
        assert_eq!(verdicts.len(), 500);
        for (index, graded) in verdicts.iter().enumerate() {
            if index % 10 == 7 {
                assert_eq!(graded.kind(), VerdictKind::InternalError);
                assert!(graded.detail.contains("ends in seven"), "{}", graded.detail);
            } else {
                assert_eq!(
                    (graded.kind(), graded.extracted.as_str()),
                    (VerdictKind::Correct, &*index.to_string())
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_reached_is_out_of_time() {
        let deadline = Instant::now() + Duration::from_millis(100);
        let verdicts = grade_all(&pool(2, slow), 200, deadline).await;
        let correct = verdicts
            .iter()
            .filter(|graded| graded.kind() == VerdictKind::Correct)
            .count();
        let out_of_time = verdicts
            .iter()
            .filter(|graded| graded.kind() == VerdictKind::OutOfTime)
            .count();
        assert!(correct > 0 && correct < 20, "{correct}");
        assert_eq!(correct + out_of_time, 200);
    }

    #[tokio::test]
    async fn waiting_for_a_thread_counts_as_time() {
        let pool = pool(1, slow);
        let long = grade_all(&pool, 20, Instant::now() + Duration::from_secs(60));
        let short = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            grade_all(&pool, 1, Instant::now() + Duration::from_millis(50)).await
        };
        let (long, short) = tokio::join!(long, short);
        assert!(long.iter().all(|graded| graded.kind() == VerdictKind::Correct));
        assert_eq!(short[0].kind(), VerdictKind::OutOfTime);
    }

    #[tokio::test]
    async fn a_batch_that_nobody_waits_for_ends_early() {
        let pool = pool(1, slow);
        let batch = grade_all(&pool, 1000, Instant::now() + Duration::from_secs(60));
        assert!(tokio::time::timeout(Duration::from_millis(100), batch).await.is_err());
        tokio::time::timeout(Duration::from_secs(2), pool.idle()).await.unwrap();
    }

    #[tokio::test]
    async fn an_empty_batch_has_no_verdicts() {
        assert!(grade_all(&pool(2, echo), 0, Instant::now()).await.is_empty());
    }

    #[tokio::test]
    async fn only_so_many_batches_wait() {
        let limits = ServerLimits {
            waiting_batches: NonZeroUsize::new(2).unwrap(),
            ..ServerLimits::with_threads(NonZeroUsize::MIN)
        };
        let pool = GradingPool::new(&limits, Arc::new(slow), Arc::new(Meters::new()));
        let (first, second) = (pool.try_admit(), pool.try_admit());
        assert!(first.is_some() && second.is_some());
        assert!(pool.try_admit().is_none());
        // A batch that has its thread waits no more.
        let deadline = Instant::now() + Duration::from_secs(60);
        let running = pool.grade_batch(items(10), Options::default(), first.unwrap(), deadline);
        let third = async {
            let third = pool.admit(deadline).await;
            assert!(pool.try_admit().is_none());
            drop(third);
        };
        tokio::join!(running, third);
        drop(second);
        assert!(pool.try_admit().is_some());
    }
}
