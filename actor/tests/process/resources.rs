//! What an actor takes of its machine: memory that is not there, and how its threads wait.

use std::time::Duration;

use anytime_actor::engine::{CacheLimit, EngineLimits};
use anytime_policy::memory::DeviceMemory;
use anytime_policy::waiting;
use anytime_proto::v1::{AbandonReason, AbandonedGroup};
use anytime_service::exit::{CONFIGURATION, FAILED, exit_code};
use tch::Device;

use super::common::fakes::{Mood, Version};
use super::common::{endless_plan, plan_message, weights};
use super::{lease, scene_with, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_cannot_be_had_ends_the_actor_and_gives_its_leases_back() {
    let all = DeviceMemory::ask(Device::Cpu).unwrap().total as usize;
    let scene = scene_with(Mood::Works, |config| {
        config.limits = EngineLimits {
            // Each of them has more than a kilobyte of keys and values.
            slots: all >> 10,
            cache: CacheLimit::Bytes(usize::MAX),
        };
    })
    .await;
    let group = lease("job", "group", plan_message());
    scene.learner.state().leases.push_back(group);
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    let ended = tokio::time::timeout(Duration::from_secs(60), scene.actor).await;
    let error = ended.expect("the actor ends by itself").unwrap().unwrap_err();
    assert_eq!(exit_code(&error), CONFIGURATION);
    let message = format!("{error:#}");
    assert!(
        message.starts_with("the key-value cache needs ") && message.lines().count() == 1,
        "{message}"
    );
    let abandoned = scene.learner.state().abandoned.clone();
    assert_eq!(abandoned.len(), 1);
    assert_eq!(abandoned[0].reason(), AbandonReason::Shutdown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_stuck_in_a_step_ends_the_actor_and_gives_its_leases_back() {
    // Every step takes longer than this, and the work lasts until the watchdog sees one.
    let scene = scene_with(Mood::Works, |config| config.step_timeout = Duration::from_nanos(1)).await;
    let groups = (0..8).map(|number| lease("job", &format!("group-{number}"), endless_plan(3000)));
    scene.learner.state().leases.extend(groups);
    scene.learner.publish(Version::new("job", 0, &weights(0)));
    let ended = tokio::time::timeout(Duration::from_secs(60), scene.actor).await;
    let error = ended.expect("the actor ends by itself").unwrap().unwrap_err();
    assert_eq!(exit_code(&error), FAILED);
    let message = format!("{error:#}");
    assert!(
        message.starts_with("the engine has been inside one step for 0 s") && message.lines().count() == 1,
        "{message}"
    );
    let abandoned = scene.learner.state().abandoned.clone();
    let is_shutdown = |given: &AbandonedGroup| given.reason() == AbandonReason::Shutdown;
    assert!(
        !abandoned.is_empty() && abandoned.iter().all(is_shutdown),
        "{abandoned:?}"
    );
}

/// An actor as a process, whose peers are not there.
struct Alone {
    child: std::process::Child,
    log: tempfile::TempDir,
}

impl Alone {
    fn start(threads: &str, environment: &[(&str, &str)]) -> Self {
        let log = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(log.path().join("log")).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_anytime-actor"));
        for variable in ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"] {
            command.env_remove(variable);
        }
        command
            .args([
                "--learner",
                "127.0.0.1:1",
                "--verifier",
                "127.0.0.1:1",
                "--device",
                "cpu",
            ])
            .args(["--threads", threads, "--actor-id", "an actor with blanks"])
            .envs(environment.iter().copied())
            .stderr(file);
        let child = command.spawn().unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log.path().join("log")).unwrap()
    }

    /// The environment of the process, once it is at work.
    async fn environment(&mut self) -> Vec<String> {
        until("the start of the actor", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            self.log().contains("actor starts")
        })
        .await;
        let bytes = std::fs::read(format!("/proc/{}/environ", self.child.id())).unwrap();
        let variables = bytes.split(|byte| *byte == 0);
        variables
            .map(|pair| String::from_utf8_lossy(pair).into_owned())
            .collect()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn threads_wait_briefly_unless_the_environment_says_how() {
    let mut by_default = Alone::start("2", &[]);
    let environment = by_default.environment().await;
    let looks = environment.iter().find_map(|pair| {
        let looks = pair.strip_prefix(waiting::VARIABLE)?.strip_prefix('=')?;
        looks.parse().ok()
    });
    assert!(
        looks.is_some_and(|looks: u32| waiting::LOOKS.contains(&looks)),
        "{environment:?}"
    );
    assert!(
        by_default.log().contains("an actor with blanks"),
        "{}",
        by_default.log()
    );

    let is_waiting = |pair: &String| pair.starts_with(waiting::VARIABLE);
    // One thread has nobody to wait for.
    let alone = Alone::start("1", &[]).environment().await;
    assert!(!alone.iter().any(is_waiting), "{alone:?}");
    let chosen = Alone::start("2", &[("OMP_WAIT_POLICY", "active")]).environment().await;
    assert!(!chosen.iter().any(is_waiting), "{chosen:?}");
    let counted = Alone::start("2", &[(waiting::VARIABLE, "7")]).environment().await;
    assert!(counted.contains(&format!("{}=7", waiting::VARIABLE)), "{counted:?}");
}
