//! `anytime-verifier grade` reads lines and writes one for each, in order, on several threads and in constant memory.
//!
//! One thread reads and cuts the input into chunks of lines, the workers grade chunks, and the caller writes them in
//! the order in which they were read. Both queues between them are bounded, so that a slow reader of the output slows
//! the reading of the input. A chunk ends early when no more input is there yet: a line that is typed is answered at
//! once. A worker that hangs is given up, and another one goes on behind the line that it hangs at.

mod line;
mod progress;
mod workers;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use anytime_service::exit::ExitError;

use crate::grade::grade;
use crate::limits::{ITEM_TIME, MAX_ANSWER_CHARS, MAX_GROUND_TRUTHS, MAX_RESPONSE_BYTES};
use crate::offline::line::{Grade, Grader};
use crate::offline::progress::Progress;
use crate::offline::workers::{Chunk, Graded, spawn, start_workers};
use crate::options::Options;

/// Lines of one chunk: enough that handing it over costs little beside the grading.
const CHUNK_LINES: usize = 64;
/// A chunk with this many bytes takes no further line.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks in each queue, per worker.
const CHUNKS_PER_WORKER: usize = 4;
/// Longest line: a response and ground truths at their limits with every character escaped, and as much again for other
/// fields. A longer line is an error, and is not read into memory.
const MAX_LINE_BYTES: usize = 2 * 6 * (MAX_RESPONSE_BYTES + MAX_GROUND_TRUTHS * MAX_ANSWER_CHARS);

/// How lines are graded.
#[derive(Clone, Copy, Debug)]
pub struct GradeSettings {
    /// The choices of the grading.
    pub options: Options,
    /// Whether each line explains what was compared and what decided.
    pub explain: bool,
    /// Threads that grade.
    pub threads: NonZeroUsize,
}

/// Grades every line of the input. An output that nobody reads any more ends it without an error.
///
/// # Errors
/// [`ExitError`] with the data code at the first line that cannot be read, after everything before it was written; any
/// error of reading or writing; and an error if many lines hang.
pub fn grade_lines(
    input: impl Read + Send + 'static,
    output: impl Write,
    settings: &GradeSettings,
) -> anyhow::Result<()> {
    grade_lines_with(input, output, settings, grade, ITEM_TIME)
}

/// [`grade_lines`] with the function that grades and the time of one line, so that a test can put in one that hangs.
fn grade_lines_with(
    input: impl Read + Send + 'static,
    mut output: impl Write,
    settings: &GradeSettings,
    grade: Grade,
    item_time: Duration,
) -> anyhow::Result<()> {
    let workers = settings.threads.get();
    let queue_length = workers.saturating_mul(CHUNKS_PER_WORKER);
    let (to_workers, chunks) = sync_channel::<Chunk>(queue_length);
    let (in_order, to_write) = sync_channel::<Receiver<Graded>>(queue_length);
    let grader = Grader::new(settings.options, settings.explain, grade);
    start_workers(workers, chunks, grader, item_time)?;
    spawn("read", move || {
        read_chunks(BufReader::with_capacity(CHUNK_BYTES, input), &to_workers, &in_order)
    })?;

    // None of the threads is waited for: they end with their queues, and the reader may be inside a read that never
    // returns.
    let written = write_in_order(&to_write, &mut output);
    match written {
        Err(error) if is_closed_output(&error) => Ok(()),
        written => written,
    }
}

fn is_closed_output(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Cuts the input into chunks until it ends or nobody wants more.
fn read_chunks(mut input: impl BufReadNow, to_workers: &SyncSender<Chunk>, in_order: &SyncSender<Receiver<Graded>>) {
    let mut next_line = 1;
    loop {
        let (graded, receiver) = sync_channel(1);
        let mut text = Vec::new();
        let read = read_chunk(&mut input, &mut text);
        let first_line = next_line;
        let problem = match read {
            Ok(0) => return,
            Ok(lines) => {
                next_line += lines;
                None
            }
            Err(problem) => Some(problem.context(format!("line {}", first_line + count_lines(&text)))),
        };
        let ends = problem.is_some();
        let chunk = Chunk {
            text,
            first_line,
            graded,
        };
        if in_order.send(receiver).is_err() || to_workers.send(chunk).is_err() {
            return;
        }
        if ends {
            let (graded, receiver) = sync_channel(1);
            let end = Graded {
                problem,
                ..Graded::default()
            };
            // With the writer gone there is nobody to tell.
            let _ = graded.send(end);
            let _ = in_order.send(receiver);
            return;
        }
    }
}

fn count_lines(text: &[u8]) -> u64 {
    text.split_inclusive(|byte| *byte == b'\n').count() as u64
}

/// Reads lines until the chunk is full or the next line has not arrived yet. Returns how many; 0 at the end.
fn read_chunk(input: &mut impl BufReadNow, text: &mut Vec<u8>) -> anyhow::Result<u64> {
    let mut lines = 0;
    while lines < CHUNK_LINES as u64 && text.len() < CHUNK_BYTES {
        let line_start = text.len();
        let most = MAX_LINE_BYTES as u64 + 1;
        let read = input
            .by_ref()
            .take(most)
            .read_until(b'\n', text)
            .context("read the input");
        match read {
            Ok(0) => break,
            Ok(length) if length > MAX_LINE_BYTES => {
                text.truncate(line_start);
                let message = format!("longer than {MAX_LINE_BYTES} bytes, which is more than any response may be");
                return Err(ExitError::data(message).into());
            }
            Ok(_) => lines += 1,
            Err(error) => {
                text.truncate(line_start);
                return Err(error);
            }
        }
        if !input.has_line_now() {
            break;
        }
    }
    Ok(lines)
}

/// A buffered reader that knows whether the next line is there already.
trait BufReadNow: BufRead {
    fn has_line_now(&self) -> bool;
}

impl<Input: Read> BufReadNow for BufReader<Input> {
    fn has_line_now(&self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

fn write_in_order(to_write: &Receiver<Receiver<Graded>>, output: &mut impl Write) -> anyhow::Result<()> {
    let mut progress = Progress::start();
    loop {
        let next = match to_write.try_recv() {
            Err(TryRecvError::Empty) => {
                // Whoever reads the output should not wait for input that may be long in coming.
                output.flush()?;
                to_write.recv().ok()
            }
            received => received.ok(),
        };
        let Some(next) = next else {
            break;
        };
        let graded = match next.try_recv() {
            Ok(graded) => graded,
            Err(_) => {
                output.flush()?;
                next.recv().context("a grading thread ended early")?
            }
        };
        output.write_all(&graded.output)?;
        progress.add(&graded.tally);
        if let Some(problem) = graded.problem {
            output.flush()?;
            progress.end();
            return Err(problem);
        }
    }
    output.flush()?;
    progress.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use anytime_proto::v1::{Extraction, Verdict};
    use anytime_service::exit;
    use serde_json::{Value, json};

    use super::*;

    const LINE: &str = "{\"id\": 1, \"response\": \"\\\\boxed{1}\", \"ground_truth\": 1}\n";

    fn grade(input: impl Read + Send + 'static) -> (anyhow::Result<()>, usize) {
        let settings = GradeSettings {
            options: Options::default(),
            explain: false,
            threads: NonZeroUsize::new(2).unwrap(),
        };
        let mut output = Vec::new();
        let result = grade_lines(input, &mut output, &settings);
        (result, output.iter().filter(|byte| **byte == b'\n').count())
    }

    #[test]
    fn a_line_without_an_end_is_not_read_into_memory() {
        let input = LINE.as_bytes().repeat(70);
        let (result, lines) = grade(io::Cursor::new(input).chain(io::repeat(b' ')));
        let error = result.unwrap_err();
        assert_eq!((exit::exit_code(&error), lines), (exit::DATA, 70));
        assert!(format!("{error:#}").starts_with("line 71: longer than"), "{error:#}");
    }

    #[test]
    fn a_long_response_is_one_that_is_too_large() {
        let response = "\\n".repeat(MAX_RESPONSE_BYTES + 1);
        let line = format!("{{\"id\": 1, \"response\": \"{response}\", \"ground_truth\": 1}}\n{LINE}");
        let (result, lines) = grade(io::Cursor::new(line));
        result.unwrap();
        assert_eq!(lines, 2);
    }

    fn hang_at_x(response: &str, ground_truths: &[String], options: &Options) -> Verdict {
        if response == "x" {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        crate::grade::grade(response, ground_truths, options)
    }

    fn grade_with_hangs(lines: &[&str], threads: usize) -> (anyhow::Result<()>, Vec<Value>) {
        let settings = GradeSettings {
            options: Options::try_from_request(Extraction::Boxed.into(), None).unwrap(),
            explain: false,
            threads: NonZeroUsize::new(threads).unwrap(),
        };
        let mut output = Vec::new();
        let input = io::Cursor::new(lines.concat());
        let result = grade_lines_with(input, &mut output, &settings, hang_at_x, Duration::from_millis(100));
        let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        (
            result,
            lines.map(|line| serde_json::from_slice(line).unwrap()).collect(),
        )
    }

    const HANGS: &str = "{\"id\": \"h\", \"response\": \"x\", \"ground_truth\": 1}\n";

    #[test]
    fn a_line_that_hangs_is_out_of_time_and_the_others_are_graded() {
        let mut lines = vec![LINE; 200];
        lines[3] = HANGS;
        lines[130] = HANGS;
        let (result, graded) = grade_with_hangs(&lines, 1);
        result.unwrap();
        assert_eq!(graded.len(), lines.len());
        for (line, graded) in lines.iter().zip(graded) {
            let (id, verdict) = if *line == HANGS {
                (json!("h"), "out_of_time")
            } else {
                (json!(1), "correct")
            };
            assert_eq!((&graded["id"], &graded["verdict"]), (&id, &json!(verdict)));
        }
    }

    #[test]
    fn many_lines_that_hang_end_it() {
        let (result, graded) = grade_with_hangs(&[LINE, HANGS, LINE, HANGS, HANGS, LINE, HANGS, LINE], 1);
        let error = result.unwrap_err();
        assert_eq!(exit::exit_code(&error), exit::FAILED, "{error:#}");
        assert!(format!("{error:#}").contains("line 7"), "{error:#}");
        assert_eq!(graded.len(), 7);
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }

    #[test]
    fn an_input_that_fails_is_an_error_after_what_was_read() {
        let (result, lines) = grade(io::Cursor::new(LINE.repeat(3)).chain(Broken));
        let error = result.unwrap_err();
        assert_eq!((exit::exit_code(&error), lines), (exit::FAILED, 3));
        assert!(format!("{error:#}").contains("the disk is gone"), "{error:#}");
    }
}
