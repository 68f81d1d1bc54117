//! The alerts of deploy/prometheus fire when they should, by Prometheus' own tool, and every one of them has a case in
//! which it fires and one in which it does not.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

use anytime_tests::dashboard::prometheus_file;
use anytime_tests::programs::promtool;

#[test]
fn the_cases_of_the_alerts_hold() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let mut command = Command::new(promtool());
        command.args(arguments).current_dir(prometheus_file(""));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "promtool {}:\n{}{}",
            arguments.join(" "),
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let read = |name: &str| std::fs::read_to_string(prometheus_file(name)).unwrap();
    let rules = read("alerts.yml");
    let alerts: BTreeSet<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 12, "the rules are read: {alerts:?}");
    let cases = read("alerts_test.yml");
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
