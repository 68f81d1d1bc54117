//! A child process that never outlives the test.

use std::fs::File;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait::eventually;

/// The environment variable that marks every process of one test, however it was started.
const MARK_VARIABLE: &str = "ANYTIME_TEST_MARK";

/// Lines of a log that are shown when something went wrong.
const TAIL_LINES: usize = 30;

/// Marks processes as a test's own. Children inherit the mark, so that processes that a command left behind are found;
/// dropping the mark ends them.
#[derive(Clone, Debug)]
pub struct Mark(String);

impl Mark {
    /// The mark of all processes that work in this directory.
    pub fn new(directory: &Path) -> Self {
        Self(directory.display().to_string())
    }

    /// Puts the mark on a command, one thread for its tensors, and nothing of the caller's own settings.
    pub fn put_on(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ANYTIME_") {
                command.env_remove(name);
            }
        }
        command
            .env(MARK_VARIABLE, &self.0)
            .env("OMP_NUM_THREADS", "1")
            .env("MKL_NUM_THREADS", "1")
            .stdin(Stdio::null());
    }

    /// The processes that carry the mark: process id and command line. Zombies have no environment and do not count.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let wanted = format!("{MARK_VARIABLE}={}", self.0);
        let mut found = Vec::new();
        let listing = std::fs::read_dir("/proc").expect("/proc");
        for entry in listing.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A process may end while it is looked at.
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let is_marked = environment
                .split(|byte| *byte == 0)
                .any(|pair| pair == wanted.as_bytes());
            // Redis writes its title over its environment, but works in the test's directory.
            let works_here = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&self.0));
            if is_marked || works_here {
                let command_line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&command_line).replace('\0', " ")));
            }
        }
        found
    }

    /// Ends all processes that carry the mark.
    pub fn kill_all(&self) {
        for (pid, _) in self.processes() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// A process that was started by a test, with its output in a log.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command in a process group of its own; its output is appended to `<logs>/<name>.log`.
    pub fn start(name: &str, mut command: Command, mark: &Mark, logs: &Path) -> Self {
        std::fs::create_dir_all(logs).expect("directory of logs");
        let log = logs.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).expect("log");
        mark.put_on(&mut command);
        command
            .stdout(output.try_clone().expect("log"))
            .stderr(output)
            .process_group(0);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("start {name} ({:?}): {error}", command.get_program()));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Sends a signal to the process alone, as a supervisor does.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.name));
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&mut self) {
        let _ = killpg(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// The exit status; None while the process runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("own child")
    }

    /// Waits for its end and returns its exit code.
    pub async fn exit_code(&mut self, seconds: u64) -> i32 {
        let what = format!("the end of {}", self.name);
        let status = eventually(&what, seconds, async || self.exit_status()).await;
        let ended_by = status.signal();
        status
            .code()
            .unwrap_or_else(|| panic!("{} was ended by signal {ended_by:?}", self.name))
    }

    /// Sends SIGTERM and returns the exit code; the process must end within the ten seconds that every process has.
    pub async fn terminate(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.exit_code(END_LIMIT.as_secs()).await
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Panics with the end of the log if the process has ended.
    pub fn assert_runs(&mut self) {
        if let Some(status) = self.exit_status() {
            panic!("{} ended ({status}):\n{}", self.name, self.tail());
        }
    }

    fn tail(&self) -> String {
        tail(&self.log())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("process id"))
    }
}

/// How long any process may take to end after a SIGTERM.
pub const END_LIMIT: Duration = Duration::from_secs(10);

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the log of {}:\n{}", self.name, self.tail());
        }
        self.kill();
    }
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}
