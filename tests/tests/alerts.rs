//! The alerts of deploy/prometheus fire when they should, by Prometheus' own tool. Every one of them has a case in which it
//! fires and one in which it does not, and an entry in docs/operations.md. Alertmanager's own tool checks who is told.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

use anytime_tests::dashboard::prometheus_file;
use anytime_tests::programs::{amtool, promtool, repository};

/// Cases of half a day.
const LONG: &str = "alerts_long_test.yml";

#[test]
fn the_cases_of_the_alerts_hold() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(promtool());
        command.args(arguments).current_dir(prometheus_file(""));
        succeed(&mut command);
    }
}

/// They get the rules that they name and no others, as these say nothing of each other.
#[test]
fn the_long_cases_of_the_alerts_hold() {
    let cases = std::fs::read_to_string(prometheus_file(LONG)).unwrap();
    let named = names(&cases);
    let mut chosen = "groups:\n  - name: anytime\n    rules:\n".to_owned();
    for (name, text) in rules() {
        if named.contains(name.as_str()) {
            chosen.push_str(&format!("      - alert: {text}\n"));
        }
    }
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("alerts.yml"), chosen).unwrap();
    std::fs::write(place.path().join(LONG), cases).unwrap();
    let mut command = Command::new(promtool());
    command.args(["test", "rules", LONG]).current_dir(place.path());
    succeed(&mut command);
}

/// The alerts that these cases are about.
fn names(cases: &str) -> BTreeSet<&str> {
    let lines = cases.lines().map(str::trim);
    lines.filter_map(|line| line.strip_prefix("alertname: ")).collect()
}

#[test]
fn whom_alertmanager_tells_follows_the_severity() {
    let file = repository().join("deploy/alertmanager/alertmanager.yml");
    succeed(Command::new(amtool()).arg("check-config").arg(&file));
    for severity in ["page", "warn"] {
        let mut command = Command::new(amtool());
        let configuration = format!("--config.file={}", file.display());
        command.args(["config", "routes", "test", configuration.as_str()]);
        command.arg(format!("severity={severity}"));
        assert_eq!(succeed(&mut command).trim(), severity);
    }
}

/// Runs a command that must succeed; what it wrote to its standard output.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}:\n{stdout}{stderr}");
    stdout
}

/// The name and the text of every rule.
fn rules() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(prometheus_file("alerts.yml")).unwrap();
    let parts = text.split("- alert: ").skip(1);
    let found: Vec<(String, String)> = parts
        .map(|part| (part.lines().next().unwrap().trim().to_owned(), part.to_owned()))
        .collect();
    assert!(found.len() >= 30, "the rules are read: {}", found.len());
    found
}

#[test]
fn every_alert_says_what_it_means_and_has_an_entry_in_the_handbook() {
    let handbook = std::fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let headings: BTreeSet<&str> = handbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for (name, text) in rules() {
        for key in ["severity: ", "summary: ", "description: "] {
            assert!(text.contains(key), "{name} has no {key}");
        }
        let runbook = format!("runbook: docs/operations.md#{}", name.to_lowercase());
        assert!(text.lines().any(|line| line.trim() == runbook), "{name}: no {runbook}");
        assert!(
            headings.contains(name.as_str()),
            "docs/operations.md has no heading {name}"
        );
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let all = rules();
    let alerts: BTreeSet<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let cases: String = ["alerts_test.yml", LONG]
        .map(|name| std::fs::read_to_string(prometheus_file(name)).unwrap())
        .concat();
    let lines: Vec<&str> = cases.lines().map(str::trim).collect();
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = line.strip_prefix("alertname: ") else {
            continue;
        };
        let fires = lines
            .get(number + 1)
            .is_some_and(|next| next.starts_with("exp_alerts:"));
        if fires { &mut firing } else { &mut silent }.insert(name);
    }
    assert_eq!(firing, alerts, "alerts that fire in a case");
    assert_eq!(silent, alerts, "alerts that do not fire in a case");
}
