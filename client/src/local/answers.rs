//! A server of answers that belongs to one command: it is started on a free port of loopback, and ends with the command.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_service::exit::{ExitError, UNAVAILABLE, exit_code};
use nix::sys::signal::Signal;

use super::process::{Plan, Process};
use super::programs;
use crate::arguments::AskingArgs;

/// How often the child is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(30);

/// How long a model may take to be loaded.
const START_TIMEOUT: Duration = Duration::from_secs(600);

/// How long the child may take to end; it promises eight seconds.
const END_TIMEOUT: Duration = Duration::from_secs(9);

/// How long the end of a child may follow the break of its connection.
const DEATH_TIMEOUT: Duration = Duration::from_secs(1);

/// What a program writes before its last error.
const ERROR: &str = "error: ";

/// Variables for servers that are not meant for this one.
const VARIABLES: [&str; 2] = ["ANYTIME_LISTEN", "ANYTIME_METRICS_ADDRESS"];

/// A server as a child. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct OwnServer {
    process: Process,
    directory: Directory,
}

impl OwnServer {
    /// Starts the server; it does not listen yet.
    ///
    /// # Errors
    /// If the program is not there or cannot be started.
    pub(crate) fn start(model: &PathBuf, asking: &AskingArgs) -> anyhow::Result<Self> {
        let program = programs::server("anytime-actor")?;
        let directory = Directory::make()?;
        let port_file = directory.0.join("port");
        let mut arguments = vec![
            "--model".into(),
            model.into(),
            "--device".into(),
            (&asking.device).into(),
        ];
        arguments.extend(["--threads".into(), asking.threads.to_string().into()]);
        arguments.extend(["--port-file".into(), port_file.clone().into()]);
        if !asking.budgets.is_empty() {
            // Those of the model may be longer than it can think.
            let budgets: Vec<String> = asking.budgets.iter().map(u32::to_string).collect();
            arguments.extend(["--budgets".into(), budgets.join(",").into()]);
        }
        arguments.extend(asking.further.iter().cloned());
        let plan = Plan {
            name: "the server of --model".to_owned(),
            program,
            subcommand: Some("serve"),
            listen: Some("127.0.0.1:0".to_owned()),
            arguments,
            threads: asking.threads,
            log: directory.0.join("log"),
            port_file: Some(port_file),
            metrics_address: None,
            without: &VARIABLES,
        };
        let process = Process::start(plan)?;
        Ok(Self { process, directory })
    }

    /// Waits until it listens, and gives its address.
    ///
    /// # Errors
    /// Where it ends before that, with what it said and its exit code, or takes too long.
    pub(crate) async fn address(&mut self) -> Result<String, ExitError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            // The file appears whole.
            if let Ok(address) = std::fs::read_to_string(self.directory.0.join("port")) {
                return Ok(format!("http://{}", address.trim()));
            }
            if let Some(death) = self.death("ended before it listened") {
                return Err(death);
            }
            if Instant::now() > deadline {
                self.process.print_tail();
                let seconds = START_TIMEOUT.as_secs();
                let message = format!("{} does not listen after {seconds} s", self.process.plan.name);
                return Err(ExitError::unavailable(message));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Ends the server after the work with it. Where the work failed because the server died, that is said instead.
    ///
    /// # Errors
    /// What came of the work.
    pub(crate) async fn end_after(mut self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if let Err(error) = &result
            && exit_code(error) == UNAVAILABLE
        {
            let deadline = Instant::now() + DEATH_TIMEOUT;
            while Instant::now() < deadline {
                if let Some(death) = self.death("ended in the middle") {
                    return Err(death.into());
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        self.process.signal(Signal::SIGTERM);
        let deadline = Instant::now() + END_TIMEOUT;
        while self.process.is_running() && Instant::now() < deadline {
            if self.process.take_exit().is_none() {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
        result
    }

    /// What its end says, where it has ended.
    fn death(&mut self, what: &str) -> Option<ExitError> {
        // Whoever was told of it once asks again.
        if !self.process.is_running() {
            return None;
        }
        let status = self.process.take_exit()?;
        let log = std::fs::read_to_string(&self.process.plan.log).unwrap_or_default();
        let said = log.lines().rev().find_map(|line| line.strip_prefix(ERROR));
        let own_code = status.code().and_then(|code| u8::try_from(code).ok());
        match (said, own_code) {
            // It says itself what is wrong, as a command of its own would.
            (Some(said), Some(code)) => {
                let message = said.to_owned();
                Some(ExitError { code, message })
            }
            _ => Some(self.process.failure(what, status)),
        }
    }
}

/// A directory of one's own for the address and the log, which goes with this value.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> anyhow::Result<Self> {
        let name = format!("anytime-ask-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        // The log may hold what nobody else is to read.
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("make directory {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Whatever is left there is nobody's.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
