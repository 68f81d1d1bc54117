//! Log-probabilities of trained tokens, with the gradient through the head written out.
//!
//! An autograd graph would keep the widest tensors of the model and go over each of them many times. The gradient
//! itself is short: with p = softmax(logits / T) and g = d loss / d `log p[target]`, that of the logits is g ·
//! (one-hot(target) − p) / T.

use tch::{Device, Kind, Tensor};

use crate::decoder::Decoder;
use crate::operators::training::{backward, product};

/// The head's part in one backward pass. For each chunk of tokens call [`HeadPass::score`], then
/// [`HeadPass::backward`]; at the end call [`HeadPass::finish`]. Each chunk takes the memory of the one before it, and
/// the gradient of the head's weight is the sum over all of them.
pub struct HeadPass<'a> {
    decoder: &'a Decoder,
    temperature: f64,
    /// None where the weight is not trained.
    gradient: Option<Tensor>,
    /// Whether `gradient` is the weight's own.
    is_in_place: bool,
}

/// A chunk of scored tokens, between [`HeadPass::score`] and [`HeadPass::backward`].
pub struct Scores {
    hidden: Tensor,
    targets: Tensor,
    log_probs: Tensor,
    /// log softmax of the logits, [n, vocabulary].
    log_shares: Tensor,
}

impl Scores {
    /// log softmax(logits / temperature) at the targets: `[n]`, a leaf whose gradient [`HeadPass::backward`] takes.
    pub fn log_probs(&self) -> &Tensor {
        &self.log_probs
    }
}

impl<'a> HeadPass<'a> {
    /// Starts a pass over the decoder's head, whose logits are divided by `temperature`.
    ///
    /// # Panics
    /// If the decoder was made for generation.
    pub fn new(decoder: &'a Decoder, temperature: f64) -> Self {
        let weight = decoder.head_weight();
        let _guard = tch::no_grad_guard();
        if !weight.requires_grad() {
            return Self {
                decoder,
                temperature,
                gradient: None,
                is_in_place: false,
            };
        }
        let wide = match weight.kind() {
            Kind::Double => Kind::Double,
            _ => Kind::Float,
        };
        let kept = if weight.is_leaf() { weight.grad() } else { Tensor::new() };
        let is_in_place = kept.defined() && kept.kind() == wide && kept.is_contiguous();
        let gradient = if is_in_place {
            kept
        } else {
            Tensor::zeros(weight.size(), (wide, weight.device()))
        };
        Self {
            decoder,
            temperature,
            gradient: Some(gradient),
            is_in_place,
        }
    }

    /// Scores tokens: final-normed states `hidden` [n, hidden], whose graph is not followed, and `targets` `[n]` int64.
    pub fn score(&self, hidden: &Tensor, targets: &Tensor) -> Scores {
        let _guard = tch::no_grad_guard();
        let hidden = hidden.detach();
        let targets = targets.unsqueeze(-1);
        let mut logits = self.decoder.logits(&hidden);
        if self.temperature != 1.0 {
            let _ = logits.g_div_scalar_(self.temperature);
        }
        let log_shares = logits.log_softmax(-1, None);
        let log_probs = log_shares.gather(-1, &targets, false).squeeze_dim(-1);
        Scores {
            hidden,
            targets,
            log_probs: log_probs.set_requires_grad(true),
            log_shares,
        }
    }

    /// The gradient at the scored tokens' hidden states, [n, hidden]. Call it after a backward pass that reached the
    /// tokens' log-probabilities. Also adds up the gradient of the head's weight.
    pub fn backward(&mut self, scores: Scores) -> Tensor {
        let _guard = tch::no_grad_guard();
        let weight = self.decoder.head_weight();
        let coefficients = scores.log_probs.grad().unsqueeze(-1) / self.temperature;
        let mut logits_gradient = scores.log_shares;
        let _ = logits_gradient.exp_();
        let _ = logits_gradient.g_mul_(&-&coefficients);
        let _ = logits_gradient.scatter_add_(-1, &scores.targets, &coefficients);
        let logits_gradient = logits_gradient.to_kind(weight.kind());
        let transposed = logits_gradient.transpose(0, 1);
        match &mut self.gradient {
            Some(gradient) if gradient.kind() == weight.kind() => {
                let _ = gradient.addmm_(&transposed, &scores.hidden);
            }
            Some(gradient) => {
                let _ = gradient.g_add_(&transposed.matmul(&scores.hidden));
            }
            None => {}
        }
        match weight.device() {
            Device::Cpu => product(&logits_gradient, &weight.transpose(0, 1)),
            _ => logits_gradient.matmul(&weight),
        }
    }

    /// Adds the gradient of the head to the parameter's own.
    pub fn finish(self) {
        if let (Some(gradient), false) = (self.gradient, self.is_in_place) {
            let weight = self.decoder.head_weight();
            backward(&weight, &gradient.to_kind(weight.kind()));
        }
    }
}
