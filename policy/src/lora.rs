//! Adapters of low rank (LoRA, arXiv 2106.09685): to the weight W [outputs, inputs] of a projection (alpha / rank)·B·A is
//! added, with A [rank, inputs] and B [outputs, rank] in f32.
//!
//! Who generates and who trains run over the same sum, rounded to the kind of W, so that both mean the same policy and
//! generation costs nothing more. Its parts have the names that PEFT gives them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor, no_grad};

use crate::adapter_config::Lora;
use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::weights::{Weights, expected_tensors};

/// What PEFT puts before the name of a module.
const PREFIX: &str = "base_model.model.";
const END_OF_A: &str = ".lora_A.weight";
const END_OF_B: &str = ".lora_B.weight";
const WEIGHT: &str = ".weight";

/// Adapters with their values.
#[derive(Debug)]
pub struct Adapters {
    /// Their size.
    pub lora: Lora,
    /// Every A and B in f32, by the names that PEFT gives them.
    pub tensors: Weights,
}

/// The name of A for a projection, by the name of its weight in a checkpoint.
fn name_of_a(weight: &str) -> String {
    format!("{PREFIX}{}{END_OF_A}", weight.trim_end_matches(WEIGHT))
}

fn name_of_b(weight: &str) -> String {
    format!("{PREFIX}{}{END_OF_B}", weight.trim_end_matches(WEIGHT))
}

/// Whether a tensor of this name is part of an adapter and not of a model.
pub fn is_of_adapter(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl Lora {
    /// The names of the weights that have adapters, with their shapes [outputs, inputs].
    pub fn weights(&self, config: &ModelConfig) -> Vec<(String, [i64; 2])> {
        let is_target = |name: &str| {
            let Some(module) = name.strip_suffix(WEIGHT) else {
                return false;
            };
            // As PEFT finds them.
            let ends_in = |target: &String| {
                module
                    .strip_suffix(target.as_str())
                    .is_some_and(|before| before.is_empty() || before.ends_with('.'))
            };
            self.targets.iter().any(ends_in)
        };
        let all = expected_tensors(config).into_iter();
        all.filter(|(name, _)| is_target(name))
            .filter_map(|(name, shape)| Some((name, shape.try_into().ok()?)))
            .collect()
    }

    /// Whether both are the same adapters of a model, however their projections are named.
    pub fn is_like(&self, other: &Self, config: &ModelConfig) -> bool {
        let is_scaled_alike = (self.scale - other.scale).abs() <= 1e-9 * self.scale;
        self.rank == other.rank && is_scaled_alike && self.weights(config) == other.weights(config)
    }

    /// Names and shapes of all adapters' tensors.
    pub fn expected(&self, config: &ModelConfig) -> Vec<(String, [i64; 2])> {
        let of_weight = |(name, [outputs, inputs]): (String, [i64; 2])| {
            [
                (name_of_a(&name), [self.rank, inputs]),
                (name_of_b(&name), [outputs, self.rank]),
            ]
        };
        self.weights(config).into_iter().flat_map(of_weight).collect()
    }

    /// Fresh adapters, which add nothing yet: A uniform within ±1/√inputs, as PEFT draws it, and B zero. Each A draws from
    /// its own stream of `seed`.
    pub fn initialise(&self, config: &ModelConfig, seed: u64, device: Device) -> Adapters {
        let mut tensors = Weights::new();
        for (index, (name, [rows, columns])) in self.expected(config).into_iter().enumerate() {
            let count = (rows * columns) as usize;
            let mut values = vec![0.0_f32; count];
            if name.ends_with(END_OF_A) {
                let bound = 1.0 / (columns as f64).sqrt();
                let mut generator = ChaCha8Rng::seed_from_u64(seed);
                generator.set_stream(index as u64);
                values.fill_with(|| ((2.0 * generator.random::<f64>() - 1.0) * bound) as f32);
            }
            let tensor = Tensor::from_slice(&values).view([rows, columns]).to_device(device);
            tensors.insert(name, tensor);
        }
        Adapters {
            lora: self.clone(),
            tensors,
        }
    }
}

impl Adapters {
    /// Checks that these are all the tensors that the adapters of a model have, and no others. `origin` is where they come
    /// from.
    ///
    /// # Errors
    /// The first tensor that is missing, unexpected, or of another shape.
    pub fn check(&self, config: &ModelConfig, origin: &str) -> Result<(), PolicyError> {
        let expected = self.lora.expected(config);
        for (name, shape) in &expected {
            let Some(tensor) = self.tensors.get(name) else {
                return Err(PolicyError::MissingTensor {
                    origin: origin.to_owned(),
                    name: name.clone(),
                    hint: String::new(),
                });
            };
            if tensor.size() != shape {
                return Err(PolicyError::TensorShape {
                    origin: origin.to_owned(),
                    name: name.clone(),
                    found: tensor.size(),
                    expected: shape.to_vec(),
                });
            }
        }
        if self.tensors.len() == expected.len() {
            return Ok(());
        }
        let is_unknown = |name: &&String| !expected.iter().any(|(known, _)| known == *name);
        match self.tensors.keys().find(is_unknown) {
            Some(name) => Err(PolicyError::UnexpectedTensor {
                origin: origin.to_owned(),
                name: name.clone(),
                model_type: config.model_type.name().to_owned(),
                hint: format!(" with adapters of {}", self.lora.targets.join(", ")),
            }),
            None => Ok(()),
        }
    }

    /// A and B of a projection, by the name of its weight; None where it has no adapter.
    pub fn of(&self, weight: &str) -> Option<(&Tensor, &Tensor)> {
        let a = self.tensors.get(&name_of_a(weight))?;
        let b = self.tensors.get(&name_of_b(weight))?;
        Some((a, b))
    }

    /// The weight of a projection with its adapter added in f32, in the weight's kind; None where it has no adapter.
    pub fn merged(&self, name: &str, weight: &Tensor) -> Option<Tensor> {
        let (a, b) = self.of(name)?;
        Some(no_grad(|| {
            let added = b.detach().matmul(&a.detach()) * self.lora.scale;
            (weight.detach() + added).to_kind(weight.kind())
        }))
    }

    /// Adds the adapters to the weights of a model, one at a time, so that no more than one matrix is there twice.
    pub fn merge_into(&self, mut weights: Weights) -> Weights {
        for (name, weight) in &mut weights {
            if let Some(sum) = self.merged(name, weight) {
                *weight = sum;
            }
        }
        weights
    }

    /// All weights of a model with the adapters added. Those without one are shared with `base`.
    pub fn merge(&self, base: &Weights) -> Weights {
        let one = |(name, weight): (&String, &Tensor)| {
            let merged = self.merged(name, weight).unwrap_or_else(|| weight.shallow_clone());
            (name.clone(), merged)
        };
        base.iter().map(one).collect()
    }
}
