//! `anytime local` with programs that only pretend: which processes are started and started again, and that none is
//! left behind.
#![allow(clippy::unwrap_used)]

mod devices;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use anytime_proto::settings::with_defaults;
use anytime_proto::v1;
use nix::sys::signal::Signal;
use serde_json::Value;
use stage::{SERVE, Stage, WAIT};
use support::{Script, command, is_alive, output_of, signal, train_job, wait_for, write};

fn running() -> Script {
    Script {
        end: v1::JobState::Running,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_starts_everything_and_ends_it_and_reports() {
    let stage = Stage::new(Script::default()).await;
    let ended = stage.run(&["--actors", "3", "--threads", "2", "--device", "cpu"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    stage.assert_nothing_left().await;
    let out = stage.directory.path().canonicalize().unwrap().join("runs/sums");

    let verifier = &stage.started("anytime-verifier")[0];
    assert!(
        verifier.contains("OMP_NUM_THREADS=2 serve --listen 127.0.0.1:0 "),
        "{verifier}"
    );
    assert!(verifier.contains(" --metrics-address 127.0.0.1:"), "{verifier}");
    let learner = &stage.started("anytime-learner")[0];
    let runs_dir = format!("--runs-dir {}", out.display());
    for option in [
        "--listen 127.0.0.1:0",
        "--redis redis://127.0.0.1:",
        "--root ",
        &runs_dir,
        "--device cpu",
        "--threads 2",
    ] {
        assert!(learner.contains(option), "{option}: {learner}");
    }
    let actors = stage.started("anytime-actor");
    assert_eq!(actors.len(), 3);
    let learner_option = format!("--learner {} --verifier http://127.0.0.1:1 ", stage.learner.url());
    assert!(
        actors
            .iter()
            .all(|line| line.contains(&learner_option) && line.contains("--device cpu --threads 2"))
    );
    let ids: Vec<bool> = (1..=3)
        .map(|n| {
            actors
                .iter()
                .any(|line| line.contains(&format!("--actor-id actor-{n} ")))
        })
        .collect();
    assert_eq!(ids, [true; 3]);

    assert_eq!(stage.report("runs/sums")["after"]["anytime"], 0.875);
    assert!(out.join("curves.svg").is_file());
    assert!(
        ended.stdout.contains("0.250 [0.210, 0.270]   0.750 [0.710, 0.770]"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("report.json") && ended.stdout.contains("checkpoint of sums: somewhere/final"));
    let state: Value = serde_json::from_str(&std::fs::read_to_string(out.join("local.json")).unwrap()).unwrap();
    let processes = state["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 5);
    assert!(
        processes
            .iter()
            .all(|process| process["pid"].is_u64() && process["metrics_address"].is_string())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_one_after_another_and_json_is_one_document() {
    let stage = Stage::new(Script::default()).await;
    write(&stage.path("more.toml"), &train_job("more"));
    let ended = stage.run(&["more.toml", "--json", "--out", "here"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let document = ended.json();
    let ids: Vec<&str> = document["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["sums-1", "more-2"]);
    assert_eq!(document["report"]["job_id"], "more-2");
    assert_eq!(stage.report("here")["job_id"], "more-2");
    assert_eq!(stage.report("here/reports/sums-1")["job_id"], "sums-1");
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_signal_ends_every_child() {
    for number in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let stage = Stage::new(running()).await;
        let mut child = stage.run_on(&[]).await;
        signal(&child, number);
        assert_eq!(child.wait().await.unwrap().code(), Some(130), "{number}");
        // The children are gone, but their helpers are not ours to reap: the kernel may take a moment.
        stage.assert_nothing_left().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_when_the_client_is_killed() {
    let stage = Stage::new(running()).await;
    // A real server ends its own helpers; these fakes are told to.
    let with_trap = "trap 'kill $helper; exit 0' TERM\nsleep 1000 & helper=$!\necho $helper >> \"$STAGE/pids\"\nwait";
    stage.program("anytime-actor", with_trap);
    stage.program(
        "anytime-verifier",
        &format!("ADDRESS=127.0.0.1:1\n{SERVE}\n{with_trap}"),
    );
    stage.program(
        "anytime-learner",
        &format!("ADDRESS={}\n{SERVE}\n{with_trap}", stage.learner.address),
    );
    let mut child = stage.run_on(&[]).await;
    child.kill().await.unwrap();
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_ignores_sigterm_is_killed_within_ten_seconds() {
    let stage = Stage::new(running()).await;
    stage.program("anytime-actor", &format!("trap '' TERM\n{WAIT}"));
    let mut child = stage.run_on(&["--actors", "2"]).await;
    let asked = Instant::now();
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_actor_and_a_dead_learner_are_started_again() {
    let stage = Stage::new(running()).await;
    let mut child = stage.run_on(&["--out", "out"]).await;
    let state: Value = serde_json::from_str(&std::fs::read_to_string(stage.path("out/local.json")).unwrap()).unwrap();
    for process in state["processes"].as_array().unwrap() {
        if ["actor-1", "learner"].contains(&process["name"].as_str().unwrap()) {
            let pid = nix::unistd::Pid::from_raw(process["pid"].as_i64().unwrap() as i32);
            nix::sys::signal::killpg(pid, Signal::SIGKILL).unwrap();
        }
    }
    wait_for("new processes", || {
        stage.started("anytime-actor").len() == 3 && stage.started("anytime-learner").len() == 2
    })
    .await;
    let again = &stage.started("anytime-learner")[1];
    assert!(
        again.contains(&format!("--listen {}", stage.learner.address)),
        "where its peers look for it: {again}"
    );
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_keeps_dying_ends_the_run_with_the_end_of_its_log() {
    let stage = Stage::new(running()).await;
    stage.program("anytime-actor", "echo 'no such weights' >&2; exit 3");
    let ended = stage.run(&["--actors", "1"]).await;
    assert_eq!(ended.code, 70, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("actor-1 ended 4 times within 60 s"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("  no such weights"), "{}", ended.stderr);
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_cannot_start_gives_its_exit_code() {
    for (code, expected) in [(64, 64), (69, 69), (1, 70)] {
        let stage = Stage::new(running()).await;
        stage.program("anytime-learner", &format!("echo 'error: bad thing'; exit {code}"));
        let ended = stage.run(&[]).await;
        assert_eq!(ended.code, expected, "{}", ended.stderr);
        assert!(ended.stderr.contains("bad thing") && ended.stderr.contains("learner ended while it started"));
        assert!(stage.started("anytime-actor").is_empty());
        stage.assert_nothing_left().await;
    }
    // An actor has nothing to wait for, so that its exit code is seen later.
    let stage = Stage::new(running()).await;
    stage.program("anytime-actor", "exit 64");
    assert_eq!(stage.run(&[]).await.code, 64);
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_or_is_refused_ends_everything() {
    let stage = Stage::new(Script {
        end: v1::JobState::Failed,
        ..Default::default()
    })
    .await;
    let ended = stage.run(&[]).await;
    assert_eq!(ended.code, 70);
    assert!(ended.stderr.contains("the loss is not finite"), "{}", ended.stderr);
    stage.assert_nothing_left().await;

    let stage = Stage::new(Script::default()).await;
    write(&stage.path("missing/config.json"), "{}");
    write(
        &stage.path("job.toml"),
        &train_job("sums").replace("\"model\"", "\"missing\""),
    );
    let ended = stage.run(&[]).await;
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.contains("model.path"), "{}", ended.stderr);
    stage.assert_nothing_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_known_before_is_refused_before() {
    let stage = Stage::new(Script::default()).await;
    std::fs::remove_file(stage.path("data.jsonl")).unwrap();
    let ended = stage.run(&[]).await;
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.contains("data.path"), "{}", ended.stderr);
    std::fs::remove_file(stage.path("model/config.json")).unwrap();
    let ended = stage.run(&[]).await;
    assert!(
        ended.code == 64 && ended.stderr.contains("model.path"),
        "{}",
        ended.stderr
    );
    assert!(!stage.path("runs").exists());
    assert!(stage.lines("started").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_redis_or_a_missing_program_is_refused() {
    let stage = Stage::new(Script::default()).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut command = command(&["local", "job.toml", "--redis", &format!("redis://{nobody}")]);
    command
        .current_dir(stage.directory.path())
        .env("ANYTIME_BIN_DIR", stage.path("bin"));
    let ended = output_of(command).await;
    assert_eq!(ended.code, 69, "{}", ended.stderr);
    assert!(ended.stderr.contains("Redis"), "{}", ended.stderr);
    assert!(!stage.path("runs").exists());
    std::fs::remove_file(stage.path("bin/anytime-actor")).unwrap();
    let ended = stage.run(&[]).await;
    assert!(
        ended.code == 69 && ended.stderr.contains("anytime-actor"),
        "{}",
        ended.stderr
    );
    assert!(stage.lines("started").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shell_says_of_a_cluster_elsewhere_is_not_for_the_processes_here() {
    let stage = Stage::new(Script::default()).await;
    let mut command = stage.command(&[]);
    for name in anytime_service::security::SECURITY_VARIABLES {
        command.env(name, "elsewhere");
    }
    let ended = output_of(command).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(stage.started("anytime-learner").len(), 1);
    assert_eq!(stage.lines("security"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_belongs_to_one_run() {
    let stage = Stage::new(running()).await;
    let mut first = stage.run_on(&[]).await;
    let second = stage.run(&[]).await;
    assert_eq!(second.code, 64, "{}", second.stderr);
    assert!(second.stderr.contains("another run"), "{}", second.stderr);
    signal(&first, Signal::SIGTERM);
    first.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_left_is_cancelled_or_resumed() {
    let unfinished = |stage: &Stage| {
        let spec = anytime_proto::settings::parse_job_file(&train_job("sums")).unwrap();
        let job = v1::Job {
            id: "sums-old".to_owned(),
            spec: Some(with_defaults(&spec)),
            state: v1::JobState::Running.into(),
            ..Default::default()
        };
        stage.learner.add_job(job);
    };
    let stage = Stage::new(Script::default()).await;
    unfinished(&stage);
    assert_eq!(stage.run(&[]).await.code, 0);
    let states: Vec<v1::JobState> = stage.learner.jobs().iter().map(v1::Job::state).collect();
    assert_eq!(states, [v1::JobState::Cancelled, v1::JobState::Succeeded]);

    let stage = Stage::new(Script::default()).await;
    unfinished(&stage);
    let ended = stage.run(&["--resume"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(stage.learner.jobs().len(), 1);
    assert_eq!(stage.report("runs/sums")["job_id"], "sums-old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_failed_or_paused_is_gone_on_with() {
    for state in [v1::JobState::Failed, v1::JobState::Paused] {
        let stage = Stage::new(Script::default()).await;
        let spec = anytime_proto::settings::parse_job_file(&train_job("sums")).unwrap();
        stage.learner.add_job(v1::Job {
            id: "sums-old".to_owned(),
            spec: Some(with_defaults(&spec)),
            state: state.into(),
            error: "no space left on device".to_owned(),
            ..Default::default()
        });
        let ended = stage
            .run(&["--resume", "--set", "training.micro_batch_tokens=512"])
            .await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(
            ended.stderr.contains("job sums-old goes on, which had stopped"),
            "{}",
            ended.stderr
        );
        let jobs = stage.learner.jobs();
        assert_eq!((jobs.len(), jobs[0].state()), (1, v1::JobState::Succeeded));
        let training = jobs[0].spec.as_ref().unwrap().training.clone().unwrap();
        assert_eq!(training.micro_batch_tokens, Some(512));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_for_the_model_that_is_taken_is_found_before_anything_starts() {
    let stage = Stage::new(Script::default()).await;
    let taken = stage.path("taken");
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(Path::new(&taken).join("thesis.txt"), "years of work").unwrap();
    let set = ["--set", "checkpoint.output=\"taken\""];
    let ended = stage.run(&set).await;
    assert_eq!(ended.code, 64);
    assert!(
        ended.stderr.contains("checkpoint.output") && ended.stderr.contains("no export of this job"),
        "{}",
        ended.stderr
    );
    std::fs::remove_file(Path::new(&taken).join("thesis.txt")).unwrap();
    std::fs::write(Path::new(&taken).join("anytime_export.json"), "{\"job\": \"sums-1\"}").unwrap();
    let ended = stage.run(&set).await;
    assert_eq!(ended.code, 64);
    assert!(
        ended.stderr.contains("the model of job sums-1 stands there"),
        "{}",
        ended.stderr
    );
    assert!(stage.learner.jobs().is_empty());
}

/// Needs a real server; set-up leaves one in the checkout where the machine has none.
#[tokio::test(flavor = "multi_thread")]
async fn redis_is_started_persists_and_ends() {
    let stage = Stage::new(running()).await;
    let server = support::repository().join(".deps/bin/valkey-server");
    let is_on_path = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|directory| directory.join("redis-server").is_file() || directory.join("valkey-server").is_file());
    assert!(
        is_on_path || server.is_file(),
        "no Redis server: run deploy/setup.sh redis"
    );
    if server.is_file() {
        std::fs::create_dir_all(stage.path(".deps/bin")).unwrap();
        std::os::unix::fs::symlink(&server, stage.path(".deps/bin/valkey-server")).unwrap();
    }
    let mut command = command(&["local", "job.toml", "--out", "out"]);
    command
        .current_dir(stage.directory.path())
        .env("ANYTIME_BIN_DIR", stage.path("bin"))
        .env("STAGE", stage.directory.path());
    let mut child = command.spawn().unwrap();
    wait_for("the watch", || !stage.learner.watched_after().is_empty()).await;
    let state = || -> Value {
        let text = std::fs::read_to_string(stage.path("out/local.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let redis_pid = || state()["processes"][0]["pid"].as_i64().map(|pid| pid as i32);
    assert_eq!(state()["processes"][0]["name"], "redis");
    assert!(stage.started("anytime-learner")[0].contains(state()["redis"].as_str().unwrap()));
    assert!(
        Path::new(&stage.path("out/redis/appendonlydir")).is_dir(),
        "what is queued survives its death"
    );
    let first = redis_pid().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(first), Signal::SIGKILL).unwrap();
    wait_for("another Redis", || redis_pid().is_some_and(|pid| pid != first)).await;
    let second = redis_pid().unwrap();
    assert!(is_alive(second));
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert!(!is_alive(second));
}
