//! Job files: which are refused, and that the reference names every setting.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use anytime_proto::settings::{parse_job_file, with_defaults};
use anytime_proto::v1;
use prost::Message as _;
use support::{anytime, repository, train_job, write};

fn reference() -> String {
    std::fs::read_to_string(repository().join("deploy/jobs/reference.toml")).unwrap()
}

#[tokio::test]
async fn bad_settings_are_refused_by_name_before_anything_is_contacted() {
    let cases = [
        ("[rollout]\nbudgets = [12, 6]", "rollout.budgets"),
        (
            "[objective]\nprior = \"explicit\"\nprior_weights = [0.5, 0.5, 0.5, 0.5]",
            "objective.prior_weights",
        ),
        ("[markers]\ncut = \"a</think>b\"", "markers.cut"),
        ("[rollout]\nbudget = [6]", "budget"),
        ("[checkpoint]\nrecovery_every = \"often\"", "recovery_every"),
        ("[objective]\nprior = \"flat\"", "flat"),
    ];
    let directory = tempfile::tempdir().unwrap();
    for (lines, name) in cases {
        let file = directory.path().join("job.toml");
        write(&file, &(train_job("x") + lines));
        let out = directory.path().join("out");
        let commands: [&[&str]; 3] = [&["check"], &["submit"], &["local", "--out", out.to_str().unwrap()]];
        for command in commands {
            let ended = anytime(&[command, &[file.to_str().unwrap()]].concat()).await;
            assert_eq!(ended.code, 64, "{command:?} {lines}: {}", ended.stderr);
            assert!(ended.stderr.contains(name), "{command:?} {lines}: {}", ended.stderr);
            assert!(!out.exists());
        }
    }
}

#[tokio::test]
async fn wrong_usage_and_missing_files_are_bad_configuration() {
    for arguments in [
        &["dance"][..],
        &["submit"],
        &["check", "nowhere.toml"],
        &["evaluate"],
        &["local", "nowhere.toml"],
    ] {
        let ended = anytime(arguments).await;
        assert_eq!(ended.code, 64, "{arguments:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty());
    }
    for arguments in [&["--help"][..], &["--version"], &["help", "local"]] {
        let ended = anytime(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn every_job_file_of_the_repository_is_valid() {
    let mut files = Vec::new();
    for directory in ["deploy/jobs", "deploy/demo"] {
        for entry in std::fs::read_dir(repository().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                files.push(path);
            }
        }
    }
    assert!(files.len() >= 4);
    for file in files {
        let ended = anytime(&["check", "--json", file.to_str().unwrap()]).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.json()[0]["spec"]["training"]["beta1"].is_number());
    }
}

#[test]
fn the_reference_holds_the_defaults() {
    let written = parse_job_file(&reference()).unwrap();
    let required = v1::JobSpec {
        name: written.name.clone(),
        kind: written.kind,
        model: Some(v1::ModelSpec {
            path: written.model.clone().unwrap().path,
            ..Default::default()
        }),
        data: Some(v1::DataSpec {
            path: written.data.clone().unwrap().path,
            ..Default::default()
        }),
        training: Some(v1::TrainingSpec {
            steps: written.training.unwrap().steps,
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(written, with_defaults(&required));
}

/// The settings of every section, from the descriptors of the messages themselves.
fn settings_in_proto() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(anytime_proto::FILE_DESCRIPTORS).unwrap();
    let messages: Vec<_> = files.file.iter().flat_map(|file| &file.message_type).collect();
    let fields = |name: &str| {
        messages
            .iter()
            .find(|message| message.name() == name)
            .unwrap()
            .field
            .clone()
    };
    let mut settings = BTreeSet::new();
    for field in fields("JobSpec") {
        let Some(message) = field
            .type_name()
            .strip_prefix(".anytime.v1.")
            .filter(|name| name.ends_with("Spec"))
        else {
            settings.insert(field.name().to_owned());
            continue;
        };
        settings.extend(
            fields(message)
                .iter()
                .map(|inner| format!("{}.{}", field.name(), inner.name())),
        );
    }
    settings
}

#[test]
fn the_reference_names_every_setting_and_says_something_about_each_section() {
    let mut section = String::new();
    let mut named = BTreeSet::new();
    for line in reference().lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
            continue;
        }
        let line = line.strip_prefix("# ").unwrap_or(line);
        let Some((name, _)) = line.split_once(" = ") else {
            continue;
        };
        if name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            named.insert(format!("{section}{name}"));
        }
    }
    assert_eq!(named, settings_in_proto());
}
