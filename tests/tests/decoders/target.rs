//! Runs one decoder over damaged inputs, and watches its panics, its time and its memory.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Once, mpsc};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::inputs::damaged;
use crate::memory::measured;

/// Memory that any input may take, so that fixed buffers do not count: gzip, zstd and Parquet have windows of
/// megabytes.
const BASE_BYTES: usize = 24 << 20;

/// How long any input may take, in a debug build on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(20);

/// After this many findings a decoder is run no further.
const MOST_FINDINGS: usize = 3;

/// The thread that decodes; its panics are findings and not printed.
const THREAD: &str = "decodes";

/// A decoder of what comes from outside.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Reads an input; the directory is empty, and its own.
    pub(crate) decode: fn(&[u8], &Path),
    /// The memory that it may hold for each byte of its input, besides [`BASE_BYTES`].
    pub(crate) bytes_per_byte: usize,
    /// Valid inputs.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces that inputs are made of.
    pub(crate) words: &'static [&'static [u8]],
}

impl Target {
    fn bound(&self, input: &[u8]) -> usize {
        BASE_BYTES + self.bytes_per_byte * input.len()
    }
}

/// An input that breaks a decoder.
#[derive(Debug)]
pub(crate) struct Finding {
    target: &'static str,
    problem: String,
    /// Where the input is kept.
    input: PathBuf,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} ({})",
            self.target,
            self.problem,
            self.input.display()
        )
    }
}

/// Runs one decoder.
pub(crate) struct Fuzzer<'a> {
    target: &'a Target,
    random: ChaCha8Rng,
    longest: Duration,
    /// Whether what breaks it goes into the corpus.
    keeps: bool,
}

/// The thread that decodes, and how it is asked.
struct Worker {
    inputs: mpsc::Sender<Vec<u8>>,
    outcomes: mpsc::Receiver<Result<usize, String>>,
}

impl Worker {
    fn start(decode: fn(&[u8], &Path)) -> Self {
        silence_panics();
        let (inputs, received) = mpsc::channel::<Vec<u8>>();
        let (sender, outcomes) = mpsc::channel();
        let work = move || {
            for input in received {
                let directory = tempfile::tempdir().unwrap();
                let work = AssertUnwindSafe(|| measured(|| decode(&input, directory.path())).1);
                let outcome = catch_unwind(work).map_err(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
                        .unwrap_or_default()
                });
                if sender.send(outcome).is_err() {
                    return;
                }
            }
        };
        // The stack of the threads that decode in a server: those of tokio, and the jobs' thread.
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).stack_size(2 << 20);
        thread.spawn(work).unwrap();
        Self { inputs, outcomes }
    }
}

impl<'a> Fuzzer<'a> {
    pub(crate) fn new(target: &'a Target, seed: u64) -> Self {
        Self {
            target,
            random: ChaCha8Rng::seed_from_u64(seed),
            longest: LONGEST,
            keeps: true,
        }
    }

    /// For a decoder that is broken on purpose.
    pub(crate) fn impatient(self) -> Self {
        Self {
            longest: Duration::from_secs(1),
            keeps: false,
            ..self
        }
    }

    /// Runs what is kept and the seeds, and then damaged inputs until then. Returns how many, and what broke.
    pub(crate) fn run(mut self, until: Instant) -> (usize, Vec<Finding>) {
        let seeds = (self.target.seeds)();
        let kept = kept_inputs(self.target.name);
        // An input that ends the whole process, such as by a stack overflow, is left in this file.
        let under_way = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("decoding-{}", self.target.name));
        let left = fs::read(&under_way).ok();
        let mut first = kept.into_iter().chain(left.clone()).chain(seeds.clone());
        if let Some(input) = left {
            let path = self.keep(&input);
            eprintln!("an input has ended the process before: {}", path.display());
        }
        let mut worker = Worker::start(self.target.decode);
        let (mut count, mut findings) = (0, Vec::new());
        while findings.len() < MOST_FINDINGS {
            let input = match first.next() {
                Some(input) => input,
                None if Instant::now() >= until => break,
                None => damaged(&seeds, self.target.words, &mut self.random),
            };
            count += 1;
            fs::write(&under_way, &input).unwrap();
            worker.inputs.send(input.clone()).expect("it catches panics");
            let problem = match worker.outcomes.recv_timeout(self.longest) {
                Ok(Ok(bytes)) if bytes <= self.target.bound(&input) => continue,
                Ok(Ok(bytes)) => format!("{} bytes take {} MiB", input.len(), bytes >> 20),
                Ok(Err(panic)) => format!("panics: {panic}"),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    // The thread is left to itself.
                    worker = Worker::start(self.target.decode);
                    format!("hangs for {:?} or longer", self.longest)
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => "ends its thread".to_owned(),
            };
            findings.push(Finding {
                target: self.target.name,
                problem,
                input: self.keep(&input),
            });
        }
        let _ = fs::remove_file(&under_way);
        (count, findings)
    }

    fn keep(&self, input: &[u8]) -> PathBuf {
        if !self.keeps {
            return PathBuf::from("not kept");
        }
        let name = blake3::hash(input).to_hex()[..16].to_owned();
        let path = corpus(self.target.name).join(name);
        fs::create_dir_all(corpus(self.target.name)).unwrap();
        fs::write(&path, input).unwrap();
        path
    }
}

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/decoders/corpus")
        .join(target)
}

/// The inputs that once broke the decoder, in the order of their names.
fn kept_inputs(target: &str) -> Vec<Vec<u8>> {
    let Ok(listing) = fs::read_dir(corpus(target)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() != Some(THREAD) {
                hook(panic);
            }
        }));
    });
}
