//! A run whose programs only pretend: its directory, its learner, and what its processes noted.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::support::{
    Ended, FakeLearner, Script, command, is_alive, output_of, train_job, wait_for, write, write_script,
};

/// Every fake notes its process id and its arguments, and leaves a helper behind that must go with it.
pub(crate) const NOTE: &str = r#"
echo $$ >> "$STAGE/pids"
env | grep -E '^ANYTIME_(TLS|ACCESS|TOKEN|INSECURE)' >> "$STAGE/security" || true
echo "$(basename "$0") OMP_NUM_THREADS=$OMP_NUM_THREADS $*" >> "$STAGE/started"
previous=
for argument in "$@"; do
    [ "$previous" = --port-file ] && port_file=$argument
    [ "$previous" = --listen ] && listen=$argument
    previous=$argument
done
"#;

pub(crate) const SERVE: &str = "echo \"$ADDRESS\" > \"$port_file.aside\"; mv \"$port_file.aside\" \"$port_file\"";
pub(crate) const WAIT: &str = "sleep 1000 & echo $! >> \"$STAGE/pids\"; wait";

pub(crate) struct Stage {
    pub(crate) directory: TempDir,
    pub(crate) learner: FakeLearner,
}

impl Stage {
    pub(crate) async fn new(script: Script) -> Self {
        let stage = Self {
            directory: tempfile::tempdir().unwrap(),
            learner: FakeLearner::start(script).await,
        };
        let address = stage.learner.address.clone();
        stage.program("anytime-verifier", &format!("ADDRESS=127.0.0.1:1\n{SERVE}\n{WAIT}"));
        stage.program("anytime-learner", &format!("ADDRESS={address}\n{SERVE}\n{WAIT}"));
        stage.program("anytime-actor", WAIT);
        write(&stage.path("model/config.json"), "{}");
        write(&stage.path("data.jsonl"), "");
        write(&stage.path("job.toml"), &train_job("sums"));
        stage
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn program(&self, name: &str, body: &str) {
        write_script(&self.path("bin").join(name), &format!("{NOTE}\n{body}"));
    }

    /// A Redis that answers, so that the tests do not need one: this test's own socket.
    pub(crate) fn redis(&self) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = std::io::Write::write_all(&mut stream.unwrap(), b"+PONG\r\n");
            }
        });
        format!("redis://{address}")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let redis = self.redis();
        let mut command = command(&[&["local", "job.toml", "--redis", &redis], arguments].concat());
        command
            .current_dir(self.directory.path())
            .env("ANYTIME_BIN_DIR", self.path("bin"))
            .env("STAGE", self.directory.path());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        output_of(self.command(arguments)).await
    }

    /// Starts a run that never ends by itself and waits until it watches its job.
    pub(crate) async fn run_on(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let child = command.spawn().unwrap();
        wait_for("the watch", || !self.learner.watched_after().is_empty()).await;
        wait_for("all helpers", || self.pids().len() >= 8).await;
        child
    }

    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn pids(&self) -> Vec<i32> {
        self.lines("pids").iter().map(|line| line.parse().unwrap()).collect()
    }

    pub(crate) fn started(&self, program: &str) -> Vec<String> {
        self.lines("started")
            .into_iter()
            .filter(|line| line.starts_with(program))
            .collect()
    }

    pub(crate) async fn assert_nothing_left(&self) {
        let pids = self.pids();
        wait_for("the end of all children", || pids.iter().all(|pid| !is_alive(*pid))).await;
    }

    pub(crate) fn report(&self, out: &str) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.path(out).join("report.json")).unwrap()).unwrap()
    }
}
