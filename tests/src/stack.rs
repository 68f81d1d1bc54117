//! A whole deployment on loopback: Redis, verifier, learner and actors, each a process of its own.

use std::ffi::OsString;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anytime_proto::v1::job_service_client::JobServiceClient;
use anytime_proto::v1::{self, JobSpec, JobState};
use tonic::transport::Channel;

use crate::history::History;
use crate::link::Link;
use crate::metrics::Sample;
use crate::ports::free_address;
use crate::process::Process;
use crate::programs;
use crate::wait::{eventually, patiently};
use crate::workplace::{Ended, Workplace};

/// How long a process may take until it listens; libtorch from a cold disk takes its time.
const START_SECONDS: u64 = 60;

/// A server of the stack and where it is.
#[derive(Debug)]
pub struct Server {
    /// The process.
    pub process: Process,
    /// `host:port` of its gRPC services; empty for an actor.
    pub address: String,
    /// `host:port` of its metrics.
    pub metrics_address: String,
}

/// Real processes that a test submits jobs to, and may kill and start again. Fields are dropped in this order: servers
/// before the Redis that they use, the directory last.
#[derive(Debug)]
pub struct Stack {
    /// The actors in the order in which they were started.
    pub actors: Vec<Server>,
    /// Further arguments of each actor.
    actor_arguments: Vec<Vec<OsString>>,
    /// The learner.
    pub learner: Server,
    /// The verifier.
    pub verifier: Server,
    /// Where the learner looks for Redis.
    redis_url: String,
    /// Where Redis listens.
    redis_address: String,
    /// Redis.
    pub redis: Process,
    /// Where actors look for the learner, if not at its own address.
    learner_link: Option<String>,
    /// Ranks 1, 2, … of the learner.
    pub ranks: Vec<Process>,
    /// Where they meet.
    pub(crate) store: String,
    /// Threads for the tensors of the learner and of each actor.
    pub(crate) threads: usize,
    /// The address that jobs were asked for last, and the connection to it.
    asked: Mutex<Option<(String, Channel)>>,
    /// The directory of everything.
    pub workplace: Workplace,
}

impl Stack {
    /// Starts everything, with this many actors, and waits until the servers listen.
    pub async fn start(actors: usize) -> Self {
        Self::start_logging(actors, "info").await
    }

    /// The same with this many threads for the tensors of the learner and of each actor, which is one elsewhere.
    pub async fn start_with_threads(actors: usize, threads: usize) -> Self {
        let mut stack = Self::start(0).await;
        if threads != 1 {
            stack.threads = threads;
            stack.learner.process.terminate().await;
            stack.restart_learner().await;
        }
        for _ in 0..actors {
            stack.add_actor();
        }
        stack
    }

    /// The same with a level for the learner's log.
    pub async fn start_logging(actors: usize, level: &str) -> Self {
        let workplace = Workplace::new();
        let (redis, redis_url) = start_redis(&workplace).await;
        let verifier = start_server(&workplace, "verifier", &free_address(), verifier_arguments()).await;
        let arguments = learner_arguments(&workplace, &redis_url, 1);
        let learner = start_logging(&workplace, "learner", &free_address(), arguments, level).await;
        let mut stack = Self {
            actors: Vec::new(),
            actor_arguments: Vec::new(),
            learner,
            verifier,
            redis_address: redis_url.trim_start_matches("redis://").to_owned(),
            redis_url,
            redis,
            learner_link: None,
            ranks: Vec::new(),
            store: free_address(),
            threads: 1,
            asked: Mutex::default(),
            workplace,
        };
        for _ in 0..actors {
            stack.add_actor();
        }
        stack
    }

    fn learner_arguments(&self) -> Vec<OsString> {
        let mut arguments = learner_arguments(&self.workplace, &self.redis_url, self.threads);
        if !self.ranks.is_empty() {
            arguments.extend(self.meeting(self.ranks.len() + 1));
        }
        arguments
    }

    /// Starts everything with a link between learner and Redis, and one between the actors and the learner.
    pub async fn start_linked(actors: usize) -> (Self, Link, Link) {
        let mut stack = Self::start(0).await;
        let to_redis = Link::to(&stack.redis_address).await;
        let to_learner = Link::to(&stack.learner.address).await;
        stack.redis_url = format!("redis://{}", to_redis.address);
        stack.learner_link = Some(to_learner.address.clone());
        // Again, over its link.
        stack.learner.process.terminate().await;
        stack.restart_learner().await;
        for _ in 0..actors {
            stack.add_actor();
        }
        (stack, to_redis, to_learner)
    }

    /// Starts Redis again with what it has on disk; the old one must have ended.
    pub fn spawn_redis(&mut self) {
        let command = redis_command(&self.workplace, &self.redis_address);
        self.redis = Process::start("redis", command, self.workplace.mark(), &logs(&self.workplace));
    }

    /// Starts the learner again without waiting until it listens, as a supervisor does.
    pub fn spawn_learner(&mut self) {
        let arguments = self.learner_arguments();
        let (process, metrics_address) =
            spawn_server(&self.workplace, "learner", &self.learner.address, arguments, &[]);
        self.learner.process = process;
        self.learner.metrics_address = metrics_address;
    }

    /// The same for the verifier.
    pub fn spawn_verifier(&mut self) {
        let (process, metrics_address) = spawn_server(
            &self.workplace,
            "verifier",
            &self.verifier.address,
            verifier_arguments(),
            &[],
        );
        self.verifier.process = process;
        self.verifier.metrics_address = metrics_address;
    }

    /// Starts an actor again under its own name; the old one must have ended.
    pub fn spawn_actor(&mut self, index: usize) {
        let (process, metrics_address) = self.new_actor(index);
        self.actors[index].process = process;
        self.actors[index].metrics_address = metrics_address;
    }

    /// Starts one more actor.
    pub fn add_actor(&mut self) {
        self.add_actor_with(&[]);
    }

    /// The same with arguments of its own, which it has again when it is started again.
    pub fn add_actor_with(&mut self, arguments: &[&str]) {
        self.actor_arguments.push(texts(arguments));
        let (process, metrics_address) = self.new_actor(self.actors.len());
        self.actors.push(Server {
            process,
            address: String::new(),
            metrics_address,
        });
    }

    fn new_actor(&self, index: usize) -> (Process, String) {
        let name = format!("actor-{}", index + 1);
        let learner = self.learner_link.as_ref().unwrap_or(&self.learner.address);
        let metrics_address = free_address();
        let mut command = Command::new(programs::binary("anytime-actor"));
        command.args([
            "--actor-id",
            &name,
            "--threads",
            &self.threads.to_string(),
            "--device",
            "cpu",
        ]);
        command.args(["--learner", &format!("http://{learner}")]);
        command.args(["--verifier", &format!("http://{}", self.verifier.address)]);
        command.args(["--metrics-address", &metrics_address]);
        command.args(&self.actor_arguments[index]);
        let process = Process::start(&name, command, self.workplace.mark(), &logs(&self.workplace));
        (process, metrics_address)
    }

    /// Starts the learner again where its peers look for it; the old one must have ended.
    pub async fn restart_learner(&mut self) {
        self.restart_learner_with(&[]).await;
    }

    /// The same with variables in its environment.
    pub async fn restart_learner_with(&mut self, environment: &[(&str, String)]) {
        let address = self.learner.address.clone();
        let arguments = self.learner_arguments();
        self.learner = start_with(&self.workplace, "learner", &address, arguments, environment).await;
    }

    /// Starts the verifier again where its peers look for it; the old one must have ended.
    pub async fn restart_verifier(&mut self) {
        let address = self.verifier.address.clone();
        self.verifier = start_server(&self.workplace, "verifier", &address, verifier_arguments()).await;
    }

    /// The learner's job service.
    pub fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(channel(&self.learner.address))
    }

    /// Submits a job over gRPC.
    pub async fn submit(&self, request_id: &str, spec: JobSpec) -> v1::Job {
        let request = v1::SubmitJobRequest {
            request_id: request_id.to_owned(),
            spec: Some(spec),
        };
        self.jobs()
            .submit(request)
            .await
            .expect("the job is accepted")
            .into_inner()
    }

    /// Lets a paused job go on; false where no learner answers.
    pub async fn resume(&self, job_id: &str) -> bool {
        let request = v1::ResumeJobRequest {
            job_id: job_id.to_owned(),
            spec: None,
        };
        self.jobs().resume(request).await.is_ok()
    }

    /// The job as the learner has it; None while no learner answers.
    pub async fn job(&self, job_id: &str) -> Option<v1::Job> {
        let request = v1::GetJobRequest {
            job_id: job_id.to_owned(),
        };
        let channel = {
            // Tests ask for the same job again and again: one connection serves them all, and is made anew where it breaks.
            let mut asked = self.asked.lock().expect("nobody panicked");
            match asked.as_ref() {
                Some((address, channel)) if *address == self.learner.address => channel.clone(),
                _ => {
                    let channel = channel(&self.learner.address);
                    *asked = Some((self.learner.address.clone(), channel.clone()));
                    channel
                }
            }
        };
        let mut jobs = JobServiceClient::new(channel);
        jobs.get(request).await.ok().map(tonic::Response::into_inner)
    }

    /// Waits until the job has done this many steps and still runs.
    pub async fn wait_for_step(&mut self, job_id: &str, step: u64, seconds: u64) {
        let reached = eventually(&format!("step {step} of {job_id}"), patiently(seconds), async || {
            let job = self.job(job_id).await?;
            let has_ended = !matches!(job.state(), JobState::Queued | JobState::Running);
            (has_ended || job.step >= step).then_some(job)
        })
        .await;
        assert_eq!(
            reached.state(),
            JobState::Running,
            "at step {}: {}",
            reached.step,
            reached.error
        );
    }

    /// Waits for the end of the job and checks that it succeeded.
    pub async fn wait_for_success(&mut self, job_id: &str, seconds: u64) -> v1::Job {
        let ended = eventually(&format!("the end of {job_id}"), patiently(seconds), async || {
            let job = self.job(job_id).await?;
            (!matches!(job.state(), JobState::Queued | JobState::Running)).then_some(job)
        })
        .await;
        assert_eq!(ended.state(), JobState::Succeeded, "{}", ended.error);
        ended
    }

    /// All events of a job that has ended.
    pub async fn history(&self, job_id: &str) -> History {
        let request = v1::WatchJobRequest {
            job_id: job_id.to_owned(),
            after: 0,
        };
        let mut stream = self.jobs().watch(request).await.expect("the job is known").into_inner();
        let mut events = Vec::new();
        while let Some(event) = stream.message().await.expect("the stream ends well") {
            events.push(event);
        }
        History { events }
    }

    /// Panics if a group was trained twice: the steps of the final history must have trained as many groups as the
    /// recovery checkpoint has consumed, which it keeps as a set.
    pub async fn assert_trained_once_each(&self, job_id: &str) {
        let job = self.job(job_id).await.expect("the learner answers");
        let training = job.spec.and_then(|spec| spec.training).expect("a train job");
        let steps = self.history(job_id).await.step_numbers();
        let expected: Vec<u64> = (1..=training.steps()).collect();
        assert_eq!(steps, expected, "every step is there once");
        let consumed = consumed_groups(&self.job_directory(job_id));
        assert_eq!(consumed, training.steps() * u64::from(training.batch()));
        self.assert_audit_is_clean(job_id).await;
    }

    /// Panics unless `anytime audit` finds nothing, of the learner and of the job's directory, and says the same of both.
    pub async fn assert_audit_is_clean(&self, job_id: &str) {
        let of_learner = self.anytime(&["audit", job_id], 30).await;
        assert_eq!(of_learner.code, 0, "{}\n{}", of_learner.stdout, of_learner.stderr);
        let of_directory = self.assert_directory_is_clean(job_id).await;
        let has_ended = self.job(job_id).await.is_some_and(|job| job.ended.is_some());
        if has_ended {
            // Only a learner knows what is open in the queue.
            let lines = of_learner
                .stdout
                .lines()
                .filter(|line| !line.contains("groups queued, leased"));
            assert_eq!(lines.collect::<Vec<_>>(), of_directory.lines().collect::<Vec<_>>());
        }
    }

    /// The same of the job's directory alone. Returns what the audit says.
    pub async fn assert_directory_is_clean(&self, job_id: &str) -> String {
        let directory = self.job_directory(job_id).display().to_string();
        let of_directory = self.workplace.anytime(&["audit", &directory], 30).await;
        assert_eq!(of_directory.code, 0, "{}\n{}", of_directory.stdout, of_directory.stderr);
        of_directory.stdout
    }

    /// All metrics of the learner as it serves them now.
    pub async fn learner_metrics(&self) -> Vec<Sample> {
        crate::metrics::scrape(&self.learner.metrics_address)
            .await
            .expect("the learner serves metrics")
    }

    /// Directory of a job.
    pub fn job_directory(&self, job_id: &str) -> PathBuf {
        runs(&self.workplace).join(job_id)
    }

    /// Runs `anytime` against this stack's learner.
    pub async fn anytime(&self, arguments: &[&str], seconds: u64) -> Ended {
        let learner = format!("http://{}", self.learner.address);
        let arguments = [arguments, &["--learner", &learner]].concat();
        self.workplace.anytime(&arguments, seconds).await
    }
}

/// A channel to `host:port` that connects on first use.
pub fn channel(address: &str) -> Channel {
    let uri = format!("http://{address}");
    Channel::from_shared(uri).expect("an address").connect_lazy()
}

/// Starts a Redis in the workplace, and returns its process and its URL.
pub async fn start_redis(workplace: &Workplace) -> (Process, String) {
    let directory = workplace.path("redis");
    std::fs::create_dir_all(&directory).expect("directory of redis");
    let address = free_address();
    let command = redis_command(workplace, &address);
    let mut redis = Process::start("redis", command, workplace.mark(), &logs(workplace));
    eventually("redis", START_SECONDS, async || {
        redis.assert_runs();
        TcpStream::connect(&address).ok()
    })
    .await;
    (redis, format!("redis://{address}"))
}

/// A Redis that has what it accepted on disk before it answers, as `anytime local` starts it.
fn redis_command(workplace: &Workplace, address: &str) -> Command {
    let (_, port) = address.rsplit_once(':').expect("host and port");
    let mut command = Command::new(programs::redis_server());
    command.args(["--bind", "127.0.0.1", "--port", port, "--save", ""]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]);
    command.arg(workplace.path("redis"));
    command
}

fn verifier_arguments() -> Vec<OsString> {
    texts(&["--threads", "1"])
}

fn learner_arguments(workplace: &Workplace, redis_url: &str, threads: usize) -> Vec<OsString> {
    let threads = threads.to_string();
    let mut arguments = texts(&["--redis", redis_url, "--threads", &threads, "--device", "cpu", "--root"]);
    arguments.push(workplace.path("").into_os_string());
    arguments.push("--runs-dir".into());
    arguments.push(runs(workplace).into_os_string());
    arguments
}

async fn start_server(workplace: &Workplace, name: &str, listen: &str, arguments: Vec<OsString>) -> Server {
    start_with(workplace, name, listen, arguments, &[]).await
}

async fn start_logging(
    workplace: &Workplace,
    name: &str,
    listen: &str,
    arguments: Vec<OsString>,
    level: &str,
) -> Server {
    let environment = [("RUST_LOG", level.to_owned())];
    start_with(workplace, name, listen, arguments, &environment).await
}

async fn start_with(
    workplace: &Workplace,
    name: &str,
    listen: &str,
    arguments: Vec<OsString>,
    environment: &[(&str, String)],
) -> Server {
    let port_file = workplace.path(&format!("{name}.port"));
    let (mut process, metrics_address) = spawn_server(workplace, name, listen, arguments, environment);
    let address = eventually(&format!("the port of the {name}"), START_SECONDS, async || {
        process.assert_runs();
        std::fs::read_to_string(&port_file).ok()
    })
    .await;
    Server {
        process,
        address: address.trim().to_owned(),
        metrics_address,
    }
}

/// The process of a server, and where its metrics are.
fn spawn_server(
    workplace: &Workplace,
    name: &str,
    listen: &str,
    arguments: Vec<OsString>,
    environment: &[(&str, String)],
) -> (Process, String) {
    let port_file = workplace.path(&format!("{name}.port"));
    let _ = std::fs::remove_file(&port_file);
    let metrics_address = free_address();
    let mut command = Command::new(programs::binary(&format!("anytime-{name}")));
    if name == "verifier" {
        command.arg("serve");
    }
    command.args(["--listen", listen, "--metrics-address", &metrics_address, "--port-file"]);
    command.arg(&port_file).args(arguments).env("RUST_LOG", "info");
    for (name, value) in environment {
        command.env(name, value);
    }
    let process = Process::start(name, command, workplace.mark(), &logs(workplace));
    (process, metrics_address)
}

pub(crate) fn logs(workplace: &Workplace) -> PathBuf {
    workplace.path("logs")
}

fn runs(workplace: &Workplace) -> PathBuf {
    workplace.path("runs")
}

pub(crate) fn texts(values: &[&str]) -> Vec<OsString> {
    values.iter().map(OsString::from).collect()
}

/// How many groups the recovery checkpoint of a job's directory has trained, each counted once.
fn consumed_groups(job_directory: &Path) -> u64 {
    let accounts = anytime_proto::checkpoint_accounts(job_directory).expect("recovery checkpoints");
    let newest = accounts.into_iter().next_back().expect("a recovery checkpoint");
    newest.expect("state of the recovery checkpoint").ended.trained()
}
