//! The hub's protocol against a hub on this machine, with everything that may go wrong on the way.
#![allow(clippy::unwrap_used)]

mod access;
mod broken;
mod layout;
mod page;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anytime_hub::{Hub, HubError, HubFile, Kind, Patience, Repository, Settings, Snapshot, model_files};

use support::FakeHub;

const NAME: &str = "owner/name";

/// A hub, and a cache of its own.
struct World {
    hub: FakeHub,
    cache: tempfile::TempDir,
}

impl World {
    /// With a model: a large file of weights and small ones beside it.
    fn new() -> Self {
        let world = Self {
            hub: FakeHub::start(),
            cache: tempfile::tempdir().unwrap(),
        };
        world.hub.add(NAME, "config.json", "{}");
        world.hub.add(NAME, "tokenizer.json", "[]");
        world.hub.add(NAME, "model.safetensors", weights());
        world.hub.add(NAME, "pytorch_model.bin", "pickled");
        world
    }

    fn settings(&self) -> Settings {
        Settings {
            endpoint: self.hub.endpoint().parse().unwrap(),
            token: None,
            cache: self.cache.path().to_owned(),
            offline: false,
            patience: Patience {
                connect: Duration::from_secs(2),
                answer: Duration::from_millis(400),
                silence: Duration::from_millis(400),
                pause: Duration::from_secs(3),
                first_pause: Duration::from_millis(5),
                tries: 3,
                lock: Duration::from_secs(20),
                progress: Duration::from_millis(50),
            },
        }
    }

    fn fetch_with(&self, settings: Settings) -> Result<Snapshot, HubError> {
        fetch(settings, &model(), "main")
    }

    fn fetch(&self) -> Result<Snapshot, HubError> {
        self.fetch_with(self.settings())
    }

    fn refused(&self) -> String {
        self.fetch().expect_err("refused").to_string()
    }

    fn repository(&self) -> PathBuf {
        self.cache.path().join("models--owner--name")
    }
}

fn model() -> Repository {
    Repository {
        kind: Kind::Model,
        owner: "owner".to_owned(),
        name: "name".to_owned(),
    }
}

fn weights() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn choose(files: &[HubFile]) -> Result<Vec<HubFile>, String> {
    model_files(files, &["config.json", "tokenizer.json"], true)
}

fn fetch(settings: Settings, repository: &Repository, revision: &str) -> Result<Snapshot, HubError> {
    Hub::new(settings).fetch(repository, revision, &choose, &|| false, &|_| {})
}

fn check_content(snapshot: &Snapshot) {
    assert_eq!(
        fs::read(snapshot.directory.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(fs::read(snapshot.directory.join("config.json")).unwrap(), b"{}");
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
