//! Weights of which each rank holds its part (ZeRO, arXiv 1910.02054): masters, gradients and moments. Passes compute with
//! replicas in their own kind, which are whole on every rank, or without elements until a pass comes to them.

use std::collections::BTreeMap;

use anytime_policy::operators::training::{drop_gradient, set_gradient};
use anytime_policy::{TensorShape, Weights};
use anytime_proto::v1;
use tch::{Device, Kind, Tensor, no_grad};

use super::rank_group::{RankGroup, RanksError};
use super::sharding::Shard;
use super::stages::{Part, Stages};

/// The name of the embedding, which is the head's where that has none of its own.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The divided weights of a model.
pub struct Divided {
    shard: Shard,
    compute_kind: Kind,
    /// Whether replicas have elements only while a pass is at them.
    is_full: bool,
    /// The shapes of the masters, by name.
    shapes: BTreeMap<String, TensorShape>,
    /// This rank's run of every master, `[length]`, with its gradient: leaves.
    parts: Weights,
    /// Leaves of the whole shapes in the kind that passes compute in. Their gradients are given up part by part.
    replicas: Weights,
}

impl Divided {
    /// Without weights yet; None where these ranks divide no weights.
    pub fn of(sharding: v1::Sharding, ranks: &RankGroup, compute_kind: Kind) -> Option<Self> {
        (divides_weights(sharding) && !ranks.shard().is_whole()).then(|| Self {
            shard: ranks.shard(),
            compute_kind,
            is_full: sharding == v1::Sharding::Full,
            shapes: BTreeMap::new(),
            parts: Weights::new(),
            replicas: Weights::new(),
        })
    }

    /// Takes a whole master, which lies anywhere, and of which this rank keeps its part on a device.
    pub fn add(&mut self, name: &str, master: &Tensor, device: Device) {
        let _guard = tch::no_grad_guard();
        let master = master.detach().contiguous();
        let own_part = || self.shard.part(&master).to_device(device).copy();
        let (replica, part) = if self.is_full {
            (nothing(&master.size(), self.compute_kind, device), own_part())
        } else if master.kind() == self.compute_kind {
            // The part is the replica's own memory: an update of one is an update of the other.
            let replica = master.to_device(device);
            let part = self.shard.part(&replica);
            (replica, part)
        } else {
            (master.to_kind(self.compute_kind).to_device(device), own_part())
        };
        let shape = TensorShape {
            name: name.to_owned(),
            size: master.size(),
            kind: master.kind(),
        };
        self.shapes.insert(name.to_owned(), shape);
        self.parts
            .insert(name.to_owned(), part.view(-1).detach().set_requires_grad(true));
        self.replicas
            .insert(name.to_owned(), replica.detach().set_requires_grad(true));
    }

    /// The part of this rank.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// This rank's run of every master.
    pub fn parts(&self) -> &Weights {
        &self.parts
    }

    /// What passes compute with; see [`is_full`](Self::is_full).
    pub fn replicas(&self) -> &Weights {
        &self.replicas
    }

    /// Whether replicas have elements only while a pass is at them.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// The shapes of the masters, by name.
    pub fn shapes(&self) -> &BTreeMap<String, TensorShape> {
        &self.shapes
    }

    /// Makes the replicas what the parts are on the ranks that have them, where every rank has all of them.
    ///
    /// # Errors
    /// [`RanksError`]; the replicas have no meaning then.
    pub(super) fn renew(&self, ranks: &RankGroup) -> Result<(), RanksError> {
        if self.is_full {
            return Ok(());
        }
        let names: Vec<&String> = self.replicas.keys().collect();
        no_grad(|| {
            let wholes: Vec<Tensor> = names.iter().map(|name| self.replicas[*name].detach()).collect();
            self.fill(&names, &wholes, ranks)
        })
    }

    /// Drops the gradients of the parts.
    pub(super) fn clear(&self) {
        self.parts.values().for_each(drop_gradient);
    }

    /// Fills whole tensors from the parts of all ranks.
    fn fill(&self, names: &[&String], wholes: &[Tensor], ranks: &RankGroup) -> Result<(), RanksError> {
        for (name, whole) in names.iter().zip(wholes) {
            self.shard.part(whole).view(-1).copy_(&self.parts[*name]);
        }
        let wholes: Vec<&Tensor> = wholes.iter().collect();
        ranks.exchange(&wholes)
    }

    /// The names of a part's tensors, in one order on all ranks.
    fn names(&self, part: Part) -> Vec<&String> {
        let of_layer = |layer: usize| format!("model.layers.{layer}.");
        let belongs = |name: &str| match part {
            Part::Embedding => name == EMBEDDING,
            Part::Layer(layer) => name.starts_with(&of_layer(layer)),
            Part::Head => {
                let is_tied = !self.shapes.contains_key("lm_head.weight");
                name == "model.norm.weight" || name == if is_tied { EMBEDDING } else { "lm_head.weight" }
            }
        };
        self.shapes.keys().filter(|name| belongs(name)).collect()
    }
}

/// Whether ranks divide masters and gradients. The whole masters are then read and sent in the machine's memory.
pub fn divides_weights(sharding: v1::Sharding) -> bool {
    matches!(sharding, v1::Sharding::Gradients | v1::Sharding::Full)
}

/// A tensor of this size that holds one element in all.
fn nothing(size: &[i64], kind: Kind, device: Device) -> Tensor {
    Tensor::zeros([1], (kind, device)).expand(size, false)
}

/// The divided weights while passes run.
pub(super) struct Passing<'a> {
    pub(super) divided: &'a Divided,
    pub(super) ranks: &'a RankGroup,
}

impl Stages for Passing<'_> {
    fn come(&self, part: Part) -> Result<(), RanksError> {
        let divided = self.divided;
        if !divided.is_full {
            return Ok(());
        }
        let names = divided.names(part);
        no_grad(|| {
            let empty = |name: &&String| {
                let replica = &divided.replicas[*name];
                Tensor::empty(replica.size(), (replica.kind(), replica.device()))
            };
            let wholes: Vec<Tensor> = names.iter().map(empty).collect();
            divided.fill(&names, &wholes, self.ranks)?;
            for (name, whole) in names.iter().zip(&wholes) {
                divided.replicas[*name].shallow_clone().set_data(whole);
            }
            Ok(())
        })
    }

    fn leave(&self, part: Part) {
        let divided = self.divided;
        if !divided.is_full {
            return;
        }
        for name in divided.names(part) {
            let replica = &divided.replicas[name];
            let nothing = nothing(&replica.size(), replica.kind(), replica.device());
            replica.shallow_clone().set_data(&nothing);
        }
    }

    fn give(&self, part: Part) -> Result<(), RanksError> {
        let divided = self.divided;
        let names = divided.names(part);
        no_grad(|| {
            let replicas: Vec<&Tensor> = names.iter().map(|name| &divided.replicas[*name]).collect();
            let kind = names.first().map_or(Kind::Float, |name| divided.parts[*name].kind());
            let sums = self.ranks.sum_parts(&replicas, kind)?;
            for ((name, replica), sum) in names.iter().zip(&replicas).zip(sums) {
                drop_gradient(replica);
                let part = &divided.parts[*name];
                let mut kept = part.grad();
                if kept.defined() {
                    let _ = kept.g_add_(&sum);
                } else {
                    set_gradient(part, &sum);
                }
            }
            Ok(())
        })?;
        self.leave(part);
        Ok(())
    }
}
