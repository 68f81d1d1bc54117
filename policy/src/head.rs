//! The head: from hidden states to logits, whose sums stay in f32 where the weights are bf16.
//!
//! A logit of 16 to 32 in bf16 is one of 128 numbers an eighth apart. Two products of other shapes round to different
//! ones of them, and the difference would stand between the log-probabilities of actor and learner.

use std::cell::OnceCell;

use tch::{Device, Kind, Tensor, no_grad, with_grad};

use crate::operators::device::wide_product;
use crate::operators::{PackedLinear, Then, WideLinear, in_kind, training};

/// The last projection of the model, [vocabulary, hidden].
pub(crate) struct Head {
    weights: Weights,
    /// Only so many ids have logits.
    limit: Option<i64>,
    /// Ids from here on have no probability.
    masked_from: Option<i64>,
}

enum Weights {
    /// A parameter shared with whoever made it.
    Plain {
        weight: Tensor,
        /// A bf16 weight in f32, for the CPU, where libtorch's products of bf16 have sums in bf16.
        wide: OnceCell<Tensor>,
    },
    /// Arranged for generation, with products in f32.
    Packed(PackedLinear),
    /// Arranged for generation, with products of bf16 and sums in f32.
    Wide(WideLinear),
}

/// Whether a limited head keeps the width of the embedding on a device: [`Head::masked`] rather than [`Head::limited`].
pub(crate) fn keeps_width(device: Device) -> bool {
    device != Device::Cpu
}

impl Head {
    pub(crate) fn new(weight: Tensor) -> Self {
        Self {
            weights: Weights::Plain {
                weight,
                wide: OnceCell::new(),
            },
            limit: None,
            masked_from: None,
        }
    }

    /// The head over the first `vocabulary` ids alone; its logits are [n, vocabulary].
    ///
    /// # Panics
    /// If it has fewer ids, or is packed.
    pub(crate) fn limited(mut self, vocabulary: u32) -> Self {
        let (rows, vocabulary) = (self.checked(vocabulary).size()[0], i64::from(vocabulary));
        // Where nothing is cut, the weight stays a leaf: the gradient of a cut goes over the whole tensor once more.
        self.limit = (vocabulary < rows).then_some(vocabulary);
        self
    }

    /// The head at its whole width, in which ids from `vocabulary` on have logits of -∞.
    ///
    /// # Panics
    /// As [`Head::limited`].
    pub(crate) fn masked(mut self, vocabulary: u32) -> Self {
        let (rows, vocabulary) = (self.checked(vocabulary).size()[0], i64::from(vocabulary));
        self.masked_from = (vocabulary < rows).then_some(vocabulary);
        self
    }

    fn checked(&self, vocabulary: u32) -> &Tensor {
        let Weights::Plain { weight, .. } = &self.weights else {
            panic!("the vocabulary is limited before the weights are arranged");
        };
        let rows = weight.size()[0];
        assert!(
            i64::from(vocabulary) <= rows,
            "a vocabulary of {vocabulary} in an embedding of {rows}"
        );
        weight
    }

    /// The head with packed weights where this machine has products for them.
    pub(crate) fn packed(self) -> Self {
        if self.is_packed() {
            return self;
        }
        let weight = self.weight();
        let packed = match WideLinear::try_new(&weight) {
            Some(wide) => Some(Weights::Wide(wide)),
            None => PackedLinear::try_wide(&weight, None).map(Weights::Packed),
        };
        match packed {
            Some(weights) => Self { weights, ..self },
            None => self,
        }
    }

    /// Whether its weight is packed.
    pub(crate) fn is_packed(&self) -> bool {
        !matches!(self.weights, Weights::Plain { .. })
    }

    /// [n, hidden] to [n, vocabulary], in f32 (f64 where the weights are f64).
    pub(crate) fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = match &self.weights {
            Weights::Plain { weight, wide } if weight.kind() == Kind::BFloat16 => {
                wide_logits(hidden, &self.weight(), wide)
            }
            Weights::Plain { .. } => training::linear(hidden, &self.weight(), None),
            Weights::Packed(packed) => packed.apply_as_computed(hidden, Then::Nothing),
            Weights::Wide(wide) => wide.apply(hidden),
        };
        if let Some(first) = self.masked_from {
            let masked = logits.size()[1] - first;
            let _ = logits.narrow(1, first, masked).fill_(f64::NEG_INFINITY);
        }
        logits
    }

    /// The weight of the ids that have logits, as it is now: a parameter of several ranks has no elements between uses, so
    /// that it is cut when it is used. It asks for a gradient where the parameter does, also where no graph is made, because
    /// that decides which product a layer takes.
    ///
    /// # Panics
    /// If it is packed.
    pub(crate) fn weight(&self) -> Tensor {
        match (&self.weights, self.limit) {
            (Weights::Plain { weight, .. }, None) => weight.shallow_clone(),
            (Weights::Plain { weight, .. }, Some(limit)) => with_grad(|| weight.narrow(0, 0, limit)),
            (Weights::Packed(_) | Weights::Wide(_), _) => panic!("a decoder for generation is not trained"),
        }
    }
}

/// The logits of a bf16 weight that is not packed. Where the product needs the weight in f32, `wide` keeps that copy.
fn wide_logits(hidden: &Tensor, weight: &Tensor, wide: &OnceCell<Tensor>) -> Tensor {
    // A view shows whether a graph is being made: under `no_grad` it asks for no gradient.
    let has_graph = |tensor: &Tensor| tensor.narrow(0, 0, 0).requires_grad();
    if has_graph(hidden) || has_graph(weight) {
        return hidden
            .to_kind(Kind::Float)
            .linear::<&Tensor>(&weight.to_kind(Kind::Float), None);
    }
    if weight.device() != Device::Cpu {
        return wide_product(hidden, &weight.transpose(0, 1));
    }
    let wide = wide.get_or_init(|| no_grad(|| weight.detach().to_kind(Kind::Float)));
    training::product(&in_kind(hidden, Kind::Float).contiguous(), wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cut to a width such as 151,665 costs fast products on a GPU; on the CPU a mask costs what is masked.
    #[test]
    fn a_head_keeps_its_width_where_products_need_it() {
        assert!(!keeps_width(Device::Cpu));
        assert!(keeps_width(Device::Cuda(0)) && keeps_width(Device::Cuda(3)));
    }
}
