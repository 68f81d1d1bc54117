//! The arithmetic of an update against real passes, and the plans for cards and for the CPU.

use anytime_policy::memory::DeviceMemory;
use anytime_policy::operators::counted;
use anytime_policy::{Branch, Decoder, ModelConfig, TreeBatch, TreeRow, initialise_weights};
use anytime_proto::v1;
use tch::{Device, Kind, Tensor};

use super::gradient::GradientPass;
use super::memory::{UpdateMemory, UpdatePlan, UpdateShape};
use super::stages::AllThere;

const GIB: u64 = 1 << 30;

/// DeepSeek-R1-Distill-Qwen-7B.
const QWEN_7B: &str = r#"{
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "max_position_embeddings": 131072, "tie_word_embeddings": false
}"#;

/// DeepSeek-R1-Distill-Qwen-1.5B.
fn distilled() -> ModelConfig {
    let json = r#"{
        "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
        "max_position_embeddings": 131072, "tie_word_embeddings": false
    }"#;
    ModelConfig::from_json(json).expect("a valid configuration")
}

fn on_cuda(config: &ModelConfig) -> UpdateShape<'_> {
    UpdateShape {
        config,
        compute_kind: Kind::BFloat16,
        is_cuda: true,
        // The defaults: prompts of up to 1,024 tokens, thinking up to 8,000, 16 summaries of 118 with markers.
        longest_row: 1_024 + 8_000 + 16 * 128,
        micro_batch_tokens: None,
        activation_checkpointing: None,
        lora: None,
        has_dropout: false,
        sharding: v1::Sharding::None,
        ranks: 1,
    }
}

fn card(gigabytes: u64) -> DeviceMemory {
    let total = gigabytes * 1_000_000_000;
    DeviceMemory {
        total,
        free: total - 500_000_000,
        held: 0,
        used: 0,
        peak: 0,
    }
}

#[test]
fn the_papers_model_trains_on_cards_of_80_and_48_gigabytes() {
    let config = distilled();
    let shape = on_cuda(&config);
    assert_eq!(shape.layer_bytes(), 92 << 10);
    let plan_on = |gigabytes| shape.plan(Some(card(gigabytes)));
    let large = plan_on(141).expect("fits");
    assert!(
        !large.activation_checkpointing && large.micro_batch_tokens == 32_768,
        "{large:?}"
    );
    let usual = plan_on(80).expect("fits");
    assert!(
        !usual.activation_checkpointing && usual.micro_batch_tokens >= 8_192,
        "{usual:?}"
    );
    let small = plan_on(48).expect("fits");
    assert!(
        small.activation_checkpointing && small.micro_batch_tokens >= 8_192,
        "{small:?}"
    );
    for (plan, gigabytes) in [(usual, 80), (small, 48)] {
        assert!(shape.memory(plan).total() < gigabytes * 1_000_000_000);
    }
    let problem = plan_on(24).expect_err("too large").to_string();
    assert!(
        problem.contains("parameters with gradients 13.2, moments 13.2"),
        "{problem}"
    );
    assert!(problem.contains("the device has 20."), "{problem}");
}

#[test]
fn what_the_job_sets_is_kept_or_refused() {
    let config = distilled();
    let shape = UpdateShape {
        micro_batch_tokens: Some(32_768),
        activation_checkpointing: Some(false),
        lora: None,
        has_dropout: false,
        sharding: v1::Sharding::None,
        ranks: 1,
        ..on_cuda(&config)
    };
    // What README's job did before: 82.6 GiB of activations.
    let problem = shape.plan(Some(card(80))).expect_err("too large");
    assert!(problem.need.activations > 80 * GIB, "{problem}");
    assert!(
        problem.to_string().contains("training.activation_checkpointing = true"),
        "{problem}"
    );
    let kept = shape.plan(Some(card(200))).expect("fits");
    assert_eq!(
        (kept.micro_batch_tokens, kept.activation_checkpointing),
        (32_768, false)
    );
    let again = UpdateShape {
        activation_checkpointing: Some(true),
        lora: None,
        has_dropout: false,
        sharding: v1::Sharding::None,
        ranks: 1,
        ..shape
    };
    assert!(again.plan(Some(card(80))).is_ok());
    assert!(shape.plan(None).is_ok(), "an unknown device refuses nothing");
}

/// What the ranks divide, part by part, and that a pass then brings layers together one at a time.
#[test]
fn what_ranks_divide_leaves_room() {
    let config = ModelConfig::from_json(QWEN_7B).expect("valid");
    let shape = |sharding, ranks| UpdateShape {
        sharding,
        ranks,
        longest_row: 11_072,
        ..on_cuda(&config)
    };
    let plan = UpdatePlan {
        micro_batch_tokens: 1_024,
        activation_checkpointing: true,
    };
    let need = |sharding, ranks| shape(sharding, ranks).memory(plan);
    let (none, alone) = (need(v1::Sharding::None, 4), need(v1::Sharding::Full, 1));
    assert_eq!(none, alone, "one rank divides nothing");
    let optimizer = need(v1::Sharding::Optimizer, 4);
    assert_eq!(
        (optimizer.moments, optimizer.parameters),
        (none.moments / 4, none.parameters)
    );
    let gradients = need(v1::Sharding::Gradients, 4);
    assert_eq!(
        (gradients.moments, gradients.parameters),
        (none.moments / 4, none.parameters / 4)
    );
    assert_eq!(gradients.copy, none.copy);
    let full = need(v1::Sharding::Full, 4);
    assert_eq!((full.moments, full.parameters), (none.moments / 4, none.parameters / 4));
    assert!(full.copy < none.copy / 10, "{full:?}");
    let of_logits_and_activations = |need: &UpdateMemory| (need.logits, need.activations);
    assert_eq!(of_logits_and_activations(&full), of_logits_and_activations(&none));
    // The paper's 7B run on cards of 80 GB.
    for (sharding, ranks, fits) in [
        (v1::Sharding::None, 8, false),
        (v1::Sharding::Optimizer, 8, false),
        (v1::Sharding::Gradients, 2, false),
        (v1::Sharding::Gradients, 4, true),
        (v1::Sharding::Full, 2, false),
        (v1::Sharding::Full, 4, true),
    ] {
        let found = shape(sharding, ranks).plan(Some(card(80)));
        assert_eq!(found.is_ok(), fits, "{sharding:?} of {ranks}: {found:?}");
        if let Ok(plan) = found {
            assert!(plan.activation_checkpointing, "weights come and go with the layers");
        }
    }
}

#[test]
fn a_micro_batch_on_the_cpu_follows_the_model_and_not_the_machine() {
    let json = |hidden: i64, intermediate: i64, layers: i64| {
        format!(
            r#"{{"model_type": "llama", "hidden_size": {hidden}, "intermediate_size": {intermediate},
            "num_hidden_layers": {layers}, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
            "vocab_size": 49152, "max_position_embeddings": 2048, "tie_word_embeddings": true}}"#
        )
    };
    let tokens = |hidden, intermediate, layers| {
        let config = ModelConfig::from_json(&json(hidden, intermediate, layers)).expect("valid");
        let shape = UpdateShape {
            compute_kind: Kind::Float,
            is_cuda: false,
            longest_row: 500,
            ..on_cuda(&config)
        };
        let plans = [24_u64, 512].map(|gibibytes| {
            let total = gibibytes * GIB;
            let memory = DeviceMemory {
                total,
                free: total / 2,
                ..card(1)
            };
            shape.plan(Some(memory)).expect("fits")
        });
        assert_eq!(plans[0], plans[1]);
        assert!(!plans[0].activation_checkpointing);
        plans[0].micro_batch_tokens
    };
    assert_eq!(tokens(96, 256, 3), 8_192);
    // SmolLM2-135M.
    assert_eq!(tokens(576, 1_536, 30), 2_048);
}

fn small(model_type: &str) -> ModelConfig {
    let json = format!(
        r#"{{"model_type": "{model_type}", "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 24,
        "max_position_embeddings": 4096, "tie_word_embeddings": true}}"#
    );
    ModelConfig::from_json(&json).expect("valid")
}

/// The most bytes that a pass over one row of so many tokens holds, without its parameters.
fn held(config: &ModelConfig, kind: Kind, recomputing: bool, tokens: usize) -> (f64, f64) {
    tch::set_num_threads(1);
    let weights: anytime_policy::Weights = initialise_weights(config, 3, Device::Cpu)
        .into_iter()
        .map(|(name, tensor)| (name, tensor.set_requires_grad(true)))
        .collect();
    let row = TreeRow {
        prompt: 4,
        prefix: (0..tokens - 20).map(|index| (index * 7 % 24) as u32).collect(),
        branches: vec![Branch {
            cut: tokens - 24,
            inserted: 2,
            ids: (0..20).collect(),
        }],
    };
    let packed = row.tokens();
    let tree = TreeBatch::pack(&[row], Device::Cpu);
    let trained = tree.trained_tokens() as i64;
    let run = || {
        let pass = GradientPass {
            decoder: &Decoder::with_compute_kind(config, &weights, kind).expect("fits"),
            tree: &tree,
            chunks: &[(0, trained)],
            temperature: 1.0,
        };
        let loss = |log_probs: &Tensor, _: i64, _: i64| log_probs.sum(Kind::Float);
        match recomputing {
            true => pass.recomputing(&AllThere, loss).expect("one process"),
            false => pass.keeping(loss),
        }
    };
    run();
    (counted(run).1.most_held as f64, packed as f64)
}

/// Compared per token, because parameters and other constant parts are the same for both lengths.
#[test]
fn the_arithmetic_is_that_of_real_passes() {
    for model_type in ["llama", "qwen3"] {
        let config = small(model_type);
        for kind in [Kind::Float, Kind::BFloat16] {
            let shape = UpdateShape {
                compute_kind: kind,
                is_cuda: false,
                ..on_cuda(&config)
            };
            for activation_checkpointing in [false, true] {
                let [short, long] = [1_000, 2_000].map(|tokens| held(&config, kind, activation_checkpointing, tokens));
                let measured = (long.0 - short.0) / (long.1 - short.1);
                let predicted = |tokens: f64| {
                    let plan = UpdatePlan {
                        micro_batch_tokens: tokens as usize,
                        activation_checkpointing,
                    };
                    let need = UpdateShape {
                        longest_row: 0,
                        ..shape
                    }
                    .memory(plan);
                    (need.activations + need.logits) as f64
                };
                let predicted = (predicted(long.1) - predicted(short.1)) / (long.1 - short.1);
                let ratio = predicted / measured;
                // Rather too much than too little, most of all for the one layer that is computed again.
                let most = if activation_checkpointing { 1.8 } else { 1.3 };
                assert!(
                    (0.95..most).contains(&ratio),
                    "{model_type}, {kind:?}, again {activation_checkpointing}: {predicted} predicted, {measured} measured"
                );
            }
        }
    }
}
