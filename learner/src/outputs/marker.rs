//! The file in every export that says which job wrote it. An export is replaced only by the job that its marker names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The marker's name inside an export.
pub const MARKER_FILE: &str = "anytime_export.json";

/// A job, told from every other one of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its id.
    pub job: String,
    /// When it was submitted.
    pub created: String,
}

/// What an export says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Marker {
    /// The job that wrote it.
    #[serde(flatten)]
    pub owner: Owner,
    /// The job's last finished step when it wrote the export.
    pub step: u64,
    /// The accuracy for which it is kept as one of the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// The names of all its files.
    pub files: BTreeSet<String>,
}

impl Marker {
    /// The marker in a directory; none where there is none that can be read.
    pub fn read(directory: &Path) -> Option<Self> {
        let bytes = fs::read(directory.join(MARKER_FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes it into an export that is complete but for it.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn write(directory: &Path, owner: &Owner, step: u64, score: Option<f64>) -> anyhow::Result<()> {
        let mut files = names(directory)?;
        files.insert(MARKER_FILE.to_owned());
        let marker = Self {
            owner: owner.clone(),
            step,
            score,
            files,
        };
        let mut text = serde_json::to_string_pretty(&marker)?;
        text.push('\n');
        let path = directory.join(MARKER_FILE);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// The first file of a directory that is not the export's.
    pub(super) fn foreign(&self, directory: &Path) -> anyhow::Result<Option<String>> {
        Ok(names(directory)?.into_iter().find(|name| !self.files.contains(name)))
    }
}

/// The names of what is in a directory.
pub(super) fn names(directory: &Path) -> anyhow::Result<BTreeSet<String>> {
    let listing = fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    let mut names = BTreeSet::new();
    for entry in listing {
        let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
        names.insert(entry.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}
