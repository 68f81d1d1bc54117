//! Puts the entries of one weights version together from chunks, and lets nothing through that does not match its
//! checksum.

use anytime_proto::{manifest_checksum, v1};
use bytes::Bytes;
use thiserror::Error;

use super::checksum;

/// What arrived is not what was announced. The version has to be fetched again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("torn weights: {0}")]
pub struct TornWeights(String);

impl TornWeights {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self(problem.into())
    }
}

/// How many bytes of an entry are reserved beyond those that have come. A manifest can name any size; this way memory
/// is bounded by the bytes that are really sent.
const RESERVED_AHEAD: u64 = 16 << 20;

fn torn<T>(problem: impl Into<String>) -> Result<T, TornWeights> {
    Err(TornWeights::new(problem))
}

/// The verified bytes of one version, as they were published. The actor keeps them as the base of the next delta.
#[derive(Debug)]
pub struct Entries {
    /// The manifest they match.
    pub manifest: v1::WeightsManifest,
    /// The bytes of each asset, in the manifest's order; empty where they were not asked for.
    pub assets: Vec<Vec<u8>>,
    /// The bytes of each tensor, in the manifest's order. Tensors that did not change are shared with the version
    /// before.
    pub tensors: Vec<Bytes>,
}

/// Puts one version together from chunks, which come in order. Every entry is checked as soon as it is complete.
pub struct Assembly {
    manifest: v1::WeightsManifest,
    skip_assets: bool,
    /// The entries that have come so far, in order. All but the last are complete and verified.
    entries: Vec<Vec<u8>>,
    hasher: blake3::Hasher,
}

impl Assembly {
    /// Starts with a manifest that has to match the announced checksum.
    ///
    /// # Errors
    /// [`TornWeights`] if the checksum differs, or a tensor's size contradicts its shape.
    pub fn try_new(manifest: v1::WeightsManifest, announced: &str, skip_assets: bool) -> Result<Self, TornWeights> {
        let checksum = manifest_checksum(&manifest);
        if checksum != announced {
            return torn(format!(
                "the manifest has checksum {checksum}, announced is {announced}"
            ));
        }
        for tensor in &manifest.tensors {
            check_size(tensor)?;
        }
        Ok(Self {
            manifest,
            skip_assets,
            entries: Vec::new(),
            hasher: blake3::Hasher::new(),
        })
    }

    /// The manifest of the version that is put together.
    pub fn manifest(&self) -> &v1::WeightsManifest {
        &self.manifest
    }

    /// The manifest alone, where no chunks will come.
    pub fn into_manifest(self) -> v1::WeightsManifest {
        self.manifest
    }

    /// Takes the next chunk.
    ///
    /// # Errors
    /// [`TornWeights`] if it does not follow the one before, or completes an entry with a wrong checksum.
    pub fn push(&mut self, chunk: &v1::WeightsChunk) -> Result<(), TornWeights> {
        self.finish_empty_entries(chunk.entry as usize)?;
        let index = chunk.entry as usize;
        let Some(expected) = self.entry(index) else {
            return torn(format!("entry {index} does not exist"));
        };
        let (name, bytes, checksum) = (expected.name.clone(), expected.bytes, expected.checksum.clone());
        if index == self.entries.len() && chunk.offset == 0 {
            self.entries.push(Vec::new());
            self.hasher.reset();
        }
        let is_current = index + 1 == self.entries.len();
        let Some(data) = self.entries.last_mut().filter(|_| is_current) else {
            return torn(format!("a chunk of entry {index} came out of turn"));
        };
        let is_next = chunk.offset == data.len() as u64;
        if !is_next || chunk.offset + chunk.data.len() as u64 > bytes {
            return torn(format!("a chunk of {name} does not follow the one before"));
        }
        if data.capacity() - data.len() < chunk.data.len() {
            let left = bytes - data.len() as u64;
            let ahead = left.min(RESERVED_AHEAD.max(chunk.data.len() as u64));
            if data.try_reserve_exact(ahead as usize).is_err() {
                return torn(format!("{name} has {bytes} bytes, more than there is memory for"));
            }
        }
        data.extend_from_slice(&chunk.data);
        checksum::update(&mut self.hasher, &chunk.data);
        if data.len() as u64 == bytes && self.hasher.finalize().to_hex().as_str() != checksum {
            return torn(format!("{name} has another checksum than its manifest says"));
        }
        Ok(())
    }

    /// Ends the assembly.
    ///
    /// # Errors
    /// [`TornWeights`] if bytes are missing.
    pub fn finish(mut self) -> Result<Entries, TornWeights> {
        let expected = self.sent().count();
        self.finish_empty_entries(expected)?;
        let received = self.entries.len();
        if received != expected {
            return torn(format!("{received} entries came of {expected}"));
        }
        self.last_is_complete()?;
        let asset_count = if self.skip_assets {
            0
        } else {
            self.manifest.assets.len()
        };
        let tensors = self
            .entries
            .split_off(asset_count)
            .into_iter()
            .map(Bytes::from)
            .collect();
        Ok(Entries {
            manifest: self.manifest,
            assets: self.entries,
            tensors,
        })
    }

    /// Entries without bytes may come without chunks.
    fn finish_empty_entries(&mut self, until: usize) -> Result<(), TornWeights> {
        if until >= self.entries.len() {
            self.last_is_complete()?;
        }
        while self.entries.len() < until && self.entry(self.entries.len()).is_some_and(|entry| entry.bytes == 0) {
            self.entries.push(Vec::new());
        }
        Ok(())
    }

    fn last_is_complete(&self) -> Result<(), TornWeights> {
        let (Some(data), Some(entry)) = (self.entries.last(), self.entry(self.entries.len().wrapping_sub(1))) else {
            return Ok(());
        };
        if data.len() as u64 != entry.bytes {
            return torn(format!(
                "{} has {} bytes instead of {}",
                entry.name,
                data.len(),
                entry.bytes
            ));
        }
        Ok(())
    }

    fn sent(&self) -> impl Iterator<Item = &v1::WeightsEntry> {
        let skipped = if self.skip_assets {
            self.manifest.assets.len()
        } else {
            0
        };
        self.manifest.assets.iter().chain(&self.manifest.tensors).skip(skipped)
    }

    fn entry(&self, index: usize) -> Option<&v1::WeightsEntry> {
        self.sent().nth(index)
    }
}

fn check_size(tensor: &v1::WeightsEntry) -> Result<(), TornWeights> {
    let width = match tensor.dtype.as_str() {
        "F32" => 4,
        "BF16" => 2,
        other => return torn(format!("{} is of type {other}; known are F32 and BF16", tensor.name)),
    };
    let size = tensor
        .shape
        .iter()
        .try_fold(width, |size: u64, &length| size.checked_mul(length));
    if size != Some(tensor.bytes) {
        return torn(format!(
            "{} has {} bytes, which its shape contradicts",
            tensor.name, tensor.bytes
        ));
    }
    Ok(())
}
