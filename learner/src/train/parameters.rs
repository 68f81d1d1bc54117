//! What is trained: all weights of a model, whole or divided among ranks, or adapters of low rank beside weights that stay as
//! they are.

use std::collections::BTreeMap;

use anyhow::Context as _;
use anytime_policy::{Adapters, Decoder, Lora, ModelConfig, PolicyError, TensorShape, Weights};
use anytime_proto::settings::LoraSettings;
use tch::{Kind, Tensor, no_grad};

use super::divided::Divided;

/// The parameters of a job's model. They belong to the trainer, which changes them in place.
pub enum Parameters {
    /// f32 masters of all weights.
    Whole(Weights),
    /// The same of which each of several ranks has its part.
    Divided(Box<Divided>),
    /// Adapters in f32, whose base is not trained.
    Adapted(Box<Adapted>),
}

/// A model with adapters.
pub struct Adapted {
    /// The weights of the base, in the kind that passes compute in.
    base: Weights,
    /// The same with the adapters added; what has no adapter is the base's own.
    merged: Weights,
    adapters: Adapters,
    dropout: f64,
}

/// The size of the adapters that a job asks for.
pub fn lora_of(settings: &LoraSettings) -> Lora {
    let rank = i64::from(settings.rank);
    let known = anytime_policy::TARGETS.iter().map(|target| (*target).to_owned());
    Lora {
        rank,
        scale: settings.alpha / rank as f64,
        // Always in one order, as directories of adapters are read.
        targets: known.filter(|target| settings.targets.contains(target)).collect(),
    }
}

fn leaves(weights: Weights) -> Weights {
    let leaf = |(name, tensor): (String, Tensor)| (name, tensor.detach().set_requires_grad(true));
    weights.into_iter().map(leaf).collect()
}

impl From<Weights> for Parameters {
    fn from(masters: Weights) -> Self {
        Self::Whole(leaves(masters))
    }
}

impl Parameters {
    /// Adapters on a base, which is in the kind that passes compute in. `dropout` is the share of its inputs that an adapter
    /// does not see while it is trained.
    pub fn adapted(base: Weights, adapters: Adapters, dropout: f64) -> Self {
        let adapters = Adapters {
            tensors: leaves(adapters.tensors),
            ..adapters
        };
        let base: Weights = base.into_iter().map(|(name, tensor)| (name, tensor.detach())).collect();
        Self::Adapted(Box::new(Adapted {
            merged: adapters.merge(&base),
            base,
            adapters,
            dropout,
        }))
    }

    /// The same tensors once more, for another trainer.
    pub fn share(&self) -> Self {
        let share = |weights: &Weights| -> Weights {
            let one = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.shallow_clone());
            weights.iter().map(one).collect()
        };
        match self {
            Self::Whole(masters) => share(masters).into(),
            Self::Divided(_) => unreachable!("ranks are not shared"),
            Self::Adapted(adapted) => {
                let adapters = Adapters {
                    lora: adapted.adapters.lora.clone(),
                    tensors: share(&adapted.adapters.tensors),
                };
                Self::adapted(share(&adapted.base), adapters, adapted.dropout)
            }
        }
    }

    /// What the optimiser updates, in f32: of divided weights this rank's part of each.
    pub fn trained(&self) -> &Weights {
        match self {
            Self::Whole(masters) => masters,
            Self::Divided(divided) => divided.parts(),
            Self::Adapted(adapted) => &adapted.adapters.tensors,
        }
    }

    /// The shapes of what all ranks together update, by name.
    pub fn shapes(&self) -> BTreeMap<String, TensorShape> {
        let shape_of = |(name, tensor): (&String, &Tensor)| {
            let shape = TensorShape {
                name: name.clone(),
                size: tensor.size(),
                kind: tensor.kind(),
            };
            (name.clone(), shape)
        };
        match self {
            Self::Divided(divided) => divided.shapes().clone(),
            _ => self.trained().iter().map(shape_of).collect(),
        }
    }

    /// The divided weights, where they are.
    pub fn divided(&self) -> Option<&Divided> {
        match self {
            Self::Divided(divided) => Some(divided),
            _ => None,
        }
    }

    /// The base, in the kind that passes compute in; None where all weights are trained.
    pub fn base(&self) -> Option<&Weights> {
        match self {
            Self::Whole(_) | Self::Divided(_) => None,
            Self::Adapted(adapted) => Some(&adapted.base),
        }
    }

    /// The adapters, with the share of inputs that is dropped; None where all weights are trained.
    pub fn adapters(&self) -> Option<(&Adapters, f64)> {
        match self {
            Self::Whole(_) | Self::Divided(_) => None,
            Self::Adapted(adapted) => Some((&adapted.adapters, adapted.dropout)),
        }
    }

    /// All weights of the model as it computes: the masters, or the base with the adapters added. Divided weights have their
    /// shapes, and may have no elements of their own.
    pub fn all(&self) -> &Weights {
        match self {
            Self::Whole(masters) => masters,
            Self::Divided(divided) => divided.replicas(),
            Self::Adapted(adapted) => &adapted.merged,
        }
    }

    /// The shapes of [`all`](Self::all) weights.
    pub fn model_shapes(&self) -> Vec<TensorShape> {
        let shape = |(name, tensor): (&String, &Tensor)| TensorShape {
            name: name.clone(),
            size: tensor.size(),
            kind: tensor.kind(),
        };
        self.all().iter().map(shape).collect()
    }

    /// One of [`all`](Self::all) weights.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn weight(&self, shape: &TensorShape) -> anyhow::Result<Tensor> {
        let weight = self.all().get(&shape.name).map(Tensor::detach);
        weight.with_context(|| format!("there is no weight {}", shape.name))
    }

    /// Takes over what an update has changed.
    pub(super) fn refresh(&mut self) {
        if let Self::Adapted(adapted) = self {
            let Adapted {
                base, merged, adapters, ..
            } = adapted.as_mut();
            for (name, weight) in merged {
                if let Some(sum) = adapters.merged(name, &base[name]) {
                    no_grad(|| weight.copy_(&sum));
                }
            }
        }
    }

    /// A decoder that computes in `kind`, whose gradients reach what is trained. It drops inputs of adapters where a seed
    /// says which.
    ///
    /// # Errors
    /// The decoder's.
    pub(super) fn decoder(&self, config: &ModelConfig, kind: Kind, seed: Option<u64>) -> Result<Decoder, PolicyError> {
        match self {
            Self::Whole(masters) => Decoder::with_compute_kind(config, masters, kind),
            Self::Divided(divided) => Decoder::new(config, divided.replicas()),
            Self::Adapted(adapted) => {
                let dropout = if seed.is_some() { adapted.dropout } else { 0.0 };
                let seed = seed.unwrap_or_default();
                Decoder::with_adapters(config, &adapted.merged, &adapted.adapters, dropout, seed)
            }
        }
    }
}
