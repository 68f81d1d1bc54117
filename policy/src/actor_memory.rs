//! What memory an actor needs, computed from the sizes of its model. The actor chooses the size of its cache by it, and
//! `anytime check` predicts by it what a run will take. All sizes in bytes.
//!
//! An actor holds one version of the weights, and a second one while that is being loaded; the key-value cache; and the
//! temporary tensors of a step. P is the number of parameters, e the bytes of one, L the number of layers. J parameters
//! are in layers that are joined (queries, keys and values; on CUDA gate and up too). On the CPU M parameters are in
//! the products of layers and H in the head. These are kept a second time, in the order in which products read them,
//! with m and h bytes each:
//!
//! - running: e·P + m·M + h·H
//! - next, while it is loaded: e·P + m·M + h·H + e·J
//! - published: 2·e·P, always in the host's memory: the bytes of the last version as they came, and those of the next
//! - cache: 2·e·L·(key heads · head width) for each token of each slot
//! - a step: activations of 4,096 tokens of prefill, logits of every row, and a copy of one layer of the cache, which
//!   grouped attention makes on CUDA: cache / L

use tch::{Device, Kind};

use crate::config::ModelConfig;
use crate::operators::{packed_element_bytes, packed_head_element_bytes};

/// Tokens of the largest prefill call.
pub const PREFILL_TOKENS: u64 = 4096;

/// Bytes of logits that are in memory at the same time on the CPU, where they are computed in pieces.
const CPU_LOGITS: u64 = 30 << 20;

/// Positions of a slot in memory are a multiple of this.
const LENGTH_STEP: u64 = 16;

/// The numbers of a model's `config.json` that memory depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSizes {
    /// `num_hidden_layers`.
    pub layers: u64,
    /// `hidden_size`.
    pub hidden: u64,
    /// `intermediate_size`.
    pub intermediate: u64,
    /// `num_attention_heads` · `head_dim`.
    pub query_width: u64,
    /// `num_key_value_heads` · `head_dim`.
    pub key_width: u64,
    /// `vocab_size`: rows of the embedding.
    pub vocabulary: u64,
    /// `tie_word_embeddings`: whether the head is the embedding.
    pub tied_head: bool,
}

impl ModelSizes {
    /// Parameters: P. Every layer is taken to have the biases of queries, keys and values that some families have.
    pub fn parameters(&self) -> u64 {
        let embeddings = if self.tied_head { 1 } else { 2 };
        let vectors = 2 * self.hidden + self.query_width + 2 * self.key_width;
        embeddings * self.in_head() + self.layers * (self.layer_products() + vectors) + self.hidden
    }

    /// Parameters in products: M + H.
    pub fn in_products(&self) -> u64 {
        self.in_layers() + self.in_head()
    }

    /// Parameters in the products of layers: M.
    fn in_layers(&self) -> u64 {
        self.layers * self.layer_products()
    }

    /// Parameters in the head: H.
    fn in_head(&self) -> u64 {
        self.vocabulary * self.hidden
    }

    /// Bytes that a slot of `tokens` tokens takes over all layers, with `element_bytes` to a number.
    pub fn slot_bytes(&self, tokens: u64, element_bytes: u64) -> u64 {
        2 * self.layers * self.key_width * tokens.next_multiple_of(LENGTH_STEP) * element_bytes
    }

    /// Parameters in layers whose weights are copied side by side: J.
    fn joined(&self, place: Place) -> u64 {
        let heads = self.hidden * (self.query_width + 2 * self.key_width);
        let gated = match place {
            Place::Cuda => 2 * self.hidden * self.intermediate,
            Place::Cpu { .. } => 0,
        };
        self.layers * (heads + gated)
    }

    fn layer_products(&self) -> u64 {
        let attention = self.hidden * (2 * self.query_width + 2 * self.key_width);
        attention + 3 * self.hidden * self.intermediate
    }
}

impl From<&ModelConfig> for ModelSizes {
    fn from(config: &ModelConfig) -> Self {
        Self {
            layers: config.num_hidden_layers as u64,
            hidden: config.hidden_size as u64,
            intermediate: config.intermediate_size as u64,
            query_width: (config.num_attention_heads * config.head_dim) as u64,
            key_width: (config.num_key_value_heads * config.head_dim) as u64,
            vocabulary: config.vocab_size as u64,
            tied_head: config.tie_word_embeddings,
        }
    }
}

/// Where an actor generates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A CUDA device, whose memory holds all but the published bytes.
    Cuda,
    /// The CPU, whose memory holds everything.
    Cpu {
        /// Bytes of a packed parameter of a layer: m. 4 in f32, and for bf16 where the processor has no products of
        /// bf16; else 2.
        packed_bytes: u64,
        /// Bytes of a packed parameter of the head: h.
        head_bytes: u64,
    },
}

impl Place {
    /// A device whose actor computes in this kind.
    pub fn on(device: Device, kind: Kind) -> Self {
        match device {
            Device::Cuda(_) => Place::Cuda,
            _ => Place::Cpu {
                packed_bytes: packed_element_bytes(kind) as u64,
                head_bytes: packed_head_element_bytes(kind) as u64,
            },
        }
    }
}

/// What an actor needs beside its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorMemory {
    /// The version that generates.
    pub running: u64,
    /// The next version while it is loaded.
    pub next: u64,
    /// The temporary tensors of a step, without its copy of a layer of the cache.
    pub step: u64,
    /// The published bytes of two versions, in the host's memory.
    pub published: u64,
    layers: u64,
    place: Place,
}

impl ActorMemory {
    /// The needs of an actor that generates `rows` sequences at the same time with `element_bytes` to a number: 2 in
    /// bf16, 4 in f32.
    pub fn new(sizes: &ModelSizes, element_bytes: u64, rows: u64, place: Place) -> Self {
        let weights = sizes.parameters() * element_bytes;
        let packed = match place {
            Place::Cuda => 0,
            Place::Cpu {
                packed_bytes,
                head_bytes,
            } => sizes.in_layers() * packed_bytes + sizes.in_head() * head_bytes,
        };
        // The residual stream and its normalised copy, heads before and after their rotation, gate, up and product.
        let of_a_token = 4 * sizes.hidden + 3 * sizes.query_width + 4 * sizes.key_width + 3 * sizes.intermediate;
        // The logits themselves, and in f32 the logits, the probabilities and their sums.
        let logits = rows * sizes.vocabulary * (element_bytes + 3 * 4);
        let logits = match place {
            Place::Cuda => logits,
            Place::Cpu { .. } => logits.min(4 * CPU_LOGITS),
        };
        Self {
            running: weights + packed,
            next: weights + packed + sizes.joined(place) * element_bytes,
            step: PREFILL_TOKENS * of_a_token * element_bytes + logits,
            published: 2 * weights,
            layers: sizes.layers,
            place,
        }
    }

    /// Bytes of the device's memory that are not for the cache.
    pub fn beside_cache(&self) -> u64 {
        let published = match self.place {
            Place::Cuda => 0,
            Place::Cpu { .. } => self.published,
        };
        self.running + self.next + self.step + published
    }

    /// The largest cache of an actor that may take `bytes` of the device's memory in all. 0 where nothing is left.
    pub fn largest_cache(&self, bytes: u64) -> u64 {
        let left = bytes.saturating_sub(self.beside_cache());
        // A step copies one layer of it.
        (u128::from(left) * u128::from(self.layers) / u128::from(self.layers + 1)) as u64
    }

    /// What an actor takes of the device's memory with a cache of so many bytes.
    pub fn with_cache(&self, cache: u64) -> u64 {
        self.beside_cache() + cache + cache / self.layers.max(1)
    }
}

/// The largest cache that `rows` sequences at the same time can use: a branch slot for each and two prefix slots, so
/// that a thinking can begin while the summaries of others are under way.
pub fn most_cache(sizes: &ModelSizes, rows: u64, prefix_tokens: u64, branch_tokens: u64, element_bytes: u64) -> u64 {
    let slot = |tokens| sizes.slot_bytes(tokens, element_bytes);
    rows * (2 * slot(prefix_tokens) + slot(branch_tokens))
}

/// Bytes in words for people: `3.6 GiB`, `12.5 MiB`.
pub fn words(bytes: u64) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    const MIB: f64 = (1_u64 << 20) as f64;
    let bytes = bytes as f64;
    if bytes >= GIB {
        format!("{:.1} GiB", bytes / GIB)
    } else {
        format!("{:.1} MiB", bytes / MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DeepSeek-R1-Distill-Qwen-1.5B.
    fn r1() -> ModelSizes {
        ModelSizes {
            layers: 28,
            hidden: 1536,
            intermediate: 8960,
            query_width: 12 * 128,
            key_width: 2 * 128,
            vocabulary: 151_936,
            tied_head: false,
        }
    }

    #[test]
    fn the_sizes_of_a_real_model() {
        let sizes = r1();
        // By hand from config.json, biases of queries, keys and values included, which this family has.
        assert_eq!(sizes.parameters(), 1_777_088_000);
        assert_eq!(sizes.in_products(), 1_543_569_408);
        // 2 · 28 · 256 · 2 bytes a token.
        assert_eq!(sizes.slot_bytes(1, 2), 16 * 28_672);
        assert_eq!(sizes.slot_bytes(8000, 2), 8000 * 28_672);
    }

    #[test]
    fn an_actor_on_cuda_holds_two_versions_and_a_copy() {
        let needs = ActorMemory::new(&r1(), 2, 64, Place::Cuda);
        assert_eq!(needs.running, 3_554_176_000);
        // Joined: 28 · 1536 · (2048 + 2 · 8960) parameters.
        assert_eq!(needs.next - needs.running, 2 * 28 * 1536 * (2048 + 17_920));
        assert!(needs.beside_cache() < 12 << 30, "{needs:?}");
        // The published bytes are the host's.
        assert_eq!(needs.beside_cache(), needs.running + needs.next + needs.step);
    }

    #[test]
    fn a_cache_and_what_is_beside_it_fill_what_may_be_taken_and_no_more() {
        for place in [Place::Cuda, Place::on(Device::Cpu, Kind::Float)] {
            let needs = ActorMemory::new(&r1(), 2, 64, place);
            let all = 72_u64 << 30;
            let cache = needs.largest_cache(all);
            assert!(needs.with_cache(cache) <= all);
            assert!(needs.with_cache(cache + (1 << 20)) > all);
            assert_eq!(needs.largest_cache(needs.beside_cache()), 0);
            assert_eq!(needs.largest_cache(0), 0);
        }
    }

    #[test]
    fn the_cpu_keeps_products_twice_and_the_published_bytes() {
        let on_cpu = ActorMemory::new(&r1(), 4, 64, Place::on(Device::Cpu, Kind::Float));
        let sizes = r1();
        assert_eq!(on_cpu.running, 4 * (sizes.parameters() + sizes.in_products()));
        assert_eq!(
            on_cpu.beside_cache(),
            on_cpu.running + on_cpu.next + on_cpu.step + 2 * 4 * sizes.parameters()
        );
    }

    #[test]
    fn the_packed_head_is_counted_by_itself() {
        let sizes = r1();
        let on = |packed_bytes, head_bytes| {
            let place = Place::Cpu {
                packed_bytes,
                head_bytes,
            };
            ActorMemory::new(&sizes, 2, 64, place).running
        };
        assert_eq!(on(2, 4) - on(2, 2), 2 * 151_936 * 1536);
        assert_eq!(on(4, 2) - on(2, 2), 2 * (sizes.in_products() - 151_936 * 1536));
    }

    #[test]
    fn a_cache_for_all_rows() {
        let sizes = r1();
        assert_eq!(most_cache(&sizes, 3, 16, 16, 2), 3 * 3 * 16 * 28_672);
    }

    #[test]
    fn bytes_in_words() {
        assert_eq!(words(3_865_470_566), "3.6 GiB");
        assert_eq!(words(107_374_183), "102.4 MiB");
        assert_eq!(words(13_107_200), "12.5 MiB");
        assert_eq!(words(0), "0.0 MiB");
    }
}
