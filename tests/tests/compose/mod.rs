//! The containers of docker-compose.yml on a real engine: they train while actors come and go, while every container is
//! killed, and while the whole stack is taken down, and lose nothing. Each role has its own secrets, nothing runs as root,
//! and Prometheus finds whom it has to ask.
//!
//! make test-compose
//!
//! `make test` leaves it out: to build the image takes minutes, and one that is there may be of other sources. Where there
//! is no engine, or an image is missing, it skips and says so.
#![allow(clippy::unwrap_used)]

mod containers;
mod generated;
mod ranks;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anytime_proto::v1::JobSpec;
use anytime_tests::programs::repository;
use anytime_tests::rooms::workspace_members;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use serde_json::{Value, json};
use tempfile::TempDir;
use yaml_rust2::YamlLoader;

use crate::compose::containers::{Containers, SERVICES, compose_command};
use crate::compose::ranks::two_ranks_train_together;

/// What is submitted in the stack, and comes to its end before anything is killed.
const SHORT: &str = "inside";

/// What is submitted from outside and trains all the time. It never gets to its end; the test cancels it.
const LONG: &str = "outside";
const LONG_STEPS: u64 = 100_000;

/// Steps between two recovery checkpoints.
const RECOVERY_EVERY: u64 = 20;

/// Longest time until a job trains again after something was killed; a lease runs out in it.
const RECOVERY_SECONDS: u64 = 60;

/// Who has part in a step.
const COMPUTING: [&str; 4] = ["actor", "learner", "redis", "verifier"];

#[test]
fn the_compose_files_are_valid() {
    let Some(compose) = compose_command() else {
        println!("skipped: there is neither docker compose nor docker-compose");
        return;
    };
    for files in [
        &["docker-compose.yml"][..],
        &["docker-compose.yml", "docker-compose.gpu.yml"],
        &[
            "docker-compose.yml",
            "docker-compose.gpu.yml",
            "deploy/hosts/actors.yml",
        ],
    ] {
        let mut command = Command::new(compose[0]);
        command.args(&compose[1..]).current_dir(repository());
        // Of a host that has actors only.
        command
            .env("ANYTIME_BIND", "10.0.0.2")
            .env("ANYTIME_LEARNER_ADDRESS", "10.0.0.1");
        for file in files {
            command.args(["--file", file]);
        }
        let output = command.args(["config", "--quiet"]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{files:?}: {errors}");
    }
}

#[test]
fn the_label_of_the_image_names_the_libtorch_that_is_fetched() {
    let text = |name: &str| std::fs::read_to_string(repository().join("deploy").join(name)).unwrap();
    let setup = text("setup.sh");
    let version = setup
        .lines()
        .find_map(|line| line.strip_prefix("torch_version="))
        .unwrap();
    let label = format!("anytime.libtorch={version} ");
    assert!(text("Dockerfile").contains(&label), "{label}");
}

/// A crate whose manifest the build does not have would fail it after minutes.
#[test]
fn the_image_is_built_from_every_crate_of_the_workspace() {
    let dockerfile = std::fs::read_to_string(repository().join("deploy/Dockerfile")).unwrap();
    for member in workspace_members(&repository()) {
        let line = format!("COPY {member}/Cargo.toml {member}/");
        assert!(
            dockerfile.lines().any(|other| other == line),
            "deploy/Dockerfile has no `{line}`"
        );
    }
    // What `make images` says and the binaries are asked for.
    let makefile = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    for argument in ["VERSION", "COMMIT", "LIBTORCH_FLAVOUR"] {
        let declared = format!("ARG {argument}=");
        assert!(dockerfile.lines().any(|line| line.starts_with(&declared)), "{argument}");
        assert!(makefile.contains(&format!("--build-arg {argument}=$(")), "{argument}");
    }
}

/// Redis speaks without TLS, so that only those are in its network that need it.
#[test]
fn only_the_learner_and_the_exporter_reach_redis() {
    let text = std::fs::read_to_string(repository().join("docker-compose.yml")).unwrap();
    let file = &YamlLoader::load_from_str(&text).unwrap()[0];
    assert_eq!(file["networks"]["queue"]["internal"].as_bool(), Some(true));
    let mut there = BTreeSet::new();
    for (name, service) in file["services"].as_hash().unwrap() {
        let networks = service["networks"].as_vec().into_iter().flatten();
        let names: Vec<&str> = networks.filter_map(|network| network.as_str()).collect();
        if names.contains(&"queue") {
            there.insert(name.as_str().unwrap());
        }
        assert_eq!(
            names == ["queue"],
            name.as_str() == Some("redis"),
            "{name:?}: {names:?}"
        );
    }
    assert_eq!(there, BTreeSet::from(["learner", "redis", "redis-exporter"]));
}

#[test]
fn every_actor_takes_a_gpu_of_its_own() {
    let text = std::fs::read_to_string(repository().join("docker-compose.gpu.yml")).unwrap();
    let overlay = YamlLoader::load_from_str(&text).unwrap();
    let entrypoint = &overlay[0]["services"]["actor"]["entrypoint"];
    assert_eq!(entrypoint[1].as_str(), Some("-c"));
    let locks = TempDir::new().unwrap();
    // As compose hands it on, with the locks elsewhere.
    let script = entrypoint[2].as_str().unwrap().replace("$$", "$");
    let script = script.replace("/gpus", locks.path().to_str().unwrap());

    let (mut first, device) = place_actor(&script);
    assert_eq!(device, "--device=cuda:1");
    let (mut second, device) = place_actor(&script);
    assert_eq!(device, "--device=cuda:2");
    let (mut third, device) = place_actor(&script);
    assert_eq!(device, "");
    assert_eq!(third.wait().unwrap().code(), Some(64));
    // Killed, it can give nothing back itself.
    first.kill().unwrap();
    first.wait().unwrap();
    let (mut fourth, device) = place_actor(&script);
    assert_eq!(device, "--device=cuda:1");
    for actor in [&mut second, &mut fourth] {
        actor.kill().unwrap();
        actor.wait().unwrap();
    }
}

/// Starts an actor, played by a shell that says which device it was given and waits until its input ends.
fn place_actor(script: &str) -> (Child, String) {
    let actor = r#"echo "$0"; read -r"#;
    let mut child = Command::new("bash")
        .args(["-c", script, "actor", "bash", "-c", actor])
        .env("ANYTIME_ACTOR_GPUS", "1 2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut device = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut device)
        .unwrap();
    (child, device.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Docker engine and images of these sources: make test-compose"]
async fn containers_train_whatever_is_killed_and_lose_nothing() {
    let mut containers = match Containers::try_new().await {
        Ok(containers) => containers,
        Err(missing) => {
            println!("skipped: {missing}");
            return;
        }
    };
    within(400, async {
        containers.up(1).await;
        assert_all_run(&containers, 1).await;
        assert_rights(&containers).await;
        a_client_in_the_stack_follows_a_job_to_its_end(&containers).await;

        write_job(&containers.workplace, LONG, LONG_STEPS);
        let file = format!("work/jobs/{LONG}.toml");
        containers.anytime(&["submit", &file]).await.expect(0);
        containers.wait_for_steps(LONG, 1, RECOVERY_SECONDS).await;
        for actors in [3, 2] {
            containers.up(actors).await;
            assert_targets(&containers, actors).await;
            containers.wait_for_steps(LONG, 10, RECOVERY_SECONDS).await;
        }
        every_container_is_killed_once(&containers).await;
        a_process_that_dies_is_started_again(&containers).await;
        assert_all_run(&containers, 2).await;
        assert_targets(&containers, 2).await;
        assert_alerts(&containers).await;
        the_volumes_outlive_the_containers(&containers).await;
        two_ranks_train_together(&mut containers, LONG).await;

        containers.anytime(&["cancel", LONG]).await.expect(0);
        eventually("the end of the job", 30, async || {
            let job = containers.job(LONG).await?;
            (job["state"] == "cancelled").then_some(())
        })
        .await;
        containers.anytime(&["audit", LONG]).await.expect(0);
        containers.client(&["audit", LONG]).await.expect(0);
        the_checkpoint_comes_out_of_the_volume(&containers).await;
    })
    .await;
}

/// Writes a small train job, whose paths are those in the containers, where the client's container finds it.
fn write_job(workplace: &Workplace, name: &str, steps: u64) {
    let mut spec: JobSpec = workplace.train(name, steps);
    spec.model.get_or_insert_default().path = Some("models/demo".to_owned());
    spec.data.get_or_insert_default().path = vec!["data/chains/train.jsonl".to_owned()];
    spec.checkpoint.get_or_insert_default().recovery_every = Some(RECOVERY_EVERY);
    let written = workplace.write_job(&spec);
    std::fs::copy(written, workplace.path(&format!("work/jobs/{name}.toml"))).unwrap();
}

async fn a_client_in_the_stack_follows_a_job_to_its_end(containers: &Containers) {
    write_job(&containers.workplace, SHORT, 10);
    let file = format!("jobs/{SHORT}.toml");
    containers.client(&["submit", &file, "--watch"]).await.expect(0);
    let job = containers.job(SHORT).await.unwrap();
    assert_eq!(
        (&job["state"], &job["step"]),
        (&json!("succeeded"), &json!(10)),
        "{job}"
    );
    // What the client writes there outlives its container.
    let folder = format!("out/{SHORT}");
    containers.client(&["report", SHORT, "--out", &folder]).await.expect(0);
    let report = containers.workplace.path(&format!("work/{folder}/report.json"));
    assert!(report.is_file(), "{}", report.display());
}

/// Every service has its containers, and those that say whether they are healthy are.
async fn assert_all_run(containers: &Containers, actors: usize) {
    let expected: BTreeMap<String, usize> = SERVICES
        .iter()
        .map(|service| ((*service).to_owned(), if *service == "actor" { actors } else { 1 }))
        .collect();
    eventually("all containers", RECOVERY_SECONDS, async || {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (id, service) in containers.running().await {
            let health = containers.inspect(&id).await["State"]["Health"]["Status"].take();
            if !health.is_null() && health != "healthy" {
                return None;
            }
            *counts.entry(service).or_default() += 1;
        }
        (counts == expected).then_some(())
    })
    .await;
}

/// No container may do more than it must, and none knows tokens of a role that nobody shows it.
async fn assert_rights(containers: &Containers) {
    for (id, service) in containers.running().await {
        let inspected = containers.inspect(&id).await;
        let host = &inspected["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]), "{service}");
        assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped", "{service}");
        assert!(host["LogConfig"]["Config"]["max-size"].is_string(), "{service}");
        assert!(host["PidsLimit"].as_u64().is_some_and(|limit| limit > 0), "{service}");
        // Also of Redis, which begins as root.
        let status = containers.exec(&id, &["cat", "/proc/1/status"]).await.expect(0).stdout;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        assert_ne!(field("Uid:"), "0", "{service}");
        assert_eq!(field("CapEff:").trim_start_matches('0'), "", "{service}");
    }
    let expected = [
        ("actor", vec!["read"]),
        ("verifier", vec!["act", "read"]),
        ("learner", vec!["act", "read", "submit"]),
    ];
    for (service, roles) in expected {
        let id = containers.one(service).await;
        let access = containers.exec(&id, &["cat", "/run/secrets/access"]).await.expect(0);
        let known: BTreeSet<&str> = access
            .stdout
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), roles, "{service}");
    }
    // What the hub's models need: authorities to trust, a place, and no token but that of the file.
    let learner = containers.one("learner").await;
    let hub = "grep -q 'BEGIN CERTIFICATE' /etc/ssl/certs/ca-certificates.crt && test -w \"$HF_HOME\" && test -r \"$HF_TOKEN_PATH\"";
    containers.exec(&learner, &["sh", "-c", hub]).await.expect(0);
    let redis = containers.one("redis").await;
    let asked = "REDISCLI_AUTH=$(cat /run/secrets/redis.password) redis-cli config get ";
    for (setting, value) in [("save", ""), ("appendonly", "yes"), ("appendfsync", "always")] {
        let answer = containers
            .exec(&redis, &["sh", "-c", &format!("{asked}{setting}")])
            .await;
        assert_eq!(answer.expect(0).stdout.lines().nth(1), Some(value), "{setting}");
    }
}

/// Prometheus reaches every process, and exactly the actors that there are.
async fn assert_targets(containers: &Containers, actors: usize) {
    let others = ["learner", "verifier", "redis", "alertmanager", "prometheus"];
    let mut expected: BTreeMap<&str, usize> = others.into_iter().map(|job| (job, 1)).collect();
    expected.insert("actor", actors);
    eventually(&format!("the targets {expected:?}"), RECOVERY_SECONDS, async || {
        let answer = containers.prometheus("targets?state=active").await?;
        let targets = answer["activeTargets"].as_array()?;
        if targets.iter().any(|target| target["health"] != "up") {
            return None;
        }
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for target in targets {
            *found.entry(target["labels"]["job"].as_str()?).or_default() += 1;
        }
        (found == expected).then_some(())
    })
    .await;
}

/// Rules are loaded and evaluated, and Alertmanager is told.
async fn assert_alerts(containers: &Containers) {
    eventually("alerts", RECOVERY_SECONDS, async || {
        let rules = containers.prometheus("rules?type=alert").await?;
        let groups = rules["groups"].as_array()?;
        let health: Vec<&Value> = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().into_iter().flatten())
            .map(|rule| &rule["health"])
            .collect();
        let managers = containers.prometheus("alertmanagers").await?;
        let is_told = managers["activeAlertmanagers"]
            .as_array()
            .is_some_and(|list| list.len() == 1);
        (health.len() >= 30 && health.iter().all(|health| *health == "ok") && is_told).then_some(())
    })
    .await;
}

async fn every_container_is_killed_once(containers: &Containers) {
    let running = containers.running().await;
    for (id, service) in &running {
        containers.kill_and_start(id).await;
        if COMPUTING.contains(&service.as_str()) {
            containers.wait_for_steps(LONG, 5, RECOVERY_SECONDS).await;
        }
    }
    assert_eq!(containers.running().await, running);
}

/// Docker starts what ends by itself, as a process does that is killed for want of memory.
async fn a_process_that_dies_is_started_again(containers: &Containers) {
    for service in ["actor", "verifier", "learner"] {
        let id = containers.one(service).await;
        // All processes but the init, which ends with the one that it has started.
        containers.exec(&id, &["bash", "-c", "kill -KILL -1"]).await;
        eventually(&format!("{service} again"), RECOVERY_SECONDS, async || {
            let inspected = containers.inspect(&id).await;
            let is_back = inspected["State"]["Running"] == true && inspected["RestartCount"].as_u64() > Some(0);
            is_back.then_some(())
        })
        .await;
        containers.wait_for_steps(LONG, 5, RECOVERY_SECONDS).await;
    }
}

async fn the_volumes_outlive_the_containers(containers: &Containers) {
    let before = containers.wait_for_steps(LONG, 1, RECOVERY_SECONDS).await;
    containers.down().await;
    assert_eq!(containers.running().await, BTreeMap::new());
    containers.up(2).await;
    let after = containers.wait_for_steps(LONG, 5, RECOVERY_SECONDS).await;
    assert!(after + RECOVERY_EVERY >= before, "{before} steps before, {after} after");
    let short = containers.job(SHORT).await.unwrap();
    assert_eq!(short["state"], "succeeded", "{short}");
}

async fn the_checkpoint_comes_out_of_the_volume(containers: &Containers) {
    let exported = containers.anytime(&["export", LONG]).await.expect(0).stdout;
    // `step 80: /work/runs/outside/exports/step-00000080`
    let (_, model) = exported.trim().rsplit_once(' ').unwrap();
    let directory = format!("/work/runs/{LONG}");
    let learner = containers.one("learner").await;
    for (inside, outside) in [(model, "exported"), (directory.as_str(), LONG)] {
        let to = containers.workplace.path(outside).display().to_string();
        containers
            .docker(&["cp", &format!("{learner}:{inside}"), &to])
            .await
            .expect(0);
    }
    // The directory alone proves it too, without the learner.
    let copy = containers.workplace.path(LONG).display().to_string();
    containers.workplace.anytime(&["audit", &copy], 60).await.expect(0);

    let folder = containers.workplace.path("exported");
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["model_type"], "qwen2");
    // Eight bytes of length, then a JSON table of tensors, then these.
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let tensors: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let end = tensors["model.embed_tokens.weight"]["data_offsets"][1]
        .as_u64()
        .unwrap();
    assert!(8 + length + usize::try_from(end).unwrap() <= bytes.len(), "{tensors}");
}
