//! One child process: how it is started, where it listens, how it ends.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use anyhow::Context as _;
use anytime_service::exit::{self, ExitError};
use anytime_service::security::SECURITY_VARIABLES;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::parent_death::die_with_parent;

/// Lines of a child's log that are shown when it fails.
const TAIL_LINES: usize = 15;

/// The last bytes of the log, in which these lines are looked for.
const TAIL_BYTES: u64 = 16 * 1024;

/// How a process is started, and started again.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Such as `actor-1`; also the name of its log.
    pub(super) name: String,
    pub(super) program: PathBuf,
    /// The subcommand, which comes before all options.
    pub(super) subcommand: Option<&'static str>,
    /// Value of `--listen`. Port 0 until the process has told its port; then that one, so that its peers find it again.
    pub(super) listen: Option<String>,
    pub(super) arguments: Vec<OsString>,
    pub(super) threads: u32,
    pub(super) log: PathBuf,
    pub(super) port_file: Option<PathBuf>,
    pub(super) metrics_address: Option<SocketAddr>,
    /// Variables of the user's environment that it must not have.
    pub(super) without: &'static [&'static str],
}

/// A child and its history.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) plan: Plan,
    /// `host:port`, once known.
    pub(super) address: Option<String>,
    /// The moments of its latest unexpected deaths.
    pub(super) deaths: Vec<Instant>,
    /// The moment at which it has to be started again.
    pub(super) restart_at: Option<Instant>,
    child: Option<Child>,
}

impl Process {
    /// Starts a process with an empty log.
    pub(super) fn start(plan: Plan) -> anyhow::Result<Self> {
        remove_if_there(&plan.log)?;
        let mut process = Self {
            plan,
            address: None,
            deaths: Vec::new(),
            restart_at: None,
            child: None,
        };
        process.spawn()?;
        Ok(process)
    }

    /// Starts the process, or starts it again; its log goes on.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        let plan = &self.plan;
        if let Some(port_file) = &plan.port_file {
            remove_if_there(port_file)?;
        }
        let open = || OpenOptions::new().create(true).append(true).open(&plan.log);
        let log = open().with_context(|| format!("open {}", plan.log.display()))?;
        let log_too = log
            .try_clone()
            .with_context(|| format!("open {}", plan.log.display()))?;
        let mut command = Command::new(&plan.program);
        command.args(plan.subcommand);
        if let Some(listen) = &plan.listen {
            command.arg("--listen").arg(listen);
        }
        // They talk to each other on loopback, whatever the user's shell says of a cluster elsewhere.
        for variable in SECURITY_VARIABLES.iter().chain(plan.without) {
            command.env_remove(variable);
        }
        command
            .args(&plan.arguments)
            .env("OMP_NUM_THREADS", plan.threads.to_string())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            // Ctrl-C on the terminal reaches us alone; we end the children in order.
            .process_group(0)
            .kill_on_drop(true);
        die_with_parent(&mut command);
        let spawned = command.spawn();
        self.child = Some(spawned.with_context(|| format!("start {}", plan.program.display()))?);
        self.restart_at = None;
        Ok(())
    }

    /// Returns how the child ended, a single time: from then on there is no child.
    pub(super) fn take_exit(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        match child.try_wait() {
            Ok(Some(status)) => {
                self.child = None;
                Some(status)
            }
            Ok(None) | Err(_) => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Signals the child and whatever it has started. A process that is gone already is no error.
    pub(super) fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        let _ = killpg(Pid::from_raw(pid), signal);
    }

    /// Prints the end of the log and makes the error of a child that ended when it should not have. A child that was
    /// configured badly or misses a peer says so by its exit code, which becomes ours.
    pub(super) fn failure(&self, what: &str, status: ExitStatus) -> ExitError {
        self.print_tail();
        let code = match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code @ (exit::CONFIGURATION | exit::UNAVAILABLE)) => code,
            _ => exit::FAILED,
        };
        ExitError {
            code,
            message: format!("{} {what} ({status})", self.plan.name),
        }
    }

    /// Prints the last lines of the log to standard error.
    pub(super) fn print_tail(&self) {
        eprintln!("last lines of {}:", self.plan.log.display());
        for line in self.tail() {
            eprintln!("  {line}");
        }
    }

    fn tail(&self) -> Vec<String> {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.plan.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_else(|error| format!("(unreadable: {error})"));
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines[first..].iter().map(|line| (*line).to_owned()).collect()
    }
}

fn remove_if_there(path: &PathBuf) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
