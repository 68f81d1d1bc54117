//! A pass over a model whose parts are not all there all the time: each is brought when the pass comes to it, and gives up its
//! gradient when the pass leaves it.

use super::rank_group::RanksError;

/// What comes and leaves together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The embedding of the tokens.
    Embedding,
    /// A layer, from 0.
    Layer(usize),
    /// The last normalisation, and the head, which may be the embedding.
    Head,
}

impl Part {
    /// All parts of a model, in the order of its passes.
    pub(super) fn all(layers: usize) -> impl DoubleEndedIterator<Item = Self> {
        let layers = (0..layers).map(Self::Layer);
        std::iter::once(Self::Embedding)
            .chain(layers)
            .chain(std::iter::once(Self::Head))
    }
}

/// Brings the parts. All ranks call the same in the same order, also those that have no rows for a pass.
pub(super) trait Stages {
    /// Before a part is computed with.
    ///
    /// # Errors
    /// [`RanksError`]; the pass has no meaning then.
    fn come(&self, part: Part) -> Result<(), RanksError>;

    /// After it was computed with, without a gradient.
    fn leave(&self, part: Part);

    /// Takes the gradient that the pass has added to a part, and leaves it.
    ///
    /// # Errors
    /// As [`come`](Self::come).
    fn give(&self, part: Part) -> Result<(), RanksError>;
}

/// All parts are there, and keep their gradients.
pub(super) struct AllThere;

impl Stages for AllThere {
    fn come(&self, _: Part) -> Result<(), RanksError> {
        Ok(())
    }

    fn leave(&self, _: Part) {}

    fn give(&self, _: Part) -> Result<(), RanksError> {
        Ok(())
    }
}

/// What a rank without rows does while others run a pass forward.
///
/// # Errors
/// [`RanksError`].
pub(super) fn forward_without_rows(stages: &dyn Stages, layers: usize) -> Result<(), RanksError> {
    for part in Part::all(layers) {
        stages.come(part)?;
        stages.leave(part);
    }
    Ok(())
}

/// What a rank without rows does while others run a pass forward and backward, in the order of
/// [`GradientPass::recomputing`](super::gradient::GradientPass::recomputing).
///
/// # Errors
/// [`RanksError`].
pub(super) fn pass_without_rows(stages: &dyn Stages, layers: usize) -> Result<(), RanksError> {
    for part in Part::all(layers).filter(|part| *part != Part::Head) {
        stages.come(part)?;
        stages.leave(part);
    }
    stages.come(Part::Head)?;
    stages.give(Part::Head)?;
    for layer in (0..layers).rev().map(Part::Layer) {
        stages.come(layer)?;
        stages.give(layer)?;
    }
    stages.give(Part::Embedding)
}
