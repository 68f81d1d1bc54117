//! Linear layers, in two forms: as a checkpoint has them, for training, and arranged anew, for generation.
//!
//! Training needs each parameter by itself: gradients reach it, and changes in place show. Generation runs millions of
//! steps over weights that do not change, so it may rearrange them once: layers with one input joined into one
//! product, and on the CPU weights copied into the order in which oneDNN reads them, which at 64 rows in f32 halves the
//! time of a product.

use tch::Tensor;

use crate::operators::training::LayerAdapter;
use crate::operators::{PackedLinear, Then, in_kind, kernels, training};

/// One linear layer.
pub(crate) enum Projection {
    /// Parameters shared with whoever made them.
    Plain {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    Packed(PackedLinear),
    /// With an adapter that is trained, and that the weight holds already.
    Adapted {
        weight: Tensor,
        bias: Option<Tensor>,
        adapter: LayerAdapter,
    },
}

impl Projection {
    /// [rows, inputs] to [rows, outputs].
    pub(crate) fn apply(&self, input: &Tensor) -> Tensor {
        match self {
            Projection::Plain { weight, bias } => training::linear(input, weight, bias.as_ref()),
            Projection::Packed(packed) => packed.apply(input, Then::Nothing),
            Projection::Adapted { weight, bias, adapter } => {
                training::adapted_linear(input, weight, bias.as_ref(), adapter)
            }
        }
    }

    /// `residual` + the layer's output.
    pub(crate) fn add_to(&self, residual: &Tensor, input: &Tensor) -> Tensor {
        match self {
            Projection::Plain { .. } | Projection::Adapted { .. } => residual + self.apply(input),
            Projection::Packed(packed) => {
                in_kind(&packed.apply_as_computed(input, Then::Plus(residual)), residual.kind())
            }
        }
    }

    /// As [`Projection::add_to`], where nobody needs the residual any more and no gradient is asked for: a plain product
    /// is added in place, without a tensor and an operation of its own.
    pub(crate) fn add_onto(&self, mut residual: Tensor, input: &Tensor) -> Tensor {
        match self {
            Projection::Plain { weight, bias: None } if residual.is_contiguous() => {
                let _ = residual.addmm_(input, &weight.transpose(0, 1));
                residual
            }
            _ => self.add_to(&residual, input),
        }
    }

    /// Whether its weights are packed.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self, Projection::Packed(_))
    }

    /// The layer with packed weights where this machine has products for them, otherwise as it was.
    pub(crate) fn packed(self) -> Self {
        match self {
            Projection::Adapted { weight, bias, .. } => Projection::Plain { weight, bias }.packed(),
            Projection::Plain { weight, bias } => match PackedLinear::try_new(&weight, bias.as_ref()) {
                Some(packed) => Projection::Packed(packed),
                None => Projection::Plain { weight, bias },
            },
            packed => packed,
        }
    }

    /// Whether the device has a kernel for gate and up, which these outputs are.
    fn has_kernel_for_gate(&self) -> bool {
        match self {
            Projection::Plain { weight, .. } => kernels::can_gate(weight.kind(), weight.device(), weight.size()[0] / 2),
            Projection::Packed(_) | Projection::Adapted { .. } => false,
        }
    }

    /// Joins layers that have one input into a single layer, whose outputs are side by side.
    fn joined(parts: &[&Projection]) -> Option<Self> {
        let mut weights = Vec::with_capacity(parts.len());
        let mut biases = Vec::with_capacity(parts.len());
        for part in parts {
            let Projection::Plain { weight, bias } = part else {
                return None;
            };
            weights.push(weight.detach());
            biases.extend(bias.as_ref().map(Tensor::detach));
        }
        Some(Projection::Plain {
            weight: Tensor::cat(&weights, 0),
            bias: (biases.len() == parts.len()).then(|| Tensor::cat(&biases, 0)),
        })
    }
}

/// The projections to queries, keys and values.
pub(crate) enum HeadProjection {
    Apart {
        query: Projection,
        key: Projection,
        value: Projection,
    },
    /// Side by side in one product.
    Joined(Projection),
}

impl HeadProjection {
    /// Whether it is one product over packed weights.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self, HeadProjection::Joined(Projection::Packed(_)))
    }

    /// The projections arranged for generation.
    pub(crate) fn arranged(self) -> Self {
        match &self {
            HeadProjection::Apart { query, key, value } => match Projection::joined(&[query, key, value]) {
                Some(joined) => HeadProjection::Joined(joined.packed()),
                None => self,
            },
            HeadProjection::Joined(_) => self,
        }
    }
}

/// The gated half of a feed-forward layer: silu(gate) · up.
pub(crate) enum GatedProjection {
    Apart {
        gate: Projection,
        up: Projection,
    },
    /// Side by side in one product, gate first.
    Joined {
        both: Projection,
        /// Whether the device has a kernel for what follows the product.
        has_kernel: bool,
    },
}

impl GatedProjection {
    /// Whether both halves have packed weights.
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self, GatedProjection::Apart { gate, up } if gate.is_packed() && up.is_packed())
    }

    /// [rows, hidden] to [rows, intermediate], in the kind that the product is computed in.
    pub(crate) fn apply(&self, input: &Tensor) -> Tensor {
        match self {
            GatedProjection::Apart {
                gate: Projection::Packed(gate),
                up: Projection::Packed(up),
            } => {
                let gated = gate.apply_as_computed(input, Then::Silu);
                up.apply_as_computed(input, Then::Times(&gated))
            }
            GatedProjection::Apart { gate, up } => gate.apply(input).silu() * up.apply(input),
            GatedProjection::Joined { both, has_kernel: true } => kernels::gate(&both.apply(input)),
            GatedProjection::Joined { both, .. } => {
                let both = both.apply(input).chunk(2, -1);
                both[0].silu() * &both[1]
            }
        }
    }

    /// The projection arranged for generation. A packed product multiplies by the gate in the same operation; where
    /// there are none, gate and up become one product instead of two.
    pub(crate) fn arranged(self) -> Self {
        let GatedProjection::Apart { gate, up } = self else {
            return self;
        };
        match (gate.packed(), up.packed()) {
            (gate @ Projection::Plain { .. }, up) => match Projection::joined(&[&gate, &up]) {
                Some(both) => GatedProjection::Joined {
                    has_kernel: both.has_kernel_for_gate(),
                    both,
                },
                None => GatedProjection::Apart { gate, up },
            },
            (gate, up) => GatedProjection::Apart { gate, up },
        }
    }
}
