//! A packed tree equals each of its branches in a sequence of its own: log-probabilities and gradients.

use crate::common::{difference, ids, trainable};
use anytime_policy::{Branch, Decoder, ModelConfig, TreeBatch, TreeRow, Weights};
use tch::{Device, Kind, Tensor};

const VOCAB: u32 = 97;

/// Rows of different lengths: cuts at 0 and at the end, no branches, no thinking, branches out of order.
fn rows() -> Vec<TreeRow> {
    let branch = |seed: u32, cut: usize, inserted: usize, length: usize| Branch {
        cut,
        inserted,
        ids: ids(seed, length, VOCAB),
    };
    let row = |seed: u32, prompt: usize, thinking: usize, branches: Vec<Branch>| TreeRow {
        prompt,
        prefix: ids(seed, prompt + thinking, VOCAB),
        branches,
    };
    vec![
        row(
            1,
            3,
            11,
            vec![
                branch(2, 0, 1, 6),
                branch(3, 11, 2, 5),
                branch(4, 5, 1, 9),
                branch(5, 5, 3, 4),
            ],
        ),
        row(6, 7, 20, vec![branch(7, 20, 2, 3)]),
        row(8, 4, 9, vec![]),
        row(9, 5, 0, vec![branch(10, 0, 1, 7), branch(11, 0, 2, 2)]),
        row(12, 1, 1, vec![branch(13, 1, 1, 1), branch(14, 0, 1, 12)]),
        row(15, 1, 0, vec![]),
    ]
}

/// The same tokens without a tree: the thinking as a row without branches, each branch as the thinking of a row whose
/// prompt is all that it sees. Plain causal sequences, in the order of the packed tree's trained tokens.
fn rows_alone(row: &TreeRow) -> Vec<TreeRow> {
    let mut alone = vec![TreeRow {
        branches: vec![],
        ..row.clone()
    }];
    for branch in &row.branches {
        let seen = row.prompt + branch.cut;
        let mut prefix = row.prefix[..seen].to_vec();
        prefix.extend(&branch.ids);
        alone.push(TreeRow {
            prompt: seen + branch.inserted,
            prefix,
            branches: vec![],
        });
    }
    alone
}

/// Log-probabilities of a batch; the gradients of a weighted sum of them are added to the parameters'.
fn run(decoder: &Decoder, rows: &[TreeRow], token_weights: &Tensor) -> Tensor {
    let batch = TreeBatch::pack(rows, Device::Cpu);
    let log_probs = decoder.log_probs(&decoder.tree(&batch), batch.targets(), 0.7);
    assert_eq!(log_probs.size(), [batch.trained_tokens() as i64]);
    if batch.trained_tokens() > 0 {
        (&log_probs * token_weights).sum(log_probs.kind()).backward();
    }
    log_probs.detach()
}

fn take_gradients(weights: &Weights) -> Vec<(String, Tensor)> {
    let mut gradients = Vec::new();
    for (name, tensor) in weights {
        let mut gradient = tensor.grad();
        gradients.push((name.clone(), gradient.copy()));
        let _ = gradient.zero_();
    }
    gradients
}

/// How the tokens of a tree attend.
#[derive(Clone, Copy, Debug)]
enum Way {
    Masks,
    /// As in bf16 on CUDA: here by plain operators.
    Sequences,
}

impl Way {
    fn decoder(self, config: &ModelConfig, weights: &Weights) -> Decoder {
        let decoder = Decoder::new(config, weights).unwrap();
        match self {
            Way::Masks => decoder,
            Way::Sequences => decoder.without_masks(),
        }
    }
}

fn packed_equals_alone(name: &str, kind: Kind, way: Way, tolerance: f64) {
    let (config, weights) = trainable(name, kind);
    let decoder = way.decoder(&config, &weights);
    let under_masks = Way::Masks.decoder(&config, &weights);
    let rows = rows();
    let batch = TreeBatch::pack(&rows, Device::Cpu);
    let count = batch.trained_tokens() as i64;
    assert_eq!(count, 11 + 5 + 3 + 8 + 1 + 20 + 1 + 9 + 6 + 1 + 11);
    // Weights of both signs, as advantages are.
    let token_weights = (Tensor::arange(count, (kind, Device::Cpu)) * 0.9).sin();

    let packed = run(&decoder, &rows, &token_weights);
    let packed_gradients = take_gradients(&weights);

    let mut alone = Vec::new();
    let mut done = 0;
    for row in rows.iter().flat_map(rows_alone) {
        let length = (row.prefix.len() - row.prompt) as i64;
        alone.push(run(&under_masks, &[row], &token_weights.narrow(0, done, length)));
        done += length;
    }
    assert_eq!(done, count);
    let alone = Tensor::cat(&alone, 0);
    let alone_gradients = take_gradients(&weights);

    // Each row in a batch of its own attends as long rows do.
    let mut by_row = Vec::new();
    let mut done = 0;
    for row in &rows {
        let thinking = row.prefix.len() - row.prompt;
        let branches = row.branches.iter().map(|branch| branch.ids.len() - branch.inserted);
        let length = (thinking + branches.sum::<usize>()) as i64;
        by_row.push(run(
            &decoder,
            std::slice::from_ref(row),
            &token_weights.narrow(0, done, length),
        ));
        done += length;
    }
    let by_row = Tensor::cat(&by_row, 0);
    for ((name, by_row), (_, alone)) in take_gradients(&weights).iter().zip(&alone_gradients) {
        let gradient = difference(by_row, alone);
        assert!(
            gradient <= tolerance,
            "{name}, {kind:?}, {way:?}: gradients of single rows differ by {gradient}"
        );
    }
    let single = difference(&by_row, &alone);
    assert!(
        single <= tolerance,
        "{name}, {kind:?}, {way:?}: single rows differ by {single}"
    );
    let largest = difference(&packed, &alone);
    let mut largest_gradient: f64 = 0.0;
    for ((name, packed), (_, alone)) in packed_gradients.iter().zip(&alone_gradients) {
        assert!(packed.abs().max().double_value(&[]) > 0.0, "{name} has no gradient");
        largest_gradient = largest_gradient.max(difference(packed, alone));
    }
    println!("{name}, {kind:?}, {way:?}: log-probabilities {largest:.1e}, gradients {largest_gradient:.1e}");
    assert!(
        largest <= tolerance,
        "{name}, {kind:?}, {way:?}: log-probabilities differ by {largest}"
    );
    assert!(
        largest_gradient <= tolerance,
        "{name}, {kind:?}, {way:?}: gradients differ by {largest_gradient}"
    );
}

#[test]
fn packed_equals_alone_in_f64() {
    for name in ["qwen2", "qwen2-tied", "llama", "llama-scaled", "qwen3"] {
        packed_equals_alone(name, Kind::Double, Way::Masks, 1e-9);
        packed_equals_alone(name, Kind::Double, Way::Sequences, 1e-12);
    }
}

#[test]
fn packed_equals_alone_in_f32() {
    for name in ["qwen2", "qwen2-tied", "llama", "qwen3"] {
        packed_equals_alone(name, Kind::Float, Way::Masks, 1e-4);
        packed_equals_alone(name, Kind::Float, Way::Sequences, 1e-4);
    }
}

#[test]
fn gradient_equals_finite_differences() {
    for way in [Way::Masks, Way::Sequences] {
        gradient_equals_slopes(way);
    }
}

fn gradient_equals_slopes(way: Way) {
    // The comparisons above have the same attention on both sides; this one does not depend on its backward pass.
    let (config, weights) = trainable("qwen3", Kind::Double);
    let decoder = way.decoder(&config, &weights);
    let batch = TreeBatch::pack(&rows()[..2], Device::Cpu);
    let value = || {
        decoder
            .log_probs(&decoder.tree(&batch), batch.targets(), 1.0)
            .sum(Kind::Double)
    };
    value().backward();
    for name in [
        "model.layers.0.self_attn.k_proj.weight",
        "model.layers.1.self_attn.v_proj.weight",
    ] {
        for index in [[0, 0], [5, 7], [31, 31]] {
            let gradient = weights[name].grad().double_value(&index);
            let step = 1e-5;
            let shifted = |by: f64| {
                tch::no_grad(|| {
                    let _ = weights[name].get(index[0]).get(index[1]).g_add_scalar_(by);
                    let shifted = value().double_value(&[]);
                    let _ = weights[name].get(index[0]).get(index[1]).g_add_scalar_(-by);
                    shifted
                })
            };
            let slope = (shifted(step) - shifted(-step)) / (2.0 * step);
            assert!(
                (gradient - slope).abs() <= 1e-5 * (1.0 + slope.abs()),
                "{way:?}, {name} {index:?}: {gradient} {slope}"
            );
        }
    }
}

#[test]
fn batches_without_trained_tokens() {
    for way in [Way::Masks, Way::Sequences] {
        without_trained_tokens(way);
    }
}

fn without_trained_tokens(way: Way) {
    let (config, weights) = trainable("qwen2", Kind::Float);
    let decoder = way.decoder(&config, &weights);
    let bare = TreeRow {
        prompt: 2,
        prefix: vec![1, 2],
        branches: vec![],
    };
    for rows in [vec![], vec![bare.clone()], vec![bare.clone(), bare]] {
        let batch = TreeBatch::pack(&rows, Device::Cpu);
        assert_eq!(batch.trained_tokens(), 0);
        let hidden = decoder.tree(&batch);
        assert_eq!(hidden.size(), [0, config.hidden_size]);
        assert_eq!(decoder.log_probs(&hidden, batch.targets(), 1.0).size(), [0]);
    }
}

#[test]
fn log_probs_in_pieces() {
    let (config, weights) = trainable("llama", Kind::Double);
    let decoder = Decoder::new(&config, &weights).unwrap();
    let batch = TreeBatch::pack(&rows(), Device::Cpu);
    let hidden = decoder.tree(&batch);
    let whole = decoder.log_probs(&hidden, batch.targets(), 1.3);
    let count = batch.trained_tokens() as i64;
    let mut pieces = Vec::new();
    for start in (0..count).step_by(13) {
        let length = 13.min(count - start);
        let targets = batch.targets().narrow(0, start, length);
        pieces.push(decoder.log_probs(&hidden.narrow(0, start, length), &targets, 1.3));
    }
    assert!(difference(&whole, &Tensor::cat(&pieces, 0)) <= 1e-12);
}

#[test]
fn log_probs_are_those_of_the_logits_over_the_temperature() {
    let (config, weights) = trainable("qwen2", Kind::Float);
    let decoder = Decoder::new(&config, &weights).unwrap();
    let batch = TreeBatch::pack(&rows(), Device::Cpu);
    let hidden = decoder.tree(&batch);
    let logits = decoder.logits(&hidden).to_kind(Kind::Double);
    for temperature in [1.0, 0.6, 1.7] {
        let scaled = &logits / temperature;
        let chosen = scaled.gather(1, &batch.targets().unsqueeze(1), false).squeeze_dim(1);
        let expected = chosen - scaled.exp().sum_dim_intlist(1, false, Kind::Double).log();
        let found = decoder.log_probs(&hidden, batch.targets(), temperature);
        assert!(difference(&found, &expected) <= 1e-5, "{temperature}");
    }
}

#[test]
fn layer_by_layer() {
    let (config, weights) = trainable("qwen2", Kind::Double);
    let decoder = Way::Sequences.decoder(&config, &weights);
    let batch = TreeBatch::pack(&rows(), Device::Cpu);
    let (mut hidden, pass) = decoder.start_tree(&batch);
    for layer in 0..config.num_hidden_layers {
        hidden = decoder.tree_layer(&pass, layer, &hidden);
    }
    assert!(difference(&decoder.finish_tree(&pass, &hidden), &decoder.tree(&batch)) == 0.0);
}

#[test]
fn bf16_compute_gives_f32_gradients() {
    let (config, masters) = trainable("qwen2-tied", Kind::Float);
    let rows = rows();
    let exact = Decoder::new(&config, &masters).unwrap();
    let decoder = Decoder::with_compute_kind(&config, &masters, Kind::BFloat16).unwrap();
    assert_eq!(decoder.kind(), Kind::BFloat16);
    let batch = TreeBatch::pack(&rows, Device::Cpu);
    assert_eq!(decoder.tree(&batch).kind(), Kind::BFloat16);
    let ones = Tensor::ones([batch.trained_tokens() as i64], (Kind::Float, Device::Cpu));

    let expected = run(&exact, &rows, &ones);
    let expected_gradients = take_gradients(&masters);
    let found = run(&decoder, &rows, &ones);
    assert_eq!(found.kind(), Kind::Float);
    let found_gradients = take_gradients(&masters);
    // A second pass through the same casts, as accumulation over micro-batches does.
    let _ = run(&decoder, &rows, &ones);
    let again = take_gradients(&masters);

    let mean = (&found - &expected).abs().mean(Kind::Float).double_value(&[]);
    println!("bf16 against f32: mean difference of log-probabilities {mean:.1e}");
    assert!(mean < 0.1, "{mean}");
    for (index, (name, gradient)) in found_gradients.iter().enumerate() {
        assert_eq!(gradient.kind(), Kind::Float, "{name}");
        let cosine = Tensor::cosine_similarity(&gradient.view([-1]), &expected_gradients[index].1.view([-1]), 0, 1e-12);
        assert!(cosine.double_value(&[]) > 0.98, "{name}: {}", cosine.double_value(&[]));
        assert!(difference(gradient, &again[index].1) <= 1e-6, "{name}");
    }
}

#[test]
fn contradictory_rows_are_refused() {
    let good = TreeRow {
        prompt: 2,
        prefix: vec![1, 2, 3],
        branches: vec![Branch {
            cut: 1,
            inserted: 1,
            ids: vec![4],
        }],
    };
    good.check(5).unwrap();
    let refused = |change: &dyn Fn(&mut TreeRow), problem: &str| {
        let mut row = good.clone();
        change(&mut row);
        let error = row.check(5).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    };
    refused(&|row| row.prompt = 0, "prompt of 0 tokens in a prefix of 3");
    refused(&|row| row.prompt = 4, "prompt of 4 tokens in a prefix of 3");
    refused(
        &|row| row.branches[0].cut = 2,
        "branch 0 is cut at 2 of 1 thinking tokens",
    );
    refused(
        &|row| row.branches[0].inserted = 0,
        "branch 0 has 0 inserted tokens of 1",
    );
    refused(
        &|row| row.branches[0].inserted = 2,
        "branch 0 has 2 inserted tokens of 1",
    );
    refused(
        &|row| row.branches[0].ids[0] = 5,
        "token 5 is outside the vocabulary of 5",
    );
}

#[test]
fn tokens_of_rows() {
    let tokens: usize = rows().iter().map(TreeRow::tokens).sum();
    assert_eq!(tokens, 14 + 24 + 27 + 3 + 13 + 5 + 9 + 2 + 13 + 1);
}

#[test]
fn ids_outside_the_vocabulary_take_no_probability() {
    let (config, weights) = trainable("llama", Kind::Float);
    let _guard = tch::no_grad_guard();
    let whole = Decoder::new(&config, &weights).unwrap();
    let vocabulary = config.vocab_size as u32 - 3;
    let limited = Decoder::new(&config, &weights).unwrap().limit_vocabulary(vocabulary);
    let hidden = Tensor::rand([4, config.hidden_size], (Kind::Float, Device::Cpu));
    let targets = Tensor::from_slice(&[0_i64, 1, 2, 3]);
    let masked = whole
        .logits(&hidden)
        .narrow(1, 0, i64::from(vocabulary))
        .log_softmax(-1, None);
    let expected = masked.gather(-1, &targets.unsqueeze(-1), false).squeeze_dim(-1);
    let difference = limited.log_probs(&hidden, &targets, 1.0) - expected;
    assert!(difference.abs().max().double_value(&[]) < 1e-6);
    let unlimited = whole.log_probs(&hidden, &targets, 1.0) - limited.log_probs(&hidden, &targets, 1.0);
    assert!(unlimited.max().double_value(&[]) < 0.0);
}
