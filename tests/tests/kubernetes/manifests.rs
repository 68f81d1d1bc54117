//! The manifests as they stand, and as the overlays make them; what of them the tests ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anytime_tests::help::Help;
use anytime_tests::programs::repository;
use yaml_rust2::{Yaml, YamlLoader};

/// A caller, a callee and its port.
pub(crate) type Call = (String, String, i64);

/// The folder of the manifests.
pub(crate) fn folder() -> PathBuf {
    repository().join("deploy/kubernetes")
}

/// The documents of a file.
pub(crate) fn read(path: &Path) -> Vec<Yaml> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The one document of a file.
pub(crate) fn read_one(path: &Path) -> Yaml {
    let mut documents = read(path);
    assert_eq!(documents.len(), 1, "{}", path.display());
    documents.remove(0)
}

/// A text; empty where there is none.
pub(crate) fn text(value: &Yaml) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A list; empty where there is none.
pub(crate) fn items(value: &Yaml) -> &[Yaml] {
    value.as_vec().map(Vec::as_slice).unwrap_or_default()
}

/// A list of texts.
pub(crate) fn texts(value: &Yaml) -> Vec<String> {
    items(value).iter().map(text).collect()
}

/// The objects that the base has by itself.
pub(crate) fn base() -> Vec<Yaml> {
    of_folder("base")
}

/// What there is, laid beside the base where it is wanted included.
pub(crate) fn everything() -> Vec<Yaml> {
    [of_folder("base"), of_folder("ranks")].concat()
}

fn of_folder(name: &str) -> Vec<Yaml> {
    let folder = folder().join(name);
    let kustomization = read_one(&folder.join("kustomization.yml"));
    let mut objects = Vec::new();
    for resource in texts(&kustomization["resources"]) {
        objects.extend(read(&folder.join(resource)));
    }
    objects
}

/// The folders of the overlays.
pub(crate) fn overlays() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("overlays")).unwrap();
    let mut overlays: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    overlays.sort();
    overlays
}

/// The objects of an overlay as they would be applied; none where this machine has no tool that puts them together.
fn assembled(overlay: &Path) -> Option<Vec<Yaml>> {
    for (program, command) in [("kustomize", "build"), ("kubectl", "kustomize")] {
        let Ok(output) = Command::new(program).arg(command).arg(overlay).output() else {
            continue;
        };
        assert!(
            output.status.success(),
            "{program} {command} {}: {}",
            overlay.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        return Some(YamlLoader::load_from_str(&text).unwrap());
    }
    eprintln!(
        "skipped: {}, because there is neither kustomize nor kubectl",
        overlay.display()
    );
    None
}

/// The base, and what the overlays make of it.
pub(crate) fn variants() -> Vec<(String, Vec<Yaml>)> {
    let mut variants = vec![("base".to_owned(), base())];
    for overlay in overlays() {
        if let Some(objects) = assembled(&overlay) {
            variants.push((overlay.file_name().unwrap().to_string_lossy().into_owned(), objects));
        }
    }
    variants
}

/// The name of an object.
pub(crate) fn name(object: &Yaml) -> String {
    text(&object["metadata"]["name"])
}

/// The objects of a kind.
pub(crate) fn of_kind<'a>(objects: &'a [Yaml], kind: &str) -> Vec<&'a Yaml> {
    objects.iter().filter(|object| text(&object["kind"]) == kind).collect()
}

/// The pods, by the name of what makes them.
pub(crate) fn pods(objects: &[Yaml]) -> BTreeMap<String, &Yaml> {
    let mut pods = BTreeMap::new();
    for object in objects {
        let pod = &object["spec"]["template"]["spec"];
        if pod.is_hash() {
            pods.insert(name(object), pod);
        }
    }
    pods
}

/// The one container of a pod.
pub(crate) fn container(pod: &Yaml) -> &Yaml {
    assert!(pod["initContainers"].is_badvalue(), "no test looks at these");
    let containers = items(&pod["containers"]);
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// The command line of a container.
pub(crate) fn command_line(container: &Yaml) -> Vec<String> {
    let mut line = texts(&container["command"]);
    line.extend(texts(&container["args"]));
    line
}

/// The command line of a container and those of its probes.
pub(crate) fn command_lines(container: &Yaml) -> Vec<Vec<String>> {
    let mut lines = vec![command_line(container)];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let line = texts(&container[probe]["exec"]["command"]);
        if !line.is_empty() {
            lines.push(line);
        }
    }
    lines
}

/// What a program of this project says of the command that a line runs; none for other programs.
pub(crate) fn help_for(line: &[String]) -> Option<Help> {
    let program = line.first()?;
    if program != "anytime" && !program.starts_with("anytime-") {
        return None;
    }
    let words = line[1..].iter().take_while(|word| !word.starts_with("--"));
    let subcommands: Vec<String> = words.cloned().collect();
    Some(Help::of(program, &subcommands))
}

/// The value of an argument that is written `--name=value`.
pub(crate) fn argument(line: &[String], name: &str) -> Option<String> {
    let start = format!("{name}=");
    line.iter()
        .find_map(|word| word.strip_prefix(start.as_str()))
        .map(str::to_owned)
}

/// The port at the end of an address.
pub(crate) fn port(address: &str) -> i64 {
    let digits = address.rsplit(':').next().unwrap_or_default();
    digits.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// The ports of a container by their names.
pub(crate) fn container_ports(container: &Yaml) -> BTreeMap<String, i64> {
    let mut ports = BTreeMap::new();
    for entry in items(&container["ports"]) {
        ports.insert(text(&entry["name"]), entry["containerPort"].as_i64().unwrap());
    }
    ports
}

/// The addresses with a scheme that a container is given, in arguments and variables.
fn addresses(container: &Yaml) -> Vec<String> {
    let mut values = command_line(container);
    for variable in items(&container["env"]) {
        values.push(text(&variable["value"]));
    }
    values
        .iter()
        .filter_map(|value| value.split_once("://"))
        .map(|(_, address)| address.to_owned())
        .collect()
}

/// Who calls whom, by the addresses that they are given.
pub(crate) fn calls(objects: &[Yaml]) -> BTreeSet<Call> {
    let mut calls = BTreeSet::new();
    for (caller, pod) in pods(objects) {
        for address in addresses(container(pod)) {
            let host = address.split(':').next().unwrap_or_default();
            calls.insert((caller.clone(), host.to_owned(), port(&address)));
        }
    }
    calls
}

/// A field of every entry of a list.
pub(crate) fn texts_of(list: &Yaml, field: &str) -> Vec<String> {
    items(list).iter().map(|entry| text(&entry[field])).collect()
}

/// The component that a selector of pods chooses.
pub(crate) fn component(selector: &Yaml) -> String {
    text(&selector["matchLabels"]["app.kubernetes.io/component"])
}
