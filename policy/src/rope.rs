//! Rotary position embedding, in the layout of transformers: a head's first half turns with its second half.
//!
//! Angles are computed in f32 whatever the weights are (f64 for f64 weights), because bf16 cannot tell positions
//! above 256 apart. They are computed once per forward pass and shared by all layers, which costs five operations
//! and needs no table to size, grow or move between devices.

use tch::{Device, Kind, Tensor};

use crate::config::{ModelConfig, RopeScaling};

/// The angle per position of each pair of channels: [head_dim / 2].
pub(crate) struct Rope {
    frequencies: Tensor,
    /// Cosines and sines are multiplied by it, where positions are stretched by YaRN.
    growth: Option<f64>,
    half: i64,
}

/// Cosines and signed sines of a pass's positions, each [tokens, 1, head_dim].
pub(crate) struct Rotation {
    cosine: Tensor,
    sine: Tensor,
    half: i64,
}

impl Rope {
    /// `kind` is the kind of the weights.
    pub(crate) fn new(config: &ModelConfig, kind: Kind, device: Device) -> Self {
        let kind = if kind == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let half = config.head_dim / 2;
        // libtorch's own f32 power, so that frequencies equal those of transformers to the last bit: at position
        // 10,000 one unit in the last place of a frequency is already an angle of 0.001.
        let exponents = Tensor::arange(half, (Kind::Int64, Device::Cpu)).to_kind(kind) * 2 / config.head_dim;
        let powers = Tensor::pow_scalar(config.rope_theta, &exponents);
        let frequencies = powers.reciprocal();
        let mut growth = None;
        let frequencies = match config.rope_scaling {
            RopeScaling::None => frequencies,
            RopeScaling::Linear { factor } => frequencies / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                let wavelengths = frequencies.reciprocal() * std::f64::consts::TAU;
                // 0 for low frequencies, 1 for high ones, a ramp between: transformers' three cases in one clamp.
                let share = (wavelengths.reciprocal() * original_max_position_embeddings - low_freq_factor)
                    / (high_freq_factor - low_freq_factor);
                let share = share.clamp(0.0, 1.0);
                &frequencies * &share + &frequencies / factor * (1.0 - &share)
            }
            RopeScaling::Yarn {
                factor,
                attention_factor,
                beta_fast,
                beta_slow,
                original_max_position_embeddings,
                truncate,
            } => {
                growth = Some(attention_factor);
                let width = config.head_dim as f64;
                // The channel that turns this often within the length of pre-training.
                let channel = |turns: f64| {
                    width * (original_max_position_embeddings / (turns * std::f64::consts::TAU)).ln()
                        / (2.0 * config.rope_theta.ln())
                };
                let (first, last) = (channel(beta_fast), channel(beta_slow));
                let (first, last) = if truncate {
                    (first.floor(), last.ceil())
                } else {
                    (first, last)
                };
                let (first, mut last) = (first.max(0.0), last.min(width - 1.0));
                if first == last {
                    last += 0.001;
                }
                // 0 for channels that turn fast, 1 for slow ones.
                let ramp = (Tensor::arange(half, (kind, Device::Cpu)) - first) / (last - first);
                let kept = 1.0 - ramp.clamp(0.0, 1.0);
                let stretched = (powers * factor).reciprocal();
                stretched * (1.0 - &kept) + frequencies * kept
            }
        };
        Rope {
            frequencies: frequencies.to_device(device),
            growth,
            half,
        }
    }

    /// The rotation of tokens at `positions` `[tokens]`, int64.
    pub(crate) fn rotation(&self, positions: &Tensor) -> Rotation {
        let angles = positions.to_kind(self.frequencies.kind()).unsqueeze(-1) * &self.frequencies;
        let (mut cosine, mut sine) = (angles.cos(), angles.sin());
        if let Some(growth) = self.growth {
            (cosine, sine) = (cosine * growth, sine * growth);
        }
        Rotation {
            cosine: Tensor::cat(&[&cosine, &cosine], -1).unsqueeze(1),
            sine: Tensor::cat(&[&-&sine, &sine], -1).unsqueeze(1),
            half: self.half,
        }
    }
}

impl Rotation {
    /// Cosines and signed sines, each [tokens, 1, head_dim].
    pub(crate) fn parts(&self) -> (&Tensor, &Tensor) {
        (&self.cosine, &self.sine)
    }

    /// Rotates `heads` [tokens, heads, head_dim]; the result has the kind of `heads`.
    pub(crate) fn apply(&self, heads: &Tensor) -> Tensor {
        // The sign that transformers' `rotate_half` puts on the swapped half is already in the sine.
        let swapped = heads.roll([self.half], [-1]);
        (heads * &self.cosine)
            .addcmul(&swapped, &self.sine)
            .to_kind(heads.kind())
    }
}
