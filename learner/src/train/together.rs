//! What a trainer does with the other ranks, where there are any.

use anyhow::{Context as _, ensure};
use anytime_policy::{TensorShape, Weights};
use anytime_proto::v1;
use tch::Tensor;

use super::divided::Divided;
use super::figures::StepFigures;
use super::optimiser::{AdamW, update_size};
use super::parameters::Parameters;
use super::rank_group::{RankGroup, RanksError};
use super::trainer::Trainer;
use super::work::{RankWork, TensorOfState, Told, sum_figures};

impl Trainer {
    /// Computes the updates together with other processes from now on, whose weights are the same. To be called before the
    /// optimiser has a state, because the ranks may divide it among them.
    pub fn join(&mut self, ranks: RankGroup) {
        if self.sharding > v1::Sharding::None && self.parameters.divided().is_none() {
            let parameters = self.parameters.trained();
            self.optimiser = AdamW::of_part(self.optimiser.settings, parameters, ranks.shard());
        }
        self.ranks = Some(ranks);
    }

    /// Keeps no more than this rank's part of the weights, if the ranks divide them. To be called once all of them have been given
    /// the weights, and before the optimiser has a state.
    pub fn divide(&mut self) {
        let Some(ranks) = &self.ranks else {
            return;
        };
        let Some(mut divided) = Divided::of(self.sharding, ranks, self.compute_kind) else {
            return;
        };
        match std::mem::replace(&mut self.parameters, Parameters::Whole(Weights::new())) {
            Parameters::Whole(masters) => {
                for (name, master) in masters {
                    divided.add(&name, &master, self.device);
                }
                self.optimiser = AdamW::of_divided(self.optimiser.settings, &divided, self.device);
                self.parameters = Parameters::Divided(Box::new(divided));
            }
            others => self.parameters = others,
        }
    }

    /// The processes that compute together.
    pub fn ranks(&self) -> Option<&RankGroup> {
        self.ranks.as_ref()
    }

    /// A whole tensor of the optimiser's [`layout`](AdamW::layout), for the recovery checkpoint. The other ranks are told to
    /// give their parts of it; called by rank 0 alone.
    ///
    /// # Errors
    /// [`RanksError`], or a tensor that the optimiser does not have.
    pub fn tensor_of_state(&self, shape: &TensorShape) -> anyhow::Result<Tensor> {
        let part = self.optimiser.part_of(&shape.name)?;
        if self.ranks.is_none() || !self.is_divided(&part, &shape.size) {
            return Ok(part);
        }
        self.gathered(&part, shape, Told::State)
    }

    /// A whole master of this shape, for what leaves the trainer. The other ranks are told to give their parts of it; called by
    /// rank 0 alone.
    ///
    /// # Errors
    /// [`RanksError`], or a master that there is not.
    pub fn master(&self, shape: &TensorShape) -> anyhow::Result<Tensor> {
        let part = self.part_of_master(&shape.name)?;
        if self.parameters.divided().is_none() {
            return Ok(part);
        }
        self.gathered(&part, shape, Told::Master)
    }

    /// As [`master`](Self::master), in the kind that passes compute in.
    ///
    /// # Errors
    /// As [`master`](Self::master).
    pub fn weight(&self, shape: &TensorShape) -> anyhow::Result<Tensor> {
        match self.parameters.divided() {
            Some(divided) if divided.is_full() => {
                let part = self.part_of_master(&shape.name)?.to_kind(self.compute_kind);
                self.gathered(&part, shape, Told::Weight)
            }
            _ => self.parameters.weight(shape),
        }
    }

    fn gathered(&self, part: &Tensor, shape: &TensorShape, told: fn(TensorOfState) -> Told) -> anyhow::Result<Tensor> {
        let ranks = self.ranks.as_ref().context("parts are of ranks")?;
        let (name, size) = (shape.name.clone(), shape.size.clone());
        ranks.tell(&postcard::to_stdvec(&told(TensorOfState { name, size })).context("name a tensor")?)?;
        Ok(ranks.whole(part, &shape.size)?)
    }

    fn part_of_master(&self, name: &str) -> anyhow::Result<Tensor> {
        let part = self.parameters.trained().get(name).map(Tensor::detach);
        part.with_context(|| format!("there is no master {name}"))
    }

    /// All weights of the model as it computes: on its device, or of ranks that divide them in the machine's memory, whole. Called by
    /// rank 0 alone.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn whole_model(&self) -> anyhow::Result<Weights> {
        let shapes = self.model_shapes().into_iter();
        shapes
            .map(|shape| Ok((shape.name.clone(), self.weight(&shape)?)))
            .collect()
    }

    /// The shapes of all weights of the model as it computes.
    pub fn model_shapes(&self) -> Vec<TensorShape> {
        self.parameters.model_shapes()
    }

    /// Whether this is a part of a tensor of that shape, and not the whole.
    fn is_divided(&self, part: &Tensor, size: &[i64]) -> bool {
        !self.optimiser.shard().is_whole() && part.size() != size
    }

    /// Makes the updates of a step of which rank 0 tells, as one of the others, and before that whatever else it tells.
    /// Returns when the step is made.
    ///
    /// # Errors
    /// [`RanksError`], or the error of `check`, which is called while this rank waits and between micro-batches.
    pub fn follow_step(&mut self, check: &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<StepFigures> {
        let ranks = self.ranks.as_ref().context("this process has no other ranks")?;
        loop {
            match postcard::from_bytes(&ranks.hear(check)?).context("rank 0 tells what to do")? {
                Told::State(TensorOfState { name, .. }) => ranks.give(&self.optimiser.part_of(&name)?)?,
                Told::Master(TensorOfState { name, .. }) => ranks.give(&self.part_of_master(&name)?)?,
                Told::Weight(TensorOfState { name, .. }) => {
                    ranks.give(&self.part_of_master(&name)?.to_kind(self.compute_kind))?;
                }
                Told::Step(mut parts) => {
                    ensure!(parts.len() == ranks.world(), "rank 0 tells of another number of ranks");
                    let own = parts.swap_remove(ranks.rank());
                    return self.compute(own, check);
                }
            }
        }
    }

    /// Tells the other ranks of a step, and returns this one's part of it.
    pub(super) fn dealt(&self, work: RankWork) -> anyhow::Result<RankWork> {
        let Some(ranks) = &self.ranks else {
            return Ok(work);
        };
        let told = Told::Step(work.deal(ranks.world(), self.config.hidden_size));
        ranks.tell(&postcard::to_stdvec(&told).context("write a step down")?)?;
        match told {
            Told::Step(mut parts) => Ok(parts.swap_remove(0)),
            Told::State(_) | Told::Master(_) | Told::Weight(_) => unreachable!("it is a step"),
        }
    }

    /// Sums up an update of which each rank has made its part: its figures, and the parameters that it has changed.
    ///
    /// # Errors
    /// [`RanksError`]; the model has no meaning then.
    pub(super) fn put_together(&self) -> Result<f64, RanksError> {
        let mut squares = self.optimiser.update_squares();
        if let Some(ranks) = self.ranks.as_ref().filter(|_| !self.optimiser.shard().is_whole()) {
            match self.parameters.divided() {
                Some(divided) => divided.renew(ranks)?,
                None => ranks.exchange_parts(self.parameters.trained())?,
            }
            ranks.sum(&mut squares)?;
        }
        Ok(update_size(squares))
    }

    /// The figures of a step of so many updates, of all ranks.
    pub(super) fn finish(&self, mut figures: StepFigures, updates: usize) -> anyhow::Result<StepFigures> {
        if let Some(ranks) = &self.ranks {
            sum_figures(&mut figures, ranks)?;
        }
        figures.finish(updates);
        Ok(figures)
    }
}
