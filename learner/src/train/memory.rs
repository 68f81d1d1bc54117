//! What an update takes in memory, by arithmetic from the model's configuration, and the plan that follows: how many
//! tokens are computed together, and whether activations are kept or computed again.
//!
//! With b bytes per number, hidden size H, intermediate size I, A query and K key heads of width D, autograd keeps for
//! each token and layer 4·H (the inputs of two normalisations and of what follows them), 4·I (gate, its silu, up, their
//! product), and 3·A·D + 2·K·D (rotated queries and keys, values, what attention gives and its joined copy): 92 KiB in
//! DeepSeek-R1-Distill-Qwen-1.5B in bf16. Normalised queries and keys take (A + K)·D more. The CPU's normalisation is
//! made of several operations and keeps their results too. Tests compare all that with the memory of real passes.

use std::fmt;

use anytime_policy::memory::DeviceMemory;
use anytime_policy::{Lora, ModelConfig, expected_tensors};
use anytime_proto::{gpus, v1};
use tch::Kind;

/// How many elements of the logits exist at a time on CPU: 30 MB in f32. They fit the last cache, and malloc keeps
/// their block for the next chunk; blocks above 32 MiB go back to the system, and every page of the next one is a
/// fault.
const LOGITS_ELEMENTS_CPU: u64 = 7_500_000;
/// The same on a GPU: 1 GiB in f32.
const LOGITS_ELEMENTS_CUDA: u64 = 1 << 28;
/// The most packed tokens of a micro-batch where the job does not set them. More make no product faster.
const MICRO_BATCH_TOKENS_CPU: usize = 8_192;
/// The same on a GPU.
const MICRO_BATCH_TOKENS_CUDA: usize = 32_768;
/// The smallest micro-batch that is tried where the job does not set one. With fewer tokens products get slower.
const FEWEST_TOKENS: usize = 1_024;
/// On the CPU a micro-batch is as small as it must be for its activations to stay below this: larger ones are no
/// faster, and the machine has other uses for its memory. It does not depend on the machine, so that the same job
/// trains in the same pieces everywhere.
const ACTIVATION_BYTES_CPU: u64 = 3 << 30;

/// How an update is split, and what it keeps for its backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdatePlan {
    /// Packed tokens of a micro-batch; a longer row has one of its own.
    pub micro_batch_tokens: usize,
    /// Whether layers keep only their inputs, and compute the rest again in the backward pass.
    pub activation_checkpointing: bool,
}

/// What the memory of an update follows from.
#[derive(Clone, Copy, Debug)]
pub struct UpdateShape<'a> {
    /// The model.
    pub config: &'a ModelConfig,
    /// The type that forward passes compute in.
    pub compute_kind: Kind,
    /// Whether the update runs on a GPU.
    pub is_cuda: bool,
    /// Packed tokens of the longest row that the job can make: prompt, thinking and all summaries of a trace.
    pub longest_row: usize,
    /// Tokens of a micro-batch, where the job sets them.
    pub micro_batch_tokens: Option<usize>,
    /// Whether activations are computed again, where the job says so.
    pub activation_checkpointing: Option<bool>,
    /// The adapters that are trained instead of all weights.
    pub lora: Option<&'a Lora>,
    /// Whether they drop some of their inputs.
    pub has_dropout: bool,
    /// What the ranks divide among them.
    pub sharding: v1::Sharding,
    /// How many ranks there are.
    pub ranks: u64,
}

/// Bytes that an update takes at its peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateMemory {
    /// What is trained and its gradients, in f32, or this rank's part of them.
    pub parameters: u64,
    /// Both moments in f32, or this rank's part of them.
    pub moments: u64,
    /// The weights in the type of the forward pass, if that is not f32 or the masters are divided; where weights are divided
    /// those of one layer, or of the head. Beside adapters: the base, and once more what has adapters with them added.
    pub copy: u64,
    /// The gradient of the head before it is added to the masters' gradient; where they are divided and in f32
    /// that of a layer, if it is larger.
    pub head: u64,
    /// Logits of a chunk, their softmax and their gradient.
    pub logits: u64,
    /// What is kept for the backward pass of a micro-batch, and the gradients of one layer.
    pub activations: u64,
}

impl UpdateMemory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.parameters + self.moments + self.copy + self.head + self.logits + self.activations
    }
}

/// No plan fits the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpdateTooLarge {
    /// The plan that needs least.
    pub plan: UpdatePlan,
    /// What it needs.
    pub need: UpdateMemory,
    /// Tokens of its largest micro-batch.
    pub tokens: usize,
    /// Bytes that the device has.
    pub available: u64,
    /// Whether the job sets `training.micro_batch_tokens` above what its longest row needs.
    pub can_be_smaller: bool,
}

impl std::error::Error for UpdateTooLarge {}

impl fmt::Display for UpdateTooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let need = &self.need;
        write!(
            formatter,
            "one update needs {} GiB (parameters with gradients {}, moments {}, weights to compute with {}, head {}, \
             logits {}, activations of {} tokens {}), and the device has {} for it; ",
            gib(need.total()),
            gib(need.parameters),
            gib(need.moments),
            gib(need.copy),
            gib(need.head),
            gib(need.logits),
            self.tokens,
            gib(need.activations),
            gib(self.available),
        )?;
        if !self.plan.activation_checkpointing {
            formatter.write_str("training.activation_checkpointing = true, ")?;
        }
        if self.can_be_smaller {
            formatter.write_str("a smaller training.micro_batch_tokens, ")?;
        }
        formatter.write_str("smaller budgets, fewer summaries or a smaller model need less")
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1_u64 << 30) as f64)
}

/// How many elements of the logits exist at a time.
pub(super) fn logits_elements(is_cuda: bool) -> i64 {
    let elements = if is_cuda {
        LOGITS_ELEMENTS_CUDA
    } else {
        LOGITS_ELEMENTS_CPU
    };
    elements as i64
}

impl UpdateShape<'_> {
    /// The fastest plan that fits, of those that the job's settings leave open: activations are rather kept than
    /// computed again, which costs a third of the time, and micro-batches are large. On the CPU the plan is the same on
    /// every machine on which it fits. Where the memory is unknown, everything fits.
    ///
    /// # Errors
    /// If nothing fits.
    pub fn plan(&self, memory: Option<DeviceMemory>) -> Result<UpdatePlan, UpdateTooLarge> {
        let available = memory.map_or(u64::MAX, |memory| self.available(memory));
        let checkpointing = match self.activation_checkpointing {
            _ if self.divides_gradients() => vec![true],
            Some(choice) => vec![choice],
            None => vec![false, true],
        };
        let mut last = None;
        for activation_checkpointing in checkpointing {
            for micro_batch_tokens in self.micro_batches() {
                let plan = UpdatePlan {
                    micro_batch_tokens,
                    activation_checkpointing,
                };
                let need = self.memory(plan);
                if need.total() <= available {
                    return Ok(plan);
                }
                last = Some((plan, need));
            }
        }
        let (plan, need) = last.expect("there is at least one size of micro-batches");
        let tokens = plan.micro_batch_tokens.max(self.longest_row);
        Err(UpdateTooLarge {
            plan,
            need,
            tokens,
            available,
            can_be_smaller: self.micro_batch_tokens.is_some_and(|tokens| tokens > self.longest_row),
        })
    }

    /// The least that an update takes, by whatever plan the job's settings leave open.
    pub fn least(&self) -> UpdateMemory {
        let nothing = DeviceMemory {
            total: 0,
            free: 0,
            held: 0,
            used: 0,
            peak: 0,
        };
        match self.plan(Some(nothing)) {
            Ok(plan) => self.memory(plan),
            Err(too_large) => too_large.need,
        }
    }

    /// The plan of a job that makes no updates.
    pub fn unused_plan(&self) -> UpdatePlan {
        UpdatePlan {
            micro_batch_tokens: self.micro_batches()[0],
            activation_checkpointing: self.activation_checkpointing.unwrap_or(false),
        }
    }

    /// What is tried, largest first.
    fn micro_batches(&self) -> Vec<usize> {
        if let Some(tokens) = self.micro_batch_tokens {
            return vec![tokens];
        }
        let mut largest = MICRO_BATCH_TOKENS_CUDA;
        if !self.is_cuda {
            largest = MICRO_BATCH_TOKENS_CPU;
            while largest > FEWEST_TOKENS && self.kept_bytes() * largest as u64 > ACTIVATION_BYTES_CPU {
                largest /= 2;
            }
        }
        let halves = std::iter::successors(Some(largest), |tokens| Some(tokens / 2));
        halves.take_while(|tokens| *tokens >= FEWEST_TOKENS).collect()
    }

    fn available(&self, memory: DeviceMemory) -> u64 {
        if self.is_cuda {
            gpus::learner_bytes(memory.total, memory.within_reach())
        } else {
            // Memory that others hold now does not count: it may be a cache, or be free before the first update.
            memory.total
        }
    }

    /// The peak of an update by this plan.
    pub fn memory(&self, plan: UpdatePlan) -> UpdateMemory {
        let all: u64 = expected_tensors(self.config)
            .iter()
            .map(|(_, shape)| shape.iter().product::<i64>() as u64)
            .sum();
        let of_adapters = |sizes: Vec<(String, [i64; 2])>| -> u64 {
            sizes.iter().map(|(_, [rows, columns])| (rows * columns) as u64).sum()
        };
        let head = (self.config.vocab_size * self.config.hidden_size) as u64;
        let is_wide = self.width() >= 4;
        let tokens = plan.micro_batch_tokens.max(self.longest_row) as u64;
        let chunk = (tokens * self.config.vocab_size as u64).min(logits_elements(self.is_cuda) as u64);
        let layers = self.config.num_hidden_layers as u64;
        let of_layer = self.layer_bytes() * tokens;
        let kept = if plan.activation_checkpointing {
            (self.config.hidden_size as u64 * self.width() * layers) * tokens + of_layer
        } else {
            of_layer * layers
        };
        // Around the layers: hidden states for the head, and their gradients in f32.
        let ends = 4 * self.config.hidden_size as u64 * 4 * tokens;
        let trained = match self.lora {
            Some(lora) => of_adapters(lora.expected(self.config)),
            None => all,
        };
        let ranks = self.ranks.max(1);
        let of_rank = |bytes: u64| {
            if self.divides_gradients() {
                bytes.div_ceil(ranks)
            } else {
                bytes
            }
        };
        let layer: u64 = (expected_tensors(self.config).iter())
            .filter(|(name, _)| name.starts_with("model.layers.0."))
            .map(|(_, shape)| shape.iter().product::<i64>() as u64)
            .sum();
        // Of the masters in f32 that every rank computes with its part is no other memory.
        let of_masters = if self.divides_gradients() && is_wide && self.sharding == v1::Sharding::Gradients {
            4
        } else {
            8
        };
        UpdateMemory {
            parameters: of_rank(of_masters * trained),
            moments: match self.sharding {
                v1::Sharding::None | v1::Sharding::Unspecified => 8 * trained,
                _ => (8 * trained).div_ceil(ranks),
            },
            copy: match self.lora {
                None if self.divides_gradients() && self.sharding == v1::Sharding::Full => {
                    self.width() * layer.max(head)
                }
                None if self.divides_gradients() => self.width() * all,
                Some(lora) => self.width() * (all + of_adapters(lora.weights(self.config))),
                None if is_wide => 0,
                None => self.width() * all,
            },
            // In f32, in the type that is computed in, and in f32 again; the CPU also has the weight in f32. The head has no
            // adapter.
            head: match (is_wide, self.is_cuda, self.lora.is_some()) {
                // The head's gradient, and once more while it is taken over.
                (true, ..) if self.divides_gradients() => (8 * head).max(4 * layer),
                (true, ..) | (false, true, true) => 0,
                (false, false, true) => 4 * head,
                (false, true, false) => (4 + self.width() + 4) * head,
                (false, false, false) => (4 + self.width() + 4 + 4) * head,
            },
            logits: (8 + if is_wide { 0 } else { self.width() }) * chunk,
            // The gradients within a layer are about as much as what it keeps.
            activations: kept + of_layer + ends,
        }
    }

    /// Whether masters and gradients are divided among ranks.
    fn divides_gradients(&self) -> bool {
        self.ranks > 1 && self.lora.is_none() && matches!(self.sharding, v1::Sharding::Gradients | v1::Sharding::Full)
    }

    fn width(&self) -> u64 {
        self.compute_kind.elt_size_in_bytes() as u64
    }

    /// Bytes that all layers keep for a token.
    fn kept_bytes(&self) -> u64 {
        self.layer_bytes() * self.config.num_hidden_layers as u64
    }

    /// Bytes that a layer keeps for a token.
    pub(super) fn layer_bytes(&self) -> u64 {
        let config = self.config;
        let hidden = config.hidden_size as u64;
        let head_dim = config.head_dim as u64;
        let queries = config.num_attention_heads as u64 * head_dim;
        let keys = config.num_key_value_heads as u64 * head_dim;
        let mut elements = 4 * hidden + 4 * config.intermediate_size as u64 + 3 * queries + 2 * keys;
        let mut normalised = 2 * hidden;
        if config.has_qk_norm() {
            elements += queries + keys;
            normalised += queries + keys;
        }
        if let (Some(lora), true) = (self.lora, self.has_dropout) {
            // Each projection keeps which of its inputs it saw.
            let of_layer = lora.weights(config).into_iter();
            let of_layer = of_layer.filter(|(name, _)| name.starts_with("model.layers.0."));
            elements += of_layer.map(|(_, [_, inputs])| inputs as u64).sum::<u64>();
        }
        let of_norms = match (self.is_cuda, self.width()) {
            (true, _) => 0,
            // The input divided by its root mean square.
            (false, 4..) => normalised * self.width(),
            // That, and the input, in f32.
            (false, _) => normalised * 8,
        };
        elements * self.width() + of_norms
    }
}
