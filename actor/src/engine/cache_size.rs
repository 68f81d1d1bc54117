//! How many bytes the key-value cache may have: as many as the command line says, or what a share of the device's memory
//! leaves beside two versions of the weights and a step.

use anytime_policy::ModelConfig;
use anytime_policy::actor_memory::{ActorMemory, Place, words};
use anytime_policy::memory::DeviceMemory;
use tch::{Device, Kind};
use tracing::warn;

use super::messages::{CacheLimit, EngineLimits};

/// The cache where a system does not tell what memory it has, in bytes.
const WITHOUT_AN_ANSWER: usize = 2 << 30;

/// How large the cache may be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) bytes: usize,
    /// For the message of a sequence that does not fit.
    pub(super) reason: String,
}

/// What memory an actor that runs `slots` sequences at the same time needs beside its cache.
pub fn actor_memory(config: &ModelConfig, kind: Kind, device: Device, slots: usize) -> ActorMemory {
    let element_bytes = kind.elt_size_in_bytes() as u64;
    ActorMemory::new(&config.into(), element_bytes, slots as u64, Place::on(device, kind))
}

/// How large the cache of this model may be on this device.
pub(super) fn allowance(limits: EngineLimits, config: &ModelConfig, kind: Kind, device: Device) -> Allowance {
    let share = match limits.cache {
        CacheLimit::Bytes(bytes) => {
            let reason = format!("the cache may have {}", words(bytes as u64));
            return Allowance { bytes, reason };
        }
        CacheLimit::Share(share) => share,
    };
    let memory = match DeviceMemory::ask(device) {
        Ok(memory) => memory,
        Err(error) => {
            warn!(%error, bytes = WITHOUT_AN_ANSWER, "memory is not known, taking a small cache");
            let reason = format!("{error}, so the cache has {}", words(WITHOUT_AN_ANSWER as u64));
            return Allowance {
                bytes: WITHOUT_AN_ANSWER,
                reason,
            };
        }
    };
    let needs = actor_memory(config, kind, device, limits.slots);
    of_share(share, memory, &needs)
}

fn of_share(share: f64, memory: DeviceMemory, needs: &ActorMemory) -> Allowance {
    let may_take = ((memory.total as f64 * share) as u64).min(memory.within_reach());
    let bytes = needs.largest_cache(may_take);
    let reason = format!(
        "the device has {}, of which this process may take {}; the weights take {}, the next ones while they are loaded \
         {}, and a step up to {}, which leaves {} for the cache",
        words(memory.total),
        words(may_take),
        words(needs.running),
        words(needs.beside_cache() - needs.running - needs.step),
        words(needs.step),
        words(bytes)
    );
    Allowance {
        bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        reason,
    }
}

/// The reason why `bytes` more cannot be had; none where they can.
pub(super) fn refusal(bytes: usize, device: Device) -> Option<String> {
    // Where the system does not tell, the allocation itself shows it.
    let memory = DeviceMemory::ask(device).ok()?;
    let free = memory.free + memory.held.saturating_sub(memory.used);
    (bytes as u64 > free).then(|| {
        format!(
            "the key-value cache needs {}, but of the {} of the device only {} are free; a smaller --cache-gib or fewer \
             --slots need less, and without --cache-gib the actor takes what fits",
            words(bytes as u64),
            words(memory.total),
            words(free)
        )
    })
}

#[cfg(test)]
mod tests {
    use anytime_policy::actor_memory::ModelSizes;
    use anytime_policy::expected_tensors;

    use super::*;

    fn config(text: &serde_json::Value) -> ModelConfig {
        ModelConfig::from_json(&text.to_string()).unwrap()
    }

    fn configs() -> Vec<ModelConfig> {
        let of = |family: &str, heads: u32, tied: bool| {
            config(&serde_json::json!({
                "model_type": family, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
                "num_attention_heads": heads, "num_key_value_heads": 2, "vocab_size": 500,
                "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
                "tie_word_embeddings": tied, "eos_token_id": 1, "head_dim": 16,
            }))
        };
        vec![of("qwen2", 4, true), of("llama", 4, false), of("qwen3", 8, false)]
    }

    #[test]
    fn parameters_are_those_of_the_checkpoint() {
        for config in configs() {
            let counted: i64 = expected_tensors(&config)
                .iter()
                .map(|(_, shape)| shape.iter().product::<i64>())
                .sum();
            let predicted = ModelSizes::from(&config).parameters() as f64;
            // Biases and norms of heads that a family has or has not.
            assert!(
                (predicted / counted as f64 - 1.0).abs() < 0.01,
                "{predicted} {counted} {:?}",
                config.model_type
            );
        }
    }

    #[test]
    fn a_slot_has_the_bytes_that_the_cache_allocates() {
        for config in configs() {
            for tokens in [1, 16, 100] {
                let bytes = anytime_policy::KvCache::slot_bytes(&config, tokens, Kind::BFloat16);
                assert_eq!(ModelSizes::from(&config).slot_bytes(tokens as u64, 2), bytes as u64);
            }
        }
    }

    const GIB: u64 = 1 << 30;

    fn device(total: u64, free: u64, held: u64) -> DeviceMemory {
        DeviceMemory {
            total,
            free,
            held,
            used: held,
            peak: held,
        }
    }

    /// DeepSeek-R1-Distill-Qwen-1.5B in bf16 on CUDA.
    fn r1_needs(slots: u64) -> ActorMemory {
        let sizes = ModelSizes {
            layers: 28,
            hidden: 1536,
            intermediate: 8960,
            query_width: 1536,
            key_width: 256,
            vocabulary: 151_936,
            tied_head: false,
        };
        ActorMemory::new(&sizes, 2, slots, Place::Cuda)
    }

    #[test]
    fn large_cards_are_used_and_small_ones_run_too() {
        let cache = |total: u64, slots: u64| of_share(0.9, device(total, total - GIB / 2, 0), &r1_needs(slots)).bytes;
        let slot = 28_672 * 8160;
        // 80 GB: more than twice the 24 GiB that every card had before.
        assert!(cache(80 * 1_000_000_000, 256) as u64 > 54 * GIB);
        // 24 GB: a model of 1.5 B parameters at 8k tokens.
        assert!(cache(24 * 1_000_000_000, 64) > 8 * slot);
        assert_eq!(cache(8 * 1_000_000_000, 64), 0);
    }

    #[test]
    fn another_process_on_the_device_is_left_what_it_holds() {
        let needs = r1_needs(64);
        let alone = of_share(0.9, device(80 * GIB, 79 * GIB, 0), &needs);
        let beside = of_share(0.9, device(80 * GIB, 20 * GIB, 4 * GIB), &needs);
        assert!(beside.bytes < alone.bytes / 4, "{} {}", beside.bytes, alone.bytes);
        assert!(beside.reason.contains("may take 24.0 GiB"), "{}", beside.reason);
        let halves = of_share(0.45, device(80 * GIB, 79 * GIB, 0), &needs);
        assert!(halves.reason.contains("may take 36.0 GiB"), "{}", halves.reason);
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_the_numbers() {
        let total = DeviceMemory::ask(Device::Cpu).unwrap().total;
        let reason = refusal(total as usize + 1, Device::Cpu).unwrap();
        assert!(
            reason.contains(&words(total)) && reason.contains("--cache-gib"),
            "{reason}"
        );
        assert_eq!(refusal(1 << 20, Device::Cpu), None);
    }

    #[test]
    fn bytes_of_the_command_line_stand() {
        let limits = EngineLimits {
            slots: 4,
            cache: CacheLimit::Bytes(12_345_678),
        };
        for config in configs() {
            assert_eq!(allowance(limits, &config, Kind::Float, Device::Cpu).bytes, 12_345_678);
        }
    }
}
