//! What the ranks are told when a run of a job begins: the job, its model, its weights and the state of its optimiser.

use anyhow::{Context as _, ensure};
use anytime_policy::{Adapters, ModelConfig, TensorShape, Weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::train::{
    Divided, Parameters, RankGroup, StateSource, Trainer, UpdatePlan, as_bytes, divides_weights, lora_of,
};

/// What a trainer is made of, besides its tensors.
pub struct Place<'a> {
    /// The job.
    pub spec: &'a v1::JobSpec,
    /// The model's `config.json`.
    pub config: &'a str,
    /// How many ids the tokenizer has.
    pub vocabulary: u32,
    /// How updates go through their tokens.
    pub plan: UpdatePlan,
}

/// A tensor that follows.
#[derive(Serialize, Deserialize)]
struct Announced {
    name: String,
    size: Vec<i64>,
    kind: SentKind,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum SentKind {
    F32,
    F64,
    Bf16,
}

impl From<Kind> for SentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Double => Self::F64,
            Kind::BFloat16 => Self::Bf16,
            _ => Self::F32,
        }
    }
}

impl From<SentKind> for Kind {
    fn from(kind: SentKind) -> Self {
        match kind {
            SentKind::F32 => Self::Float,
            SentKind::F64 => Self::Double,
            SentKind::Bf16 => Self::BFloat16,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Beginning {
    spec: Vec<u8>,
    config: String,
    vocabulary: u32,
    micro_batch_tokens: usize,
    activation_checkpointing: bool,
    updates: u64,
    masters: Vec<Announced>,
    /// Beside adapters: what they are trained on.
    base: Vec<Announced>,
    optimiser: Vec<Announced>,
}

/// Tells the others where this trainer stands, and keeps no more than rank 0's part of what they divide. `state` is the number of
/// updates that were made and the optimiser's state, which is restored on all of them; None where it begins.
///
/// # Errors
/// [`RanksError`](crate::train::RanksError), or a state that cannot be read.
pub fn tell_beginning(
    trainer: &mut Trainer,
    state: Option<(u64, &dyn StateSource)>,
    place: &Place,
) -> anyhow::Result<()> {
    let ranks = trainer.ranks().context("this process has no other ranks")?;
    let shapes = match state {
        Some((_, source)) => trainer.optimiser().layout_in(source)?,
        None => Vec::new(),
    };
    let updates = state.map_or(0, |(updates, _)| updates);
    let beginning = Beginning {
        spec: place.spec.encode_to_vec(),
        config: place.config.to_owned(),
        vocabulary: place.vocabulary,
        micro_batch_tokens: place.plan.micro_batch_tokens,
        activation_checkpointing: place.plan.activation_checkpointing,
        updates,
        masters: all_announced(trainer.masters()),
        base: trainer.parameters().base().map(all_announced).unwrap_or_default(),
        optimiser: shapes.iter().map(of_shape).collect(),
    };
    ranks.tell(&postcard::to_stdvec(&beginning).context("write the beginning of a run down")?)?;
    let base = trainer.parameters().base().into_iter().flat_map(Weights::values);
    let masters = trainer.masters().values();
    for tensor in masters.chain(base) {
        ranks.copy(&mut as_bytes(&tensor.detach()))?;
    }
    trainer.divide();
    for TensorShape { name, size, kind } in &shapes {
        // One at a time: a rank that holds a part has no room for the whole.
        let read = state.map(|(_, source)| source.tensor(name)).transpose()?.flatten();
        let mut tensor = read.with_context(|| format!("the recovery checkpoint lacks `{name}`"))?;
        // Before it is sent: the others have made room for what was announced.
        ensure!(
            tensor.size() == *size && tensor.kind() == *kind,
            "`{name}` has shape {:?} in the recovery checkpoint",
            tensor.size()
        );
        trainer.ranks().context("the ranks stay")?.copy(&mut tensor)?;
        trainer.optimiser_mut().take(name, &tensor)?;
    }
    trainer.optimiser_mut().set_updates(updates);
    Ok(())
}

/// Waits until rank 0 tells of the beginning of a run, and makes the trainer that stands there.
///
/// # Errors
/// [`RanksError`](crate::train::RanksError), the error of `check`, or what does not fit.
pub(super) fn hear_beginning(
    ranks: RankGroup,
    device: Device,
    check: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<Trainer> {
    let told = ranks.hear(check)?;
    let beginning: Beginning = postcard::from_bytes(&told).context("rank 0 tells how a run begins")?;
    let spec = v1::JobSpec::decode(beginning.spec.as_slice()).context("rank 0 tells of a job")?;
    let settings = JobSettings::try_new(&spec).context("rank 0 tells of a job")?;
    let config = ModelConfig::from_json(&beginning.config).context("rank 0 tells of a model")?;
    let receive_one = |Announced { name, size, kind }: Announced| -> anyhow::Result<(String, Tensor)> {
        ensure!(size.iter().all(|&length| length >= 0), "{name} has a length below 0");
        let kind = Kind::from(kind);
        let is_divided = divides_weights(settings.training.sharding) && settings.training.lora.is_none();
        let place = if kind == Kind::Double || is_divided {
            Device::Cpu
        } else {
            device
        };
        let tensor = Tensor::zeros(size.as_slice(), (kind, place));
        ranks.copy(&mut as_bytes(&tensor))?;
        Ok((name, tensor))
    };
    let receive = |announced: Vec<Announced>| -> anyhow::Result<Weights> {
        let tensors = announced.into_iter().map(receive_one);
        tensors.collect::<anyhow::Result<Vec<_>>>().map(Weights::from_iter)
    };
    let kind = crate::train::compute_kind(settings.model.dtype, device);
    let parameters = match (
        &settings.training.lora,
        Divided::of(settings.training.sharding, &ranks, kind),
    ) {
        (None, Some(mut divided)) => {
            // A rank that holds a part has no room for the whole.
            for announced in beginning.masters {
                let (name, master) = receive_one(announced)?;
                divided.add(&name, &master, device);
            }
            Parameters::Divided(Box::new(divided))
        }
        (Some(lora), _) => {
            let adapters = Adapters {
                lora: lora_of(lora),
                tensors: receive(beginning.masters)?,
            };
            let base = receive(beginning.base)?;
            adapters.check(&config, "rank 0")?;
            crate::train::check_model(&config, &base)?;
            Parameters::adapted(base, adapters, lora.dropout)
        }
        (None, None) => receive(beginning.masters)?.into(),
    };
    crate::train::check_model(&config, parameters.all())?;
    let plan = UpdatePlan {
        micro_batch_tokens: beginning.micro_batch_tokens,
        activation_checkpointing: beginning.activation_checkpointing,
    };
    let mut trainer = Trainer::new(&settings, config, beginning.vocabulary, parameters, device, plan);
    trainer.join(ranks);
    for Announced { name, size, kind } in beginning.optimiser {
        ensure!(size.iter().all(|&length| length >= 0), "{name} has a length below 0");
        let mut tensor = Tensor::zeros(size.as_slice(), (kind.into(), Device::Cpu));
        let ranks = trainer.ranks().context("a rank has joined the others")?;
        ranks.copy(&mut tensor)?;
        trainer.optimiser_mut().take(&name, &tensor)?;
    }
    trainer.optimiser_mut().set_updates(beginning.updates);
    Ok(trainer)
}

fn of_shape(shape: &TensorShape) -> Announced {
    Announced {
        name: shape.name.clone(),
        size: shape.size.clone(),
        kind: shape.kind.into(),
    }
}

fn announced(name: &str, tensor: &Tensor) -> Announced {
    Announced {
        name: name.to_owned(),
        size: tensor.size(),
        kind: tensor.kind().into(),
    }
}

fn all_announced(weights: &Weights) -> Vec<Announced> {
    weights.iter().map(|(name, tensor)| announced(name, tensor)).collect()
}
