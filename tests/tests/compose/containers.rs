//! The containers of docker-compose.yml on a Docker engine, with a project, networks, volumes, secrets and ports of their
//! own. They are removed with all of these when they are dropped, also where the test panics.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anytime_tests::metrics::web_client;
use anytime_tests::ports::free_address;
use anytime_tests::process::tail;
use anytime_tests::programs::{binary, repository};
use anytime_tests::wait::eventually;
use anytime_tests::workplace::{Ended, Workplace};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

/// What is started. Nothing here asks Grafana, and there is no image of it where no registry is.
pub(crate) const STARTED: [&str; 2] = ["actor", "prometheus"];

/// What that brings, itself included.
pub(crate) const SERVICES: [&str; 7] = [
    "actor",
    "alertmanager",
    "learner",
    "prometheus",
    "redis",
    "redis-exporter",
    "verifier",
];

/// Longest time of one command of Docker or compose: it waits for health checks.
const COMMAND_SECONDS: u64 = 120;

/// The whole service in containers, and a workplace whose folder `work` they see as /work.
pub(crate) struct Containers {
    compose: Vec<&'static str>,
    project: String,
    /// Where the learner is published, as `host:port`.
    learner: String,
    /// Where Prometheus is published.
    prometheus: String,
    /// What is laid over docker-compose.yml.
    overlay: Option<PathBuf>,
    pub(crate) workplace: Workplace,
}

impl Containers {
    /// Prepares secrets, model and data, and starts nothing. Where the engine or an image is missing, it says what.
    pub(crate) async fn try_new() -> Result<Self, String> {
        let compose = compose_command().ok_or("there is neither docker compose nor docker-compose")?;
        if !succeeds(&["docker", "version"]) {
            return Err("no Docker engine answers".to_owned());
        }
        let containers = Self {
            compose,
            project: format!("anytime-test-{}", std::process::id()),
            learner: free_address(),
            prometheus: free_address(),
            overlay: None,
            workplace: Workplace::new(),
        };
        containers.prepare().await;
        let missing = containers.missing_images().await;
        if !missing.is_empty() {
            return Err(format!(
                "there are no images {missing:?}: make images, and deploy/base-images.sh where no registry is"
            ));
        }
        Ok(containers)
    }

    /// Secrets as an operator makes them, and what jobs name. The file of variables keeps the user's own .env out of it.
    async fn prepare(&self) {
        let mut command = Command::new(repository().join("deploy/secrets.sh"));
        self.workplace.mark().put_on(&mut command);
        command
            .arg(self.workplace.path("secrets"))
            .env("ENV_FILE", self.env_file())
            .env("ANYTIME_WORK", self.workplace.path("work"))
            .env("ANYTIME_BINARY", binary("anytime"));
        self.workplace.run(command, COMMAND_SECONDS).await.expect(0);

        let mut variables = std::fs::read_to_string(self.env_file()).unwrap();
        for (name, folder) in [("ANYTIME_SECRETS", "secrets"), ("ANYTIME_WORK", "work")] {
            variables += &format!("{name}={}\n", self.workplace.path(folder).display());
        }
        let ports = [
            ("ANYTIME_LEARNER_PORT", self.learner.clone()),
            ("ANYTIME_PROMETHEUS_PORT", self.prometheus.clone()),
            ("ANYTIME_LEARNER_METRICS_PORT", free_address()),
            ("ANYTIME_VERIFIER_PORT", free_address()),
            ("ANYTIME_VERIFIER_METRICS_PORT", free_address()),
            ("ANYTIME_ALERTMANAGER_PORT", free_address()),
        ];
        for (name, address) in ports {
            let (_, port) = address.rsplit_once(':').unwrap();
            variables += &format!("{name}={port}\n");
        }
        std::fs::write(self.env_file(), variables).unwrap();

        for (made, named) in [("model", "work/models/demo"), ("data", "work/data/chains")] {
            std::fs::rename(self.workplace.path(made), self.workplace.path(named)).unwrap();
        }
    }

    fn env_file(&self) -> PathBuf {
        self.workplace.path("env")
    }

    async fn missing_images(&self) -> Vec<String> {
        let configuration = self.compose(&["config"]).await.expect(0).stdout;
        let documents = YamlLoader::load_from_str(&configuration).unwrap();
        let services: &Yaml = &documents[0]["services"];
        let mut images: Vec<String> = SERVICES
            .iter()
            .map(|service| services[*service]["image"].as_str().unwrap().to_owned())
            .collect();
        images.sort();
        images.dedup();
        images.retain(|image| !succeeds(&["docker", "image", "inspect", image]));
        images
    }

    /// Starts everything, or goes on with this many actors.
    pub(crate) async fn up(&self, actors: usize) {
        let scale = format!("actor={actors}");
        // An image that is missing fails the test rather than being built for minutes.
        let arguments = [&["up", "--detach", "--no-build", "--scale", &scale], &STARTED[..]].concat();
        self.compose(&arguments).await.expect(0);
    }

    /// From now on this file is laid over docker-compose.yml.
    pub(crate) fn lay_over(&mut self, text: &str) {
        let path = self.workplace.path("overlay.yml");
        std::fs::write(&path, text).unwrap();
        self.overlay = Some(path);
    }

    /// Starts these services and what they wait for.
    pub(crate) async fn up_with(&self, services: &[&str]) {
        let arguments = [&["up", "--detach", "--no-build"], services].concat();
        self.compose(&arguments).await.expect(0);
    }

    /// Ends and removes all containers and the network, and leaves the volumes.
    pub(crate) async fn down(&self) {
        self.compose(&["down"]).await.expect(0);
    }

    /// The running containers: the service of each by its id.
    pub(crate) async fn running(&self) -> BTreeMap<String, String> {
        let filter = self.filter();
        let format = r#"{{.ID}} {{.Label "com.docker.compose.service"}}"#;
        let listed = self
            .docker(&["ps", "--filter", &filter, "--format", format])
            .await
            .expect(0);
        let lines = listed.stdout.lines();
        lines
            .map(|line| {
                let (id, service) = line.split_once(' ').unwrap();
                (id.to_owned(), service.to_owned())
            })
            .collect()
    }

    /// The id of one running container of a service.
    pub(crate) async fn one(&self, service: &str) -> String {
        let running = self.running().await;
        let found = running.into_iter().find(|(_, name)| name == service);
        let (id, _) = found.unwrap_or_else(|| panic!("no container of {service} runs"));
        id
    }

    /// Ends a container as `docker kill` does, after which Docker leaves it down, and starts it again.
    pub(crate) async fn kill_and_start(&self, id: &str) {
        self.docker(&["kill", id]).await.expect(0);
        // To start a container that has not ended yet would do nothing.
        self.docker(&["wait", id]).await.expect(0);
        self.docker(&["start", id]).await.expect(0);
    }

    /// What Docker knows of a container.
    pub(crate) async fn inspect(&self, id: &str) -> Value {
        let mut list = self.docker(&["inspect", id]).await.expect(0).json();
        list[0].take()
    }

    /// Runs a command in a container.
    pub(crate) async fn exec(&self, id: &str, command: &[&str]) -> Ended {
        self.docker(&[&["exec", id], command].concat()).await
    }

    /// Runs `docker`.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new("docker");
        command.args(arguments);
        self.workplace.run(command, COMMAND_SECONDS).await
    }

    /// Runs the client in a container of its own.
    pub(crate) async fn client(&self, arguments: &[&str]) -> Ended {
        self.compose(&[&["run", "--rm", "-T", "client"], arguments].concat())
            .await
    }

    /// Runs this build's client on the host, with the token of who submits.
    pub(crate) async fn anytime(&self, arguments: &[&str]) -> Ended {
        let mut command = self.workplace.command(arguments);
        command
            .env("ANYTIME_LEARNER", format!("https://{}", self.learner))
            .env("ANYTIME_TLS_CA", self.workplace.path("secrets/ca.pem"))
            .env("ANYTIME_TOKEN_FILE", self.workplace.path("secrets/submit.token"));
        self.workplace.run(command, COMMAND_SECONDS).await
    }

    /// The job as the learner has it; None while no learner answers.
    pub(crate) async fn job(&self, job: &str) -> Option<Value> {
        let ended = self.anytime(&["get", job, "--json"]).await;
        (ended.code == 0).then(|| ended.json())
    }

    /// Waits until a job that runs has done this many more steps than now, and returns the last.
    pub(crate) async fn wait_for_steps(&self, job: &str, more: u64, seconds: u64) -> u64 {
        self.wait_in(&["queued", "running"], job, more, seconds).await
    }

    /// The same where the job may be paused meanwhile, as it is while a rank is away.
    pub(crate) async fn wait_for_steps_of_paused(&self, job: &str, more: u64, seconds: u64) -> u64 {
        self.wait_in(&["queued", "running", "paused"], job, more, seconds).await
    }

    async fn wait_in(&self, states: &[&str], job: &str, more: u64, seconds: u64) -> u64 {
        let mut fewest = u64::MAX;
        eventually(&format!("{more} more steps of {job}"), seconds, async || {
            let known = self.job(job).await?;
            let state = known["state"].as_str().unwrap();
            assert!(states.contains(&state), "{known}");
            let step = known["step"].as_u64().unwrap();
            // A learner that goes back to its checkpoint has fewer than before.
            fewest = fewest.min(step);
            (step >= fewest + more).then_some(step)
        })
        .await
    }

    /// What Prometheus answers; None while it does not.
    pub(crate) async fn prometheus(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/{path}", self.prometheus);
        let text = web_client().get(&url).send().await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }

    async fn compose(&self, arguments: &[&str]) -> Ended {
        self.workplace.run(self.command(arguments), COMMAND_SECONDS).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.compose[0]);
        // Variables of the caller go before those of the file: none is left.
        self.workplace.mark().put_on(&mut command);
        command
            .args(&self.compose[1..])
            .args(["--project-name", &self.project, "--file", "docker-compose.yml"])
            .args(
                self.overlay
                    .iter()
                    .flat_map(|overlay| [OsStr::new("--file"), overlay.as_os_str()]),
            )
            .arg("--env-file")
            .arg(self.env_file())
            .args(arguments)
            .current_dir(repository());
        command
    }

    fn filter(&self) -> String {
        format!("label=com.docker.compose.project={}", self.project)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.command(&["logs", "--tail", "20"]).output();
            let text = logs.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            eprintln!("the ends of the logs:\n{}", text.unwrap_or_default());
        }
        // First whatever runs, a client that was under way included, which `down` would leave.
        let filter = self.filter();
        let listed = Command::new("docker")
            .args(["ps", "--all", "--quiet", "--filter", &filter])
            .output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let _ = Command::new("docker")
            .args(["rm", "--force", "--volumes"])
            .args(listed.unwrap_or_default().lines())
            .output();
        let down = self.command(&["down", "--volumes", "--remove-orphans"]).output();
        match down {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!(
                "{} is left: {}",
                self.project,
                tail(&String::from_utf8_lossy(&output.stderr))
            ),
            Err(error) => eprintln!("{} is left: {error}", self.project),
        }
    }
}

/// How compose is called here: the plugin, or the older program of its own.
pub(crate) fn compose_command() -> Option<Vec<&'static str>> {
    let ways = [vec!["docker", "compose"], vec!["docker-compose"]];
    ways.into_iter()
        .find(|way| succeeds(&[way.as_slice(), &["version"]].concat()))
}

fn succeeds(command: &[&str]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).output();
    output.is_ok_and(|output| output.status.success())
}
