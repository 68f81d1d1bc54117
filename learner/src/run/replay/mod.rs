//! Trains steps of a job once more on the groups that they had, and compares loss, gradient and weights with those of the
//! run. No actor, no Redis and no verifier takes part: what differs is the trainer's doing, and what does not was in the
//! groups. [`ReplayPlan`] finds what is there for it; [`replay`] computes.

mod plan;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use anytime_policy::{Lora, ModelConfig, Tokenizer, Weights};
use anytime_proto::settings::{InvalidSetting, JobSettings, check_replayed};
use anytime_proto::{JobId, WeightsVersion, v1};
use tch::{Device, Kind};

pub use self::plan::{NotThere, ReplayPlan};
use super::adapted::AdaptedStart;
use super::computation::{computation, differences, plan_of};
use super::reference::measured_references;
use crate::checkpoint::{self, Assets, Export, Exported, FrozenBase, Published, RecoveryState};
use crate::jobs::fork::start_directory;
use crate::train::{Parameters, StateSource, Trainer, UpdatePlan, check_model, compute_kind, lora_of};

/// Changes a job's specification; where it does not, steps are trained as they were.
pub type Change<'a> = &'a dyn Fn(&v1::JobSpec) -> anyhow::Result<v1::JobSpec>;

/// What a step came to.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// Its loss.
    pub loss: f64,
    /// The norm of its gradient, before clipping.
    pub gradient_norm: f64,
    /// Share of the tensors whose gradient was clipped.
    pub clipped_gradient_share: f64,
    /// Root mean square of its last update, in units of the learning rate.
    pub update_size: f64,
    /// The checksum of the weights after it.
    pub weights_checksum: String,
}

impl StepOutcome {
    /// What differs of the figures that a replay compares: loss, gradient norm, weights; nothing where the two are equal
    /// bit by bit.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let figures = [
            ("loss", are_equal(self.loss, other.loss)),
            ("gradient norm", are_equal(self.gradient_norm, other.gradient_norm)),
            ("weights", self.weights_checksum == other.weights_checksum),
        ];
        let different = figures.into_iter().filter(|(_, is_equal)| !is_equal);
        different.map(|(what, _)| what).collect()
    }
}

/// Bit by bit, except for the sign of zero, which events do not keep.
fn are_equal(one: f64, other: f64) -> bool {
    one == other || one.to_bits() == other.to_bits()
}

/// A step that has been trained again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedStep {
    /// Its number.
    pub step: u64,
    /// What the run came to.
    pub run: StepOutcome,
    /// What the replay came to.
    pub here: StepOutcome,
    /// Settings that were changed.
    pub changed: Vec<&'static str>,
    /// What the computation here has otherwise than that of the run, a clause each.
    pub differs: Vec<String>,
}

/// How steps are trained again.
pub struct Replay<'a> {
    /// Where the model's path starts, for a replay that begins with the job's first weights.
    pub root: &'a Path,
    /// Where to compute.
    pub device: Device,
    /// What is changed of the settings.
    pub change: Change<'a>,
    /// Where the weights after the last step are written as a model.
    pub model: Option<&'a Path>,
}

/// Trains the steps of a plan again, and tells `each` of every one; training ends where it says so (false). Returns whether
/// all steps were trained. The model is written only then.
///
/// # Errors
/// [`NotThere`] for groups of another job; [`InvalidSetting`] where the change is none that can be replayed; otherwise a
/// file that is damaged or cannot be read, or the error of `each`.
pub fn replay(
    plan: &ReplayPlan,
    how: &Replay<'_>,
    each: &mut dyn FnMut(ReplayedStep) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let mut replaying = Replaying::begin(plan, how)?;
    for step in plan.start + 1..=plan.last {
        let kept = plan.groups(step)?;
        let (changed, differs) = replaying.prepare(&kept.head)?;
        let trainer = replaying.trainer()?;
        let groups: Vec<&v1::ScoredGroup> = kept.groups.iter().filter_map(|kept| kept.group.as_ref()).collect();
        let figures = trainer.policy_step(&groups, step - 1, &|| Ok(()))?;
        let here = StepOutcome {
            loss: figures.loss,
            gradient_norm: figures.gradient_norm,
            clipped_gradient_share: figures.clipped_gradient_share,
            update_size: figures.update_size,
            weights_checksum: replaying.checksum(step)?,
        };
        let event = &plan.events[&step];
        let run = StepOutcome {
            loss: event.loss,
            gradient_norm: event.gradient_norm,
            clipped_gradient_share: event.clipped_gradient_share,
            update_size: event.update_size,
            weights_checksum: event.account.clone().unwrap_or_default().weights_checksum,
        };
        let goes_on = each(ReplayedStep {
            step,
            run,
            here,
            changed,
            differs,
        })?;
        if !goes_on {
            return Ok(false);
        }
    }
    if let Some(target) = how.model {
        replaying.export(target)?;
    }
    Ok(true)
}

/// A replay under way.
struct Replaying<'a> {
    plan: &'a ReplayPlan,
    how: &'a Replay<'a>,
    assets: Assets,
    config: ModelConfig,
    /// How many ids the model can generate.
    vocabulary: u32,
    /// The trainer, with the settings and the plan that it was made for; none before the first step.
    trainer: Option<(Trainer, v1::JobSpec, UpdatePlan)>,
    /// What the trainer begins with; none once it has.
    beginning: Option<Beginning>,
    /// What adapters were trained on; none where all weights were trained.
    base: Option<FrozenBase>,
}

/// Weights and all that a trainer remembers beside them.
struct Beginning {
    parameters: Parameters,
    /// The optimiser's updates and tensors; none at the weights that a job begins with.
    optimiser: Option<(u64, Box<dyn StateSource>)>,
    references: BTreeMap<String, f64>,
    objective: Option<serde_json::Value>,
}

impl<'a> Replaying<'a> {
    fn begin(plan: &'a ReplayPlan, how: &'a Replay<'a>) -> anyhow::Result<Self> {
        let assets = Assets::of_job(&plan.directory)?;
        let kept_files = Assets::directory_of_job(&plan.directory);
        let config = ModelConfig::load(&kept_files)?;
        let rows = u32::try_from(config.vocab_size).unwrap_or(u32::MAX);
        let vocabulary = Tokenizer::load(&kept_files)?.vocabulary_size().min(rows);
        let mut replaying = Self {
            plan,
            how,
            assets,
            config,
            vocabulary,
            trainer: None,
            beginning: None,
            base: None,
        };
        let beginning = match plan.checkpoint {
            Some(step) => replaying.recovered(step)?,
            None => replaying.first_weights()?,
        };
        check_model(&replaying.config, beginning.parameters.all())?;
        replaying.beginning = Some(beginning);
        Ok(replaying)
    }

    fn recovered(&mut self, step: u64) -> anyhow::Result<Beginning> {
        let recovered = checkpoint::load_step(&self.plan.directory, Some(step), self.how.device)?;
        let RecoveryState {
            updates,
            weights_checksum,
            objective,
            references,
            compute,
            adapters,
            ..
        } = recovered.state;
        let parameters = match adapters {
            None => recovered.weights.into(),
            Some(kept) => self.adapted(
                &kept.base,
                kept.lora(),
                Some(recovered.weights),
                kept.dropout,
                compute.into(),
            )?,
        };
        let found = self.checksum_of(step, &parameters, compute.into())?;
        ensure!(
            weights_checksum.is_empty() || found == weights_checksum,
            "the recovery checkpoint of step {step} does not make the weights that actors were given ({found} instead of \
             {weights_checksum}): its weights, or the files in {}, are others than in the run",
            Assets::directory_of_job(&self.plan.directory).display()
        );
        Ok(Beginning {
            parameters,
            optimiser: Some((updates, Box::new(recovered.optimiser))),
            references,
            objective,
        })
    }

    /// The weights that the job began with, where its model is still there.
    fn first_weights(&mut self) -> anyhow::Result<Beginning> {
        let model = self
            .plan
            .job
            .spec
            .as_ref()
            .and_then(|spec| spec.model.clone())
            .unwrap_or_default();
        let parameters = if model.initialise() {
            anytime_policy::initialise_weights(&self.config, model.seed(), self.how.device).into()
        } else {
            let directory = match &model.from_job {
                Some(_) => start_directory(&self.plan.directory),
                None => self.how.root.join(model.path()),
            };
            let is_the_same = Assets::read(&directory).is_ok_and(|now| now.fingerprint() == self.assets.fingerprint());
            if !is_the_same {
                let reason = format!(
                    "job {}: no recovery checkpoint lies before the steps, and the model that it began with is not in {} any \
                     more (model.path; relative paths start at --root)",
                    self.plan.job.id,
                    directory.display()
                );
                return Err(NotThere::new(reason).into());
            }
            match self.settings_of_job()? {
                Some((lora, dropout, kind)) => self.adapted(&directory, lora, None, dropout, kind)?,
                None => anytime_policy::read_weights(&directory, &self.config, Kind::Float, self.how.device)
                    .with_context(|| format!("model {}", directory.display()))?
                    .into(),
            }
        };
        Ok(Beginning {
            parameters,
            optimiser: None,
            references: measured_references(&self.plan.directory),
            objective: None,
        })
    }

    /// The adapters that the job trains, with the kind that it computes in; None where it trains all weights.
    fn settings_of_job(&self) -> anyhow::Result<Option<(Lora, f64, Kind)>> {
        let spec = self.plan.job.spec.as_ref().context("the job has no specification")?;
        let settings = JobSettings::try_new(spec)?;
        let kind = compute_kind(settings.model.dtype, self.how.device);
        let lora = settings.training.lora.as_ref();
        Ok(lora.map(|lora| (lora_of(lora), lora.dropout, kind)))
    }

    /// Adapters on the base of a model's directory: these, else those that the directory has, else fresh ones.
    fn adapted(
        &mut self,
        model: &Path,
        lora: Lora,
        tensors: Option<Weights>,
        dropout: f64,
        kind: Kind,
    ) -> anyhow::Result<Parameters> {
        let spec = self.plan.job.spec.as_ref();
        let start = AdaptedStart {
            model,
            config: &self.config,
            lora,
            dropout,
            seed: spec.and_then(|spec| spec.model.as_ref()).map_or(0, v1::ModelSpec::seed),
            kind,
            device: self.how.device,
        };
        let (parameters, base) = start.load(tensors)?;
        self.base = Some(base);
        Ok(parameters)
    }

    /// Makes the trainer of a step, where the one before had other settings or another plan. Returns the settings that
    /// are changed, and in what the computation differs from that of the run.
    fn prepare(&mut self, head: &v1::KeptGroupsHead) -> anyhow::Result<(Vec<&'static str>, Vec<String>)> {
        let trained = head.spec.clone().unwrap_or_default();
        let spec = (self.how.change)(&trained)?;
        let changed = check_replayed(&trained, &spec)?;
        let settings = JobSettings::try_new(&spec)?;
        let run = head.computation.clone().unwrap_or_default();
        let mut plan = plan_of(&run);
        let is_changed = |name: &str| changed.contains(&name);
        if let (true, Some(_)) = (is_changed("model.dtype"), &settings.training.lora) {
            let reason = "with training.lora the base is kept in the type that the job computed in; leave it as it was";
            return Err(InvalidSetting::because("model.dtype", reason).into());
        }
        if let (true, Some(tokens)) = (
            is_changed("training.micro_batch_tokens"),
            settings.training.micro_batch_tokens,
        ) {
            plan.micro_batch_tokens = tokens as usize;
        }
        if let (true, Some(again)) = (
            is_changed("training.activation_checkpointing"),
            settings.training.activation_checkpointing,
        ) {
            plan.activation_checkpointing = again;
        }
        let differs = differences(&run, &computation(self.how.device, plan, 1));
        let is_made = matches!(&self.trainer, Some((_, made, of)) if *made == spec && *of == plan);
        if !is_made {
            self.make_trainer(&settings, spec, plan)?;
        }
        Ok((changed, differs))
    }

    fn make_trainer(&mut self, settings: &JobSettings, spec: v1::JobSpec, plan: UpdatePlan) -> anyhow::Result<()> {
        let beginning = match self.trainer.take() {
            // As a job that is resumed with other settings goes on.
            Some((trainer, ..)) => Beginning {
                optimiser: Some((
                    trainer.optimiser().updates(),
                    Box::new(trainer.optimiser().state().into_iter().collect::<BTreeMap<_, _>>()),
                )),
                references: trainer.references().clone(),
                objective: trainer.objective_state(),
                parameters: trainer.parameters().share(),
            },
            None => self.beginning.take().context("a replay has one beginning")?,
        };
        let (config, device) = (self.config.clone(), self.how.device);
        let mut trainer = Trainer::new(settings, config, self.vocabulary, beginning.parameters, device, plan);
        if let Some((updates, state)) = beginning.optimiser {
            trainer.optimiser_mut().restore(updates, &*state)?;
        }
        trainer.add_references(beginning.references);
        if let Some(objective) = beginning.objective {
            trainer.restore_objective(objective)?;
        }
        self.trainer = Some((trainer, spec, plan));
        Ok(())
    }

    fn trainer(&mut self) -> anyhow::Result<&mut Trainer> {
        match &mut self.trainer {
            Some((trainer, ..)) => Ok(trainer),
            None => bail!("there is no trainer before the first step is prepared"),
        }
    }

    fn checksum(&self, step: u64) -> anyhow::Result<String> {
        let Some((trainer, ..)) = &self.trainer else {
            bail!("there are no weights before the first step is prepared");
        };
        self.checksum_of(step, trainer.parameters(), trainer.compute_kind())
    }

    fn checksum_of(&self, step: u64, parameters: &Parameters, kind: Kind) -> anyhow::Result<String> {
        let model = checkpoint::Model {
            shapes: &parameters.model_shapes(),
            weight: &|shape| parameters.weight(shape),
        };
        let weights = Published::of(parameters, &model, self.base.as_ref(), kind);
        let job = JobId(self.plan.job.id.clone());
        checkpoint::version_checksum(&job, WeightsVersion(step), weights, &self.assets)
    }

    fn export(&self, target: &Path) -> anyhow::Result<()> {
        let Some((trainer, spec, _)) = &self.trainer else {
            return Ok(());
        };
        let lora = spec.training.as_ref().and_then(|training| training.lora.as_ref());
        let is_merged = lora.is_none_or(v1::LoraSpec::merge);
        let card = self.assets.card(&self.plan.job, self.plan.last);
        let model = Export {
            config: &self.config,
            weights: Exported::of(
                trainer.parameters(),
                trainer.parameters().all(),
                self.base.as_ref(),
                is_merged,
                trainer.compute_kind(),
            ),
            assets: &self.assets,
            card: card.as_ref(),
            owner: &self.plan.owner(),
            step: self.plan.last,
            score: None,
        };
        checkpoint::export(target, &model, &|| Ok(()))
    }
}

/// Whether a failure of a replay is of its arguments: something is not there, or a setting cannot be replayed.
pub fn is_refusal(failure: &anyhow::Error) -> bool {
    failure
        .chain()
        .any(|cause| cause.is::<NotThere>() || cause.is::<InvalidSetting>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_is_a_difference_and_the_sign_of_zero_is_none() {
        let outcome = |loss: f64, gradient_norm: f64, weights: &str| StepOutcome {
            loss,
            gradient_norm,
            clipped_gradient_share: 0.0,
            update_size: 0.0,
            weights_checksum: weights.to_owned(),
        };
        let run = outcome(0.0, 0.1, "aa");
        assert_eq!(run.differences(&outcome(-0.0, 0.1, "aa")), Vec::<&str>::new());
        assert_eq!(
            run.differences(&outcome(0.0, 0.1_f64.next_up(), "aa")),
            ["gradient norm"]
        );
        assert_eq!(run.differences(&outcome(f64::NAN, 0.1, "bb")), ["loss", "weights"]);
    }
}
