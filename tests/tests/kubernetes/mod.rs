//! The manifests of deploy/kubernetes name arguments, variables, ports and secrets that there are, harden every container,
//! and admit exactly the connections that the processes make.
#![allow(clippy::unwrap_used)]

mod manifests;
mod ranks;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anytime_proto::limits::DRAIN_TIMEOUT;
use anytime_tests::help::Help;
use yaml_rust2::Yaml;

use crate::kubernetes::manifests::{
    Call, argument, base, calls, command_line, command_lines, component, container, container_ports, everything,
    folder, help_for, items, name, of_kind, overlays, pods, port, read, read_one, text, texts, texts_of, variants,
};
use crate::kubernetes::ranks::{check_policy_of_ranks, one_of};

/// Variables of containers that are others' than this project's.
const FOREIGN_VARIABLES: [&str; 2] = ["OMP_NUM_THREADS", "CUDA_CACHE_PATH"];

/// Where pods have their secrets.
const SECRETS: &str = "/run/secrets/anytime/";

#[test]
fn every_argument_and_variable_is_one_of_the_program() {
    let mut seen = 0;
    for (variant, objects) in variants() {
        for (name, pod) in pods(&objects) {
            let container = container(pod);
            for line in command_lines(container) {
                let Some(help) = help_for(&line) else {
                    continue;
                };
                let unknown = help.unknown_flags(&line);
                assert!(unknown.is_empty(), "{variant}, {name}: {line:?}: {unknown:?}");
                seen += 1;
            }
            // The client's container only waits; its variables are for who works in it.
            let submit = ["anytime".to_owned(), "submit".to_owned()];
            let help = match name.as_str() {
                "client" => help_for(&submit),
                _ => help_for(&command_line(container)),
            };
            for variable in texts_of(&container["env"], "name") {
                let is_known = help.as_ref().is_some_and(|help| help.variables.contains(&variable));
                let is_foreign = FOREIGN_VARIABLES.contains(&variable.as_str());
                assert!(is_known || is_foreign, "{variant}, {name}: {variable}");
            }
        }
    }
    assert!(seen >= 4, "command lines are read: {seen}");
}

#[test]
fn every_container_may_do_nothing_that_it_need_not() {
    for (variant, objects) in variants() {
        for (name, pod) in pods(&objects) {
            let place = format!("{variant}, {name}");
            assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false), "{place}");
            assert_eq!(pod["enableServiceLinks"].as_bool(), Some(false), "{place}");
            for shared in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[shared].is_badvalue(), "{place}: {shared}");
            }
            let context = &pod["securityContext"];
            assert_eq!(context["runAsNonRoot"].as_bool(), Some(true), "{place}");
            assert!(context["runAsUser"].as_i64().is_some_and(|user| user > 0), "{place}");
            assert_eq!(text(&context["seccompProfile"]["type"]), "RuntimeDefault", "{place}");

            let container = container(pod);
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false), "{place}");
            assert_eq!(context["readOnlyRootFilesystem"].as_bool(), Some(true), "{place}");
            assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"], "{place}");
            assert!(context["capabilities"]["add"].is_badvalue(), "{place}");
            assert!(context["privileged"].is_badvalue(), "{place}");
            for resource in ["cpu", "memory"] {
                for bound in ["requests", "limits"] {
                    let amount = &container["resources"][bound][resource];
                    assert!(!amount.is_badvalue(), "{place}: {bound} of {resource}");
                }
            }

            for volume in items(&pod["volumes"]) {
                assert!(volume["hostPath"].is_badvalue(), "{place}: {volume:?}");
            }
            let mounts = items(&container["volumeMounts"]);
            let secrets = mounts.iter().find(|mount| text(&mount["name"]) == "secrets").unwrap();
            assert_eq!(secrets["readOnly"].as_bool(), Some(true), "{place}");
            // A single file that is mounted does not follow a change of its secret.
            assert!(secrets["subPath"].is_badvalue(), "{place}");
        }
    }
}

#[test]
fn a_pod_has_time_to_drain_and_an_init_that_passes_signals_on() {
    let drain = i64::try_from(DRAIN_TIMEOUT.as_secs()).unwrap();
    let objects = everything();
    let pods = pods(&objects);
    for name in ["learner", "verifier", "actor", "rank"] {
        let grace = pods[name]["terminationGracePeriodSeconds"].as_i64().unwrap();
        assert!(grace > drain && grace <= 2 * drain, "{name}: {grace} s");
        assert_eq!(pods[name]["shareProcessNamespace"].as_bool(), Some(true), "{name}");
    }
}

#[test]
fn probes_ask_what_answers_without_a_token_or_show_one() {
    for (variant, objects) in variants() {
        for (name, pod) in pods(&objects) {
            let container = container(pod);
            let ports = container_ports(container);
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let place = format!("{variant}, {name}: {probe}");
                let asked = &container[probe];
                // Kubernetes speaks no TLS in these, and no port here speaks anything else.
                assert!(asked["grpc"].is_badvalue(), "{place}");
                assert!(
                    asked["tcpSocket"].is_badvalue(),
                    "{place}: a process that is stuck takes connections too"
                );
                let http = &asked["httpGet"];
                if http.is_hash() {
                    assert_eq!(text(&http["scheme"]), "HTTPS", "{place}");
                    assert_eq!(text(&http["path"]), "/health", "{place}: all else asks for a token");
                    assert_eq!(text(&http["port"]), "metrics", "{place}");
                    assert!(ports.contains_key("metrics"), "{place}");
                }
            }
            if name != "client" {
                for probe in ["livenessProbe", "readinessProbe"] {
                    assert!(container[probe].is_hash(), "{variant}, {name}: {probe}");
                }
            }
        }
    }
}

#[test]
fn ports_are_those_that_the_processes_listen_on() {
    let objects = everything();
    let pods = pods(&objects);
    for (name, pod) in &pods {
        let container = container(pod);
        let line = command_line(container);
        let mut listening = BTreeMap::new();
        for (port_name, flag) in [("grpc", "--listen"), ("metrics", "--metrics-address")] {
            if let Some(address) = argument(&line, flag) {
                listening.insert(port_name.to_owned(), port(&address));
            }
        }
        if name != "redis" {
            assert_eq!(container_ports(container), listening, "{name}");
        }
    }
    let redis = command_line(container(pods["redis"])).join("\n");
    let redis_port = container_ports(container(pods["redis"]))["redis"];
    assert!(redis.contains(&format!("tls-port {redis_port}\n")), "{redis}");
    assert!(redis.contains("\nport 0\n"), "nothing is spoken in the clear: {redis}");
    assert!(redis.contains("\nappendfsync always\n"), "{redis}");

    let mut served = BTreeSet::new();
    for service in of_kind(&objects, "Service") {
        let service_name = name(service);
        let selector = &service["spec"]["selector"];
        assert_eq!(text(&selector["app.kubernetes.io/component"]), service_name);
        for entry in items(&service["spec"]["ports"]) {
            let target = text(&entry["targetPort"]);
            let port = entry["port"].as_i64().unwrap();
            assert_eq!(
                container_ports(container(pods[&service_name])).get(&target),
                Some(&port),
                "{service_name}"
            );
            served.insert((service_name.clone(), port));
        }
    }
    // `anytime certs` makes certificates for these names without being told.
    let names = Help::of("anytime", &["certs".to_owned()]).text;
    for (_, host, port) in calls(&objects) {
        assert!(served.contains(&(host.clone(), port)), "no service {host}:{port}");
        assert!(
            names.contains(&format!(" {host}")),
            "no certificate for {host}: {names}"
        );
    }
}

#[test]
fn policies_admit_the_calls_of_the_processes_and_nothing_else() {
    for (variant, objects) in variants() {
        let calls = calls(&objects);
        let mut scrapes: BTreeSet<Call> = BTreeSet::new();
        for (name, pod) in pods(&objects) {
            if let Some(address) = argument(&command_line(container(pod)), "--metrics-address") {
                scrapes.insert(("prometheus".to_owned(), name, port(&address)));
            }
        }
        let ranks = usize::from(pods(&objects).contains_key("rank"));
        assert_eq!(scrapes.len(), 3 + ranks, "{variant}");

        let mut into: BTreeSet<Call> = BTreeSet::new();
        let mut out_of: BTreeSet<Call> = BTreeSet::new();
        let mut asks_dns: BTreeSet<String> = BTreeSet::new();
        let (mut denies_all, mut meets) = (false, false);
        for policy in of_kind(&objects, "NetworkPolicy") {
            let spec = &policy["spec"];
            let types = texts(&spec["policyTypes"]);
            if name(policy) == "default-deny" {
                let is_for_all = spec["podSelector"]
                    .as_hash()
                    .is_some_and(|selector| selector.is_empty());
                assert!(
                    spec["ingress"].is_badvalue() && spec["egress"].is_badvalue(),
                    "{variant}"
                );
                denies_all = is_for_all && types == ["Ingress", "Egress"];
                continue;
            }
            if ["dns", "rank-dns"].contains(&name(policy).as_str()) {
                asks_dns.extend(one_of(&spec["podSelector"]));
                continue;
            }
            if name(policy) == "ranks" {
                check_policy_of_ranks(spec);
                meets = true;
                continue;
            }
            let whose = component(&spec["podSelector"]);
            let has = |way: &str| types.iter().any(|each| each == way);
            assert_eq!(has("Ingress"), !spec["ingress"].is_badvalue(), "{variant}, {whose}");
            assert_eq!(has("Egress"), !spec["egress"].is_badvalue(), "{variant}, {whose}");
            for (other, port) in ends(&spec["ingress"], "from") {
                into.insert((other, whose.clone(), port));
            }
            for (other, port) in ends(&spec["egress"], "to") {
                out_of.insert((whose.clone(), other, port));
            }
        }
        assert!(denies_all, "{variant}: what no policy names is refused");
        assert_eq!(out_of, calls, "{variant}: who may call whom");
        let expected: BTreeSet<Call> = calls.union(&scrapes).cloned().collect();
        assert_eq!(into, expected, "{variant}: who may be called by whom");
        assert_eq!(meets, ranks > 0, "{variant}: ranks reach each other");
        let mut callers: BTreeSet<String> = calls.iter().map(|(caller, _, _)| caller.clone()).collect();
        callers.extend((ranks > 0).then(|| "rank".to_owned()));
        assert_eq!(asks_dns, callers, "{variant}: who looks names up");
    }
}

/// The other ends that rules admit, with the ports.
fn ends(rules: &Yaml, way: &str) -> Vec<(String, i64)> {
    let mut ends = Vec::new();
    for rule in items(rules) {
        let (peers, ports) = (items(&rule[way]), items(&rule["ports"]));
        // An empty list admits everybody.
        assert!(!peers.is_empty() && !ports.is_empty(), "{rule:?}");
        for peer in peers {
            assert!(peer["ipBlock"].is_badvalue(), "{peer:?}");
            let other = if peer["namespaceSelector"].is_badvalue() {
                component(&peer["podSelector"])
            } else {
                text(&peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"])
            };
            for entry in ports {
                assert_eq!(text(&entry["protocol"]), "TCP");
                ends.push((other.clone(), entry["port"].as_i64().unwrap()));
            }
        }
    }
    ends
}

#[test]
fn a_pod_has_the_secrets_that_it_reads_and_no_others() {
    let made = made_secrets();
    let objects = everything();
    for (name, pod) in pods(&objects) {
        let container = container(pod);
        let mut values: Vec<String> = command_lines(container).concat();
        values.extend(texts_of(&container["env"], "value"));
        let mut used = BTreeSet::new();
        for value in &values {
            for rest in value.split(SECRETS).skip(1) {
                let is_part = |each: char| each.is_ascii_alphanumeric() || each == '.';
                let end = rest.find(|each: char| !is_part(each)).unwrap_or(rest.len());
                used.insert(rest[..end].to_owned());
            }
        }
        let volumes = items(&pod["volumes"]);
        let volume = volumes
            .iter()
            .find(|volume| text(&volume["name"]) == "secrets")
            .unwrap();
        let secret = text(&volume["secret"]["secretName"]);
        let held = made
            .get(&secret)
            .unwrap_or_else(|| panic!("secrets.sh does not make {secret}"));
        assert_eq!(&used, held, "{name}");
    }
}

/// The secrets that secrets.sh makes, and what they hold: lines such as `secret $namespace NAME ca.pem access=<(…)`.
fn made_secrets() -> BTreeMap<String, BTreeSet<String>> {
    let script = std::fs::read_to_string(folder().join("secrets.sh")).unwrap();
    let mut made = BTreeMap::new();
    for line in script.lines() {
        let Some(rest) = line.strip_prefix("secret $namespace ") else {
            continue;
        };
        let mut words = rest.split_whitespace();
        let secret = words.next().unwrap().to_owned();
        let mut files = BTreeSet::new();
        for word in words {
            // The end of `<(access_of read)`.
            if !word.ends_with(')') {
                files.insert(word.split('=').next().unwrap_or_default().to_owned());
            }
        }
        made.insert(secret, files);
    }
    made
}

#[test]
fn what_must_not_end_at_any_time_has_a_budget_and_what_may_grow_does() {
    let objects = base();
    let budgets: BTreeSet<String> = of_kind(&objects, "PodDisruptionBudget").into_iter().map(name).collect();
    assert_eq!(
        budgets,
        BTreeSet::from(["learner", "redis", "verifier"].map(str::to_owned))
    );
    for budget in of_kind(&objects, "PodDisruptionBudget") {
        assert_eq!(component(&budget["spec"]["selector"]), name(budget));
    }
    for autoscaler in of_kind(&objects, "HorizontalPodAutoscaler") {
        let target = text(&autoscaler["spec"]["scaleTargetRef"]["name"]);
        let deployments = of_kind(&objects, "Deployment");
        let grown = deployments
            .iter()
            .find(|deployment| name(deployment) == target)
            .unwrap();
        assert!(
            grown["spec"]["replicas"].is_badvalue(),
            "an apply would take the autoscaler's number back"
        );
    }
    for set in of_kind(&objects, "StatefulSet") {
        let services = of_kind(&objects, "Service");
        let named = text(&set["spec"]["serviceName"]);
        let service = services.iter().find(|service| name(service) == named).unwrap();
        assert_eq!(text(&service["spec"]["clusterIP"]), "None", "{named}");
        assert_eq!(
            set["spec"]["replicas"].as_i64(),
            Some(1),
            "{named}: there is one of each"
        );
    }
}

#[test]
fn kustomizations_name_what_is_there() {
    let objects = everything();
    let pods = pods(&objects);
    for overlay in overlays() {
        let kustomization = read_one(&overlay.join("kustomization.yml"));
        for resource in texts(&kustomization["resources"]) {
            let path = overlay.join(resource).join("kustomization.yml");
            assert!(path.is_file(), "{}", path.display());
        }
        for patch in items(&kustomization["patches"]) {
            let path = overlay.join(text(&patch["path"]));
            let patching = read_one(&path);
            // With a target the patch's own name counts for nothing.
            if patch["target"].is_badvalue() {
                let is_there = objects.iter().any(|object| {
                    object["kind"] == patching["kind"] && object["metadata"]["name"] == patching["metadata"]["name"]
                });
                assert!(is_there, "{}", path.display());
            }
            let containers = &patching["spec"]["template"]["spec"]["containers"];
            for name_of_container in texts_of(containers, "name") {
                let pod = pods[&name(&patching)];
                assert_eq!(text(&container(pod)["name"]), name_of_container, "{}", path.display());
            }
        }
    }
    // What outlives an overlay is not removed with it.
    let kinds: BTreeSet<String> = objects.iter().map(|object| text(&object["kind"])).collect();
    assert!(
        !kinds.contains("Namespace") && !kinds.contains("PersistentVolumeClaim"),
        "{kinds:?}"
    );
    let once = folder().join("once");
    let mut claims: BTreeSet<String> = BTreeSet::new();
    for resource in texts(&read_one(&once.join("kustomization.yml"))["resources"]) {
        let documents = read(&once.join(resource));
        claims.extend(of_kind(&documents, "PersistentVolumeClaim").into_iter().map(name));
    }
    for (pod_name, pod) in pods {
        for volume in items(&pod["volumes"]) {
            let claim = &volume["persistentVolumeClaim"]["claimName"];
            assert!(
                claim.is_badvalue() || claims.contains(&text(claim)),
                "{pod_name}: {claim:?}"
            );
        }
    }
}

#[test]
fn prometheus_finds_the_processes_by_names_that_their_certificates_have() {
    let config = read_one(&folder().join("prometheus.yml"));
    let names = Help::of("anytime", &["certs".to_owned()]).text;
    let mut jobs = BTreeSet::new();
    for scraped in items(&config["scrape_configs"]) {
        let job = text(&scraped["job_name"]);
        assert_eq!(text(&scraped["scheme"]), "https", "{job}");
        let server_name = text(&scraped["tls_config"]["server_name"]);
        assert!(
            names.contains(&format!(" {server_name}")),
            "no certificate for {server_name}: {names}"
        );
        let kept = items(&scraped["relabel_configs"])
            .iter()
            .find(|rule| text(&rule["action"]) == "keep");
        assert_eq!(text(&kept.unwrap()["regex"]), format!("{job};metrics"));
        jobs.insert(job);
    }
    assert_eq!(
        jobs,
        BTreeSet::from(["actor", "learner", "rank", "verifier"].map(str::to_owned))
    );
}

#[test]
fn the_manifests_are_valid_by_the_schemas_of_the_api() {
    let output = Command::new(folder().join("check.sh")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // The tool that brings the schemas cannot be fetched here.
    if output.status.code() == Some(69) {
        eprintln!("skipped: {said}");
        return;
    }
    assert!(output.status.success(), "{said}");
}
