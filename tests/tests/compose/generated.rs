//! What `anytime compose` prints, read by Compose over docker-compose.yml: every GPU has one process, an actor is the same as
//! in docker-compose.gpu.yml but for its place, and nothing is published twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use anytime_tests::programs::{binary, repository};
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlEmitter, YamlLoader};

use crate::compose::containers::compose_command;

/// Everything but actors.
const SERVICES: [&str; 7] = [
    "alertmanager",
    "grafana",
    "learner",
    "prometheus",
    "redis",
    "redis-exporter",
    "verifier",
];

/// What an actor of its own has otherwise than one of the pool: its place.
const OF_THE_PLACE: [&str; 7] = [
    "deploy",
    "entrypoint",
    "networks",
    "profiles",
    "scale",
    "volumes",
    "environment",
];

fn anytime_compose(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("anytime"));
    command.arg("compose").args(arguments).output().unwrap()
}

/// The file for a host.
fn generated(arguments: &[&str]) -> String {
    let output = anytime_compose(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The services of the files as Compose sees them; None where there is no Compose. `bind` and `learner` are the addresses
/// of this host and of the learner's.
fn services(files: &[&Path], addresses: Option<(&str, &str)>) -> Option<BTreeMap<String, Yaml>> {
    let output = config(files, addresses)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{files:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let documents = YamlLoader::load_from_str(&text).unwrap();
    let services = documents[0]["services"].as_hash().unwrap();
    let named = services
        .iter()
        .map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone()));
    // docker-compose 1.29 lists those too whose profile nobody names.
    Some(named.filter(|(_, service)| service["profiles"].is_badvalue()).collect())
}

fn config(files: &[&Path], addresses: Option<(&str, &str)>) -> Option<Output> {
    let compose = compose_command()?;
    let nothing = TempDir::new().unwrap();
    let no_variables = nothing.path().join("env");
    std::fs::write(&no_variables, "").unwrap();
    let mut command = Command::new(compose[0]);
    command.args(&compose[1..]).current_dir(repository());
    // Not those of the checkout's user.
    command.arg("--env-file").arg(no_variables);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ANYTIME_") {
            command.env_remove(name);
        }
    }
    if let Some((bind, learner)) = addresses {
        command
            .env("ANYTIME_BIND", bind)
            .env("ANYTIME_LEARNER_ADDRESS", learner);
    }
    for file in files {
        command.arg("--file").arg(file);
    }
    Some(command.arg("config").output().unwrap())
}

/// The numbers of the GPUs that a service has reserved.
fn gpus(service: &Yaml) -> Vec<String> {
    let devices = &service["deploy"]["resources"]["reservations"]["devices"];
    let ids = devices.as_vec().into_iter().flatten();
    ids.flat_map(|device| device["device_ids"].as_vec().into_iter().flatten())
        .map(|id| id.as_str().unwrap().to_owned())
        .collect()
}

/// The host's addresses and ports at which a service is published.
fn published(service: &Yaml) -> Vec<String> {
    let ports = service["ports"].as_vec().into_iter().flatten();
    ports
        .map(|port| match port.as_str() {
            // 127.0.0.1:7100:7100/tcp
            Some(text) => text.rsplit_once(':').unwrap().0.to_owned(),
            None => {
                let host = port["host_ip"].as_str().unwrap();
                format!("{host}:{}", port["published"].as_str().unwrap())
            }
        })
        .collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|gpu| gpu.to_string()).collect()
}

#[test]
fn every_gpu_of_a_host_has_one_process_and_nothing_is_published_twice() {
    let folder = TempDir::new().unwrap();
    let cluster = folder.path().join("docker-compose.cluster.yml");
    let base = repository().join("docker-compose.yml");
    for (role, gpu_count, learner_gpus) in [
        ("all", 1, 1),
        ("all", 2, 1),
        ("all", 8, 1),
        ("all", 8, 2),
        ("learner", 1, 1),
        ("learner", 2, 2),
        ("actors", 1, 0),
        ("actors", 2, 0),
        ("actors", 8, 0),
    ] {
        let place = format!("{role}, {gpu_count} GPUs, {learner_gpus} of the learner");
        let text = generated(&[
            &format!("--gpus={gpu_count}"),
            &format!("--learner-gpus={learner_gpus}"),
            &format!("--host-role={role}"),
        ]);
        let parsed = YamlLoader::load_from_str(&text).unwrap();
        assert_eq!(parsed.len(), 1, "{place}");
        // One template, and for each actor little more than its name and its GPU.
        assert!(text.lines().count() < 180 + 5 * gpu_count, "{place}:\n{text}");
        std::fs::write(&cluster, &text).unwrap();

        let addresses = (role != "all").then_some(("10.0.0.2", "10.0.0.1"));
        let Some(services) = services(&[&base, &cluster], addresses) else {
            println!("skipped: there is neither docker compose nor docker-compose");
            return;
        };
        let actor_gpus = match (role, gpu_count) {
            ("learner", _) => vec![],
            ("all", 1) => numbers(0..1),
            _ => numbers(learner_gpus..gpu_count),
        };
        let mut expected: BTreeSet<String> = actor_gpus.iter().map(|gpu| format!("actor-gpu{gpu}")).collect();
        if role == "actors" {
            expected.insert("verifier".to_owned());
        } else {
            expected.extend(SERVICES.map(str::to_owned));
            expected.extend((1..learner_gpus).map(|rank| format!("learner-gpu{rank}")));
        }
        let started: BTreeSet<String> = services
            .iter()
            .filter(|(name, service)| *name != "actor" || is_started(service))
            .map(|(name, _)| name.clone())
            .collect();
        assert_eq!(started, expected, "{place}");

        for gpu in &actor_gpus {
            let actor = &services[&format!("actor-gpu{gpu}")];
            assert_eq!(gpus(actor), std::slice::from_ref(gpu), "{place}");
            assert_eq!(actor["environment"]["ANYTIME_DEVICE"].as_str(), Some("cuda"), "{place}");
            let aliases = &actor["networks"]["default"]["aliases"];
            assert_eq!(aliases[0].as_str(), Some("actor"), "{place}: Prometheus finds it");
        }
        if role != "actors" {
            let learner = &services["learner"];
            assert_eq!(gpus(learner), numbers(0..1), "{place}");
            check_ranks(&services, learner_gpus, &place);
            assert_eq!(
                learner["environment"]["ANYTIME_DEVICE"].as_str(),
                Some("cuda"),
                "{place}"
            );
        }
        for (name, service) in &services {
            let image = service["image"].as_str().unwrap();
            assert_ne!(image, "anytime:cpu", "{place}: {name}");
        }

        let ports: Vec<String> = services.values().flat_map(published).collect();
        let different: BTreeSet<&String> = ports.iter().collect();
        assert_eq!(ports.len(), different.len(), "{place}: {ports:?}");
        for gpu in &actor_gpus {
            let own = published(&services[&format!("actor-gpu{gpu}")]);
            let wanted = match role {
                "actors" => vec![format!("10.0.0.2:{}", 9110 + gpu.parse::<u32>().unwrap())],
                _ => vec![],
            };
            assert_eq!(own, wanted, "{place}");
        }
    }
}

/// Every GPU of the learner has a rank, and nobody else is where they meet.
fn check_ranks(services: &BTreeMap<String, Yaml>, world: usize, place: &str) {
    let meets = |service: &Yaml| !service["networks"]["ranks"].is_badvalue();
    let who: Vec<&str> = services
        .iter()
        .filter(|(_, service)| meets(service))
        .map(|(name, _)| name.as_str())
        .collect();
    let learner = &services["learner"];
    if world == 1 {
        assert!(who.is_empty(), "{place}: {who:?}");
        assert!(learner["environment"]["ANYTIME_WORLD"].is_badvalue(), "{place}");
        return;
    }
    let ranks: Vec<String> = (1..world).map(|rank| format!("learner-gpu{rank}")).collect();
    assert_eq!(who[0], "learner", "{place}");
    assert_eq!(who[1..], ranks, "{place}");
    let aliases = &learner["networks"]["ranks"]["aliases"];
    assert_eq!(aliases[0].as_str(), Some("rank-0"), "{place}");
    // Redis is in this one.
    assert!(!learner["networks"]["queue"].is_badvalue(), "{place}");
    let same = [
        "ANYTIME_WORLD",
        "ANYTIME_STORE",
        "ANYTIME_DEVICE",
        "ANYTIME_THREADS",
        "ANYTIME_TRUST_RANK_NETWORK",
    ];
    for (rank, name) in (1..).zip(&ranks) {
        let service = &services[name];
        assert_eq!(gpus(service), [rank.to_string()], "{place}");
        let environment = &service["environment"];
        let of = |environment: &Yaml, key: &str| written(&environment[key]);
        assert_eq!(of(environment, "ANYTIME_RANK"), rank.to_string(), "{place}");
        for key in same {
            assert_eq!(of(environment, key), of(&learner["environment"], key), "{place}: {key}");
        }
        assert_eq!(of(environment, "ANYTIME_WORLD"), world.to_string(), "{place}");
        assert_eq!(of(environment, "ANYTIME_STORE"), "rank-0:7110", "{place}");
        assert!(
            service["networks"]["queue"].is_badvalue(),
            "{place}: Redis is no business of it"
        );
        assert!(published(service).is_empty(), "{place}");
        for key in [
            "read_only",
            "cap_drop",
            "security_opt",
            "user",
            "pids_limit",
            "tmpfs",
            "restart",
            "init",
        ] {
            assert_eq!(text(&service[key]), text(&learner[key]), "{place}: {key}");
        }
    }
}

/// A value of an environment. Compose writes numbers with quotation marks or without.
fn written(value: &Yaml) -> String {
    match value {
        Yaml::Integer(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

/// Whether there are any containers of it.
fn is_started(service: &Yaml) -> bool {
    let counts = [&service["scale"], &service["deploy"]["replicas"]];
    counts.iter().all(|count| count.as_i64() != Some(0))
}

#[test]
fn an_actor_with_a_gpu_of_its_own_is_that_of_the_pool_but_for_its_place() {
    let folder = TempDir::new().unwrap();
    let cluster = folder.path().join("docker-compose.cluster.yml");
    std::fs::write(&cluster, generated(&["--gpus=2"])).unwrap();
    let base = repository().join("docker-compose.yml");
    let pool = repository().join("docker-compose.gpu.yml");
    let (Some(generated), Some(expected)) = (services(&[&base, &cluster], None), services(&[&base, &pool], None))
    else {
        println!("skipped: there is neither docker compose nor docker-compose");
        return;
    };
    for name in ["learner", "verifier"] {
        assert_eq!(text(&generated[name]), text(&expected[name]), "{name}");
    }
    let (own, of_pool) = (&generated["actor-gpu1"], &expected["actor"]);
    assert_eq!(
        text(&without(own, &OF_THE_PLACE)),
        text(&without(of_pool, &OF_THE_PLACE))
    );
    // The pool is told by its entrypoint where it computes.
    let of_place = ["ANYTIME_ACTOR_GPUS", "ANYTIME_DEVICE"];
    assert_eq!(
        text(&without(&own["environment"], &of_place)),
        text(&without(&of_pool["environment"], &of_place))
    );
}

/// A mapping without some of its keys, and without those that hold nothing.
fn without(mapping: &Yaml, keys: &[&str]) -> Yaml {
    let kept = mapping.as_hash().unwrap().iter();
    let kept = kept.filter(|(key, value)| !keys.contains(&key.as_str().unwrap()) && !value.is_null());
    Yaml::Hash(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// YAML to be compared, and read where it differs. Compose sorts the keys.
fn text(yaml: &Yaml) -> String {
    let mut text = String::new();
    YamlEmitter::new(&mut text).dump(yaml).unwrap();
    text
}

#[test]
fn a_host_of_several_is_refused_without_the_addresses() {
    let folder = TempDir::new().unwrap();
    let cluster = folder.path().join("docker-compose.cluster.yml");
    let base = repository().join("docker-compose.yml");
    for (role, said) in [
        ("learner", "the address at which other hosts reach this one"),
        ("actors", "the IP address of"),
    ] {
        std::fs::write(&cluster, generated(&["--gpus=1", &format!("--host-role={role}")])).unwrap();
        let Some(output) = config(&[&base, &cluster], None) else {
            println!("skipped: there is neither docker compose nor docker-compose");
            return;
        };
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(said), "{role}: {errors}");
    }
}

#[test]
fn what_is_piped_into_a_file_is_a_compose_file() {
    let output = anytime_compose(&["--gpus=8", "--learner-gpus=2"]);
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("# Made by `anytime compose --gpus 8 --learner-gpus 2`")
    );

    let output = anytime_compose(&["--gpus=3", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["actor_gpus"], serde_json::json!([1, 2]));
    assert_eq!(
        document["file"].as_str().unwrap().trim_end(),
        generated(&["--gpus=3"]).trim_end()
    );
}
