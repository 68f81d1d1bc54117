//! The scripts of deploy/slurm give programs arguments that they take, pass the signals of Slurm on, end everything in
//! order, and queue themselves again where the time is over. Slurm and the programs are played by small scripts, which
//! write down how they are called.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use anytime_tests::help::Help;
use anytime_tests::process::{Mark, Process};
use anytime_tests::programs::repository;
use anytime_tests::wait::{eventually, within};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Where the scripts look for programs, below the folder that they are submitted from.
const PROGRAMS: &str = "target/release";

/// Serves until it is told to end. The first learner dies, as one whose device is lost.
const SERVER: &str = r#"#!/usr/bin/env bash
name="$(basename "$0")"
trap 'echo "$name ends" >> "$CALLS"; exit 0' TERM
echo "$name $*" >> "$CALLS"
if [ "$name" = anytime-learner ] && ! [ -e "$CALLS.learner" ]; then
    touch "$CALLS.learner"
    exit 70
fi
if [ "$name" = redis-server ]; then
    cat > "$CALLS.redis"
fi
while true; do
    sleep 0.05
done
"#;

/// The command line: it watches a job, or runs one, until it is told to end.
const CLIENT: &str = r#"#!/usr/bin/env bash
trap 'echo "anytime ends" >> "$CALLS"; exit 130' TERM
echo "anytime $*" >> "$CALLS"
case $1 in
    certs)
        mkdir -p "$2"
        echo a-password > "$2/redis.password"
        ;;
    submit | local)
        while ! [ -e "$CALLS.over" ]; do
            sleep 0.05
        done
        ;;
esac
"#;

/// Ends at once, whenever it is started.
const DOOMED: &str = r#"#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$CALLS"
exit 70
"#;

const SCONTROL: &str = r#"#!/usr/bin/env bash
if [ "$1" = show ]; then
    printf 'host-a\nhost-b\n'
else
    echo "scontrol $*" >> "$CALLS"
fi
"#;

/// Lists the steps of the job.
const SQUEUE: &str = r#"#!/usr/bin/env bash
printf '7.batch batch\n7.0 actors\n'
"#;

/// Tells the tasks of the step with the actors.
const SCANCEL: &str = r#"#!/usr/bin/env bash
[ "$*" = "--signal=TERM 7.0" ] && kill -TERM $(cat "$CALLS.step")
"#;

/// Runs the command on two nodes. As the real one does, it kills them where it gets SIGTERM itself.
const SRUN: &str = r#"#!/usr/bin/env bash
while [[ "$1" == --* ]]; do
    shift
done
SLURM_NODEID=0 SLURMD_NODENAME=host-a "$@" &
first=$!
SLURM_NODEID=1 SLURMD_NODENAME=host-b "$@" &
second=$!
echo "$first $second" > "$CALLS.step"
trap 'kill -KILL $first $second' TERM
while kill -0 $first 2> /dev/null || kill -0 $second 2> /dev/null; do
    sleep 0.05
done
"#;

/// Where a script runs: a folder to submit from, and programs that play their parts.
struct Stage {
    folder: TempDir,
    mark: Mark,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.mark.kill_all();
    }
}

impl Stage {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mark = Mark::new(folder.path());
        let stage = Self { folder, mark };
        for name in ["anytime-learner", "anytime-verifier", "anytime-actor", "redis-server"] {
            stage.put(name, SERVER);
        }
        stage.put("anytime", CLIENT);
        stage.put("scontrol", SCONTROL);
        stage.put("squeue", SQUEUE);
        stage.put("scancel", SCANCEL);
        stage.put("srun", SRUN);
        symlink(repository().join("deploy"), stage.path("deploy")).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a program.
    fn put(&self, name: &str, script: &str) {
        let path = self.path(PROGRAMS).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Starts a script of deploy/slurm, as Slurm does on the first of two nodes: from a copy that lies elsewhere.
    fn start(&self, script: &str, gpus: &str) -> Process {
        self.start_with(script, gpus, &[])
    }

    /// The same with variables of who submits.
    fn start_with(&self, script: &str, gpus: &str, variables: &[(&str, &str)]) -> Process {
        let copy = self.path("slurm_script");
        std::fs::copy(repository().join("deploy/slurm").join(script), &copy).unwrap();
        let mut command = Command::new("bash");
        command.arg(&copy).arg("job.toml");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let directories = std::iter::once(self.path(PROGRAMS)).chain(std::env::split_paths(&path));
        command
            .env("PATH", std::env::join_paths(directories).unwrap())
            .env("CALLS", self.path("calls"))
            .env("SLURM_SUBMIT_DIR", self.folder.path())
            .env("SLURM_JOB_ID", "7")
            .env("SLURM_JOB_NUM_NODES", "2")
            .env("SLURM_JOB_NODELIST", "host-[a-b]")
            .env("SLURM_GPUS_ON_NODE", gpus)
            .envs(variables.iter().copied());
        Process::start("script", command, &self.mark, &self.path("logs"))
    }

    /// How programs were called, and that they ended, in order.
    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The first call that begins so, once there is one.
    async fn call(&self, start: &str) -> String {
        eventually(start, 60, async || {
            self.calls().into_iter().find(|call| call.starts_with(start))
        })
        .await
    }

    fn count(&self, start: &str) -> usize {
        self.calls().iter().filter(|call| call.starts_with(start)).count()
    }

    /// Every argument that a program of this project was called with is one that it takes.
    fn assert_arguments(&self) {
        for call in self.calls() {
            let words: Vec<String> = call.split_whitespace().map(str::to_owned).collect();
            let program = words[0].as_str();
            if !program.starts_with("anytime") || words[1] == "ends" {
                continue;
            }
            let has_commands = ["anytime", "anytime-verifier"].contains(&program);
            let subcommands: &[String] = if has_commands { &words[1..2] } else { &[] };
            let unknown = Help::of(program, subcommands).unknown_flags(&words[1..]);
            assert!(unknown.is_empty(), "{call}: {unknown:?}");
        }
    }
}

#[tokio::test]
async fn one_node_is_stopped_before_its_time_is_over_and_queued_again() {
    within(120, async {
        for (gpus, devices) in [("0", "--device cpu"), ("1", "--devices 0,0"), ("3", "--devices 0,1,2")] {
            let stage = Stage::new();
            let mut script = stage.start("one-node.sbatch", gpus);
            let call = stage.call("anytime local").await;
            assert!(
                call.starts_with("anytime local job.toml --out runs/slurm-7 --resume "),
                "{call}"
            );
            assert!(call.ends_with(devices), "{call}");
            script.signal(Signal::SIGUSR1);
            assert_eq!(script.exit_code(60).await, 130, "{}", script.log());
            assert_eq!(stage.calls()[1..], ["anytime ends", "scontrol requeue 7"]);
            stage.assert_arguments();
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_cancelled_and_what_is_over_is_not_queued_again() {
    within(120, async {
        let stage = Stage::new();
        let mut script = stage.start("one-node.sbatch", "0");
        stage.call("anytime local").await;
        script.signal(Signal::SIGTERM);
        assert_eq!(script.exit_code(60).await, 130, "{}", script.log());
        assert_eq!(stage.count("scontrol"), 0, "{:?}", stage.calls());

        let stage = Stage::new();
        std::fs::write(stage.path("calls.over"), "").unwrap();
        let mut script = stage.start("one-node.sbatch", "0");
        assert_eq!(script.exit_code(60).await, 0, "{}", script.log());
        assert_eq!(stage.count("scontrol"), 0, "{:?}", stage.calls());
    })
    .await;
}

#[tokio::test]
async fn several_nodes_run_everything_once_start_again_what_dies_and_end_redis_last() {
    within(180, async {
        let stage = Stage::new();
        let mut script = stage.start("cluster.sbatch", "3");
        let submitted = stage.call("anytime submit").await;
        assert!(submitted.contains("--request-id slurm-7 --watch"), "{submitted}");
        // Two on the learner's node, three on the other.
        eventually("actors", 60, async || {
            (stage.count("anytime-actor --") == 5).then_some(())
        })
        .await;
        eventually("a second learner", 60, async || {
            (stage.count("anytime-learner --") == 2).then_some(())
        })
        .await;
        let redis = std::fs::read_to_string(stage.path("calls.redis")).unwrap();
        for line in ["bind 127.0.0.1", "appendfsync always", "requirepass a-password"] {
            assert!(redis.lines().any(|each| each == line), "{line}: {redis}");
        }
        script.signal(Signal::SIGUSR1);
        assert_eq!(script.exit_code(60).await, 130, "{}", script.log());
        for (program, count) in [
            ("anytime ", 1),
            ("anytime-actor ", 5),
            ("anytime-verifier ", 1),
            ("anytime-learner ", 1),
            ("redis-server ", 1),
        ] {
            assert_eq!(
                stage.count(&format!("{program}ends")),
                count,
                "{program}: {:?}",
                stage.calls()
            );
        }
        let calls = stage.calls();
        assert_eq!(calls[calls.len() - 2..], ["redis-server ends", "scontrol requeue 7"]);
        stage.assert_arguments();
    })
    .await;
}

#[tokio::test]
async fn what_dies_again_and_again_is_given_up() {
    within(120, async {
        let stage = Stage::new();
        stage.put("anytime-learner", DOOMED);
        // It reaches no learner.
        stage.put(
            "anytime",
            &CLIENT.replace("case $1 in", "case $1 in\n    list) exit 69 ;;"),
        );
        let mut script = stage.start_with("cluster.sbatch", "3", &[("RESTARTS", "3")]);
        assert_eq!(script.exit_code(90).await, 70, "{}", script.log());
        assert_eq!(stage.count("anytime-learner --"), 3, "{:?}", stage.calls());
        let log = script.log();
        assert!(
            log.contains("learner ended 3 times within ten minutes and is given up"),
            "{log}"
        );
        assert_eq!(stage.count("scontrol"), 0, "{:?}", stage.calls());
        eventually("nothing is left", 60, async || {
            stage.mark.processes().is_empty().then_some(())
        })
        .await;
    })
    .await;
}

/// What rests before a process is started once more ends at once when it is told to.
#[tokio::test]
async fn a_process_that_is_to_be_started_again_does_not_hold_up_the_end() {
    within(120, async {
        let stage = Stage::new();
        stage.put("anytime-actor", DOOMED);
        let mut script = stage.start("cluster.sbatch", "2");
        // The next start of each would be eight seconds later.
        eventually("three starts", 60, async || {
            (stage.count("anytime-actor --") >= 9).then_some(())
        })
        .await;
        let asked = std::time::Instant::now();
        script.signal(Signal::SIGTERM);
        assert_eq!(script.exit_code(60).await, 130, "{}", script.log());
        let seconds = asked.elapsed().as_secs();
        assert!(seconds < 7, "{seconds} s, {}", script.log());
    })
    .await;
}

#[tokio::test]
async fn several_nodes_end_with_their_job() {
    within(120, async {
        let stage = Stage::new();
        let mut script = stage.start("cluster.sbatch", "0");
        stage.call("anytime submit").await;
        eventually("an actor on each node", 60, async || {
            (stage.count("anytime-actor --") == 2).then_some(())
        })
        .await;
        std::fs::write(stage.path("calls.over"), "").unwrap();
        assert_eq!(script.exit_code(90).await, 0, "{}", script.log());
        assert_eq!(stage.count("scontrol"), 0, "{:?}", stage.calls());
        eventually("nothing is left", 60, async || {
            stage.mark.processes().is_empty().then_some(())
        })
        .await;
    })
    .await;
}

#[test]
fn the_scripts_are_clean() {
    let output = Command::new(repository().join("deploy/slurm/check.sh"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    // shellcheck cannot be fetched here.
    if output.status.code() == Some(69) {
        eprintln!("skipped: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
}
