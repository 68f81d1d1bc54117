//! One forward and backward pass over a micro-batch.
//!
//! Logits exist for one chunk of tokens at a time. Each chunk's gradient stops at the hidden states, which then go back
//! through the layers together. The layers either keep what their backward pass needs, or only their inputs (activation
//! checkpointing), and compute the rest again one layer at a time.

use anytime_policy::operators::training::backward;
use anytime_policy::{Decoder, HeadPass, TreeBatch};
use tch::{Device, Kind, Tensor, no_grad};

use super::memory::logits_elements;
use super::rank_group::RanksError;
use super::stages::{Part, Stages};

/// One pass over a micro-batch: its model, its rows, and how their tokens are split.
pub(super) struct GradientPass<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) tree: &'a TreeBatch,
    /// (start, length) of runs of trained tokens, in order and without gaps.
    pub(super) chunks: &'a [(i64, i64)],
    pub(super) temperature: f64,
}

/// (start, length) of runs of a batch's trained tokens whose logits, of this many ids, may exist together.
pub(super) fn chunks(tree: &TreeBatch, vocabulary: i64) -> Vec<(i64, i64)> {
    let most = (logits_elements(tree.targets().device().is_cuda()) / vocabulary).max(1);
    let tokens = tree.trained_tokens() as i64;
    let mut chunks = Vec::new();
    let mut start = 0;
    while start < tokens {
        let length = most.min(tokens - start);
        chunks.push((start, length));
        start += length;
    }
    chunks
}

/// What a pass found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PassFigures {
    /// The tokens that were trained.
    pub(super) tokens: usize,
    /// The loss, summed over them.
    pub(super) loss: f64,
    /// Σ over tokens of the norm of each one's gradient at the logits.
    ///
    /// With p the probability of the token, that gradient is |d loss/d log p| · ‖one-hot − probabilities‖. The norm is
    /// estimated as 1 − p, which it exceeds by a factor of at most √2. The estimate costs nothing, and where one token
    /// carries the gradient it finds that token.
    pub(super) token_gradients: f64,
    /// The longest of them.
    pub(super) largest_token_gradient: f64,
}

impl PassFigures {
    /// Takes another pass of the same update in.
    pub(super) fn add(&mut self, other: Self) {
        self.tokens += other.tokens;
        self.loss += other.loss;
        self.token_gradients += other.token_gradients;
        self.largest_token_gradient = self.largest_token_gradient.max(other.largest_token_gradient);
    }

    /// The share of the largest token in all tokens' gradients, 0 to 1; 0 where there are none.
    pub(super) fn largest_token_share(&self) -> f64 {
        if self.token_gradients > 0.0 {
            self.largest_token_gradient / self.token_gradients
        } else {
            0.0
        }
    }
}

/// The hidden states of a batch at its trained tokens' predictors, [n, hidden], without a graph. The head has come and is there.
///
/// # Errors
/// [`RanksError`].
pub(super) fn hidden_states(decoder: &Decoder, tree: &TreeBatch, stages: &dyn Stages) -> Result<Tensor, RanksError> {
    no_grad(|| {
        stages.come(Part::Embedding)?;
        let (mut hidden, pass) = decoder.start_tree(tree);
        stages.leave(Part::Embedding);
        for layer in 0..decoder.layers() {
            stages.come(Part::Layer(layer))?;
            hidden = decoder.tree_layer(&pass, layer, &hidden);
            stages.leave(Part::Layer(layer));
        }
        stages.come(Part::Head)?;
        Ok(decoder.finish_tree(&pass, &hidden))
    })
}

impl GradientPass<'_> {
    /// Adds the gradient of Σ `chunk_loss`(log-probabilities of a chunk `[length]`, start, length) to the parameters'.
    /// Keeps all activations.
    pub(super) fn keeping(&self, chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor) -> PassFigures {
        let hidden = self.decoder.tree(self.tree);
        let (figures, gradient) = self.through_head(&hidden, chunk_loss);
        backward(&hidden, &gradient);
        figures.read(self.tree.trained_tokens())
    }

    /// As [`keeping`](Self::keeping), but keeps only the inputs of the layers and computes the rest again. The model's parts
    /// come and go by `stages`.
    ///
    /// # Errors
    /// [`RanksError`]; gradients have no meaning then.
    pub(super) fn recomputing(
        &self,
        stages: &dyn Stages,
        chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor,
    ) -> Result<PassFigures, RanksError> {
        let layers = self.decoder.layers();
        stages.come(Part::Embedding)?;
        let (embedded, pass) = self.decoder.start_tree(self.tree);
        stages.leave(Part::Embedding);
        // One per layer, and the output of the last.
        let mut inputs = vec![embedded.detach()];
        for layer in 0..layers {
            stages.come(Part::Layer(layer))?;
            inputs.push(no_grad(|| self.decoder.tree_layer(&pass, layer, &inputs[layer])));
            stages.leave(Part::Layer(layer));
        }
        stages.come(Part::Head)?;
        let hidden = no_grad(|| self.decoder.finish_tree(&pass, &inputs[layers]));
        let (figures, gradient) = self.through_head(&hidden, chunk_loss);
        // Runs a part again from its input, and sends the gradient of its output back to that input.
        let back = |input: Option<Tensor>, gradient: Tensor, part: &dyn Fn(&Tensor) -> Tensor| {
            let input = input.expect("every part has an input").set_requires_grad(true);
            backward(&part(&input), &gradient);
            input.grad()
        };
        let mut gradient = back(inputs.pop(), gradient, &|input| self.decoder.finish_tree(&pass, input));
        stages.give(Part::Head)?;
        for layer in (0..layers).rev() {
            stages.come(Part::Layer(layer))?;
            gradient = back(inputs.pop(), gradient, &|input| {
                self.decoder.tree_layer(&pass, layer, input)
            });
            stages.give(Part::Layer(layer))?;
        }
        if embedded.requires_grad() {
            backward(&embedded, &gradient);
        }
        stages.give(Part::Embedding)?;
        Ok(figures.read(self.tree.trained_tokens()))
    }

    /// The figures and the gradient at `hidden` [n, hidden]; adds the head's.
    fn through_head(
        &self,
        hidden: &Tensor,
        mut chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor,
    ) -> (FiguresOnDevice, Tensor) {
        let mut figures = FiguresOnDevice::new(hidden.device());
        let mut head = HeadPass::new(self.decoder, self.temperature);
        let mut gradients = Vec::with_capacity(self.chunks.len());
        for &(start, length) in self.chunks {
            let targets = self.tree.targets().narrow(0, start, length);
            let scores = head.score(&hidden.narrow(0, start, length), &targets);
            let loss = chunk_loss(scores.log_probs(), start, length);
            loss.backward();
            figures.add(&loss, scores.log_probs());
            gradients.push(head.backward(scores));
        }
        head.finish();
        (figures, Tensor::cat(&gradients, 0))
    }
}

/// [`PassFigures`] on the device, each `[1]` in f32, because reading them waits for the device.
struct FiguresOnDevice {
    loss: Tensor,
    token_gradients: Tensor,
    largest: Tensor,
}

impl FiguresOnDevice {
    fn new(device: Device) -> Self {
        let zero = || Tensor::zeros([1], (Kind::Float, device));
        Self {
            loss: zero(),
            token_gradients: zero(),
            largest: zero(),
        }
    }

    /// Adds the figures of a chunk whose backward pass has reached its log-probabilities.
    fn add(&mut self, loss: &Tensor, log_probs: &Tensor) {
        self.loss += loss.detach();
        no_grad(|| {
            let lengths: Tensor = log_probs.grad().abs() * (1.0_f64 - log_probs.exp());
            self.token_gradients += lengths.sum(Kind::Float);
            self.largest = self.largest.maximum(&lengths.max());
        });
    }

    fn read(&self, tokens: usize) -> PassFigures {
        let read = Tensor::cat(&[&self.loss, &self.token_gradients, &self.largest], 0).to_device(Device::Cpu);
        PassFigures {
            tokens,
            loss: read.double_value(&[0]),
            token_gradients: read.double_value(&[1]),
            largest_token_gradient: read.double_value(&[2]),
        }
    }
}
