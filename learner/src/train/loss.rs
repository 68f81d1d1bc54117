//! The clipped policy gradient with a constant normaliser (paper 1.3). It is decoupled (arXiv 2505.24298) where tokens
//! are older than the weights that train: the ratio π/π_prox is clipped, and the truncated ratio π_prox/π_behaviour is
//! the weight of the token.

use tch::{Kind, Tensor};

/// Settings of the loss that stay the same over a job.
#[derive(Clone, Copy, Debug)]
pub struct PolicyLoss {
    /// The ratio is clipped below at 1 − ε; this is ε.
    pub clip: f64,
    /// The ratio is clipped above at 1 + ε_high; this is ε_high, which is larger than `clip` in DAPO (arXiv
    /// 2503.14476), so that unlikely tokens can grow.
    pub clip_high: f64,
    /// The bound at which π_prox/π_behaviour is truncated.
    pub importance_cap: f64,
}

/// The figures of n tokens that the loss needs. Each tensor is `[n]` in f32 on the device of the model.
pub struct TokenTerms {
    /// log π_behaviour, when the token was generated.
    pub behaviour: Tensor,
    /// log π_prox, under the weights at the start of the step; equal to `behaviour` for fresh tokens.
    pub proximal: Tensor,
    /// The advantage A.
    pub advantages: Tensor,
    /// Weight beside other tokens.
    pub weights: Tensor,
}

/// What the loss finds on its way over n tokens: scalars on the device of the model, without gradients.
pub struct LossSums {
    /// The number of tokens whose clipped term is the larger.
    pub clipped: Tensor,
    /// Σ ρ.
    pub ratio: Tensor,
    /// The largest ρ.
    pub largest_ratio: Tensor,
}

impl TokenTerms {
    /// The terms of `length` tokens from `start` on.
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        let part = |tensor: &Tensor| tensor.narrow(0, start, length);
        Self {
            behaviour: part(&self.behaviour),
            proximal: part(&self.proximal),
            advantages: part(&self.advantages),
            weights: part(&self.weights),
        }
    }
}

impl PolicyLoss {
    /// Σ w · min(π_prox/π_behaviour, cap) · max(−A·ρ, −A·clip(ρ, 1−ε, 1+ε_high)) with ρ = π/π_prox, a scalar, and
    /// what it finds on the way. `log_probs`: log π, `[n]` with n above 0.
    pub fn sum(&self, log_probs: &Tensor, terms: &TokenTerms) -> (Tensor, LossSums) {
        let ratio = (log_probs - &terms.proximal).exp();
        let plain = -&terms.advantages * &ratio;
        let clipped = -&terms.advantages * ratio.clamp(1.0 - self.clip, 1.0 + self.clip_high);
        let importance = (&terms.proximal - &terms.behaviour)
            .exp()
            .clamp_max(self.importance_cap);
        let detached = ratio.detach();
        let sums = LossSums {
            clipped: clipped.gt_tensor(&plain).sum(Kind::Float),
            ratio: detached.sum(Kind::Float),
            largest_ratio: detached.max(),
        };
        let loss = plain.maximum(&clipped) * importance * &terms.weights;
        (loss.sum(Kind::Float), sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: PolicyLoss = PolicyLoss {
        clip: 0.2,
        clip_high: 0.2,
        importance_cap: 2.0,
    };

    fn terms(behaviour: f32, proximal: f32, advantage: f32) -> TokenTerms {
        tch::set_num_threads(1);
        TokenTerms {
            behaviour: Tensor::from_slice(&[behaviour]),
            proximal: Tensor::from_slice(&[proximal]),
            advantages: Tensor::from_slice(&[advantage]),
            weights: Tensor::from_slice(&[1.0_f32]),
        }
    }

    fn value_and_gradient(log_prob: f32, terms: &TokenTerms) -> (f64, f64) {
        let log_probs = Tensor::from_slice(&[log_prob]).set_requires_grad(true);
        let (loss, _) = LOSS.sum(&log_probs, terms);
        loss.backward();
        (loss.double_value(&[]), log_probs.grad().double_value(&[0]))
    }

    #[test]
    fn fresh_tokens_have_the_plain_policy_gradient() {
        // ρ = 1: loss −A, d/dlogπ = −A.
        let (loss, gradient) = value_and_gradient(-1.0, &terms(-1.0, -1.0, 0.5));
        assert!((loss + 0.5).abs() < 1e-6 && (gradient + 0.5).abs() < 1e-6);
    }

    #[test]
    fn the_clip_ends_the_gradient_in_the_direction_of_gain_only() {
        let ratio_of_two = -1.0 + 2.0_f32.ln();
        let (loss, gradient) = value_and_gradient(ratio_of_two, &terms(-1.0, -1.0, 1.0));
        assert!((loss + 1.2).abs() < 1e-6 && gradient.abs() < 1e-9);
        let (loss, gradient) = value_and_gradient(ratio_of_two, &terms(-1.0, -1.0, -1.0));
        assert!((loss - 2.0).abs() < 1e-6 && (gradient - 2.0).abs() < 1e-6);
    }

    #[test]
    fn the_upper_clip_is_its_own() {
        let higher = PolicyLoss {
            clip_high: 0.28,
            ..LOSS
        };
        let sum = |ratio: f32, advantage: f32| {
            let (loss, sums) = higher.sum(&Tensor::from_slice(&[-1.0 + ratio.ln()]), &terms(-1.0, -1.0, advantage));
            for shown in [&sums.ratio, &sums.largest_ratio] {
                assert!((shown.double_value(&[]) - f64::from(ratio)).abs() < 1e-6, "{ratio}");
            }
            (loss.double_value(&[]), sums.clipped.double_value(&[]))
        };
        for (ratio, advantage, expected, expected_clipped) in [
            (1.25, 1.0, -1.25, 0.0),
            (1.5, 1.0, -1.28, 1.0),
            (0.5, -1.0, 0.8, 1.0),
            (0.75, -1.0, 0.8, 1.0),
        ] {
            let (loss, clipped) = sum(ratio, advantage);
            assert!((loss - expected).abs() < 1e-6, "{ratio}: {loss}");
            assert_eq!(clipped, expected_clipped, "{ratio}");
        }
    }

    #[test]
    fn stale_tokens_are_weighed_by_the_truncated_importance() {
        // π_prox/π_behaviour = 1.5, below the cap.
        let (loss, gradient) = value_and_gradient(-1.0, &terms(-1.0 - 1.5_f32.ln(), -1.0, 1.0));
        assert!((loss + 1.5).abs() < 1e-6 && (gradient + 1.5).abs() < 1e-6);
        // 20, above it.
        let (loss, _) = value_and_gradient(-1.0, &terms(-1.0 - 20.0_f32.ln(), -1.0, 1.0));
        assert!((loss + 2.0).abs() < 1e-6);
    }
}
