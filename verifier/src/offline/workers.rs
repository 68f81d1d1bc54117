//! The threads that grade chunks of lines, and the one that looks after them.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use anytime_service::exit::ExitError;

use super::line::{Grader, Tally};
use crate::watch::{self, Hand, Turn};

/// Some lines that are graded together.
pub(super) struct Chunk {
    /// Whole lines, the last of the input perhaps without its line break.
    pub(super) text: Vec<u8>,
    /// Number of the first line, from one.
    pub(super) first_line: u64,
    /// Where the graded lines go; whoever waits there may be gone.
    pub(super) graded: SyncSender<Graded>,
}

/// A chunk that was graded.
#[derive(Debug, Default)]
pub(super) struct Graded {
    pub(super) output: Vec<u8>,
    pub(super) tally: Tally,
    /// If a line cannot be graded, the reason why the input ends there, after the output of the lines before it.
    pub(super) problem: Option<anyhow::Error>,
}

/// A chunk that a worker has in hand.
struct Work {
    chunk: Chunk,
    hand: Hand<Graded>,
}

/// What the workers share.
struct Shared {
    chunks: Mutex<Receiver<Chunk>>,
    grader: Grader,
    item_time: Duration,
    /// The chunks in hand.
    in_work: Mutex<Vec<Arc<Work>>>,
    /// Workers that were given up and have not ended.
    given_up: AtomicUsize,
    most_given_up: usize,
}

/// Starts threads that grade chunks until no more come.
///
/// # Errors
/// If a thread cannot be started.
pub(super) fn start_workers(
    workers: usize,
    chunks: Receiver<Chunk>,
    grader: Grader,
    item_time: Duration,
) -> anyhow::Result<()> {
    let shared = Arc::new(Shared {
        chunks: Mutex::new(chunks),
        grader,
        item_time,
        in_work: Mutex::default(),
        given_up: AtomicUsize::new(0),
        most_given_up: watch::most_given_up(workers),
    });
    for number in 0..workers {
        let shared = shared.clone();
        spawn(&format!("grade-{number}"), move || grade_chunks(&shared))?;
    }
    let watched = Arc::downgrade(&shared);
    spawn("watch", move || {
        loop {
            thread::sleep(watch::interval(item_time));
            // Without workers there is nothing to look after.
            let Some(shared) = watched.upgrade() else {
                return;
            };
            look_at_all(&shared);
        }
    })
}

/// Grades chunks until no more come.
fn grade_chunks(shared: &Arc<Shared>) {
    loop {
        // One worker waits for the next chunk, the others for the lock.
        let received = lock(&shared.chunks).recv();
        let Ok(chunk) = received else {
            return;
        };
        let work = Arc::new(Work {
            chunk,
            hand: Hand::new(Graded::default()),
        });
        if !grade_chunk(shared, &work, 0) {
            return;
        }
    }
}

/// Grades the lines of a chunk from one on. Returns whether the thread goes on; it does not if it was given up.
fn grade_chunk(shared: &Shared, work: &Arc<Work>, first: usize) -> bool {
    lock(&shared.in_work).push(work.clone());
    let mut lines = lines_of(&work.chunk).skip(first);
    let mut line_output = Vec::new();
    let mut line_tally = Tally::default();
    let mut problem = None;
    loop {
        let mut next_line: &[u8] = b"";
        let finish = |graded: &mut Graded| {
            graded.output.extend_from_slice(&line_output);
            graded.tally.add(&line_tally);
            graded.problem = problem.take();
        };
        let turn = work.hand.turn(finish, || {
            let (index, line) = lines.next()?;
            next_line = line;
            Some(index)
        });
        let index = match turn {
            Turn::Item(index) => index,
            Turn::Done => break,
            Turn::GivenUp => {
                shared.given_up.fetch_sub(1, Ordering::Relaxed);
                return false;
            }
        };
        line_output.clear();
        line_tally = Tally::default();
        if next_line.trim_ascii().is_empty() {
            continue;
        }
        if let Err(bad_line) = shared.grader.grade_line(next_line, &mut line_output, &mut line_tally) {
            let number = line_number(work, index);
            problem = Some(ExitError::data(format!("line {number}: {bad_line}")).into());
            line_output.clear();
            lines = lines_of(&work.chunk).skip(usize::MAX);
        }
    }
    finish_chunk(shared, work);
    true
}

fn lines_of(chunk: &Chunk) -> impl Iterator<Item = (usize, &[u8])> {
    chunk.text.split_inclusive(|byte| *byte == b'\n').enumerate()
}

fn line_number(work: &Work, index: usize) -> u64 {
    work.chunk.first_line + index as u64
}

/// Hands over what was graded. With the writer gone nobody wants it.
fn finish_chunk(shared: &Shared, work: &Arc<Work>) {
    lock(&shared.in_work).retain(|other| !Arc::ptr_eq(other, work));
    let _ = work.chunk.graded.send(work.hand.take());
}

/// Gives up the workers that hang.
fn look_at_all(shared: &Arc<Shared>) {
    let in_work = lock(&shared.in_work).clone();
    for work in in_work {
        let stuck = work.hand.look(|index, graded| {
            let line = lines_of(&work.chunk).nth(index).map_or(&b""[..], |(_, line)| line);
            // The line could be read, since it is being graded.
            let id = Grader::give_up(line, shared.item_time, &mut graded.output, &mut graded.tally);
            let number = line_number(&work, index);
            let id = id.unwrap_or("unknown");
            // With standard error closed there is nobody to tell.
            let _ = writeln!(
                io::stderr(),
                "line {number}, id {id}: grading hangs; it is answered as out of time"
            );
        });
        if let Some(index) = stuck {
            go_on_behind(shared, &work, index);
        }
    }
}

/// Has another thread go on behind the line at which a thread hangs; or ends the input there, if too many hang.
fn go_on_behind(shared: &Arc<Shared>, work: &Arc<Work>, index: usize) {
    lock(&shared.in_work).retain(|other| !Arc::ptr_eq(other, work));
    let living = shared.given_up.fetch_add(1, Ordering::Relaxed) + 1;
    let mut graded = work.hand.take();
    if living >= shared.most_given_up {
        graded.problem = Some(anyhow!(
            "line {}: grading hangs for the {living}th time, and each takes a core; the rest is not graded",
            line_number(work, index)
        ));
        // With the writer gone nobody wants it.
        let _ = work.chunk.graded.send(graded);
        return;
    }
    let rest = Arc::new(Work {
        chunk: Chunk {
            text: work.chunk.text.clone(),
            first_line: work.chunk.first_line,
            graded: work.chunk.graded.clone(),
        },
        hand: Hand::new(graded),
    });
    let successor = shared.clone();
    let started = spawn("grade", move || {
        if grade_chunk(&successor, &rest, index + 1) {
            grade_chunks(&successor);
        }
    });
    if let Err(problem) = started {
        let graded = Graded {
            problem: Some(problem),
            ..Graded::default()
        };
        let _ = work.chunk.graded.send(graded);
    }
}

/// The data behind these locks is whole even if a thread panicked while it held one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that nobody waits for.
///
/// # Errors
/// If the system has none left.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread.with_context(|| format!("start thread {name}"))?;
    Ok(())
}
