//! The files of a model's directory beside its weights. A job reads them once, when it starts. So actors and exports
//! get the same files throughout the job, and no step depends on a directory that may be away for a moment.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anytime_files::replace_directory;
use anytime_proto::v1;
use bytes::Bytes;

use super::card::{Card, Described};

/// Where a job keeps them, so that its recovery checkpoints can be exported without the model's directory.
const DIRECTORY: &str = "assets";

const CONFIG_FILE: &str = "config.json";

/// The card of a model.
const CARD_FILE: &str = "README.md";

/// How the model is asked, for `anytime serve`: actor/src/serve/settings.rs reads it.
pub const ASKING_FILE: &str = "anytime.json";

/// The name of the base model's card in an export, which has one of its own.
const BASE_CARD_FILE: &str = "BASE_MODEL_README.md";

/// A larger README is none that people read, and is left out.
const LARGEST_CARD: u64 = 1 << 20;

/// Configuration, tokenizer and chat template of a model, by file name.
#[derive(Clone, Debug, Default)]
pub struct Assets {
    files: Vec<(String, Bytes)>,
    /// The model's README, which actors need not have.
    card: Option<String>,
}

impl Assets {
    /// Reads those of a model's directory.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in anytime_policy::asset_files(directory) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let data = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            files.push((name.to_owned(), Bytes::from(data)));
        }
        Ok(Self {
            files,
            card: read_card(directory),
        })
    }

    /// Those that a job has kept.
    ///
    /// # Errors
    /// If it has kept none, or one cannot be read.
    pub fn of_job(job_directory: &Path) -> anyhow::Result<Self> {
        let assets = Self::read(&job_directory.join(DIRECTORY))?;
        anyhow::ensure!(
            assets.files.iter().any(|(name, _)| name == CONFIG_FILE),
            "{} has no {CONFIG_FILE}",
            job_directory.join(DIRECTORY).display()
        );
        Ok(assets)
    }

    /// The text of the model's `config.json`.
    ///
    /// # Errors
    /// If there is none.
    pub fn config(&self) -> anyhow::Result<&str> {
        let found = self.files.iter().find(|(name, _)| name == CONFIG_FILE);
        let (_, bytes) = found.with_context(|| format!("the model has no {CONFIG_FILE}"))?;
        std::str::from_utf8(bytes).with_context(|| format!("{CONFIG_FILE} is no text"))
    }

    /// Whether a job has kept some.
    pub(super) fn are_kept(job_directory: &Path) -> bool {
        job_directory.join(DIRECTORY).join(CONFIG_FILE).is_file()
    }

    /// The directory in which a job keeps them.
    pub fn directory_of_job(job_directory: &Path) -> std::path::PathBuf {
        job_directory.join(DIRECTORY)
    }

    /// Keeps them with the job, unless it has some.
    ///
    /// # Errors
    /// If the disk does not take them.
    pub fn keep(&self, job_directory: &Path) -> anyhow::Result<()> {
        let target = job_directory.join(DIRECTORY);
        if target.join(CONFIG_FILE).is_file() {
            return Ok(());
        }
        replace_directory(&target, |part| self.write_all(part, None))
    }

    /// The files by name.
    pub fn files(&self) -> &[(String, Bytes)] {
        &self.files
    }

    /// The card of the export of a job's step; none where the job's settings cannot be read any more.
    pub fn card(&self, job: &v1::Job, step: u64) -> Option<Described> {
        let card = Card {
            job,
            step,
            base: self.card.as_deref(),
            base_name: BASE_CARD_FILE,
        };
        Some(Described {
            card: card.text()?,
            asking: card.asking()?,
        })
    }

    /// Writes all but the configuration, which an export writes itself. The base model's card gets another name, because the
    /// export has its own.
    pub(super) fn write_beside_config(&self, directory: &Path, card: Option<&Described>) -> anyhow::Result<()> {
        if let Some(described) = card {
            write(&directory.join(CARD_FILE), described.card.as_bytes())?;
            write(&directory.join(ASKING_FILE), described.asking.as_bytes())?;
        }
        self.write_card(directory, BASE_CARD_FILE)?;
        self.write(directory, |name| name != CONFIG_FILE)
    }

    /// Writes all of them, with this card instead of the model's own where there is one.
    pub(super) fn write_all(&self, directory: &Path, card: Option<&str>) -> anyhow::Result<()> {
        match card {
            Some(card) => write(&directory.join(CARD_FILE), card.as_bytes())?,
            None => self.write_card(directory, CARD_FILE)?,
        }
        self.write(directory, |_| true)
    }

    fn write(&self, directory: &Path, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        for (name, data) in self.files.iter().filter(|(name, _)| is_wanted(name)) {
            write(&directory.join(name), data)?;
        }
        Ok(())
    }

    fn write_card(&self, directory: &Path, name: &str) -> anyhow::Result<()> {
        match &self.card {
            Some(card) => write(&directory.join(name), card.as_bytes()),
            None => Ok(()),
        }
    }

    /// BLAKE3 over the configuration and the tokenizer: what the meaning of weights and ids depends on.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, data) in &self.files {
            if name == CONFIG_FILE || name == "tokenizer.json" {
                hasher.update(blake3::hash(data).as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// The README of a model's directory. It is no part of the model: one that cannot be read is left out.
fn read_card(directory: &Path) -> Option<String> {
    let path = directory.join(CARD_FILE);
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.len() > LARGEST_CARD {
        return None;
    }
    let bytes = fs::read(&path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(path: &Path, data: &[u8]) -> anyhow::Result<()> {
    fs::write(path, data).with_context(|| format!("writing {}", path.display()))
}
