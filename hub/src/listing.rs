//! Which files a commit has, as the hub lists them. Nothing of a listing is trusted: its paths become paths of the disk,
//! and its checksums names of files.

use std::path::Path;

use serde::Deserialize;

use crate::repository::{is_commit, is_hexadecimal};

/// The most files that a commit may have.
pub(crate) const MOST_FILES: usize = 200_000;

/// The longest path of a file, in bytes.
const LONGEST_PATH: usize = 1024;

/// The longest name on the disks of Linux, in bytes.
const LONGEST_NAME: usize = 255;

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Its path in the repository.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content (64 digits), or where the repository holds it without LFS, git's id of it (40 digits).
    /// Empty where only a cache is known that was copied without its links.
    pub checksum: String,
}

impl HubFile {
    /// A file whose path leads nowhere else and whose checksum is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn try_new(path: &str, bytes: u64, checksum: &str) -> Result<Self, String> {
        if !is_plain(path) {
            return Err(format!("{path:?} is no path within a repository"));
        }
        if !matches!(checksum.len(), 40 | 64) || !is_hexadecimal(checksum) {
            return Err(format!("{path}: {checksum:?} is no checksum"));
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            checksum: checksum.to_owned(),
        })
    }
}

/// Whether a path stays below the directory that it is joined to.
fn is_plain(path: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= LONGEST_NAME;
    path.len() <= LONGEST_PATH
        && !path.contains(['\\', '\0'])
        && !path.chars().any(char::is_control)
        && path.split('/').all(is_name)
        && Path::new(path).is_relative()
}

/// What `/api/models/OWNER/NAME/revision/REVISION` answers, as far as it is read.
#[derive(Deserialize)]
pub(crate) struct Revision {
    sha: String,
}

impl Revision {
    /// The commit.
    pub(crate) fn commit(self) -> Result<String, String> {
        if is_commit(&self.sha) {
            Ok(self.sha)
        } else {
            Err(format!("{:?} is no commit", self.sha))
        }
    }
}

/// One entry of what `/api/models/OWNER/NAME/tree/COMMIT` answers.
#[derive(Deserialize)]
pub(crate) struct Entry {
    #[serde(rename = "type")]
    kind: String,
    oid: String,
    #[serde(default)]
    size: u64,
    path: String,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

impl Entry {
    /// The file; none where it is a directory or a submodule.
    pub(crate) fn file(self) -> Option<Result<HubFile, String>> {
        if self.kind != "file" {
            return None;
        }
        Some(match self.lfs {
            Some(lfs) if lfs.oid.len() != 64 => Err(format!("{}: {:?} is no SHA-256", self.path, lfs.oid)),
            Some(lfs) => HubFile::try_new(&self.path, lfs.size, &lfs.oid),
            None if self.oid.len() != 40 => Err(format!("{}: {:?} is no id of git", self.path, self.oid)),
            None => HubFile::try_new(&self.path, self.size, &self.oid),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let long = "a/".repeat(600) + "b";
        let name = "n".repeat(256);
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            &long,
            &name,
        ] {
            assert!(HubFile::try_new(path, 1, &"0".repeat(40)).is_err(), "{path:?}");
        }
        for path in [
            "config.json",
            "a/b/c.parquet",
            "..a",
            "a..",
            "Ärger.json",
            "data/train-*.json",
        ] {
            assert!(HubFile::try_new(path, 1, &"0".repeat(40)).is_ok(), "{path:?}");
        }
    }

    #[test]
    fn checksums_that_are_none_are_refused() {
        for checksum in [
            "",
            "abc",
            &"g".repeat(40),
            &"A".repeat(64),
            "../../../../../../../../../../etc/passwd0",
        ] {
            assert!(HubFile::try_new("a", 1, checksum).is_err(), "{checksum:?}");
        }
        let entry = |text: &str| serde_json::from_str::<Entry>(text).expect("an entry").file();
        let git = "0".repeat(40);
        assert!(entry(&format!(r#"{{"type":"directory","oid":"{git}","path":"a"}}"#)).is_none());
        // The id of a pointer is no checksum of the content.
        let short = format!(r#"{{"type":"file","oid":"{git}","size":3,"path":"a","lfs":{{"oid":"{git}","size":9}}}}"#);
        assert!(entry(&short).expect("a file").is_err());
    }
}
