//! AdamW (arXiv 1711.05101) over named tensors. Its state can be saved in a recovery checkpoint, which tch's optimiser
//! does not allow.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, bail, ensure};
use anytime_policy::operators::training::{AdamWParameter, AdamWStep, adamw};
use anytime_policy::{TensorFile, TensorShape, Weights};
use anytime_proto::settings::TrainingSettings;
use tch::{Device, Kind, Tensor, no_grad};

use super::clip::{ClipHistory, NormHistory};
use super::divided::Divided;
use super::gradients::Gradients;
use super::rank_group::RanksError;
use super::sharding::Shard;

/// Hyper-parameters that stay the same over a job.
#[derive(Clone, Copy, Debug)]
pub struct AdamWSettings {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled from the gradient.
    pub weight_decay: f64,
    /// L2 norm at which the whole gradient is clipped; 0 is off.
    pub gradient_clip: f64,
    /// Multiple of the moving average of its own norms at which a tensor's gradient is clipped; 0 is off.
    pub gradient_clip_history: f64,
}

impl From<&TrainingSettings> for AdamWSettings {
    fn from(settings: &TrainingSettings) -> Self {
        Self {
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            weight_decay: settings.weight_decay,
            gradient_clip: settings.gradient_clip,
            gradient_clip_history: settings.gradient_clip_history,
        }
    }
}

/// First and second moment of one parameter, or of the part of it that this rank updates.
pub(super) struct Moments {
    pub(super) first: Tensor,
    pub(super) second: Tensor,
}

/// Where the state of an optimiser is read from, by the names of [`AdamW::layout`].
pub trait StateSource {
    /// A whole tensor; None where there is none of this name.
    ///
    /// # Errors
    /// It cannot be read.
    fn tensor(&self, name: &str) -> anyhow::Result<Option<Tensor>>;
}

impl StateSource for BTreeMap<String, Tensor> {
    fn tensor(&self, name: &str) -> anyhow::Result<Option<Tensor>> {
        Ok(self.get(name).map(Tensor::shallow_clone))
    }
}

impl StateSource for TensorFile {
    fn tensor(&self, name: &str) -> anyhow::Result<Option<Tensor>> {
        Ok(self.read(name)?)
    }
}

/// What came of an update.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The parameters were changed.
    Made(UpdateFigures),
    /// The gradient was unfit. Parameters, moments and the number of updates are as before, and the gradient is gone:
    /// the next update goes on as if this one had not been tried.
    Skipped {
        /// What was wrong with the gradient.
        reason: String,
    },
}

/// Figures of an update that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateFigures {
    /// L2 norm of the whole gradient before any clipping.
    pub gradient_norm: f64,
    /// Share of the tensors whose gradient was clipped, 0 to 1. The clip of the whole gradient clips all of them.
    pub clipped_share: f64,
}

/// AdamW with its moments by parameter name. The trainer gives it the parameters whenever it updates them.
pub struct AdamW {
    pub(super) settings: AdamWSettings,
    updates: u64,
    /// Shape, kind and device of every parameter.
    parameters: BTreeMap<String, (Vec<i64>, Kind, Device)>,
    /// Which part of each parameter it updates.
    shard: Shard,
    /// Whether it is given these parts alone, and not the whole parameters.
    is_given_parts: bool,
    /// Of those parameters that have had a gradient; the others' are zero.
    pub(super) moments: BTreeMap<String, Moments>,
    /// The histories that gradients are clipped against, if the job asks for that.
    pub(super) history: Option<ClipHistory>,
}

/// Elements of a tensor that [`AdamW::update_squares`] looks at, at most.
const SAMPLED: i64 = 1 << 14;

/// What stands before the name of a parameter in the state's names.
const FIRST: &str = "first.";
const SECOND: &str = "second.";
const NORM: &str = "norm.";

impl AdamW {
    /// Moments at zero for every parameter, which take memory from the first update on.
    pub fn new(settings: AdamWSettings, parameters: &Weights) -> Self {
        Self::of_part(settings, parameters, Shard::WHOLE)
    }

    /// An optimiser of a part of every parameter. [`update`](Self::update) changes no other part, and each rank must be
    /// given the others' parts after it.
    pub fn of_part(settings: AdamWSettings, parameters: &Weights, shard: Shard) -> Self {
        let known =
            |(name, tensor): (&String, &Tensor)| (name.clone(), (tensor.size(), tensor.kind(), tensor.device()));
        Self::of_known(settings, parameters.iter().map(known).collect(), shard)
    }

    /// An optimiser of divided weights: of this rank's part of every parameter, and given nothing but these parts.
    pub(super) fn of_divided(settings: AdamWSettings, divided: &Divided, device: Device) -> Self {
        let known = |(name, shape): (&String, &TensorShape)| (name.clone(), (shape.size.clone(), shape.kind, device));
        let mut optimiser = Self::of_known(settings, divided.shapes().iter().map(known).collect(), divided.shard());
        optimiser.is_given_parts = true;
        optimiser
    }

    fn of_known(settings: AdamWSettings, parameters: BTreeMap<String, (Vec<i64>, Kind, Device)>, shard: Shard) -> Self {
        let factor = settings.gradient_clip_history;
        Self {
            settings,
            updates: 0,
            parameters,
            shard,
            is_given_parts: false,
            moments: BTreeMap::new(),
            history: (factor > 0.0).then(|| ClipHistory::new(factor)),
        }
    }

    /// The part of every parameter that it updates.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// The moments of a parameter, at zero where they have not been needed yet.
    fn moments_of(&mut self, name: &str) -> anyhow::Result<&Moments> {
        let known = self.parameters.get(name);
        let (size, kind, device) = known.context("a parameter that the optimiser does not know")?;
        let shard = self.shard;
        let zeros = || {
            let size = match shard.is_whole() {
                true => size.clone(),
                false => vec![shard.range(size.iter().product()).1],
            };
            Tensor::zeros(size.as_slice(), (*kind, *device))
        };
        Ok(self.moments.entry(name.to_owned()).or_insert_with(|| Moments {
            first: zeros(),
            second: zeros(),
        }))
    }

    /// How many updates have been made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Clips the gradients, updates the parameters in place, and clears the gradients. If the norm of the gradients is
    /// not finite, or after clipping its square is not finite in f32, the update is skipped: see [`Update::Skipped`].
    ///
    /// # Errors
    /// Parameters that are not those of [`AdamW::new`].
    pub fn update(&mut self, parameters: &Weights, learning_rate: f64) -> anyhow::Result<Update> {
        self.update_with(parameters, learning_rate, &|_| Ok(()))
    }

    /// As [`update`](Self::update), for ranks that are given their parts of the parameters alone: `sum` makes each number the
    /// sum of those of all ranks, which all have gradients of the same parameters.
    ///
    /// # Errors
    /// Those of [`update`](Self::update), and of `sum`.
    pub(super) fn update_with(
        &mut self,
        parameters: &Weights,
        learning_rate: f64,
        sum: &dyn Fn(&mut [f64]) -> Result<(), RanksError>,
    ) -> anyhow::Result<Update> {
        no_grad(|| {
            let mut gradients = Gradients::of(parameters);
            if self.is_given_parts {
                gradients.sum_norms(sum)?;
            }
            let norm = gradients.norm();
            let clip = self.settings.gradient_clip;
            let kept = if clip > 0.0 { norm.min(clip) } else { norm };
            // The second moment holds squares in f32.
            if !norm.is_finite() || !((kept * kept) as f32).is_finite() {
                let reason = gradients.what_is_wrong(norm);
                gradients.clear();
                return Ok(Update::Skipped { reason });
            }
            let (norm_after, clipped) = self.clip_by_history(&gradients, norm);
            let is_clipped = clip > 0.0 && norm_after > clip;
            let mut with_gradients = Vec::with_capacity(gradients.list.len());
            let shard = if self.is_given_parts { Shard::WHOLE } else { self.shard };
            for (name, parameter, gradient) in &gradients.list {
                let moments = self.moments_of(name)?;
                if moments.first.numel() == 0 {
                    continue;
                }
                with_gradients.push(AdamWParameter {
                    parameter: shard.part(parameter),
                    gradient: shard.part(&gradient.contiguous()),
                    first: moments.first.shallow_clone(),
                    second: moments.second.shallow_clone(),
                });
            }
            let step = AdamWStep {
                step: self.updates + 1,
                gradient_divisor: if is_clipped { norm_after / clip } else { 1.0 },
                learning_rate,
                beta1: self.settings.beta1,
                beta2: self.settings.beta2,
                weight_decay: self.settings.weight_decay,
                epsilon: self.settings.epsilon,
            };
            if !with_gradients.is_empty() {
                adamw(&with_gradients, step).map_err(|problem| anyhow!("the optimiser's step failed: {problem}"))?;
            }
            self.updates = step.step;
            let tensors = gradients.list.len().max(1);
            drop(with_gradients);
            gradients.clear();
            Ok(Update::Made(UpdateFigures {
                gradient_norm: norm,
                clipped_share: if is_clipped {
                    1.0
                } else {
                    clipped as f64 / tensors as f64
                },
            }))
        })
    }

    /// Counts an update without a gradient. Parameters and moments do not change on any device, neither by decay nor by
    /// momentum. The schedule and the correction of the moments' bias go on.
    pub fn pass(&mut self) {
        self.updates += 1;
    }

    /// Scales each tensor's gradient by its history. Returns the norm of what is left, and how many were scaled.
    fn clip_by_history(&mut self, gradients: &Gradients<'_>, norm: f64) -> (f64, usize) {
        let Some(history) = &mut self.history else {
            return (norm, 0);
        };
        let mut squares = 0.0;
        let mut clipped = 0;
        for ((name, _, gradient), norm) in gradients.list.iter().zip(gradients.norm_of_each()) {
            let scale = history.clip(name, norm);
            if scale < 1.0 {
                let _ = gradient.shallow_clone().g_mul_scalar_(scale);
                clipped += 1;
            }
            squares += (scale * norm).powi(2);
        }
        (squares.sqrt(), clipped)
    }

    /// What makes the size of the last update, which [`update_size`] computes: an estimate of the sum of its squares over the part
    /// that this optimiser updates, from at most 16,384 elements of each tensor, and the number of elements. Ranks add both up.
    pub(super) fn update_squares(&self) -> [f64; 2] {
        if self.updates == 0 {
            return [0.0; 2];
        }
        let updates = self.updates as f64;
        let first_scale = 1.0 / (1.0 - self.settings.beta1.powf(updates));
        let second_scale = 1.0 / (1.0 - self.settings.beta2.powf(updates));
        no_grad(|| {
            let mut sums = Vec::with_capacity(self.moments.len());
            let mut elements = 0.0;
            for moments in self.moments.values() {
                let count = moments.first.numel() as i64;
                if count == 0 {
                    continue;
                }
                // An odd stride avoids that only one column of a matrix of even width is read.
                let stride = (count / SAMPLED) | 1;
                let sample = |moment: &Tensor| moment.view(-1).slice(0, 0, count, stride);
                let (first, second) = (sample(&moments.first), sample(&moments.second));
                let size = first * first_scale / ((second * second_scale).sqrt() + self.settings.epsilon);
                sums.push(size.square().mean(Kind::Double) * count as f64);
                elements += count as f64;
            }
            if sums.is_empty() {
                return [0.0; 2];
            }
            [Tensor::stack(&sums, 0).sum(Kind::Double).double_value(&[]), elements]
        })
    }

    /// The state as named tensors: `first.NAME` and `second.NAME` in the shapes of the parameters, and where gradients are
    /// clipped against their history `norm.NAME`, the average and the number of its norms in f64.
    pub fn layout(&self) -> Vec<TensorShape> {
        let mut shapes = Vec::with_capacity(2 * self.parameters.len());
        for (name, (size, kind, _)) in &self.parameters {
            for moment in [FIRST, SECOND] {
                shapes.push(TensorShape {
                    name: format!("{moment}{name}"),
                    size: size.clone(),
                    kind: *kind,
                });
            }
        }
        let norms = self.history.iter().flat_map(|history| history.norms());
        shapes.extend(norms.map(|(name, _)| TensorShape {
            name: format!("{NORM}{name}"),
            size: vec![2],
            kind: Kind::Double,
        }));
        shapes
    }

    /// This rank's part of a tensor of the state; a norm is whole on every rank.
    ///
    /// # Errors
    /// A name that is not in the [`layout`](Self::layout).
    pub fn part_of(&self, name: &str) -> anyhow::Result<Tensor> {
        if let Some(name) = name.strip_prefix(NORM) {
            let mut norms = self.history.iter().flat_map(|history| history.norms());
            let norm = norms.find(|(known, _)| known.as_str() == name).map(|(_, norm)| norm);
            let norm = norm.with_context(|| format!("no norms of {name}"))?;
            return Ok(Tensor::from_slice(&[norm.mean, norm.count]));
        }
        let is_first = name.starts_with(FIRST);
        let name = name.strip_prefix(FIRST).or_else(|| name.strip_prefix(SECOND));
        let known = name.and_then(|name| self.parameters.get_key_value(name));
        let (name, (size, kind, device)) = known.context("a tensor that the optimiser does not have")?;
        Ok(match self.moments.get(name) {
            Some(moments) if is_first => moments.first.shallow_clone(),
            Some(moments) => moments.second.shallow_clone(),
            None => self.shard.part(&Tensor::zeros(size.as_slice(), (*kind, *device))),
        })
    }

    /// The state as named tensors, where nothing is divided.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let all = self.layout().into_iter().map(|shape| shape.name);
        all.filter_map(|name| self.part_of(&name).ok().map(|tensor| (name, tensor)))
            .collect()
    }

    /// Takes this rank's part of a whole tensor of the state over.
    ///
    /// # Errors
    /// A tensor that does not belong to the state, or of another shape.
    pub fn take(&mut self, key: &str, stored: &Tensor) -> anyhow::Result<()> {
        if let Some(name) = key.strip_prefix(NORM) {
            let values = Vec::<f64>::try_from(stored.to_device(Device::Cpu).to_kind(Kind::Double));
            let &[mean, count] = values.unwrap_or_default().as_slice() else {
                bail!("`{key}` of the recovery checkpoint does not have two numbers");
            };
            if let Some(history) = &mut self.history {
                history.restore(name, NormHistory { mean, count });
            }
            return Ok(());
        }
        let name = key.strip_prefix(FIRST).or_else(|| key.strip_prefix(SECOND));
        let name = name.with_context(|| format!("`{key}` is no tensor of an optimiser"))?;
        let shard = self.shard;
        let size = self.parameters.get(name).map(|(size, ..)| size.clone());
        ensure!(
            size.as_ref() == Some(&stored.size()),
            "`{key}` has shape {:?} in the recovery checkpoint",
            stored.size()
        );
        let moments = self.moments_of(name)?;
        let moment = match key.starts_with(FIRST) {
            true => &moments.first,
            false => &moments.second,
        };
        no_grad(|| moment.shallow_clone().copy_(&shard.part(&stored.contiguous())));
        Ok(())
    }

    /// Goes on after so many updates, with the state that a source has. A history of norms that it lacks begins anew.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape.
    pub fn restore(&mut self, updates: u64, source: &dyn StateSource) -> anyhow::Result<()> {
        let names: Vec<String> = self.parameters.keys().cloned().collect();
        for name in names {
            for moment in [FIRST, SECOND] {
                let key = format!("{moment}{name}");
                let stored = source.tensor(&key)?;
                let stored = stored.with_context(|| format!("the recovery checkpoint lacks `{key}`"))?;
                self.take(&key, &stored)?;
            }
            let key = format!("{NORM}{name}");
            if let Some(stored) = source.tensor(&key)? {
                self.take(&key, &stored)?;
            }
        }
        self.updates = updates;
        Ok(())
    }

    /// The tensors of a source that [`restore`](Self::restore) reads.
    ///
    /// # Errors
    /// One that cannot be read.
    pub(crate) fn layout_in(&self, source: &dyn StateSource) -> anyhow::Result<Vec<TensorShape>> {
        let mut shapes = self.layout();
        shapes.retain(|shape| !shape.name.starts_with(NORM));
        for name in self.parameters.keys() {
            let name = format!("{NORM}{name}");
            if let Some(norm) = source.tensor(&name)? {
                let (size, kind) = (norm.size(), norm.kind());
                shapes.push(TensorShape { name, size, kind });
            }
        }
        Ok(shapes)
    }

    /// Goes on after so many updates.
    pub(crate) fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }
}

/// Root mean square over the parameters of an update, in units of its learning rate: of m̂/(√v̂ + ε), so without the weight
/// decay. About 1 where gradients keep their sign, far below it where they are noise; up to (1 − β₁)/√(1 − β₂) after a spike;
/// 0 before the first update.
pub(super) fn update_size([squares, elements]: [f64; 2]) -> f64 {
    if elements > 0.0 {
        (squares / elements).sqrt()
    } else {
        0.0
    }
}
