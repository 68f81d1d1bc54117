//! The files of a model's directory beside its weights. A job reads them once, when it starts. So actors and exports
//! get the same files throughout the job, and no step depends on a directory that may be away for a moment.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anytime_files::replace_directory;
use bytes::Bytes;

/// Where a job keeps them, so that its recovery checkpoints can be exported without the model's directory.
const DIRECTORY: &str = "assets";

const CONFIG_FILE: &str = "config.json";

/// Configuration, tokenizer and chat template of a model, by file name.
#[derive(Clone, Debug, Default)]
pub struct Assets(Vec<(String, Bytes)>);

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
        Ok(Self(files))
    }

    /// Those that a job has kept.
    ///
    /// # Errors
    /// If it has kept none, or one cannot be read.
    pub fn of_job(job_directory: &Path) -> anyhow::Result<Self> {
        let assets = Self::read(&job_directory.join(DIRECTORY))?;
        anyhow::ensure!(
            assets.0.iter().any(|(name, _)| name == CONFIG_FILE),
            "{} has no {CONFIG_FILE}",
            job_directory.join(DIRECTORY).display()
        );
        Ok(assets)
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
        replace_directory(&target, |part| self.write(part, |_| true))
    }

    /// The files by name.
    pub fn files(&self) -> &[(String, Bytes)] {
        &self.0
    }

    /// Writes all but the configuration, which an export writes itself.
    pub(super) fn write_beside_config(&self, directory: &Path) -> anyhow::Result<()> {
        self.write(directory, |name| name != CONFIG_FILE)
    }

    fn write(&self, directory: &Path, is_wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        for (name, data) in self.0.iter().filter(|(name, _)| is_wanted(name)) {
            let path = directory.join(name);
            fs::write(&path, data).with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }

    /// BLAKE3 over the configuration and the tokenizer: what the meaning of weights and ids depends on.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (name, data) in &self.0 {
            if name == CONFIG_FILE || name == "tokenizer.json" {
                hasher.update(blake3::hash(data).as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}
