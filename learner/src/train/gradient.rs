//! One forward and backward pass over a micro-batch.
//!
//! The vocabulary exists for one chunk of tokens at a time: each chunk's gradient stops at the hidden states, which
//! then go back through the layers together. The layers either keep what their backward pass needs, or only their
//! inputs, and compute the rest again one layer at a time.

use anytime_policy::operators::training::backward;
use anytime_policy::{Decoder, HeadPass, TreeBatch};
use tch::{Kind, Tensor, no_grad};

/// One pass over a micro-batch: its model, its rows, and how their tokens are split.
pub(super) struct GradientPass<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) tree: &'a TreeBatch,
    /// (start, length) of runs of trained tokens, in order and without gaps.
    pub(super) chunks: &'a [(i64, i64)],
    pub(super) temperature: f64,
}

impl GradientPass<'_> {
    /// Adds the gradient of Σ `chunk_loss`(log-probabilities of a chunk `[length]`, start, length) to the parameters';
    /// returns the sum. Keeps all activations.
    pub(super) fn keeping(&self, chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor) -> f64 {
        let hidden = self.decoder.tree(self.tree);
        let (loss, gradient) = self.through_head(&hidden, chunk_loss);
        backward(&hidden, &gradient);
        loss.double_value(&[0])
    }

    /// As [`keeping`](Self::keeping), but keeps only the inputs of the layers and computes the rest again.
    pub(super) fn recomputing(&self, chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor) -> f64 {
        let layers = self.decoder.layers();
        let (embedded, pass) = self.decoder.start_tree(self.tree);
        // One per layer, and the output of the last.
        let mut inputs = vec![embedded.detach()];
        let hidden = no_grad(|| {
            for layer in 0..layers {
                inputs.push(self.decoder.tree_layer(&pass, layer, &inputs[layer]));
            }
            self.decoder.finish_tree(&pass, &inputs[layers])
        });
        let (loss, gradient) = self.through_head(&hidden, chunk_loss);
        // Runs a part again from its input, and sends the gradient of its output back to that input.
        let back = |input: Option<Tensor>, gradient: Tensor, part: &dyn Fn(&Tensor) -> Tensor| {
            let input = input.expect("every part has an input").set_requires_grad(true);
            backward(&part(&input), &gradient);
            input.grad()
        };
        let mut gradient = back(inputs.pop(), gradient, &|input| self.decoder.finish_tree(&pass, input));
        for layer in (0..layers).rev() {
            gradient = back(inputs.pop(), gradient, &|input| {
                self.decoder.tree_layer(&pass, layer, input)
            });
        }
        backward(&embedded, &gradient);
        loss.double_value(&[0])
    }

    /// The loss `[1]` and its gradient at `hidden` [n, hidden]; adds the head's.
    fn through_head(
        &self,
        hidden: &Tensor,
        mut chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor,
    ) -> (Tensor, Tensor) {
        let mut total = Tensor::zeros([1], (Kind::Float, hidden.device()));
        let mut head = HeadPass::new(self.decoder, self.temperature);
        let mut gradients = Vec::with_capacity(self.chunks.len());
        for &(start, length) in self.chunks {
            let targets = self.tree.targets().narrow(0, start, length);
            let scores = head.score(&hidden.narrow(0, start, length), &targets);
            let loss = chunk_loss(scores.log_probs(), start, length);
            loss.backward();
            total += loss.detach();
            gradients.push(head.backward(scores));
        }
        head.finish();
        (total, Tensor::cat(&gradients, 0))
    }
}
