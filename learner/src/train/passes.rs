//! The passes of a trainer over its model. Where ranks divide the weights, all make the same number of passes, because a pass
//! brings the parts of the model together: who has no rows left takes part without.

use anytime_policy::TreeBatch;
use tch::{Kind, Tensor, no_grad};

use super::divided::Passing;
use super::gradient::{GradientPass, PassFigures, chunks, hidden_states};
use super::rank_group::{RankGroup, RanksError};
use super::stages::{AllThere, Part, Stages, forward_without_rows, pass_without_rows};
use super::trainer::Trainer;

impl Trainer {
    /// The divided weights, where they are.
    fn passing(&self) -> Option<Passing<'_>> {
        match (self.parameters.divided(), &self.ranks) {
            (Some(divided), Some(ranks)) => Some(Passing { divided, ranks }),
            _ => None,
        }
    }

    /// What this rank computes in an update, and None for each pass that only others have rows for.
    pub(super) fn in_step<T>(&self, own: Vec<T>) -> Result<Vec<Option<T>>, RanksError> {
        let mut most = [own.len() as f64];
        if let Some(passing) = self.passing() {
            passing.ranks.largest(&mut most)?;
        }
        let [most] = most;
        let mut all: Vec<Option<T>> = own.into_iter().map(Some).collect();
        all.resize_with(most as usize, || None);
        Ok(all)
    }

    /// Log-probabilities of all trained tokens of a batch, `[n]`, without a graph; without a batch this rank takes part where
    /// others have one.
    pub(super) fn log_probs_in_step(&self, tree: Option<&TreeBatch>) -> Result<Option<Tensor>, RanksError> {
        let Some(passing) = self.passing() else {
            return tree.map(|tree| self.log_probs(tree, &AllThere)).transpose();
        };
        if !passing.ranks.any(tree.is_some())? {
            return Ok(None);
        }
        match tree {
            Some(tree) => self.log_probs(tree, &passing).map(Some),
            None => forward_without_rows(&passing, self.config.num_hidden_layers).map(|()| None),
        }
    }

    fn log_probs(&self, tree: &TreeBatch, stages: &dyn Stages) -> Result<Tensor, RanksError> {
        no_grad(|| {
            let decoder = self.decoder(None);
            let hidden = hidden_states(&decoder, tree, stages)?;
            let mut parts = Vec::new();
            for (start, length) in chunks(tree, self.config.vocab_size) {
                let (hidden, targets) = (hidden.narrow(0, start, length), tree.targets().narrow(0, start, length));
                parts.push(decoder.log_probs(&hidden, &targets, self.temperature));
            }
            stages.leave(Part::Head);
            Ok(if parts.is_empty() {
                Tensor::zeros([0], (Kind::Float, self.device))
            } else {
                Tensor::cat(&parts, 0)
            })
        })
    }

    /// Takes part in a pass that only others have rows for.
    pub(super) fn pass_without_rows(&self) -> Result<PassFigures, RanksError> {
        if let Some(passing) = self.passing() {
            pass_without_rows(&passing, self.config.num_hidden_layers)?;
        }
        Ok(PassFigures::default())
    }

    /// Runs the model over a batch and adds the gradient of a loss that is a sum over tokens.
    pub(super) fn backward_in_chunks(
        &self,
        tree: &TreeBatch,
        temperature: f64,
        chunk_loss: impl FnMut(&Tensor, i64, i64) -> Tensor,
    ) -> Result<PassFigures, RanksError> {
        if tree.trained_tokens() == 0 {
            return self.pass_without_rows();
        }
        let pass = GradientPass {
            decoder: &self.decoder(Some(self.dropout_seed())),
            tree,
            chunks: &chunks(tree, self.config.vocab_size),
            temperature,
        };
        match self.passing() {
            Some(passing) => pass.recomputing(&passing, chunk_loss),
            None if self.plan.activation_checkpointing => pass.recomputing(&AllThere, chunk_loss),
            None => Ok(pass.keeping(chunk_loss)),
        }
    }

    /// What the draws of dropout in a pass follow from: the update, the rank and the number of the pass.
    fn dropout_seed(&self) -> u64 {
        let pass = self.passes.replace(self.passes.get() + 1);
        let rank = self.ranks.as_ref().map_or(0, RankGroup::rank) as u64;
        (self.optimiser.updates() << 32) ^ (rank << 20) ^ pass
    }
}
