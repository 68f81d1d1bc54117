//! The transformer: one file for all families, which differ by a few flags.
//!
//! Embedding → layers of (normalise, attend, add; normalise, feed forward, add) → normalise → head. Tokens are packed
//! [tokens, hidden] throughout; which token sees which is the business of [`crate::attention`] alone.
//!
//! Families: biases on the projections (qwen2; `attention_bias`), normalised queries and keys (qwen3), a head that is
//! the embedding (`tie_word_embeddings`). Each is an optional tensor here.

mod check;
mod generation;

use std::sync::atomic::{AtomicU64, Ordering};

use tch::{Device, Kind, Tensor};

use self::check::check;

use crate::attention::attend_tree;
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::head::{Head, keeps_width};
use crate::lora::Adapters;
use crate::operators::attention::can_attend_reads;
use crate::operators::elementwise::rms_norm;
use crate::operators::sequences::{TreeSequences, can_attend_sequences};
use crate::operators::training::LayerAdapter;
use crate::operators::{filled_up, first_rows, in_pieces, training};
use crate::projection::{GatedProjection, HeadProjection, Projection};
use crate::rope::{Rope, Rotation};
use crate::tree::TreeBatch;
use crate::tree_sequences::tree_sequences;
use crate::weights::Weights;

/// The transformer, over parameters that it shares with whoever made it. It runs over a [`crate::KvCache`] to generate
/// ([`Decoder::extend`]) or over a [`TreeBatch`] to train ([`Decoder::tree`]).
///
/// Parameters are not copied: a change in place shows in the next call, and gradients reach them. Tensor operations
/// panic where libtorch refuses, which with checked parameters and inputs means that memory ran out.
pub struct Decoder {
    config: ModelConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    final_norm: Tensor,
    head: Head,
    rope: Rope,
    /// Whether the steps between products go through this crate's operators, which have no gradients.
    is_fused: bool,
    /// Whether generation adds a layer's outputs to its input in place.
    adds_in_place: bool,
    /// Whether a row's numbers must not depend on the rows beside it.
    is_row_independent: bool,
    /// Whether trees attend as sequences where that is no kernel.
    is_maskless: bool,
    /// Tells decoders of one process apart.
    number: u64,
}

struct Layer {
    input_norm: Tensor,
    heads: HeadProjection,
    /// The weights that normalise queries and keys, each `[head_dim]`.
    query_key_norm: Option<(Tensor, Tensor)>,
    output: Projection,
    post_attention_norm: Tensor,
    gated: GatedProjection,
    down: Projection,
}

/// The rotations and the attention that all layers of one pass over a [`TreeBatch`] share.
///
/// With it a caller can run [`Decoder::tree`] layer by layer, for example to recompute activations in the backward
/// pass instead of keeping them.
pub struct TreePass<'a> {
    batch: &'a TreeBatch,
    rotation: Rotation,
    attention: TreeAttention,
}

/// How the tokens of a batch attend.
enum TreeAttention {
    /// Under the masks of each block.
    Masks(Vec<Vec<Tensor>>),
    /// Without masks.
    Sequences(TreeSequences),
}

/// How many decoders there have been, from 1 on.
static DECODERS: AtomicU64 = AtomicU64::new(1);

impl Layer {
    fn is_packed(&self) -> bool {
        self.heads.is_packed() && self.output.is_packed() && self.gated.is_packed() && self.down.is_packed()
    }
}

impl Decoder {
    /// Makes a decoder that computes in the kind of its parameters.
    ///
    /// # Errors
    /// A tensor is missing, unexpected, of the wrong shape, or of another kind or device than the embedding.
    pub fn new(config: &ModelConfig, weights: &Weights) -> Result<Self, PolicyError> {
        Self::build(config, weights, None)
    }

    /// Makes a decoder that computes in `kind` and whose gradients reach `masters` in the masters' own kind.
    ///
    /// The casts are part of the gradient graph and hold the masters' values of this moment: make a new decoder after
    /// each optimiser step. Several backward passes may go through one decoder.
    ///
    /// # Errors
    /// As for [`Decoder::new`].
    pub fn with_compute_kind(config: &ModelConfig, masters: &Weights, kind: Kind) -> Result<Self, PolicyError> {
        Self::build(config, masters, Some(kind))
    }

    /// Makes a decoder of weights that hold their adapters already ([`Adapters::merge`]), and whose gradients reach the
    /// adapters alone. `dropout` is the share of its inputs that an adapter does not see, below 1, and which ones follows
    /// from `seed`: the same in every pass through this decoder over a batch of one shape.
    ///
    /// # Errors
    /// As for [`Decoder::new`], or adapters that are not the model's.
    pub fn with_adapters(
        config: &ModelConfig,
        merged: &Weights,
        adapters: &Adapters,
        dropout: f64,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        adapters.check(config, "adapters")?;
        Self::build_with(config, merged, None, Some((adapters, dropout, seed)))
    }

    fn build(config: &ModelConfig, weights: &Weights, compute_kind: Option<Kind>) -> Result<Self, PolicyError> {
        Self::build_with(config, weights, compute_kind, None)
    }

    fn build_with(
        config: &ModelConfig,
        weights: &Weights,
        compute_kind: Option<Kind>,
        trained: Option<(&Adapters, f64, u64)>,
    ) -> Result<Self, PolicyError> {
        check(config, weights)?;
        let take = |name: &str| -> Tensor {
            let tensor = &weights[name];
            match compute_kind {
                Some(kind) => tensor.to_kind(kind),
                None => tensor.shallow_clone(),
            }
        };
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            let take = |name: &str| take(&format!("model.layers.{index}.{name}"));
            let project = |name: &str, has_bias: bool| {
                let weight = take(&format!("{name}.weight"));
                let bias = has_bias.then(|| take(&format!("{name}.bias")));
                let adapter = trained.and_then(|(adapters, dropout, seed)| {
                    let (a, b) = adapters.of(&format!("model.layers.{index}.{name}.weight"))?;
                    Some(LayerAdapter {
                        a: a.shallow_clone(),
                        b: b.shallow_clone(),
                        scale: adapters.lora.scale,
                        dropout,
                        seed: seed_of_projection(seed, index, name),
                    })
                });
                match adapter {
                    Some(adapter) => Projection::Adapted { weight, bias, adapter },
                    None => Projection::Plain { weight, bias },
                }
            };
            layers.push(Layer {
                input_norm: take("input_layernorm.weight"),
                heads: HeadProjection::Apart {
                    query: project("self_attn.q_proj", config.has_qkv_bias()),
                    key: project("self_attn.k_proj", config.has_qkv_bias()),
                    value: project("self_attn.v_proj", config.has_qkv_bias()),
                },
                query_key_norm: config
                    .has_qk_norm()
                    .then(|| (take("self_attn.q_norm.weight"), take("self_attn.k_norm.weight"))),
                output: project("self_attn.o_proj", config.attention_bias),
                post_attention_norm: take("post_attention_layernorm.weight"),
                gated: GatedProjection::Apart {
                    gate: project("mlp.gate_proj", false),
                    up: project("mlp.up_proj", false),
                },
                down: project("mlp.down_proj", false),
            });
        }
        let embedding = take("model.embed_tokens.weight");
        let head = match config.tie_word_embeddings {
            true => embedding.shallow_clone(),
            false => take("lm_head.weight"),
        };
        let rope = Rope::new(config, embedding.kind(), embedding.device());
        let final_norm = take("model.norm.weight");
        Ok(Decoder {
            config: config.clone(),
            embedding,
            layers,
            final_norm,
            head: Head::new(head),
            rope,
            is_fused: false,
            adds_in_place: false,
            is_row_independent: false,
            is_maskless: false,
            number: DECODERS.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// The same decoder, which attends over trees without masks on any device and in any kind: slow where that is no
    /// kernel, and for tests.
    #[doc(hidden)]
    pub fn without_masks(self) -> Self {
        Decoder {
            is_maskless: true,
            ..self
        }
    }

    /// The same decoder over the first `vocabulary` ids alone. An embedding may have more rows than the tokenizer has
    /// ids, and ids that are never sampled must not take part in the softmax of those that are.
    ///
    /// On the CPU its logits are [n, vocabulary]. On CUDA they keep the width of the embedding, which is a multiple of
    /// what fast products need where the tokenizer's is often odd, and the other ids have logits of -∞.
    ///
    /// # Panics
    /// If the embedding has fewer rows, or after [`Decoder::for_generation`].
    pub fn limit_vocabulary(self, vocabulary: u32) -> Self {
        if keeps_width(self.device()) {
            return self.mask_vocabulary(vocabulary);
        }
        Decoder {
            head: self.head.limited(vocabulary),
            ..self
        }
    }

    /// As [`Decoder::limit_vocabulary`] on CUDA, on any device.
    ///
    /// # Panics
    /// As [`Decoder::limit_vocabulary`].
    pub fn mask_vocabulary(self, vocabulary: u32) -> Self {
        Decoder {
            head: self.head.masked(vocabulary),
            ..self
        }
    }

    /// The same decoder for generation alone. It holds copies of the weights, arranged for few and large products (see
    /// `projection`), beside the originals. The parameters must not change any more, and no gradient reaches them.
    pub fn for_generation(self) -> Self {
        let _guard = tch::no_grad_guard();
        let arrange = |layer: Layer| Layer {
            heads: layer.heads.arranged(),
            output: layer.output.packed(),
            gated: layer.gated.arranged(),
            down: layer.down.packed(),
            ..layer
        };
        Decoder {
            layers: self.layers.into_iter().map(arrange).collect(),
            head: self.head.packed(),
            is_fused: can_attend_reads(self.embedding.kind(), self.embedding.device()),
            // The CPU's packed products add by themselves.
            adds_in_place: !can_attend_reads(self.embedding.kind(), self.embedding.device()),
            // What was recorded of the decoder as it was reads its own weights.
            number: DECODERS.fetch_add(1, Ordering::Relaxed),
            ..self
        }
    }

    /// Whether the numbers of a row may be made independent of the rows beside it.
    ///
    /// # Errors
    /// Why they may not: on devices other than the CPU, in f64, and before [`Decoder::for_generation`].
    pub fn can_be_row_independent(&self) -> Result<(), String> {
        let device = self.device();
        if device != Device::Cpu {
            return Err(format!("products on {device:?} depend on how many rows they have"));
        }
        let is_packed = self.layers.iter().all(Layer::is_packed) && self.head.is_packed();
        if !self.is_fused || !is_packed {
            return Err(format!("this machine has no packed products of {:?}", self.kind()));
        }
        Ok(())
    }

    /// Switches the independence of rows on or off: whether a row's numbers in [`Decoder::extend`] and
    /// [`Decoder::logits`] depend on that row alone (batch invariance). It costs time where there are few rows, which
    /// are then padded to six. Does nothing where [`Decoder::can_be_row_independent`] returns an error.
    pub fn set_row_independent(&mut self, is_wanted: bool) {
        self.is_row_independent = is_wanted && self.can_be_row_independent().is_ok();
    }

    /// Whether the numbers of a row are independent of the rows beside it.
    pub fn is_row_independent(&self) -> bool {
        self.is_row_independent
    }

    /// The configuration that this decoder was built for.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The kind that this decoder computes in, which is that of its hidden states and of the cache it needs.
    pub fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// Runs a batch and returns the hidden states, after the final normalisation, at the positions that predict its
    /// trained tokens: [n, hidden].
    pub fn tree(&self, batch: &TreeBatch) -> Tensor {
        let (mut hidden, pass) = self.start_tree(batch);
        for layer in 0..self.layers.len() {
            hidden = self.tree_layer(&pass, layer, &hidden);
        }
        self.finish_tree(&pass, &hidden)
    }

    /// First step of [`Decoder::tree`]: the embedded tokens [tokens, hidden], and what the layers share.
    pub fn start_tree<'a>(&self, batch: &'a TreeBatch) -> (Tensor, TreePass<'a>) {
        let (kind, device) = (self.kind(), self.device());
        let attention = if self.is_maskless || can_attend_sequences(kind, device, self.config.head_dim) {
            TreeAttention::Sequences(tree_sequences(&batch.shapes, device))
        } else {
            let shared = self.config.query_group();
            let masks = batch.blocks.iter().map(|block| block.masks(kind, shared));
            TreeAttention::Masks(masks.collect())
        };
        let pass = TreePass {
            batch,
            rotation: self.rope.rotation(&batch.positions),
            attention,
        };
        (self.embed(&batch.ids), pass)
    }

    /// One layer of [`Decoder::tree`]: [tokens, hidden] to [tokens, hidden]. Layers count from 0.
    pub fn tree_layer(&self, pass: &TreePass<'_>, layer: usize, hidden: &Tensor) -> Tensor {
        if pass.batch.blocks.is_empty() {
            return hidden.shallow_clone();
        }
        let layer = &self.layers[layer];
        let (queries, keys, values) = self.project_heads(layer, hidden, &pass.rotation);
        let attended = match &pass.attention {
            TreeAttention::Masks(masks) => attend_tree(&queries, &keys, &values, &pass.batch.blocks, masks),
            TreeAttention::Sequences(sequences) => sequences.attend(&queries, &keys, &values).flatten(1, 2),
        };
        self.finish_layer(layer, hidden, &attended)
    }

    /// Last step of [`Decoder::tree`]: [tokens, hidden] to the trained tokens' predictors [n, hidden].
    pub fn finish_tree(&self, pass: &TreePass<'_>, hidden: &Tensor) -> Tensor {
        self.normalise(&hidden.index_select(0, &pass.batch.predictors), &self.final_norm)
    }

    /// Unnormalised log-probabilities of all tokens: [n, hidden] to [n, vocab], in f32 (f64 if the weights are f64). The
    /// sums are in f32 too where the weights are bf16.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        if !self.is_row_independent {
            return self.head.logits(hidden);
        }
        let rows = hidden.size()[0];
        let logits = in_pieces([&filled_up(hidden)], |[hidden]| self.head.logits(hidden));
        first_rows(logits, rows)
    }

    /// log softmax(logits / temperature) at the target ids: [n, hidden] and `[n]` int64 to `[n]`, in f32 (f64 if the
    /// weights are f64).
    ///
    /// Needs several times n * vocab * 4 bytes; rows are independent, so a caller may go through them in pieces
    /// (`hidden.narrow(0, …)`), and backward through each piece in turn.
    pub fn log_probs(&self, hidden: &Tensor, targets: &Tensor, temperature: f64) -> Tensor {
        let logits = self.logits(hidden);
        // Division by one would cost a pass over the widest tensor of the model.
        let logits = if temperature == 1.0 {
            logits
        } else {
            logits / temperature
        };
        logits
            .log_softmax(-1, None)
            .gather(-1, &targets.unsqueeze(-1), false)
            .squeeze_dim(-1)
    }

    /// The head's weight, [vocabulary, hidden].
    ///
    /// # Panics
    /// After [`Decoder::for_generation`].
    pub(crate) fn head_weight(&self) -> Tensor {
        self.head.weight()
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The rows, padded with zeros where their products would depend on their number.
    fn filled_up(&self, rows: Tensor) -> Tensor {
        if self.is_row_independent {
            filled_up(&rows)
        } else {
            rows
        }
    }

    /// What `apply` makes of the rows, in pieces where their products would depend on their number.
    fn in_pieces<const N: usize>(&self, inputs: [&Tensor; N], apply: impl Fn([&Tensor; N]) -> Tensor) -> Tensor {
        if self.is_row_independent {
            in_pieces(inputs, apply)
        } else {
            apply(inputs)
        }
    }

    fn embed(&self, ids: &Tensor) -> Tensor {
        training::embedding(&self.embedding, ids)
    }

    /// Root-mean-square normalisation over the last axis. libtorch computes the mean in f32 for bf16 input.
    fn normalise(&self, input: &Tensor, weight: &Tensor) -> Tensor {
        if self.is_fused {
            return rms_norm(input, weight, self.config.rms_norm_eps);
        }
        input.rms_norm(weight.size(), Some(weight), self.config.rms_norm_eps)
    }

    /// Rotated queries [tokens, heads, head_dim], rotated keys and values [tokens, kv_heads, head_dim].
    fn project_heads(&self, layer: &Layer, hidden: &Tensor, rotation: &Rotation) -> (Tensor, Tensor, Tensor) {
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let input = self.normalise(hidden, &layer.input_norm);
        let head_dim = self.config.head_dim;
        let of_heads = |tensor: Tensor| tensor.view([tensor.size()[0], -1, head_dim]);
        let (turned, values) = match &layer.heads {
            HeadProjection::Apart { query, key, value } => {
                let mut queries = of_heads(query.apply(&input));
                let mut keys = of_heads(key.apply(&input));
                if let Some((query_norm, key_norm)) = &layer.query_key_norm {
                    queries = self.normalise(&queries, query_norm);
                    keys = self.normalise(&keys, key_norm);
                }
                // They are rotated as one tensor, because a decoding step is bound by the number of its operations.
                (Tensor::cat(&[queries, keys], 1), of_heads(value.apply(&input)))
            }
            HeadProjection::Joined(all) => {
                let all = of_heads(all.apply(&input));
                let turned = match &layer.query_key_norm {
                    Some((query_norm, key_norm)) => {
                        let queries = self.normalise(&all.narrow(1, 0, heads), query_norm);
                        let keys = self.normalise(&all.narrow(1, heads, kv_heads), key_norm);
                        Tensor::cat(&[queries, keys], 1)
                    }
                    None => all.narrow(1, 0, heads + kv_heads),
                };
                (turned, all.narrow(1, heads + kv_heads, kv_heads))
            }
        };
        let rotated = rotation.apply(&turned);
        (rotated.narrow(1, 0, heads), rotated.narrow(1, heads, kv_heads), values)
    }

    fn finish_layer(&self, layer: &Layer, residual: &Tensor, attended: &Tensor) -> Tensor {
        self.in_pieces([residual, attended], |[residual, attended]| {
            let residual = layer.output.add_to(residual, attended);
            let input = self.normalise(&residual, &layer.post_attention_norm);
            layer.down.add_to(&residual, &layer.gated.apply(&input))
        })
    }
}

/// What the draws of one projection follow from; those of two projections have nothing to do with each other.
fn seed_of_projection(seed: u64, layer: usize, name: &str) -> i64 {
    // FNV-1a, which stays what it is.
    let layer = layer as u64;
    let bytes = seed
        .to_le_bytes()
        .into_iter()
        .chain(layer.to_le_bytes())
        .chain(name.bytes());
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, mix) as i64
}
