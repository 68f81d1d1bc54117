//! All processes of a local run: started in order, mended while they run, ended together.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use anytime_service::exit::{self, ExitError};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::devices::Devices;
use super::ports::free_address;
use super::process::{Plan, Process};
use super::programs::Programs;
use super::redis;
use crate::arguments::ProcessArgs;
use crate::interrupt::Interrupt;
use crate::output::{make_directory, write_whole};

/// How often children are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a server may take until it listens: on a cold disk libtorch alone takes a while.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A process that dies more often than this within [`DEATH_WINDOW`] is not started again.
const MOST_DEATHS: usize = 3;
const DEATH_WINDOW: Duration = Duration::from_secs(60);

/// Pause before a process is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How long the servers may drain after SIGTERM; they bound themselves at 8 s. With Redis it all stays below 10 s.
const DRAIN_LIMIT: Duration = Duration::from_millis(8500);
const REDIS_DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// How often another port is tried when somebody else took the free one first.
const REDIS_TRIES: usize = 3;

const REDIS: &str = "redis";

/// The learner's variables that say how a Redis is reached.
const REDIS_VARIABLES: [&str; 4] = [
    "ANYTIME_REDIS_PASSWORD_FILE",
    "ANYTIME_REDIS_CA",
    "ANYTIME_REDIS_CERT",
    "ANYTIME_REDIS_KEY",
];

/// The processes of one run.
#[derive(Debug)]
pub(super) struct Fleet {
    programs: Programs,
    options: ProcessArgs,
    devices: Devices,
    root: PathBuf,
    out: PathBuf,
    /// Where the jobs write their models.
    outputs: Vec<PathBuf>,
    redis_url: String,
    processes: Vec<Process>,
}

impl Fleet {
    /// Makes the directories; starts nothing.
    pub(super) fn try_new(
        programs: Programs,
        options: ProcessArgs,
        devices: Devices,
        root: PathBuf,
        out: PathBuf,
        outputs: Vec<PathBuf>,
    ) -> anyhow::Result<Self> {
        for directory in ["logs", "ports", "redis"] {
            make_directory(&out.join(directory))?;
        }
        Ok(Self {
            programs,
            options,
            devices,
            root,
            out,
            outputs,
            redis_url: String::new(),
            processes: Vec::new(),
        })
    }

    /// How many actors there are.
    pub(super) fn actors(&self) -> usize {
        self.devices.actors.len()
    }

    /// Starts everything in order; returns the learner's address. On an error some processes may run: call `stop`.
    pub(super) async fn start(&mut self) -> anyhow::Result<String> {
        self.redis_url = match self.options.redis.clone() {
            Some(url) => url,
            None => self.start_redis().await?,
        };
        let verifier = self.start_process(self.verifier_plan()?)?;
        // Each starts again by itself, so that they meet at a place that stays.
        let store = match self.devices.ranks.as_slice() {
            [] => None,
            _ => Some(free_address()?),
        };
        let learner = self.start_process(self.learner_plan(store)?)?;
        for rank in store
            .iter()
            .flat_map(|store| self.rank_plans(*store))
            .collect::<Vec<_>>()
        {
            self.start_process(rank?)?;
        }
        let verifier_address = format!("http://{}", self.wait_for_address(verifier).await?);
        let learner_address = format!("http://{}", self.wait_for_address(learner).await?);
        for index in 0..self.actors() {
            let plan = self.actor_plan(index, &learner_address, &verifier_address)?;
            self.start_process(plan)?;
        }
        self.write_state()?;
        Ok(learner_address)
    }

    /// Starts again what dies. Returns only with the error that ends the run: a process that keeps dying, or one that
    /// says its configuration is wrong.
    pub(super) async fn supervise(&mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            for index in 0..self.processes.len() {
                if let Err(error) = self.mend(index) {
                    return error;
                }
            }
        }
    }

    /// Ends all processes: SIGTERM, a bounded wait, SIGKILL. Redis goes last, because the others still write to it.
    /// A second signal cuts the wait short.
    pub(super) async fn stop(&mut self, interrupt: &mut Interrupt) {
        let drained = tokio::select! {
            () = self.end_in_order() => true,
            _ = interrupt.wait() => false,
        };
        if !drained {
            self.kill(|_| true).await;
        }
    }

    async fn end_in_order(&mut self) {
        self.end(|name| name != REDIS, DRAIN_LIMIT).await;
        self.end(|name| name == REDIS, REDIS_DRAIN_LIMIT).await;
    }

    async fn end(&mut self, which: impl Fn(&str) -> bool + Copy, limit: Duration) {
        for process in self.processes.iter().filter(|process| which(&process.plan.name)) {
            process.signal(Signal::SIGTERM);
        }
        if !self.wait_until_ended(which, limit).await {
            self.kill(which).await;
        }
    }

    async fn kill(&mut self, which: impl Fn(&str) -> bool + Copy) {
        for process in self
            .processes
            .iter()
            .filter(|process| which(&process.plan.name) && process.is_running())
        {
            eprintln!("{} did not end in time and was killed", process.plan.name);
            process.signal(Signal::SIGKILL);
        }
        self.wait_until_ended(which, REDIS_DRAIN_LIMIT).await;
    }

    async fn wait_until_ended(&mut self, which: impl Fn(&str) -> bool, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let mut is_any_running = false;
            for process in self.processes.iter_mut().filter(|process| which(&process.plan.name)) {
                process.take_exit();
                is_any_running |= process.is_running();
            }
            if !is_any_running {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Looks at one process once: notes its death, or starts it again when its pause is over.
    fn mend(&mut self, index: usize) -> anyhow::Result<()> {
        let process = &mut self.processes[index];
        if let Some(status) = process.take_exit() {
            return note_death(process, status);
        }
        if process.restart_at.is_some_and(|moment| moment <= Instant::now()) {
            process.spawn()?;
            self.write_state()?;
        }
        Ok(())
    }

    fn start_process(&mut self, plan: Plan) -> anyhow::Result<usize> {
        self.processes.push(Process::start(plan)?);
        Ok(self.processes.len() - 1)
    }

    async fn start_redis(&mut self) -> anyhow::Result<String> {
        let program = self.programs.redis.clone().context("no Redis server was looked for")?;
        let mut tries = 1;
        loop {
            let address = free_address()?;
            let index = self.start_process(self.redis_plan(&program, address))?;
            self.processes[index].address = Some(address.to_string());
            match self.wait_for_redis(index, &address.to_string()).await {
                Ok(()) => return Ok(format!("redis://{address}")),
                Err(_) if tries < REDIS_TRIES => {
                    tries += 1;
                    self.end(|name| name == REDIS, REDIS_DRAIN_LIMIT).await;
                    self.processes.truncate(index);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait_for_redis(&mut self, index: usize, address: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let answered = redis::probe(address).await;
            // Checked before the answer counts: another Redis may be the one that answers at this port.
            self.check_started(index, deadline)?;
            if answered.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until the process has written its port file, which it renames into place once it listens.
    async fn wait_for_address(&mut self, index: usize) -> anyhow::Result<String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let port_file = self.processes[index]
                .plan
                .port_file
                .clone()
                .context("process without a port file")?;
            if let Ok(text) = std::fs::read_to_string(&port_file) {
                let address = text.trim().to_owned();
                let process = &mut self.processes[index];
                process.plan.listen = Some(address.clone());
                process.address = Some(address.clone());
                return Ok(address);
            }
            self.check_started(index, deadline)?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn check_started(&mut self, index: usize, deadline: Instant) -> Result<(), ExitError> {
        let process = &mut self.processes[index];
        if let Some(status) = process.take_exit() {
            return Err(process.failure("ended while it started", status));
        }
        if Instant::now() >= deadline {
            process.print_tail();
            let message = format!(
                "{} did not listen within {} s",
                process.plan.name,
                START_LIMIT.as_secs()
            );
            return Err(ExitError::unavailable(message));
        }
        Ok(())
    }

    fn redis_plan(&self, program: &Path, address: SocketAddr) -> Plan {
        let mut arguments = texts(&["--bind", "127.0.0.1", "--protected-mode", "yes", "--daemonize", "no"]);
        arguments.extend(texts(&[
            "--appendonly",
            "yes",
            // A group that was accepted survives a killed server. At a few groups a second this costs nothing
            // noticeable.
            "--appendfsync",
            "always",
            "--save",
            "",
            "--port",
            &address.port().to_string(),
            "--dir",
        ]));
        arguments.push(self.out.join("redis").into_os_string());
        self.plan(REDIS, program, arguments)
    }

    fn verifier_plan(&self) -> anyhow::Result<Plan> {
        let plan = self.plan("verifier", &self.programs.verifier, Vec::new());
        let plan = Plan {
            subcommand: Some("serve"),
            ..plan
        };
        self.listening(plan)
    }

    fn learner_plan(&self, store: Option<SocketAddr>) -> anyhow::Result<Plan> {
        let mut arguments = texts(&["--redis", &self.redis_url, "--root"]);
        arguments.push(self.root.clone().into_os_string());
        arguments.push("--runs-dir".into());
        arguments.push(self.out.clone().into_os_string());
        for output in &self.outputs {
            arguments.push("--output-root".into());
            arguments.push(output.clone().into_os_string());
        }
        arguments.extend(texts(&[
            "--device",
            &self.devices.learner,
            "--threads",
            &self.options.threads.to_string(),
        ]));
        if let Some(share) = self.devices.learner_share() {
            arguments.extend(texts(&["--memory-share", &format!("{share:.3}")]));
        }
        if let Some(store) = store {
            arguments.extend(self.meeting(store));
        }
        let plan = self.plan("learner", &self.programs.learner, arguments);
        // The user's shell may describe another Redis; none of that applies to the one that is started here.
        let is_ours = self.options.redis.is_none();
        self.listening(Plan {
            without: if is_ours { &REDIS_VARIABLES } else { &[] },
            ..plan
        })
    }

    /// How many ranks the learner has, and where they meet.
    fn meeting(&self, store: SocketAddr) -> Vec<OsString> {
        let world = 1 + self.devices.ranks.len();
        texts(&["--world", &world.to_string(), "--store", &store.to_string()])
    }

    /// The processes that compute with the learner.
    fn rank_plans(&self, store: SocketAddr) -> Vec<anyhow::Result<Plan>> {
        let plan = |(device, rank): (&String, usize)| {
            let mut arguments = self.meeting(store);
            let threads = self.options.threads.to_string();
            arguments.extend(texts(&[
                "--rank",
                &rank.to_string(),
                "--device",
                device,
                "--threads",
                &threads,
            ]));
            with_metrics(self.plan(&format!("learner-rank-{rank}"), &self.programs.learner, arguments))
        };
        self.devices.ranks.iter().zip(1..).map(plan).collect()
    }

    fn actor_plan(&self, index: usize, learner: &str, verifier: &str) -> anyhow::Result<Plan> {
        let name = format!("actor-{}", index + 1);
        let mut arguments = texts(&["--learner", learner, "--verifier", verifier, "--actor-id", &name]);
        arguments.extend(texts(&[
            "--device",
            &self.devices.actors[index],
            "--threads",
            &self.options.threads.to_string(),
        ]));
        if let Some(share) = self.devices.share(index) {
            arguments.extend(texts(&["--memory-share", &format!("{share:.3}")]));
        }
        with_metrics(self.plan(&name, &self.programs.actor, arguments))
    }

    fn plan(&self, name: &str, program: &Path, arguments: Vec<OsString>) -> Plan {
        Plan {
            name: name.to_owned(),
            program: program.to_path_buf(),
            subcommand: None,
            listen: None,
            arguments,
            threads: self.options.threads,
            log: self.out.join("logs").join(format!("{name}.log")),
            port_file: None,
            metrics_address: None,
            without: &[],
        }
    }

    /// Adds what every server takes.
    fn listening(&self, mut plan: Plan) -> anyhow::Result<Plan> {
        let port_file = self.out.join("ports").join(&plan.name);
        plan.arguments.push("--port-file".into());
        plan.arguments.push(port_file.clone().into_os_string());
        with_metrics(Plan {
            listen: Some("127.0.0.1:0".to_owned()),
            port_file: Some(port_file),
            ..plan
        })
    }

    /// `local.json`: where every process is, for people, scripts and Prometheus.
    fn write_state(&self) -> anyhow::Result<()> {
        let processes: Vec<Value> = self.processes.iter().map(process_json).collect();
        let state = json!({ "pid": std::process::id(), "redis": self.redis_url, "processes": processes });
        write_whole(&self.out.join("local.json"), format!("{state:#}\n"))
    }
}

fn process_json(process: &Process) -> Value {
    json!({
        "name": process.plan.name,
        "pid": process.pid(),
        "address": process.address,
        "metrics_address": process.plan.metrics_address,
        "log": process.plan.log,
    })
}

fn note_death(process: &mut Process, status: ExitStatus) -> anyhow::Result<()> {
    if status.code() == Some(i32::from(exit::CONFIGURATION)) {
        return Err(process.failure("was configured badly", status).into());
    }
    process.deaths.retain(|moment| moment.elapsed() < DEATH_WINDOW);
    process.deaths.push(Instant::now());
    if process.deaths.len() > MOST_DEATHS {
        let what = format!(
            "ended {} times within {} s",
            process.deaths.len(),
            DEATH_WINDOW.as_secs()
        );
        return Err(process.failure(&what, status).into());
    }
    eprintln!("{} ended unexpectedly ({status}), starting it again", process.plan.name);
    process.restart_at = Some(Instant::now() + RESTART_PAUSE);
    Ok(())
}

fn with_metrics(mut plan: Plan) -> anyhow::Result<Plan> {
    let address = free_address()?;
    plan.arguments
        .extend(texts(&["--metrics-address", &address.to_string()]));
    Ok(Plan {
        metrics_address: Some(address),
        ..plan
    })
}

fn texts(values: &[&str]) -> Vec<OsString> {
    values.iter().map(OsString::from).collect()
}
