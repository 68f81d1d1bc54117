//! Grades batches off the async threads, in parallel, with the verdicts in order, within a time. A fault of one item
//! does not touch the others: neither a panic nor a hang.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anytime_proto::v1::{Verdict, VerdictKind, VerifyItem};
use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::caught::catch_panic;
use crate::crew::Crew;
use crate::grade::verdict;
use crate::limits::ServerLimits;
use crate::meters::{Counted, Meters};
use crate::options::Options;
use crate::watch::{self, Hand, Turn};

/// Grades one item. It is a parameter, so that a test can put in a function that fails.
pub(crate) type GradeItem = Arc<dyn Fn(&VerifyItem, &Options) -> Verdict + Send + Sync>;

/// With fewer items than this, a further thread costs more than it saves.
const ITEMS_PER_WORKER: usize = 16;
/// How long a batch waits beyond its time for the items that are in hand then. An item takes 20 ms at most.
const LAST_ITEMS_TIME: Duration = Duration::from_millis(50);

/// The threads that grade, shared by all requests.
#[derive(Clone)]
pub(crate) struct GradingPool {
    threads: NonZeroUsize,
    item_time: Duration,
    permits: Arc<Semaphore>,
    /// One permit for each batch that may wait for a thread.
    places: Arc<Semaphore>,
    crew: Arc<Crew>,
    /// Threads that were given up and have not ended.
    given_up: Arc<AtomicUsize>,
    too_many_given_up: CancellationToken,
    grade_item: GradeItem,
    meters: Arc<Meters>,
}

/// A batch's place among those that wait; given back when it gets its first thread.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

/// Verdicts with the positions of their items.
type Graded = Vec<(usize, Verdict)>;

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
    /// What the threads of this batch have graded.
    hands: Mutex<Vec<Arc<Hand<Graded>>>>,
}

/// A thread could not be started, or ended before its work did.
struct ThreadFailed;

impl GradingPool {
    /// A pool with these limits.
    pub(crate) fn new(limits: &ServerLimits, grade_item: GradeItem, meters: Arc<Meters>) -> Self {
        let semaphore = |permits: NonZeroUsize| Arc::new(Semaphore::new(permits.get().min(Semaphore::MAX_PERMITS)));
        Self {
            threads: limits.threads,
            item_time: limits.item_time,
            permits: semaphore(limits.threads),
            places: semaphore(limits.waiting_batches),
            crew: Arc::default(),
            given_up: Arc::default(),
            too_many_given_up: CancellationToken::new(),
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

    /// Grades a batch and returns the verdicts in the order of the items. An item that is not reached by the deadline,
    /// or hangs, is [`VerdictKind::OutOfTime`].
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
            hands: Mutex::default(),
        });

        // They go on without this future, so that a thread that hangs is watched until it is given up.
        let workers = (0..worker_count).map(|_| tokio::spawn(run_worker(self.clone(), batch.clone())));
        let outcomes = timeout_at(deadline + LAST_ITEMS_TIME, join_all(workers)).await;
        let failed = match outcomes {
            Ok(outcomes) => outcomes.iter().any(|outcome| !matches!(outcome, Ok(Ok(())))),
            Err(_) => false,
        };
        let mut verdicts: Vec<Option<Verdict>> = vec![None; item_count];
        let hands = std::mem::take(&mut *batch.hands.lock().unwrap_or_else(PoisonError::into_inner));
        for (index, graded_verdict) in hands.iter().flat_map(|hand| hand.take()) {
            verdicts[index] = Some(graded_verdict);
        }
        let missing = if failed {
            error!("grading thread failed");
            verdict(VerdictKind::InternalError, "", "grading thread failed")
        } else {
            verdict(VerdictKind::OutOfTime, "", "not reached within the time of the batch")
        };
        verdicts
            .into_iter()
            .map(|graded| graded.unwrap_or_else(|| missing.clone()))
            .collect()
    }

    /// Waits until no batch is worked on. Threads that were given up do not count.
    pub(crate) async fn idle(&self) {
        let all = u32::try_from(self.threads.get()).unwrap_or(u32::MAX);
        // The semaphore is never closed, so this can only succeed.
        let _ = self.permits.acquire_many(all).await;
    }

    /// Waits until so many threads had to be given up that the process should end.
    pub(crate) async fn too_many_given_up(&self) {
        self.too_many_given_up.cancelled().await;
    }

    /// Notes that the thread with this item in hand was given up.
    fn give_up(&self, batch: &Batch, index: usize) {
        self.meters.abandoned_items.increment(1);
        self.meters.abandoned_threads.increment(1.0);
        let living = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
        let most = watch::most_given_up(self.threads.get());
        error!(
            item = index,
            ground_truth = batch.items[index]
                .ground_truths
                .first()
                .map_or("", |truth| shown(truth)),
            response_bytes = batch.items[index].response.len(),
            seconds = self.item_time.as_secs_f64(),
            threads_given_up = living,
            most,
            "an item hangs: it is answered as out of time, and its thread is given up"
        );
        if living >= most {
            self.too_many_given_up.cancel();
        }
    }

    /// Notes that a thread that was given up has ended after all.
    fn ended_late(&self) {
        self.given_up.fetch_sub(1, Ordering::Relaxed);
        self.meters.abandoned_threads.decrement(1.0);
    }
}

/// The beginning of a text, for the log.
fn shown(text: &str) -> &str {
    const SHOWN_CHARS: usize = 80;
    text.char_indices()
        .nth(SHOWN_CHARS)
        .map_or(text, |(end, _)| &text[..end])
}

/// Waits for a thread of the pool and works on the batch there; on another one, if that hangs.
async fn run_worker(pool: GradingPool, batch: Arc<Batch>) -> Result<(), ThreadFailed> {
    loop {
        let permit = tokio::select! {
            permit = timeout_at(batch.deadline, pool.permits.clone().acquire_owned()) => permit,
            () = batch.unwanted.cancelled() => return Ok(()),
        };
        let Ok(Ok(_permit)) = permit else {
            return Ok(());
        };
        batch.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        let hand = Arc::new(Hand::new(Vec::new()));
        batch
            .hands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(hand.clone());
        let (working_pool, working_batch, working_hand) = (pool.clone(), batch.clone(), hand.clone());
        let work = move || grade_items(&working_batch, &working_pool, &working_hand);
        let done = pool.crew.run(work).map_err(|problem| {
            error!(error = %problem, "cannot start a grading thread");
            ThreadFailed
        })?;
        match ended_or_given_up(&pool, &batch, &hand, done).await {
            Some(ended) => return ended,
            None => continue,
        }
    }
}

/// Waits for a thread. None if it hangs and was given up.
async fn ended_or_given_up(
    pool: &GradingPool,
    batch: &Batch,
    hand: &Hand<Graded>,
    mut done: oneshot::Receiver<()>,
) -> Option<Result<(), ThreadFailed>> {
    loop {
        let look = tokio::time::sleep(watch::interval(pool.item_time));
        tokio::select! {
            ended = &mut done => return Some(ended.map_err(|_| ThreadFailed)),
            () = look => {}
        }
        let out_of_time = |index: usize, graded: &mut Graded| {
            graded.push((
                index,
                verdict(VerdictKind::OutOfTime, "", "the item hangs and was given up"),
            ));
        };
        if let Some(index) = hand.look(out_of_time) {
            pool.give_up(batch, index);
            return None;
        }
    }
}

/// Takes items until none is left or the time is up. Returns whether the thread may be used again.
fn grade_items(batch: &Batch, pool: &GradingPool, hand: &Hand<Graded>) -> bool {
    let mut finished: Option<(usize, Verdict)> = None;
    // One look at the clock for each item tells both how long it took and whether there is time for the next.
    let mut now = Instant::now();
    loop {
        let next = || {
            if now >= batch.deadline || batch.unwanted.is_cancelled() {
                return None;
            }
            let index = batch.next.fetch_add(1, Ordering::Relaxed);
            (index < batch.items.len()).then_some(index)
        };
        let last = finished.take();
        let index = match hand.turn(|graded| graded.extend(last), next) {
            Turn::Item(index) => index,
            Turn::Done => return true,
            Turn::GivenUp => {
                pool.ended_late();
                return false;
            }
        };
        let item_verdict = grade_caught(index, &batch.items[index], &batch.options, &*pool.grade_item);
        let item_started = std::mem::replace(&mut now, Instant::now());
        pool.meters.record_pair(&item_verdict, now - item_started);
        finished = Some((index, item_verdict));
    }
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

    /// Hangs until the process ends, without taking a core.
    fn hang_at_seven(item: &VerifyItem, options: &Options) -> Verdict {
        if item.response == "7" {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        slow(item, options)
    }

    /// A pool that gives an item up after a short time.
    fn impatient(threads: usize, grade_item: fn(&VerifyItem, &Options) -> Verdict) -> GradingPool {
        let limits = ServerLimits {
            item_time: Duration::from_millis(400),
            ..ServerLimits::with_threads(NonZeroUsize::new(threads).unwrap())
        };
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

    #[tokio::test]
    async fn an_item_that_hangs_is_given_up_and_the_others_are_graded() {
        let pool = impatient(1, hang_at_seven);
        for _ in 0..2 {
            let verdicts = grade_all(&pool, 20, Instant::now() + Duration::from_secs(60)).await;
            for (index, graded) in verdicts.iter().enumerate() {
                let expected = match index {
                    7 => VerdictKind::OutOfTime,
                    _ => VerdictKind::Correct,
                };
                assert_eq!(graded.kind(), expected, "{index}: {}", graded.detail);
            }
        }
        assert_eq!(pool.given_up.load(Ordering::Relaxed), 2);
        tokio::time::timeout(Duration::from_secs(10), pool.idle())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_batch_does_not_wait_beyond_its_time_for_an_item_that_hangs() {
        let pool = pool(1, hang_at_seven);
        let verdicts = grade_all(&pool, 8, Instant::now() + Duration::from_millis(400)).await;
        assert_eq!(verdicts[0].kind(), VerdictKind::Correct);
        assert_eq!(verdicts[7].kind(), VerdictKind::OutOfTime);
        // The thread is given up though nobody waits for the batch any more.
        tokio::time::timeout(Duration::from_secs(20), pool.idle())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn too_many_that_hang_are_told() {
        let pool = impatient(2, hang_at_seven);
        for _ in 0..watch::most_given_up(2) {
            let early = tokio::time::timeout(Duration::ZERO, pool.too_many_given_up()).await;
            assert!(early.is_err());
            grade_all(&pool, 8, Instant::now() + Duration::from_secs(60)).await;
        }
        tokio::time::timeout(Duration::from_secs(10), pool.too_many_given_up())
            .await
            .unwrap();
    }
}
