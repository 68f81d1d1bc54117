//! Recomputing activations saves memory and gives the same gradients, and the number of operations of an update does
//! not depend on the lengths of its rows.

use anytime_policy::operators::counted;
use anytime_policy::{Branch, Decoder, ModelConfig, TreeBatch, TreeRow, Weights, initialise_weights};
use tch::{Device, Kind, Tensor};

use super::gradient::GradientPass;
use super::stages::AllThere;

fn config() -> ModelConfig {
    tch::set_num_threads(1);
    let json = r#"{
        "model_type": "qwen2", "hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 6,
        "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 24, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "max_position_embeddings": 1024, "tie_word_embeddings": true, "hidden_act": "silu"
    }"#;
    ModelConfig::from_json(json).expect("a valid configuration")
}

fn masters(config: &ModelConfig) -> Weights {
    let weights = initialise_weights(config, 3, Device::Cpu).into_iter();
    weights
        .map(|(name, tensor)| (name, tensor.set_requires_grad(true)))
        .collect()
}

pub(super) fn row(thinking: usize) -> TreeRow {
    let ids = |length: usize, factor: usize| (0..length).map(|index| (index * factor % 24) as u32).collect();
    let branch = |cut: usize| Branch {
        cut,
        inserted: 2,
        ids: ids(9, 5),
    };
    TreeRow {
        prompt: 4,
        prefix: ids(4 + thinking, 7),
        branches: vec![branch(thinking / 2), branch(thinking)],
    }
}

/// A loss that weighs each token differently.
pub(super) fn loss(log_probs: &Tensor, start: i64, length: i64) -> Tensor {
    let numbers = Tensor::arange_start(start, start + length, (Kind::Float, Device::Cpu));
    (log_probs * (numbers * 0.9).sin()).sum(Kind::Float)
}

/// Gradients of a pass over one row and what it cost, after another pass that has made the gradients.
fn pass(kind: Kind, recomputing: bool, thinking: usize) -> (Weights, anytime_policy::operators::Counted) {
    let config = config();
    let weights = masters(&config);
    let tree = TreeBatch::pack(&[row(thinking)], Device::Cpu);
    let tokens = tree.trained_tokens() as i64;
    let run = || {
        let pass = GradientPass {
            decoder: &Decoder::with_compute_kind(&config, &weights, kind).expect("fits"),
            tree: &tree,
            chunks: &[(0, 10), (10, tokens - 10)],
            temperature: 0.8,
        };
        match recomputing {
            true => pass.recomputing(&AllThere, loss).expect("one process"),
            false => pass.keeping(loss),
        }
    };
    run();
    let (_, counts) = counted(run);
    let gradients = weights
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.grad()))
        .collect();
    (gradients, counts)
}

#[test]
fn recomputing_gives_the_same_gradients() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let (kept, _) = pass(kind, false, 40);
        let (recomputed, _) = pass(kind, true, 40);
        for (name, kept) in &kept {
            let scale = kept.abs().max().double_value(&[]);
            let difference = (kept - &recomputed[name]).abs().max().double_value(&[]);
            assert!(scale > 0.0, "{name} has no gradient");
            assert!(difference <= 1e-6 * scale, "{name}, {kind:?}: {difference} of {scale}");
        }
    }
}

#[test]
fn recomputing_holds_a_fraction_of_the_memory() {
    let (_, kept) = pass(Kind::Float, false, 400);
    let (_, recomputed) = pass(Kind::Float, true, 400);
    // One of six layers is held at a time, besides the inputs of the others.
    assert!(recomputed.most_held * 5 < kept.most_held * 2, "{recomputed:?} {kept:?}");
    assert!(
        recomputed.operations * 2 < kept.operations * 3,
        "{recomputed:?} {kept:?}"
    );
}

#[test]
fn an_update_dispatches_the_same_whatever_its_length() {
    for recomputing in [false, true] {
        let (_, short) = pass(Kind::Float, recomputing, 300);
        let (_, long) = pass(Kind::Float, recomputing, 600);
        assert_eq!(short.operations, long.operations, "{short:?} {long:?}");
        assert_eq!(short.allocations, long.allocations, "{short:?} {long:?}");
        // Twice the tokens take at most so much more memory: nothing is quadratic.
        assert!(long.most_held < short.most_held * 5 / 2, "{short:?} {long:?}");
    }
}

/// The estimate of a token's gradient at the logits against the gradient itself: at most √2 below it.
#[test]
fn the_largest_token_is_found() {
    let config = config();
    let weights = masters(&config);
    let tree = TreeBatch::pack(&[row(20)], Device::Cpu);
    let tokens = tree.trained_tokens() as i64;
    let decoder = Decoder::new(&config, &weights).expect("fits");
    // One token weighs a hundred times what the others do.
    let coefficients = Tensor::ones([tokens], (Kind::Float, Device::Cpu));
    let _ = coefficients.get(7).fill_(100.0);
    let pass = GradientPass {
        decoder: &decoder,
        tree: &tree,
        chunks: &[(0, 10), (10, tokens - 10)],
        temperature: 1.0,
    };
    let loss = |log_probs: &Tensor, start: i64, length: i64| {
        -(log_probs * coefficients.narrow(0, start, length)).sum(Kind::Float)
    };
    let figures = pass.keeping(loss);
    let logits = tch::no_grad(|| decoder.logits(&decoder.tree(&tree)));
    let one_hot = tree.targets().one_hot(config.vocab_size).to_kind(Kind::Float);
    let lengths = (one_hot - logits.softmax(-1, Kind::Float))
        .square()
        .sum_dim_intlist([-1_i64].as_slice(), false, Kind::Float)
        .sqrt()
        * &coefficients;
    for (found, exact) in [
        (figures.token_gradients, lengths.sum(Kind::Float)),
        (figures.largest_token_gradient, lengths.max()),
    ] {
        let exact = exact.double_value(&[]);
        assert!(found <= exact * 1.001 && exact <= found * 1.42, "{found} {exact}");
    }
    let share = lengths.max().double_value(&[]) / lengths.sum(Kind::Float).double_value(&[]);
    assert!(
        (figures.largest_token_share() / share - 1.0).abs() < 0.2,
        "{figures:?} {share}"
    );
    assert_eq!(figures.tokens as i64, tokens);
}
