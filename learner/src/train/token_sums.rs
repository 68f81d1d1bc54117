//! What a pass over a micro-batch sums up over its tokens beside the gradient: the ratios, what was clipped, and how far
//! actors and learner are apart. The sums stay on the device until the pass is over, because reading waits for it.

use anytime_service::metric_names::LOG_PROB_GAP_BUCKETS;
use tch::{Device, Kind, Tensor, no_grad};

use super::figures::StepFigures;
use super::loss::LossSums;

/// Each is `[1]` in f32, which counts tokens exactly up to 16 million.
pub(super) struct TokenSums {
    clipped: Tensor,
    ratio: Tensor,
    largest_ratio: Tensor,
    gap: Tensor,
    largest_gap: Tensor,
    /// Tokens that were compared.
    fresh: Tensor,
    /// `[buckets]`, those of them with a gap up to each bound.
    gaps: Tensor,
    /// `[buckets]`
    bounds: Tensor,
}

impl TokenSums {
    pub(super) fn new(device: Device) -> Self {
        let zero = || Tensor::zeros([1], (Kind::Float, device));
        let bounds = LOG_PROB_GAP_BUCKETS.map(|bound| bound as f32);
        Self {
            clipped: zero(),
            ratio: zero(),
            largest_ratio: zero(),
            gap: zero(),
            largest_gap: zero(),
            fresh: zero(),
            gaps: Tensor::zeros([bounds.len() as i64], (Kind::Float, device)),
            bounds: Tensor::from_slice(&bounds).to_device(device),
        }
    }

    /// Adds what the loss of a chunk of tokens found.
    pub(super) fn add(&mut self, found: &LossSums) {
        self.clipped += &found.clipped;
        self.ratio += &found.ratio;
        self.largest_ratio = self.largest_ratio.maximum(&found.largest_ratio);
    }

    /// Adds the differences between the log-probabilities of learner and actors over a chunk, as far as the two are
    /// `comparable`; all `[n]`.
    pub(super) fn compare(&mut self, log_probs: &Tensor, behaviour: &Tensor, comparable: &Tensor) {
        no_grad(|| {
            let is_fresh = comparable.to_kind(Kind::Float);
            let gap = (log_probs.detach() - behaviour).abs() * &is_fresh;
            self.gap += gap.sum(Kind::Float);
            self.largest_gap = self.largest_gap.maximum(&gap.max());
            self.fresh += is_fresh.sum(Kind::Float);
            // A gap that is no number is in no bucket but the one without a bound.
            let is_within = gap.unsqueeze(1).le_tensor(&self.bounds);
            let counted = is_within.logical_and(&comparable.unsqueeze(1));
            self.gaps += counted.sum_dim_intlist(0_i64, false, Kind::Float);
        });
    }

    /// Waits for the device, once, and adds the sums to the figures of a step.
    pub(super) fn read(&self, figures: &mut StepFigures) {
        let parts = [
            &self.clipped,
            &self.ratio,
            &self.largest_ratio,
            &self.gap,
            &self.largest_gap,
            &self.fresh,
            &self.gaps,
        ];
        let read = Tensor::cat(&parts, 0).to_device(Device::Cpu);
        let value = |index: usize| read.double_value(&[index as i64]);
        figures.clipped_tokens += value(0);
        figures.ratio += value(1);
        figures.largest_ratio = figures.largest_ratio.max(value(2));
        figures.fresh_gap += value(3);
        figures.largest_fresh_gap = figures.largest_fresh_gap.max(value(4));
        figures.fresh_tokens += value(5) as u64;
        for (bucket, count) in figures.fresh_gaps.iter_mut().enumerate() {
            *count += value(6 + bucket) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_up_to_each_bound_on_fresh_tokens_alone() {
        tch::set_num_threads(1);
        let mut sums = TokenSums::new(Device::Cpu);
        let behaviour = Tensor::from_slice(&[-1.0_f32; 5]);
        let log_probs = Tensor::from_slice(&[-1.0_f32, -1.0005, -1.5, -9.0, f32::NAN]);
        sums.compare(
            &log_probs,
            &behaviour,
            &Tensor::from_slice(&[true, true, true, true, true]),
        );
        sums.compare(
            &log_probs,
            &behaviour,
            &Tensor::from_slice(&[false, false, true, false, false]),
        );
        let mut figures = StepFigures::default();
        sums.read(&mut figures);
        assert_eq!(figures.fresh_tokens, 6);
        assert_eq!(figures.fresh_gaps, [1, 1, 1, 2, 2, 2, 4]);
    }
}
