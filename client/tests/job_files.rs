//! Job files: what is refused, and that those of the repository and its README are valid.
#![allow(clippy::unwrap_used)]

mod support;

use anytime_proto::v1;
use support::{anytime, repository, train_job, write};

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
        let ended = anytime(&["check", "--settings-only", "--json", file.to_str().unwrap()]).await;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.json()[0]["spec"]["training"]["beta1"].is_number());
    }
}

/// The TOML blocks of a page.
fn toml_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in page.lines() {
        match &mut block {
            Some(_) if line.trim_start().starts_with("```") => blocks.extend(block.take()),
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line.trim() == "```toml" => block = Some(String::new()),
            None => {}
        }
    }
    blocks
}

/// Deserialising refuses sections and settings that do not exist.
#[test]
fn what_the_readme_shows_of_job_files_exists() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    for block in toml_blocks(&readme) {
        let read = toml::from_str::<v1::JobSpec>(&block);
        assert!(read.is_ok(), "{}\n{block}", read.unwrap_err());
    }
}
