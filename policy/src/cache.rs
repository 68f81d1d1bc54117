//! Keys and values of tokens already seen: slots for prefixes, and short ones for branches that continue a prefix.

use tch::{Device, Kind, Tensor};

use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::operators::kernels::{self, RowCopy};
use crate::operators::sequences::can_attend_sequences;
use crate::recordings::Recordings;

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

/// How a layer's keys lie in memory, and its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// [rows, head_dim]: slots of [kv_heads, allocated] rows. The positions of a head lie next to each other.
    ByHead,
    /// [rows, kv_heads, head_dim]: slots of [allocated] rows, as attention over sequences reads them.
    ByToken,
}

/// Memory for keys and values, allocated once: one tensor of keys and one of values per layer.
/// [`crate::Decoder::extend`] writes to it and reads from it.
///
/// A prefix slot holds a sequence from its first token on. A branch slot holds what follows some tokens of a prefix, so
/// that many branches share the keys and values of one prefix without a copy. A slot has no length of its own: the
/// caller says at each [`crate::Decoder::extend`] where it continues, so going back to an earlier position costs
/// nothing.
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    /// The steps over it that a device has recorded.
    pub(crate) recordings: Recordings,
    layout: Layout,
    prefixes: Region,
    branches: Region,
}

/// Something that generation on a device could have and has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Without {
    /// What follows from it.
    pub what: &'static str,
    /// Why it is not there.
    pub reason: String,
}

/// One layer's keys and values: the rows of the prefix slots, then those of the branch slots and, by token, one row that
/// is nobody's.
pub(crate) struct LayerCache {
    pub(crate) keys: Tensor,
    pub(crate) values: Tensor,
    /// Whether the device's own kernels write and read it; by token, in bf16.
    pub(crate) has_kernels: bool,
}

/// Where the slots of one sort lie among the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) slots: Slots,
    /// How many positions exist in memory. Those beyond the capacity are always masked.
    pub(crate) allocated: usize,
    kv_heads: usize,
    layout: Layout,
    first_row: usize,
}

impl Region {
    fn new(slots: Slots, kv_heads: usize, layout: Layout, first_row: usize) -> Self {
        Region {
            slots,
            allocated: allocated_length(slots.capacity),
            kv_heads,
            layout,
            first_row,
        }
    }

    fn rows(&self) -> usize {
        self.slots.count * self.rows_of_slot()
    }

    fn rows_of_slot(&self) -> usize {
        match self.layout {
            Layout::ByHead => self.kv_heads * self.allocated,
            Layout::ByToken => self.allocated,
        }
    }

    /// The row of a slot's first position, by heads that under key head 0; each further head is `allocated` rows on.
    pub(crate) fn row(&self, slot: usize) -> i64 {
        (self.first_row + slot * self.rows_of_slot()) as i64
    }

    /// The rows of a slot's position: one for each key head, or one for all.
    pub(crate) fn rows_at(&self, slot: usize, position: usize) -> impl Iterator<Item = i64> {
        let (first, step) = (self.row(slot) + position as i64, self.allocated as i64);
        let rows = match self.layout {
            Layout::ByHead => self.kv_heads,
            Layout::ByToken => 1,
        };
        (0..rows as i64).map(move |head| first + head * step)
    }

    /// The region of a layer's tensor as [slots, kv_heads, allocated, head_dim], in place.
    pub(crate) fn of(&self, tensor: &Tensor) -> Tensor {
        let [slots, kv_heads, allocated] = [self.slots.count, self.kv_heads, self.allocated].map(|size| size as i64);
        let rows = tensor.narrow(0, self.first_row as i64, self.rows() as i64);
        match self.layout {
            Layout::ByHead => rows.view([slots, kv_heads, allocated, -1]),
            Layout::ByToken => rows.view([slots, allocated, kv_heads, -1]).transpose(1, 2),
        }
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
        let layout = if can_attend_sequences(kind, device, config.head_dim) {
            Layout::ByToken
        } else {
            Layout::ByHead
        };
        Self::in_layout(config, [prefixes, branches], layout, kind, device)
    }

    /// As [`KvCache::with_branches`], with the layout and the attention that CUDA has for bf16, on any device and in any
    /// kind: slow, and for tests.
    ///
    /// # Panics
    /// As [`KvCache::new`].
    #[doc(hidden)]
    pub fn by_token(config: &ModelConfig, prefixes: Slots, branches: Slots, kind: Kind, device: Device) -> Self {
        match Self::in_layout(config, [prefixes, branches], Layout::ByToken, kind, device) {
            Ok(cache) => cache,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same cache, by token and in bf16, which the kernels of a CUDA device write and read on any device: for tests.
    ///
    /// # Panics
    /// If it is of another layout or kind.
    #[doc(hidden)]
    pub fn with_kernels(mut self) -> Self {
        assert_eq!(self.layout, Layout::ByToken);
        for layer in &mut self.layers {
            assert_eq!(layer.keys.kind(), Kind::BFloat16);
            layer.has_kernels = true;
        }
        self
    }

    fn in_layout(
        config: &ModelConfig,
        [prefixes, branches]: [Slots; 2],
        layout: Layout,
        kind: Kind,
        device: Device,
    ) -> Result<Self, PolicyError> {
        let kv_heads = config.num_key_value_heads as usize;
        let prefixes = Region::new(prefixes, kv_heads, layout, 0);
        let branches = Region::new(branches, kv_heads, layout, prefixes.rows());
        let rows = (prefixes.rows() + branches.rows()) as i64;
        let shape = match layout {
            Layout::ByHead => vec![rows, config.head_dim],
            Layout::ByToken => vec![rows + 1, config.num_key_value_heads, config.head_dim],
        };
        let has_kernels = layout == Layout::ByToken && kind == Kind::BFloat16 && kernels::prepare(device).is_ok();
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for _ in 0..config.num_hidden_layers {
            // Memory that is not cleared may hold NaN, and a masked NaN is still one after the multiplication by zero.
            layers.push(LayerCache {
                keys: Tensor::f_zeros(shape.as_slice(), (kind, device))?,
                values: Tensor::f_zeros(shape.as_slice(), (kind, device))?,
                has_kernels,
            });
        }
        Ok(KvCache {
            layers,
            recordings: Recordings::default(),
            layout,
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
        if self
            .layers
            .iter()
            .all(|layer| layer.has_kernels && kernels::can_copy(&layer.keys))
        {
            let tensors: Vec<&Tensor> = self
                .layers
                .iter()
                .flat_map(|layer| [&layer.keys, &layer.values])
                .collect();
            let copy = |&to: &usize| RowCopy {
                from: region.row(from),
                to: region.row(to),
                count: length as i64,
            };
            let copies: Vec<RowCopy> = targets.iter().map(copy).collect();
            return kernels::copy_rows(&tensors, &copies);
        }
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

    /// What generation on a CUDA device is without although a newer device or a whole libtorch has it; nothing elsewhere.
    /// Results are the same. What is missing only later is added at the end.
    pub fn without(&self) -> Vec<Without> {
        let Some(layer) = self.layers.first().filter(|layer| layer.keys.device().is_cuda()) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        if matches!(layer.keys.kind(), Kind::BFloat16 | Kind::Half) && self.layout == Layout::ByHead {
            all.push(Without {
                what: "attention is under masks",
                reason: "libtorch has no FlashAttention for this device and this model's heads".to_owned(),
            });
        }
        if let Err(reason) = kernels::prepare(layer.keys.device()) {
            all.push(Without {
                what: "the project's kernels are not in use",
                reason,
            });
        }
        if let Err(reason) = self.recorded_steps() {
            all.push(Without {
                what: "decoding steps are not recorded, so that each is launched operator by operator",
                reason: reason.to_owned(),
            });
        }
        all
    }

    /// How many sorts of decoding steps a CUDA device has recorded, each of which it is then given in one launch; or why
    /// it records no more of them.
    ///
    /// # Errors
    /// The reason. Steps are then launched operator by operator, with the same results.
    pub fn recorded_steps(&self) -> Result<usize, &str> {
        self.recordings.recorded()
    }

    /// The row of a layer's tensor that belongs to no slot, where it lies by token.
    pub(crate) fn nobody(&self) -> i64 {
        (self.prefixes.rows() + self.branches.rows()) as i64
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn prefix_region(&self) -> Region {
        self.prefixes
    }

    pub(crate) fn branch_region(&self) -> Region {
        self.branches
    }
}

impl LayerCache {
    /// Writes keys and values [tokens, kv_heads, head_dim] to `rows` of the cache: [tokens * kv_heads] by head,
    /// `[tokens]` by token.
    pub(crate) fn write(&mut self, rows: &Tensor, keys: &Tensor, values: &Tensor) {
        for (cache, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            let _ = match cache.dim() {
                2 => cache.index_copy_(0, rows, &new.reshape([-1, new.size()[2]])),
                _ => cache.index_copy_(0, rows, new),
            };
        }
    }
}

fn allocated_length(capacity: usize) -> usize {
    capacity.next_multiple_of(LENGTH_STEP)
}
