//! The head's written-out gradient is that of the graph.

use crate::common::{difference, ids, trainable};
use anytime_policy::operators::training::backward;
use anytime_policy::{Decoder, HeadPass, Weights};
use tch::{Device, Kind, Tensor};

const VOCAB: u32 = 97;
const TOKENS: i64 = 11;
const TEMPERATURE: f64 = 0.7;

struct Outcome {
    log_probs: Tensor,
    hidden: Tensor,
    head: Tensor,
}

fn inputs(config_hidden: i64, kind: Kind) -> (Tensor, Tensor, Tensor) {
    // libtorch's generator is shared with tests that run beside this one, so the numbers do not come from it: both
    // sides must get the same.
    let uniform: Vec<f64> = ids(11, (TOKENS * config_hidden) as usize, 1 << 16)
        .into_iter()
        .map(|id| f64::from(id) / f64::from(1 << 15) - 1.0)
        .collect();
    let hidden = (Tensor::from_slice(&uniform) * 3_f64.sqrt())
        .view([TOKENS, config_hidden])
        .to_kind(kind);
    let targets: Vec<i64> = ids(3, TOKENS as usize, VOCAB / 2).into_iter().map(i64::from).collect();
    let wide = if kind == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    };
    let coefficients = (Tensor::arange(TOKENS, (wide, Device::Cpu)) * 0.9).sin();
    (hidden, Tensor::from_slice(&targets), coefficients)
}

/// The head's parameter, which is the embedding where they are tied.
fn head(weights: &Weights) -> &Tensor {
    weights
        .get("lm_head.weight")
        .unwrap_or_else(|| &weights["model.embed_tokens.weight"])
}

fn by_graph(decoder: &Decoder, weights: &Weights, kind: Kind) -> Outcome {
    let (hidden, targets, coefficients) = inputs(decoder.config().hidden_size, kind);
    let hidden = hidden.set_requires_grad(true);
    let log_probs = decoder.log_probs(&hidden, &targets, TEMPERATURE);
    backward(&log_probs, &coefficients);
    Outcome {
        log_probs: log_probs.detach(),
        hidden: hidden.grad(),
        head: head(weights).grad(),
    }
}

fn by_hand(decoder: &Decoder, weights: &Weights, kind: Kind) -> Outcome {
    let (hidden, targets, coefficients) = inputs(decoder.config().hidden_size, kind);
    let mut pass = HeadPass::new(decoder, TEMPERATURE);
    let (mut log_probs, mut gradients) = (Vec::new(), Vec::new());
    for (start, length) in [(0, 4), (4, 6), (10, 1)] {
        let scores = pass.score(&hidden.narrow(0, start, length), &targets.narrow(0, start, length));
        log_probs.push(scores.log_probs().detach());
        (scores.log_probs() * coefficients.narrow(0, start, length))
            .sum(coefficients.kind())
            .backward();
        gradients.push(pass.backward(scores));
    }
    pass.finish();
    Outcome {
        log_probs: Tensor::cat(&log_probs, 0),
        hidden: Tensor::cat(&gradients, 0),
        head: head(weights).grad(),
    }
}

/// `masters` is what the parameters are, `kind` what is computed in. Two passes each, so that gradients add up.
fn compare(name: &str, masters: Kind, kind: Kind, vocabulary: u32, tolerance: f64) {
    for limit in [Decoder::limit_vocabulary, Decoder::mask_vocabulary] {
        compare_limited(name, masters, kind, (vocabulary, limit), tolerance);
    }
}

type Limit = fn(Decoder, u32) -> Decoder;

fn compare_limited(name: &str, masters: Kind, kind: Kind, (vocabulary, limit): (u32, Limit), tolerance: f64) {
    let outcome = |limit: Limit, run: fn(&Decoder, &Weights, Kind) -> Outcome| {
        let (config, weights) = trainable(name, masters);
        let mut last = None;
        for _ in 0..2 {
            let decoder = limit(Decoder::with_compute_kind(&config, &weights, kind).unwrap(), vocabulary);
            last = Some(run(&decoder, &weights, kind));
        }
        last.unwrap()
    };
    let (expected, found) = (outcome(Decoder::limit_vocabulary, by_graph), outcome(limit, by_hand));
    for (part, expected, found) in [
        ("log-probabilities", &expected.log_probs, &found.log_probs),
        ("hidden", &expected.hidden, &found.hidden),
        ("head", &expected.head, &found.head),
    ] {
        let scale = expected.abs().max().double_value(&[]);
        let difference = difference(expected, found);
        assert!(
            difference <= tolerance * scale,
            "{name}, {kind:?}, {vocabulary} ids: {part} differ by {difference} of {scale}"
        );
    }
}

#[test]
fn the_gradient_by_hand_is_that_of_the_graph() {
    for name in ["qwen2", "qwen2-tied"] {
        compare(name, Kind::Double, Kind::Double, VOCAB, 1e-13);
        compare(name, Kind::Float, Kind::Float, VOCAB, 2e-6);
        compare(name, Kind::Float, Kind::Float, VOCAB - 20, 2e-6);
        // A gradient of three chunks is rounded three times by the graph.
        compare(name, Kind::Float, Kind::BFloat16, VOCAB, 1e-2);
    }
}

/// Logits of a bf16 model: the products of bf16 numbers are exact in f32, so only the order of the sums may show.
#[test]
fn logits_of_bf16_weights_are_sums_in_f32() {
    let (config, weights) = trainable("qwen2", Kind::BFloat16);
    let _guard = tch::no_grad_guard();
    let exact: Weights = weights
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::Double)))
        .collect();
    let exact = Decoder::new(&config, &exact).unwrap();
    let plain = Decoder::new(&config, &weights).unwrap();
    let arranged = Decoder::new(&config, &weights).unwrap().for_generation();
    for rows in [1, 4, 5, 64] {
        let hidden = Tensor::randn([rows, config.hidden_size], (Kind::BFloat16, Device::Cpu)) * 20.0;
        let expected = exact.logits(&hidden.to_kind(Kind::Double));
        let scale = expected.abs().max().double_value(&[]);
        for decoder in [&plain, &arranged] {
            let found = decoder.logits(&hidden);
            assert_eq!(found.kind(), Kind::Float);
            let difference = difference(&found, &expected);
            assert!(difference < 1e-5 * scale, "{rows} rows: {difference} of {scale}");
        }
    }
}
