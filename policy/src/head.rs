//! The head: from hidden states to logits, whose sums stay in f32 where the weights are bf16.
//!
//! A logit of 16 to 32 in bf16 is one of 128 numbers an eighth apart. Two products of other shapes round to different
//! ones of them, and the difference would stand between the log-probabilities of actor and learner.

use std::cell::OnceCell;

use tch::{Device, Kind, Tensor, no_grad};

use crate::operators::device::wide_product;
use crate::operators::{in_kind, training};
use crate::projection::Projection;

/// The last projection of the model, [vocabulary, hidden].
pub(crate) struct Head {
    projection: Projection,
    /// Ids from here on have no probability.
    masked_from: Option<i64>,
    /// A bf16 weight in f32, for the CPU, which has no product of bf16 with sums in f32.
    wide: OnceCell<Tensor>,
}

impl Head {
    pub(crate) fn new(weight: Tensor) -> Self {
        Self {
            projection: Projection::Plain { weight, bias: None },
            masked_from: None,
            wide: OnceCell::new(),
        }
    }

    /// The head over the first `vocabulary` ids alone; its logits are [n, vocabulary].
    ///
    /// # Panics
    /// If it has fewer ids, or is packed.
    pub(crate) fn limited(self, vocabulary: u32) -> Self {
        let weight = self.checked(vocabulary);
        let (rows, vocabulary) = (weight.size()[0], i64::from(vocabulary));
        // A narrowed leaf is no leaf: its gradient would go over the whole tensor once more.
        if vocabulary == rows {
            return self;
        }
        Self::new(weight.narrow(0, 0, vocabulary))
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
        let Projection::Plain { weight, .. } = &self.projection else {
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
        Self {
            projection: self.projection.packed_wide(),
            ..self
        }
    }

    /// [n, hidden] to [n, vocabulary], in f32 (f64 where the weights are f64).
    pub(crate) fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = match &self.projection {
            Projection::Plain { weight, .. } if weight.kind() == Kind::BFloat16 => self.wide_logits(hidden, weight),
            projection => projection.apply_wide(hidden),
        };
        if let Some(first) = self.masked_from {
            let masked = logits.size()[1] - first;
            let _ = logits.narrow(1, first, masked).fill_(f64::NEG_INFINITY);
        }
        logits
    }

    fn wide_logits(&self, hidden: &Tensor, weight: &Tensor) -> Tensor {
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
        let wide = self
            .wide
            .get_or_init(|| no_grad(|| weight.detach().to_kind(Kind::Float)));
        training::product(&in_kind(hidden, Kind::Float).contiguous(), wide)
    }

    /// The weight.
    ///
    /// # Panics
    /// If it is packed.
    pub(crate) fn weight(&self) -> &Tensor {
        match &self.projection {
            Projection::Plain { weight, .. } => weight,
            Projection::Packed(_) => panic!("a decoder for generation is not trained"),
        }
    }
}
