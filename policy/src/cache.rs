//! Keys and values of tokens already seen, one slot per sequence.

use tch::{Device, Kind, Tensor};

use crate::config::Config;

/// Attention masks of a length that is a multiple of this are used in place; others are copied by CUDA's kernels.
pub(crate) const LENGTH_STEP: usize = 16;

/// Preallocated keys and values: per layer two tensors [slots, kv_heads, capacity, head_dim].
///
/// A slot has no length of its own: the caller says at each [`crate::Decoder::extend`] where it continues, so going
/// back to an earlier position costs nothing. Positions of a head lie next to each other, which is the order in
/// which decoding reads them.
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    slots: usize,
    capacity: usize,
    allocated: usize,
}

/// One layer's keys and values, each [slots, kv_heads, allocated, head_dim].
pub(crate) struct LayerCache {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
}

impl KvCache {
    /// Room for `slots` sequences of `capacity` tokens each, all zeros.
    ///
    /// # Panics
    /// If the device has not enough memory; [`KvCache::slot_bytes`] says beforehand what a slot takes.
    pub fn new(config: &Config, slots: usize, capacity: usize, kind: Kind, device: Device) -> Self {
        let allocated = allocated_length(capacity);
        let shape = [
            slots as i64,
            config.num_key_value_heads,
            allocated as i64,
            config.head_dim,
        ];
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            // Zeros rather than whatever lay there: a masked NaN is still a NaN after the multiplication by zero.
            layers.push(LayerCache {
                keys: Tensor::zeros(shape, (kind, device)),
                values: Tensor::zeros(shape, (kind, device)),
            });
        }
        KvCache {
            layers,
            slots,
            capacity,
            allocated,
        }
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Tokens that fit into a slot.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that one slot of `capacity` tokens takes over all layers.
    pub fn slot_bytes(config: &Config, capacity: usize, kind: Kind) -> usize {
        let width = (config.num_key_value_heads * config.head_dim) as usize;
        2 * config.num_hidden_layers * width * allocated_length(capacity) * kind.elt_size_in_bytes()
    }

    /// Copies positions `0..length` of slot `from` to each slot of `to`.
    ///
    /// # Panics
    /// If a slot or the length lies outside the cache.
    pub fn copy_prefix(&mut self, from: usize, to: &[usize], length: usize) {
        assert!(
            length <= self.capacity,
            "prefix of {length} tokens exceeds the capacity of {}",
            self.capacity
        );
        for &slot in to.iter().chain([&from]) {
            assert!(slot < self.slots, "slot {slot} of a cache of {} slots", self.slots);
        }
        let targets: Vec<i64> = to
            .iter()
            .filter(|&&slot| slot != from)
            .map(|&slot| slot as i64)
            .collect();
        let Some(first_layer) = self.layers.first().filter(|_| length > 0 && !targets.is_empty()) else {
            return;
        };
        let _guard = tch::no_grad_guard();
        let count = targets.len() as i64;
        let targets = Tensor::from_slice(&targets).to_device(first_layer.keys.device());
        for layer in &self.layers {
            for tensor in [&layer.keys, &layer.values] {
                let prefixes = tensor.narrow(2, 0, length as i64);
                let source = prefixes.narrow(0, from as i64, 1).copy();
                let _ = prefixes
                    .shallow_clone()
                    .index_copy_(0, &targets, &source.expand([count, -1, -1, -1], false));
            }
        }
    }

    /// Positions that exist in memory; those beyond the capacity are only ever masked.
    pub(crate) fn allocated(&self) -> usize {
        self.allocated
    }
}

impl LayerCache {
    /// Writes keys and values [tokens, kv_heads, head_dim] to `rows` [tokens * kv_heads] of the cache seen as
    /// [slots * kv_heads * allocated, head_dim].
    pub(crate) fn write(&mut self, rows: &Tensor, keys: &Tensor, values: &Tensor) {
        for (cache, new) in [(&self.keys, keys), (&self.values, values)] {
            let width = new.size()[2];
            let _ = cache.view([-1, width]).index_copy_(0, rows, &new.reshape([-1, width]));
        }
    }
}

fn allocated_length(capacity: usize) -> usize {
    capacity.max(1).next_multiple_of(LENGTH_STEP)
}
