//! `anytime audit`: whether a job lost a group or trained one twice.

use std::path::Path;

use anytime_service::exit::ExitError;
use serde_json::json;

use crate::arguments::AuditArgs;
use crate::audit::{Evidence, Findings, check};
use crate::learner::Learner;
use crate::output::{print_json, print_line};

/// The exit code of an audit that found something.
const VIOLATED: u8 = 1;

/// How many findings are printed for people; `--json` has all.
const SHOWN: usize = 20;

pub(super) async fn run(arguments: &AuditArgs, json: bool) -> anyhow::Result<()> {
    let named = &arguments.job.job;
    let evidence = match &arguments.runs_dir {
        Some(runs) => Evidence::of_directory(&runs.join(named))?,
        None if is_directory_of_a_job(named) => Evidence::of_directory(Path::new(named))?,
        None => Evidence::of_learner(&mut Learner::try_new(&arguments.job.learner)?, named).await?,
    };
    let findings = check(&evidence);
    if json {
        print_json(&json!({ "job": evidence.job_id, "clean": findings.findings.is_empty(), "audit": findings }))?;
    } else {
        print_line(&in_words(&evidence, &findings))?;
    }
    match findings.findings.first() {
        None => Ok(()),
        Some(first) => Err(ExitError {
            code: VIOLATED,
            message: format!("{}: {}", first.kind, first.text),
        }
        .into()),
    }
}

/// Whether the name means a directory on this machine, and not a job that a learner knows. A directory that only
/// happens to have a job's name does not count, unless it is written as a path.
fn is_directory_of_a_job(named: &str) -> bool {
    let path = Path::new(named);
    let looks_like_a_path = named.contains(std::path::MAIN_SEPARATOR);
    let has_a_job = ["job.pb", "job.toml", "events.log"]
        .iter()
        .any(|file| path.join(file).is_file());
    path.is_dir() && (looks_like_a_path || has_a_job)
}

fn in_words(evidence: &Evidence, findings: &Findings) -> String {
    let mut lines = vec![format!(
        "{}: {} steps, {} groups trained",
        evidence.job_id, findings.steps, findings.trained_groups
    )];
    if findings.undone_steps > 0 {
        lines.push(format!(
            "{} steps were undone by restarts and done again",
            findings.undone_steps
        ));
    }
    for (reason, groups) in &findings.left_out_groups {
        lines.push(format!("{groups} groups left out: {reason}"));
    }
    if let Some(open) = findings.open_groups {
        lines.push(format!("{open} groups queued, leased or to be leased again"));
    }
    lines.push(format!(
        "oldest token: {} versions behind; lengths of trained groups against all: p = {:.3}",
        findings.largest_staleness, findings.lengths_p
    ));
    if findings.damaged_bytes > 0 {
        lines.push(format!(
            "{} bytes of the event log belong to no whole event",
            findings.damaged_bytes
        ));
    }
    if findings.findings.is_empty() {
        lines.push("clean: nothing lost, nothing trained twice".to_owned());
    } else {
        lines.push(format!("{} findings:", findings.findings.len()));
        let shown = findings.findings.iter().take(SHOWN);
        lines.extend(shown.map(|finding| format!("  {}: {}", finding.kind, finding.text)));
        if findings.findings.len() > SHOWN {
            lines.push(format!("  … and {} more (--json)", findings.findings.len() - SHOWN));
        }
    }
    lines.join("\n")
}
