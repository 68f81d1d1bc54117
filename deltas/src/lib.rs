//! Encodes what changed between two versions of a tensor, without loss and in few bytes.
//!
//! bf16 weights at a small learning rate change in few places, and there by one step up or down. So the elements' bit
//! patterns are subtracted as integers, which gives small numbers for neighbouring floats of one sign. Zigzag coding
//! puts the sign into the lowest bit, so that the higher bytes of small differences are zero for both signs. Then all
//! lowest bytes of a block come first, then all second ones, and so on, so that zeros meet zeros, and zstd compresses
//! them. This works for elements of any kind; where much changes, the result is merely not smaller than the full
//! weights.
//!
//! A tensor is cut into blocks of [`BLOCK_ELEMENTS`], each of which can be decoded alone. Differences are added to the
//! base, so several of them may be applied one after the other, in any order.
#![forbid(unsafe_code)]

use std::ops::Range;

use thiserror::Error;
use zstd::bulk::{Compressor, Decompressor};

/// Elements of a block. A plane of a block is then exactly one block of zstd, with statistics of its own.
pub const BLOCK_ELEMENTS: usize = 128 * 1024;

/// Higher levels of zstd take several times as long and save a few per cent.
const LEVEL: i32 = 1;

/// The width of the elements: how many bytes of a tensor are subtracted as one integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementWidth {
    /// Eight-bit kinds, and bytes of which nothing is known.
    One,
    /// bf16 and f16.
    Two,
    /// f32.
    Four,
}

impl ElementWidth {
    /// The width of a safetensors element type: `F32`, `BF16` or `F16`. Any other is taken as single bytes, which is
    /// always correct but compresses less.
    pub fn of_dtype(dtype: &str) -> Self {
        match dtype {
            "F32" | "I32" | "U32" => Self::Four,
            "BF16" | "F16" | "I16" | "U16" => Self::Two,
            _ => Self::One,
        }
    }

    /// The width in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }

    /// Bytes of a whole block.
    pub fn block_bytes(self) -> usize {
        BLOCK_ELEMENTS * self.bytes()
    }

    /// How many blocks `length` bytes make.
    pub fn blocks(self, length: usize) -> usize {
        length.div_ceil(self.block_bytes())
    }

    /// The bytes of block `number` in a tensor of `length` bytes; None beyond its end.
    pub fn block(self, number: usize, length: usize) -> Option<Range<usize>> {
        let start = number.checked_mul(self.block_bytes())?;
        (start < length).then(|| start..length.min(start.saturating_add(self.block_bytes())))
    }
}

/// Why a delta cannot be made or used.
#[derive(Debug, Error)]
pub enum DeltaError {
    /// Base and new version differ in length.
    #[error("the base has {base} bytes, the new version {new}; they must have equally many")]
    Lengths {
        /// Bytes of the base.
        base: usize,
        /// Bytes of the new version.
        new: usize,
    },
    /// More bytes than a block has, or not a whole number of elements.
    #[error("a block has {bytes} bytes; it must have a multiple of {width}, up to {most}")]
    Block {
        /// What it has.
        bytes: usize,
        /// Bytes of an element.
        width: usize,
        /// Bytes of a whole block.
        most: usize,
    },
    /// The frame holds another number of bytes than the block.
    #[error("a delta holds {held} bytes, its block {expected}")]
    Content {
        /// What came out.
        held: usize,
        /// What the block has.
        expected: usize,
    },
    /// zstd failed: no valid frame, or one that holds more than the block.
    #[error("zstd: {0}")]
    Zstd(#[from] std::io::Error),
}

/// Encodes blocks one after the other, on the learner's side. It keeps its scratch memory, about 2 MiB, between them.
pub struct DeltaEncoder {
    compressor: Compressor<'static>,
    planes: Vec<u8>,
}

impl DeltaEncoder {
    /// Allocates the scratch memory.
    ///
    /// # Errors
    /// If zstd gets no memory.
    pub fn try_new() -> Result<Self, DeltaError> {
        Ok(Self {
            compressor: Compressor::new(LEVEL)?,
            planes: Vec::new(),
        })
    }

    /// The delta from `base` to `new`, both at most one block; None where nothing changed.
    ///
    /// # Errors
    /// [`DeltaError`] if the lengths differ or are not those of a block.
    pub fn encode(&mut self, width: ElementWidth, base: &[u8], new: &[u8]) -> Result<Option<Vec<u8>>, DeltaError> {
        if base.len() != new.len() {
            return Err(DeltaError::Lengths {
                base: base.len(),
                new: new.len(),
            });
        }
        check_block(width, base.len())?;
        if base == new {
            return Ok(None);
        }
        self.planes.resize(base.len(), 0);
        match width {
            ElementWidth::One => split::<1>(base, new, &mut self.planes),
            ElementWidth::Two => split::<2>(base, new, &mut self.planes),
            ElementWidth::Four => split::<4>(base, new, &mut self.planes),
        }
        Ok(Some(self.compressor.compress(&self.planes)?))
    }
}

/// Applies encoded blocks one after the other, on the actor's side. It keeps its scratch memory, at most one block,
/// between them.
pub struct DeltaDecoder {
    decompressor: Decompressor<'static>,
    planes: Vec<u8>,
}

impl DeltaDecoder {
    /// # Errors
    /// If zstd gets no memory.
    pub fn try_new() -> Result<Self, DeltaError> {
        Ok(Self {
            decompressor: Decompressor::new()?,
            planes: Vec::new(),
        })
    }

    /// Adds a delta to a block. A delta of a wrong form is refused before anything is changed. A delta that was meant
    /// for another base is not noticed here: only a checksum of the result can tell.
    ///
    /// # Errors
    /// [`DeltaError`] if the delta is no frame of exactly the block's length.
    pub fn apply(&mut self, width: ElementWidth, block: &mut [u8], delta: &[u8]) -> Result<(), DeltaError> {
        check_block(width, block.len())?;
        self.planes.resize(block.len(), 0);
        let held = self
            .decompressor
            .decompress_to_buffer(delta, self.planes.as_mut_slice())?;
        if held != block.len() {
            return Err(DeltaError::Content {
                held,
                expected: block.len(),
            });
        }
        match width {
            ElementWidth::One => add::<1>(block, &self.planes),
            ElementWidth::Two => add::<2>(block, &self.planes),
            ElementWidth::Four => add::<4>(block, &self.planes),
        }
        Ok(())
    }
}

fn check_block(width: ElementWidth, bytes: usize) -> Result<(), DeltaError> {
    let most = width.block_bytes();
    if bytes > most || !bytes.is_multiple_of(width.bytes()) {
        return Err(DeltaError::Block {
            bytes,
            width: width.bytes(),
            most,
        });
    }
    Ok(())
}

/// Reads an element into the highest bytes of the integer, so that wrapping and sign are those of the element.
#[inline(always)]
fn load<const W: usize>(element: &[u8; W]) -> u32 {
    let mut bytes = [0; 4];
    bytes[4 - W..].copy_from_slice(element);
    u32::from_le_bytes(bytes)
}

/// Writes the coded differences of all elements into planes.
fn split<const W: usize>(base: &[u8], new: &[u8], planes: &mut [u8]) {
    let count = planes.len() / W;
    let (base, _) = base.as_chunks::<W>();
    let (new, _) = new.as_chunks::<W>();
    let mut rest = planes;
    for rank in 0..W {
        let (plane, later) = rest.split_at_mut(count);
        rest = later;
        for ((place, base), new) in plane.iter_mut().zip(base).zip(new) {
            let difference = load(new).wrapping_sub(load(base)).cast_signed() >> (32 - 8 * W);
            let coded = (difference << 1) ^ (difference >> 31);
            *place = (coded >> (8 * rank)) as u8;
        }
    }
}

/// Adds differences out of planes.
fn add<const W: usize>(block: &mut [u8], planes: &[u8]) {
    let count = block.len() / W;
    let (elements, _) = block.as_chunks_mut::<W>();
    let plane = |rank: usize| &planes[rank * count..(rank + 1) * count];
    let planes: [&[u8]; W] = std::array::from_fn(plane);
    for (index, element) in elements.iter_mut().enumerate() {
        let mut coded = [0; 4];
        for (rank, plane) in planes.iter().enumerate() {
            coded[rank] = plane[index];
        }
        let coded = u32::from_le_bytes(coded);
        let difference = (coded >> 1) ^ (coded & 1).wrapping_neg();
        let sum = load(element).wrapping_add(difference << (32 - 8 * W));
        element.copy_from_slice(&sum.to_le_bytes()[4 - W..]);
    }
}
