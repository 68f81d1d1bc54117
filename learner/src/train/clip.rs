//! Clips each tensor's gradient against the history of its own norms: AdaGC (arXiv 2502.11034).
//!
//! With γ the moving average of a tensor's clipped norms and λ the setting `training.gradient_clip_history`, a gradient
//! g becomes h·g with h = min(1, λ·γ/‖g‖), and then γ ← β·γ + (1 − β)·‖h·g‖ with β = 0.98. The bound follows the
//! gradients as lengths, normaliser and progress change them, so no threshold has to be set by hand. It can grow by the
//! factor 1 + (λ − 1)·(1 − β) per update, so no spike and no long quiet period can hold it down for ever.
//!
//! Three things differ from the paper, because norms of a policy gradient vary by orders of magnitude and may be zero.
//! The first updates only measure, and γ is their plain mean, where the paper takes their least norm; its bound for
//! them is `training.gradient_clip`. Gradients that are exactly zero leave γ as it is. At 1.05, the paper's λ and the
//! default here, nearly every policy gradient is cut to one length per tensor.

use std::collections::BTreeMap;

/// β: how much of the average stays at an update.
const DECAY: f64 = 0.98;
/// How many updates of a tensor are only measured before the first is clipped.
const MEASURED: f64 = 20.0;

/// Clips each tensor against its own history.
#[derive(Clone, Debug)]
pub(super) struct ClipHistory {
    /// λ, 1 or more.
    factor: f64,
    norms: BTreeMap<String, NormHistory>,
}

/// The history of one tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NormHistory {
    /// γ.
    pub(super) mean: f64,
    /// How many norms went into it.
    pub(super) count: f64,
}

impl ClipHistory {
    /// An empty history for the factor λ.
    pub(super) fn new(factor: f64) -> Self {
        Self {
            factor,
            norms: BTreeMap::new(),
        }
    }

    /// What a gradient of this norm is multiplied by, at most 1. Takes the clipped norm into the history.
    pub(super) fn clip(&mut self, tensor: &str, norm: f64) -> f64 {
        if norm <= 0.0 {
            return 1.0;
        }
        if !self.norms.contains_key(tensor) {
            self.norms.insert(tensor.to_owned(), NormHistory::default());
        }
        let history = self.norms.get_mut(tensor).expect("it has just been put there");
        let bound = self.factor * history.mean;
        let scale = if history.count >= MEASURED && norm > bound {
            bound / norm
        } else {
            1.0
        };
        history.count += 1.0;
        let weight = (1.0 - DECAY).max(1.0 / history.count);
        history.mean += weight * (scale * norm - history.mean);
        scale
    }

    /// The history by tensor, for the recovery checkpoint.
    pub(super) fn norms(&self) -> &BTreeMap<String, NormHistory> {
        &self.norms
    }

    /// Takes over the history of one tensor.
    pub(super) fn restore(&mut self, tensor: &str, history: NormHistory) {
        self.norms.insert(tensor.to_owned(), history);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history of 50 norms of 1.
    fn settled(factor: f64) -> ClipHistory {
        let mut history = ClipHistory::new(factor);
        for _ in 0..50 {
            assert_eq!(history.clip("w", 1.0), 1.0);
        }
        history
    }

    #[test]
    fn a_spike_is_cut_to_its_tensors_history_and_hardly_moves_it() {
        let mut history = settled(2.0);
        history.clip("other", 1e6);
        assert!((history.clip("w", 100.0) - 0.02).abs() < 1e-12, "2 of 100");
        // γ = 0.98 · 1 + 0.02 · 2.
        assert!((history.norms()["w"].mean - 1.02).abs() < 1e-12);
        assert!((history.clip("w", 100.0) - 0.0204).abs() < 1e-12);
        assert_eq!(history.clip("w", 2.0), 1.0, "within the bound");
    }

    #[test]
    fn the_first_updates_are_measured_and_not_clipped() {
        let mut history = ClipHistory::new(1.5);
        for norm in 0..MEASURED as u64 {
            assert_eq!(history.clip("w", (norm + 1) as f64), 1.0);
        }
        // The mean of 1 … 20.
        assert!((history.norms()["w"].mean - 10.5).abs() < 1e-9);
        assert!((history.clip("w", 31.5) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn norms_that_grow_for_good_are_followed() {
        for jump in [10.0, 1e4] {
            let mut history = settled(2.0);
            let updates = (0..1000).take_while(|_| history.clip("w", jump) < 1.0).count();
            // 2 % per update.
            let expected = (jump / 2.0_f64).ln() / 1.02_f64.ln();
            assert!((updates as f64 - expected).abs() < 2.0, "{updates} {expected}");
        }
    }

    #[test]
    fn a_gradient_of_zero_leaves_the_history_alone() {
        let mut history = settled(2.0);
        let before = history.norms()["w"];
        for _ in 0..1000 {
            assert_eq!(history.clip("w", 0.0), 1.0);
        }
        assert_eq!(history.norms()["w"], before);
        assert_eq!(history.clip("w", 1.5), 1.0);
    }
}
