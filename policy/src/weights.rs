//! The parameters of a model by their names in a checkpoint: which ones there are, their shapes, and freshly drawn
//! ones.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};

use crate::config::ModelConfig;

/// The parameters of a model by their names in a checkpoint, for example `model.layers.0.self_attn.q_proj.weight`.
///
/// Ordered by name, so that every process walks them in the same order.
pub type Weights = BTreeMap<String, Tensor>;

/// Names and shapes of all parameters, in the order of computation.
///
/// Projection weights are [outputs, inputs]. With tied embeddings there is no `lm_head.weight`.
pub fn expected_tensors(config: &ModelConfig) -> Vec<(String, Vec<i64>)> {
    let hidden = config.hidden_size;
    let query_width = config.num_attention_heads * config.head_dim;
    let key_width = config.num_key_value_heads * config.head_dim;
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden])];
    for layer in 0..config.num_hidden_layers {
        let mut add =
            |name: &str, shape: &[i64]| tensors.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[hidden]);
        add("self_attn.q_proj.weight", &[query_width, hidden]);
        add("self_attn.k_proj.weight", &[key_width, hidden]);
        add("self_attn.v_proj.weight", &[key_width, hidden]);
        if config.has_qkv_bias() {
            add("self_attn.q_proj.bias", &[query_width]);
            add("self_attn.k_proj.bias", &[key_width]);
            add("self_attn.v_proj.bias", &[key_width]);
        }
        if config.has_qk_norm() {
            add("self_attn.q_norm.weight", &[config.head_dim]);
            add("self_attn.k_norm.weight", &[config.head_dim]);
        }
        add("self_attn.o_proj.weight", &[hidden, query_width]);
        if config.attention_bias {
            add("self_attn.o_proj.bias", &[hidden]);
        }
        add("post_attention_layernorm.weight", &[hidden]);
        add("mlp.gate_proj.weight", &[config.intermediate_size, hidden]);
        add("mlp.up_proj.weight", &[config.intermediate_size, hidden]);
        add("mlp.down_proj.weight", &[hidden, config.intermediate_size]);
    }
    tensors.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !config.tie_word_embeddings {
        tensors.push(("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]));
    }
    tensors
}

/// Draws fresh f32 parameters: normal with standard deviation `initializer_range`; normalisations are 1, biases 0.
///
/// Each tensor draws from its own ChaCha8 stream (seeded with `seed`, stream number = place in
/// [`expected_tensors`]), so the result depends on the seed alone and not on libtorch's global generator.
pub fn initialise_weights(config: &ModelConfig, seed: u64, device: Device) -> Weights {
    let mut weights = Weights::new();
    for (index, (name, shape)) in expected_tensors(config).into_iter().enumerate() {
        let count = shape.iter().product::<i64>() as usize;
        let values = if name.ends_with("norm.weight") {
            vec![1.0; count]
        } else if name.ends_with(".bias") {
            vec![0.0; count]
        } else {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(index as u64);
            normal_values(&mut generator, count, config.initializer_range)
        };
        weights.insert(
            name,
            Tensor::from_slice(&values).view(shape.as_slice()).to_device(device),
        );
    }
    weights
}

/// Draws normal values with mean 0 by the Box–Muller transform.
fn normal_values(generator: &mut ChaCha8Rng, count: usize, standard_deviation: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 - u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - generator.random::<f64>()).ln()).sqrt() * standard_deviation;
        let (sine, cosine) = (std::f64::consts::TAU * generator.random::<f64>()).sin_cos();
        values.push((radius * cosine) as f32);
        values.push((radius * sine) as f32);
    }
    values.truncate(count);
    values
}
