//! What memory the processes of a job will take, by arithmetic from the sizes of its model and its settings.
//!
//! With P parameters, e bytes to a number in the forward pass, L layers and T tokens in a micro-batch:
//!
//! - learner: masters 4·P, gradients 4·P, the two moments of AdamW 8·P, where e is 2 a copy to compute with 2·P, the two
//!   newest published versions 2·e·P, and the activations of a micro-batch, T·a·e for each layer, or for one layer and
//!   the inputs of all where they are computed again. a counts the numbers that a layer keeps for a token: residual
//!   stream and its normalised copies, heads before and after their rotation, gate, up and their product.
//! - actor: as `anytime_proto::memory` has it, which actors go by, with a cache that all sequences fit.

use anytime_policy::{ModelConfig, packed_element_bytes};
use anytime_proto::memory::{ActorMemory, ModelSizes, Place, most_cache};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use tch::Kind;

use super::prepare::Prepared;

/// `training.micro_batch_tokens` where it is left out, on the CPU.
const MICRO_BATCH_TOKENS: u64 = 8192;

/// Sequences that an actor generates at the same time, where `--slots` does not say otherwise.
const SLOTS: u64 = 64;

/// What the learner and one actor will take. Supervised training has no actor, an evaluation does not train.
pub(super) fn memory(settings: &JobSettings, prepared: &Prepared, parameters: u64) -> Vec<v1::MemoryCheck> {
    let mut processes = vec![process("learner", learner(settings, &prepared.config, parameters))];
    if settings.kind != v1::JobKind::Sft {
        processes.push(process("actor", actor(settings, prepared)));
    }
    processes
}

fn process(name: &str, parts: Vec<(&str, u64)>) -> v1::MemoryCheck {
    v1::MemoryCheck {
        process: name.to_owned(),
        bytes: parts.iter().map(|(_, bytes)| bytes).sum(),
        parts: parts
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(what, bytes)| v1::MemoryPart {
                what: what.to_owned(),
                bytes,
            })
            .collect(),
    }
}

/// Bytes to a number in the forward pass; on the CPU, which `auto` means here, they are 4.
fn element_bytes(settings: &JobSettings) -> u64 {
    if settings.model.dtype == v1::Dtype::Bf16 { 2 } else { 4 }
}

fn learner(settings: &JobSettings, config: &ModelConfig, parameters: u64) -> Vec<(&'static str, u64)> {
    let element = element_bytes(settings);
    let copy = if element < 4 { parameters * element } else { 0 };
    if settings.kind == v1::JobKind::Evaluate {
        return vec![
            ("weights", 4 * parameters + copy),
            ("published versions", element * parameters),
        ];
    }
    let published = if settings.kind == v1::JobKind::Train {
        2 * element * parameters
    } else {
        0
    };
    vec![
        ("weights", 4 * parameters + copy),
        ("gradients", 4 * parameters),
        ("moments of AdamW", 8 * parameters),
        ("published versions", published),
        ("activations of a micro-batch", activations(settings, config, element)),
    ]
}

fn activations(settings: &JobSettings, config: &ModelConfig, element: u64) -> u64 {
    let tokens = settings
        .training
        .micro_batch_tokens
        .map_or(MICRO_BATCH_TOKENS, u64::from);
    let hidden = config.hidden_size as u64;
    let queries = (config.num_attention_heads * config.head_dim) as u64;
    let keys = (config.num_key_value_heads * config.head_dim) as u64;
    let of_a_layer = 4 * hidden + 3 * queries + 4 * keys + 3 * config.intermediate_size as u64;
    let layers = config.num_hidden_layers as u64;
    let kept = if settings.training.activation_checkpointing {
        of_a_layer + layers * hidden
    } else {
        of_a_layer * layers
    };
    tokens * kept * element
}

fn actor(settings: &JobSettings, prepared: &Prepared) -> Vec<(&'static str, u64)> {
    let element = element_bytes(settings);
    let sizes = sizes(&prepared.config);
    let largest = |budgets: &[u32]| budgets.last().copied().unwrap_or(0);
    let budget = largest(&settings.rollout.budgets).max(largest(&settings.evaluation.budgets));
    let prompt = prepared
        .checks
        .iter()
        .map(|check| check.longest_prompt)
        .max()
        .unwrap_or(0);
    let summary = u64::from(settings.rollout.max_summary_tokens);
    let kind = if element == 2 { Kind::BFloat16 } else { Kind::Float };
    let place = Place::Cpu {
        packed_bytes: packed_element_bytes(kind) as u64,
    };
    let needs = ActorMemory::new(&sizes, element, SLOTS, place);
    vec![
        ("weights", needs.running),
        ("next weights, while they are loaded", needs.next),
        ("published versions", needs.published),
        ("a step", needs.step),
        (
            "cache of keys and values",
            most_cache(&sizes, SLOTS, prompt + u64::from(budget), summary, element),
        ),
    ]
}

fn sizes(config: &ModelConfig) -> ModelSizes {
    ModelSizes {
        layers: config.num_hidden_layers as u64,
        hidden: config.hidden_size as u64,
        intermediate: config.intermediate_size as u64,
        query_width: (config.num_attention_heads * config.head_dim) as u64,
        key_width: (config.num_key_value_heads * config.head_dim) as u64,
        vocabulary: config.vocab_size as u64,
        tied_head: config.tie_word_embeddings,
    }
}
