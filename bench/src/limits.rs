//! How long libtorch's matrix products alone take, in the order of a model's pass, so that they find in the processor's
//! caches what they find in a pass. No code of this project runs here, only plain operations on the checkpoint's
//! tensors.

use std::time::Instant;

use anytime_policy::Weights;
use tch::{Device, Kind, Tensor};

use crate::model::LoadedModel;

/// A pass is repeated until its runs take this long together.
const LEAST_SECONDS: f64 = 0.4;

/// The linear layers of a model, in the order of computation.
struct LinearLayers {
    layers: Vec<[Tensor; 7]>,
    head: Tensor,
}

impl LinearLayers {
    fn new(model: &LoadedModel) -> Self {
        const NAMES: [&str; 7] = [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj",
        ];
        let weights: &Weights = &model.weights;
        let layer =
            |index: usize| NAMES.map(|name| weights[&format!("model.layers.{index}.{name}.weight")].shallow_clone());
        let head = weights
            .get("lm_head.weight")
            .unwrap_or_else(|| &weights["model.embed_tokens.weight"]);
        Self {
            layers: (0..model.config.num_hidden_layers).map(layer).collect(),
            head: head.shallow_clone(),
        }
    }

    /// All products of one forward pass over `rows` tokens, the head over `head_rows`.
    fn forward(&self, inputs: &Inputs) {
        for [query, key, value, output, gate, up, down] in &self.layers {
            for weight in [query, key, value] {
                let _ = inputs.hidden.linear(weight, None::<&Tensor>);
            }
            let _ = inputs.attended.linear(output, None::<&Tensor>);
            let gated = inputs.hidden.linear(gate, None::<&Tensor>);
            let _ = inputs.hidden.linear(up, None::<&Tensor>);
            let _ = gated.linear(down, None::<&Tensor>);
        }
        let _ = inputs.predictors.linear(&self.head, None::<&Tensor>);
    }

    /// Both products of the backward pass of every layer, from the head to the first layer.
    fn backward(&self, inputs: &Inputs, gradients: &mut Vec<(Vec<i64>, Tensor)>) {
        let mut products = |weight: &Tensor, input: &Tensor, gradient: &Tensor| {
            let _ = gradient.matmul(weight);
            // Gradients go into memory that is there already, as in training; fresh pages would cost more.
            let place = gradients.iter().position(|(size, _)| *size == weight.size());
            let place = place.unwrap_or_else(|| {
                gradients.push((weight.size(), weight.zeros_like()));
                gradients.len() - 1
            });
            let _ = gradient.transpose(0, 1).matmul_out(&gradients[place].1, input);
        };
        products(&self.head, &inputs.predictors, &inputs.logits);
        for [query, key, value, output, gate, up, down] in self.layers.iter().rev() {
            products(down, &inputs.widened, &inputs.hidden);
            products(up, &inputs.hidden, &inputs.widened);
            products(gate, &inputs.hidden, &inputs.widened);
            products(output, &inputs.attended, &inputs.hidden);
            products(value, &inputs.hidden, &inputs.keys);
            products(key, &inputs.hidden, &inputs.keys);
            products(query, &inputs.hidden, &inputs.attended);
        }
    }
}

/// Activations of every width, random.
struct Inputs {
    hidden: Tensor,
    attended: Tensor,
    keys: Tensor,
    widened: Tensor,
    predictors: Tensor,
    logits: Tensor,
}

impl Inputs {
    fn new(model: &LoadedModel, rows: i64, head_rows: i64, kind: Kind, device: Device) -> Self {
        tch::manual_seed(1);
        let config = &model.config;
        let random = |rows: i64, width: i64| Tensor::randn([rows, width], (kind, device));
        Self {
            hidden: random(rows, config.hidden_size),
            attended: random(rows, config.num_attention_heads * config.head_dim),
            keys: random(rows, config.num_key_value_heads * config.head_dim),
            widened: random(rows, config.intermediate_size),
            predictors: random(head_rows, config.hidden_size),
            logits: random(head_rows, config.vocab_size),
        }
    }
}

/// Seconds of each forward pass of all linear layers and the head over `rows` tokens; at least `repetitions` passes.
pub fn forward(model: &LoadedModel, rows: usize, repetitions: usize) -> Vec<f64> {
    let _guard = tch::no_grad_guard();
    let layers = LinearLayers::new(model);
    let (kind, device) = (layers.head.kind(), layers.head.device());
    let inputs = Inputs::new(model, rows as i64, rows as i64, kind, device);
    repeat(repetitions, device, || layers.forward(&inputs))
}

/// Seconds of each update's products: forward over `rows` tokens, backward twice as much, the head for `head_rows` of
/// them; at least `repetitions` times.
pub fn update(model: &LoadedModel, rows: usize, head_rows: usize, repetitions: usize) -> Vec<f64> {
    let _guard = tch::no_grad_guard();
    let layers = LinearLayers::new(model);
    let (kind, device) = (layers.head.kind(), layers.head.device());
    let inputs = Inputs::new(model, rows as i64, head_rows as i64, kind, device);
    let mut gradients = Vec::new();
    repeat(repetitions, device, || {
        layers.forward(&inputs);
        layers.backward(&inputs, &mut gradients);
    })
}

/// Seconds of each call after one that is not counted.
pub fn repeat(repetitions: usize, device: Device, mut call: impl FnMut()) -> Vec<f64> {
    call();
    synchronise(device);
    let mut seconds: Vec<f64> = Vec::new();
    while seconds.len() < repetitions || seconds.iter().sum::<f64>() < LEAST_SECONDS {
        let started = Instant::now();
        call();
        synchronise(device);
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds
}

/// Waits for everything that was asked of the device.
pub fn synchronise(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}
