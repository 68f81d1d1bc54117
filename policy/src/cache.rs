//! Keys and values of tokens already seen: slots for prefixes, and short ones for branches that continue a prefix.

use tch::{Device, Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::PolicyError;

/// CUDA's kernels use an attention mask in place where its length is a multiple of this, and copy it otherwise.
pub(crate) const LENGTH_STEP: usize = 16;

/// The size of one sort of slots in a [`KvCache`]: `count` sequences of at most `capacity` tokens each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots {
    /// How many sequences fit.
    pub count: usize,
    /// How many tokens each of them may have.
    pub capacity: usize,
}

/// Memory for keys and values, allocated once: one tensor of keys and one of values per layer.
/// [`crate::Decoder::extend`] writes to it and reads from it.
///
/// A prefix slot holds a sequence from its first token on. A branch slot holds what follows some tokens of a prefix, so
/// that many branches share the keys and values of one prefix without a copy. A slot has no length of its own: the
/// caller says at each [`crate::Decoder::extend`] where it continues, so going back to an earlier position costs
/// nothing. The positions of a head lie next to each other, because decoding reads them in that order.
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    prefixes: Region,
    branches: Region,
}

/// One layer's keys and values, each [rows, head_dim]: the prefix slots, then the branch slots, each
/// [slots, kv_heads, allocated].
pub(crate) struct LayerCache {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

/// Where the slots of one sort lie among the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) slots: Slots,
    /// How many positions exist in memory. Those beyond the capacity are always masked.
    pub(crate) allocated: usize,
    kv_heads: usize,
    first_row: usize,
}

impl Region {
    fn new(slots: Slots, kv_heads: usize, first_row: usize) -> Self {
        Region {
            slots,
            allocated: allocated_length(slots.capacity),
            kv_heads,
            first_row,
        }
    }

    fn rows(&self) -> usize {
        self.slots.count * self.kv_heads * self.allocated
    }

    /// The row of a slot's first position under key head 0; each further head is `allocated` rows on.
    pub(crate) fn row(&self, slot: usize) -> i64 {
        (self.first_row + slot * self.kv_heads * self.allocated) as i64
    }

    /// The region of a layer's tensor as [slots, kv_heads, allocated, head_dim], in place.
    pub(crate) fn of(&self, tensor: &Tensor) -> Tensor {
        let shape = [
            self.slots.count as i64,
            self.kv_heads as i64,
            self.allocated as i64,
            tensor.size()[1],
        ];
        tensor
            .narrow(0, self.first_row as i64, self.rows() as i64)
            .view(shape.as_slice())
    }
}

impl KvCache {
    /// Allocates room for `slots` prefixes of `capacity` tokens each and for no branches, all zeros.
    ///
    /// # Panics
    /// If the device has not enough memory; [`KvCache::slot_bytes`] says beforehand what a slot takes.
    pub fn new(config: &ModelConfig, slots: usize, capacity: usize, kind: Kind, device: Device) -> Self {
        let prefixes = Slots { count: slots, capacity };
        Self::with_branches(config, prefixes, Slots::default(), kind, device)
    }

    /// Allocates room for prefixes and for branches, all zeros.
    ///
    /// # Panics
    /// As [`KvCache::new`].
    pub fn with_branches(config: &ModelConfig, prefixes: Slots, branches: Slots, kind: Kind, device: Device) -> Self {
        match Self::try_with_branches(config, prefixes, branches, kind, device) {
            Ok(cache) => cache,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`KvCache::with_branches`], but returns an error instead of panicking.
    ///
    /// # Errors
    /// [`PolicyError::Torch`] if the device has not enough memory.
    pub fn try_with_branches(
        config: &ModelConfig,
        prefixes: Slots,
        branches: Slots,
        kind: Kind,
        device: Device,
    ) -> Result<Self, PolicyError> {
        let kv_heads = config.num_key_value_heads as usize;
        let prefixes = Region::new(prefixes, kv_heads, 0);
        let branches = Region::new(branches, kv_heads, prefixes.rows());
        let shape = [(prefixes.rows() + branches.rows()) as i64, config.head_dim];
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            // Memory that is not cleared may hold NaN, and a masked NaN is still one after the multiplication by zero.
            layers.push(LayerCache {
                keys: Tensor::f_zeros(shape, (kind, device))?,
                values: Tensor::f_zeros(shape, (kind, device))?,
            });
        }
        Ok(KvCache {
            layers,
            prefixes,
            branches,
        })
    }

    /// Number and capacity of the slots for prefixes.
    pub fn prefixes(&self) -> Slots {
        self.prefixes.slots
    }

    /// Number and capacity of the slots for branches.
    pub fn branches(&self) -> Slots {
        self.branches.slots
    }

    /// Bytes that one slot of `capacity` tokens takes over all layers.
    pub fn slot_bytes(config: &ModelConfig, capacity: usize, kind: Kind) -> usize {
        let width = (config.num_key_value_heads * config.head_dim) as usize;
        2 * config.num_hidden_layers * width * allocated_length(capacity) * kind.elt_size_in_bytes()
    }

    /// Copies positions `0..length` of prefix slot `from` to each slot of `to`.
    ///
    /// # Panics
    /// If a slot or the length lies outside the cache.
    pub fn copy_prefix(&mut self, from: usize, to: &[usize], length: usize) {
        self.copy(self.prefixes, from, to, length);
    }

    /// Copies positions `0..length` of branch slot `from` to each slot of `to`.
    ///
    /// # Panics
    /// If a slot or the length lies outside the cache.
    pub fn copy_branch(&mut self, from: usize, to: &[usize], length: usize) {
        self.copy(self.branches, from, to, length);
    }

    fn copy(&mut self, region: Region, from: usize, to: &[usize], length: usize) {
        let Slots { count, capacity } = region.slots;
        assert!(
            length <= capacity,
            "{length} tokens are to be copied, the capacity is {capacity}"
        );
        for &slot in to.iter().chain([&from]) {
            assert!(slot < count, "slot {slot} of a cache of {count} slots");
        }
        if length == 0 {
            return;
        }
        let _guard = tch::no_grad_guard();
        let mut targets: Vec<usize> = to.iter().copied().filter(|&slot| slot != from).collect();
        targets.sort_unstable();
        for layer in &self.layers {
            for tensor in [&layer.keys, &layer.values] {
                let slots = region.of(tensor).narrow(2, 0, length as i64);
                let source = slots.narrow(0, from as i64, 1);
                // Neighbouring slots take one operation together.
                for run in targets.chunk_by(|one, next| one + 1 == *next) {
                    slots.narrow(0, run[0] as i64, run.len() as i64).copy_(&source);
                }
            }
        }
    }

    pub(crate) fn prefix_region(&self) -> Region {
        self.prefixes
    }

    pub(crate) fn branch_region(&self) -> Region {
        self.branches
    }
}

impl LayerCache {
    /// Writes keys and values [tokens, kv_heads, head_dim] to `rows` [tokens * kv_heads] of the cache.
    pub(crate) fn write(&mut self, rows: &Tensor, keys: &Tensor, values: &Tensor) {
        for (cache, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            let width = new.size()[2];
            let _ = cache.index_copy_(0, rows, &new.reshape([-1, width]));
        }
    }
}

fn allocated_length(capacity: usize) -> usize {
    capacity.next_multiple_of(LENGTH_STEP)
}
