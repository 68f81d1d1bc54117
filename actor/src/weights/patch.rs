//! Applies deltas to the version that is held, and lets nothing through that does not match the checksums of the new
//! manifest.

use std::sync::Arc;

use anytime_deltas::{DeltaDecoder, DeltaError, ElementWidth};
use anytime_proto::{have_same_tensors, v1};
use bytes::Bytes;
use thiserror::Error;

use super::assembly::Entries;
use super::checksum::checksum;

/// Why deltas did not lead from the base to the announced weights. The full weights have to be fetched.
#[derive(Debug, Error)]
pub enum BadDelta {
    /// The tensors of the two versions have other names, kinds or shapes.
    #[error("the tensors of the manifest are not those of the base")]
    OtherTensors,
    /// The delta starts from another version than the base.
    #[error("the delta is against another base than version {0}")]
    OtherBase(u64),
    /// A block that belongs to no tensor.
    #[error("block {number} of tensor {tensor} does not exist")]
    NoSuchBlock {
        /// Index into the tensors of the manifest.
        tensor: u32,
        /// Number of the block in the tensor.
        number: u32,
    },
    /// A block that cannot be decoded.
    #[error("a block of {tensor}: {error}")]
    Block {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong with it.
        error: DeltaError,
    },
    /// zstd gets no memory.
    #[error(transparent)]
    Decoder(#[from] DeltaError),
    /// More bytes than the full weights have.
    #[error("the deltas have {bytes} bytes, the full weights have {whole}")]
    TooLong {
        /// What has come so far.
        bytes: u64,
        /// Bytes of all tensors.
        whole: u64,
    },
    /// The patched tensor differs from the learner's.
    #[error("{tensor} has another checksum than its manifest says")]
    Checksum {
        /// Name of the tensor.
        tensor: String,
    },
    /// The connection ended before any block.
    #[error("no delta came")]
    Nothing,
}

/// Applies deltas to a base, block by block, and verifies the result.
///
/// A tensor is copied when its first block comes. So it takes at most as much memory as the full weights.
pub struct Patch {
    manifest: v1::WeightsManifest,
    base_id: v1::WeightsId,
    base: Arc<Entries>,
    /// The tensors that changed; `None` where a tensor is still that of the base.
    changed: Vec<Option<Vec<u8>>>,
    decoder: DeltaDecoder,
    bytes: u64,
    whole: u64,
    deltas: usize,
}

impl Patch {
    /// Starts from the base, which `base_id` names, towards a manifest whose own checksum has been verified.
    ///
    /// # Errors
    /// [`BadDelta`] if the two do not have the same tensors.
    pub fn try_new(
        manifest: v1::WeightsManifest,
        base_id: v1::WeightsId,
        base: Arc<Entries>,
    ) -> Result<Self, BadDelta> {
        let held = &base.manifest.tensors;
        if !have_same_tensors(&base.manifest, &manifest) {
            return Err(BadDelta::OtherTensors);
        }
        Ok(Self {
            changed: vec![None; held.len()],
            whole: held.iter().map(|entry| entry.bytes).sum(),
            decoder: DeltaDecoder::try_new()?,
            bytes: 0,
            deltas: 0,
            manifest,
            base_id,
            base,
        })
    }

    /// Adds the blocks of a delta.
    ///
    /// # Errors
    /// [`BadDelta`] if a block is none of the base's, or cannot be decoded.
    pub fn apply(&mut self, delta: &v1::WeightsDelta) -> Result<(), BadDelta> {
        if delta.base.as_ref() != Some(&self.base_id) {
            return Err(BadDelta::OtherBase(self.base_id.version));
        }
        self.deltas += 1;
        for block in &delta.blocks {
            self.apply_block(block)?;
        }
        Ok(())
    }

    fn apply_block(&mut self, block: &v1::weights_delta::Block) -> Result<(), BadDelta> {
        // The deltas of several versions may name a block more than once, but the learner never sends more bytes than
        // the full weights have.
        self.bytes += block.data.len() as u64;
        if self.bytes >= self.whole {
            return Err(BadDelta::TooLong {
                bytes: self.bytes,
                whole: self.whole,
            });
        }
        let no_such_block = || BadDelta::NoSuchBlock {
            tensor: block.tensor,
            number: block.number,
        };
        let index = block.tensor as usize;
        let held = self.base.tensors.get(index).ok_or_else(no_such_block)?;
        let entry = &self.manifest.tensors[index];
        let width = ElementWidth::of_dtype(&entry.dtype);
        let range = width
            .block(block.number as usize, held.len())
            .ok_or_else(no_such_block)?;
        let data = self.changed[index].get_or_insert_with(|| held.to_vec());
        let applied = self.decoder.apply(width, &mut data[range], &block.data);
        applied.map_err(|error| BadDelta::Block {
            tensor: entry.name.clone(),
            error,
        })
    }

    /// The new version, with every tensor verified.
    ///
    /// # Errors
    /// [`BadDelta`] if the result is not what the manifest says, as where blocks are missing or were meant for another
    /// base.
    pub fn finish(self) -> Result<Entries, BadDelta> {
        if self.deltas == 0 {
            return Err(BadDelta::Nothing);
        }
        let mut tensors = Vec::with_capacity(self.changed.len());
        for (index, changed) in self.changed.into_iter().enumerate() {
            let expected = &self.manifest.tensors[index];
            // The base's own tensors were verified when they came.
            let is_right = match &changed {
                Some(data) => checksum(data) == expected.checksum,
                None => self.base.manifest.tensors[index].checksum == expected.checksum,
            };
            if !is_right {
                return Err(BadDelta::Checksum {
                    tensor: expected.name.clone(),
                });
            }
            tensors.push(changed.map_or_else(|| self.base.tensors[index].clone(), Bytes::from));
        }
        Ok(Entries {
            manifest: self.manifest,
            assets: Vec::new(),
            tensors,
        })
    }
}
