//! The checksums of a recovery checkpoint's files, in a file of their own beside them. Without them a job would train
//! on from weights or moments with a flipped bit, and nobody would notice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// The name of that file.
pub(super) const FILE: &str = "checksums.json";

/// How much of a file is hashed at a time, on all threads.
const AT_A_TIME: usize = 16 << 20;

/// What a file is known by.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    bytes: u64,
    blake3: String,
}

impl Checksum {
    /// The digits of BLAKE3.
    pub(super) fn into_digits(self) -> String {
        self.blake3
    }

    /// Compares with what was found of the file of this name.
    ///
    /// # Errors
    /// If that differs.
    pub(super) fn check(&self, name: &str, found: &Self) -> anyhow::Result<()> {
        ensure!(
            found == self,
            "{name} is damaged: it is not what was written ({} bytes instead of {}, by checksum {} instead of {})",
            found.bytes,
            self.bytes,
            found.blake3,
            self.blake3
        );
        Ok(())
    }
}

/// Writes the checksums of these files of a directory.
///
/// # Errors
/// If a file cannot be read, or the disk refuses.
pub(super) fn write(directory: &Path, names: &[&str]) -> anyhow::Result<()> {
    let mut checksums = BTreeMap::new();
    for name in names {
        checksums.insert(*name, of_file(&directory.join(name))?);
    }
    let path = directory.join(FILE);
    fs::write(&path, serde_json::to_vec_pretty(&checksums)?).with_context(|| format!("writing {}", path.display()))
}

/// Checks the files of a directory against their checksums. False where there are none, as in checkpoints of earlier
/// versions.
///
/// # Errors
/// If a file differs from what was written, with its name, or if one cannot be read.
pub(super) fn check(directory: &Path, names: &[&str]) -> anyhow::Result<bool> {
    for name in names {
        let Some(expected) = expected(directory, name)? else {
            return Ok(false);
        };
        expected.check(name, &of_file(&directory.join(name))?)?;
    }
    Ok(true)
}

/// The checksum that was written of a file of a directory; none where none were written.
///
/// # Errors
/// If they cannot be read, or none is of this file.
pub(super) fn expected(directory: &Path, name: &str) -> anyhow::Result<Option<Checksum>> {
    let path = directory.join(FILE);
    if !path
        .try_exists()
        .with_context(|| format!("reading {}", path.display()))?
    {
        return Ok(None);
    }
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut expected: BTreeMap<String, Checksum> =
        serde_json::from_slice(&bytes).with_context(|| format!("{FILE} is damaged"))?;
    let of_name = expected
        .remove(name)
        .with_context(|| format!("{FILE} does not name {name}"))?;
    Ok(Some(of_name))
}

/// The checksum of a file.
///
/// # Errors
/// If it cannot be read.
pub(super) fn of_file(path: &Path) -> anyhow::Result<Checksum> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let length = file.metadata().with_context(reading)?.len();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::with_capacity(AT_A_TIME.min(length as usize + 1));
    loop {
        buffer.clear();
        let read = file.by_ref().take(AT_A_TIME as u64).read_to_end(&mut buffer);
        if read.with_context(reading)? == 0 {
            break;
        }
        hasher.update_rayon(&buffer);
    }
    Ok(Checksum {
        bytes: hasher.count(),
        blake3: hasher.finalize().to_hex().to_string(),
    })
}
