//! AdamW (arXiv 1711.05101) over named tensors. Its state can be saved in a recovery checkpoint, which tch's optimiser
//! does not allow.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow, ensure};
use anytime_policy::Weights;
use anytime_policy::operators::training::{AdamWParameter, AdamWStep, adamw, clear_gradient};
use anytime_proto::settings::TrainingSettings;
use tch::{Kind, Tensor, no_grad};

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
}

impl From<&TrainingSettings> for AdamWSettings {
    fn from(settings: &TrainingSettings) -> Self {
        Self {
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            weight_decay: settings.weight_decay,
            gradient_clip: settings.gradient_clip,
        }
    }
}

/// First and second moment of one parameter.
struct Moments {
    first: Tensor,
    second: Tensor,
}

/// AdamW with its moments by parameter name. The trainer gives it the parameters whenever it updates them.
pub struct AdamW {
    settings: AdamWSettings,
    updates: u64,
    moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// Moments at zero for every parameter.
    pub fn new(settings: AdamWSettings, parameters: &Weights) -> Self {
        let zeros = |tensor: &Tensor| Moments {
            first: tensor.zeros_like(),
            second: tensor.zeros_like(),
        };
        let moments = parameters
            .iter()
            .map(|(name, tensor)| (name.clone(), no_grad(|| zeros(tensor))))
            .collect();
        Self {
            settings,
            updates: 0,
            moments,
        }
    }

    /// How many updates have been made.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Clips the gradients to the bound on their common norm, updates the parameters in place, and clears the
    /// gradients. Returns the norm before clipping.
    ///
    /// # Errors
    /// A gradient that is not finite; nothing has been changed then.
    pub fn update(&mut self, parameters: &Weights, learning_rate: f64) -> anyhow::Result<f64> {
        no_grad(|| {
            let norm = gradient_norm(parameters);
            ensure!(
                norm.is_finite(),
                "the gradient is not finite (norm {norm}) at update {}",
                self.updates
            );
            let clip = self.settings.gradient_clip;
            let mut with_gradients = Vec::with_capacity(parameters.len());
            for (name, parameter) in parameters {
                let gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                let moments = self
                    .moments
                    .get(name)
                    .context("a parameter that the optimiser does not know")?;
                with_gradients.push(AdamWParameter {
                    parameter: parameter.shallow_clone(),
                    gradient,
                    first: moments.first.shallow_clone(),
                    second: moments.second.shallow_clone(),
                });
            }
            let step = AdamWStep {
                step: self.updates + 1,
                gradient_divisor: if clip > 0.0 && norm > clip { norm / clip } else { 1.0 },
                learning_rate,
                beta1: self.settings.beta1,
                beta2: self.settings.beta2,
                weight_decay: self.settings.weight_decay,
                epsilon: self.settings.epsilon,
            };
            adamw(&with_gradients, step).map_err(|problem| anyhow!("the optimiser's step failed: {problem}"))?;
            self.updates = step.step;
            with_gradients
                .into_iter()
                .for_each(|each| clear_gradient(&each.parameter, each.gradient));
            Ok(norm)
        })
    }

    /// The state as named tensors: `first.NAME` and `second.NAME`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::with_capacity(2 * self.moments.len());
        for (name, moments) in &self.moments {
            tensors.push((format!("first.{name}"), moments.first.shallow_clone()));
            tensors.push((format!("second.{name}"), moments.second.shallow_clone()));
        }
        tensors
    }

    /// Takes over a state that [`AdamW::state`] gave.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape.
    pub fn restore(&mut self, updates: u64, mut tensors: BTreeMap<String, Tensor>) -> anyhow::Result<()> {
        for (name, moments) in &mut self.moments {
            for (prefix, moment) in [("first", &mut moments.first), ("second", &mut moments.second)] {
                let key = format!("{prefix}.{name}");
                let stored = tensors
                    .remove(&key)
                    .with_context(|| format!("the recovery checkpoint lacks `{key}`"))?;
                ensure!(
                    stored.size() == moment.size(),
                    "`{key}` has shape {:?} in the recovery checkpoint",
                    stored.size()
                );
                no_grad(|| moment.copy_(&stored));
            }
        }
        self.updates = updates;
        Ok(())
    }
}

/// L2 norm over all gradients together.
fn gradient_norm(parameters: &Weights) -> f64 {
    let mut norms = Vec::with_capacity(parameters.len());
    for parameter in parameters.values() {
        let gradient = parameter.grad();
        if gradient.defined() {
            norms.push(gradient.norm().to_kind(Kind::Float));
        }
    }
    if norms.is_empty() {
        return 0.0;
    }
    Tensor::stack(&norms, 0).norm().double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: AdamWSettings = AdamWSettings {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        gradient_clip: 0.0,
    };

    fn parameters() -> Weights {
        tch::set_num_threads(1);
        let tensor = Tensor::from_slice(&[1.0_f32, -2.0, 3.0]).set_requires_grad(true);
        [("w".to_owned(), tensor)].into_iter().collect()
    }

    fn backward(parameters: &Weights) {
        (parameters["w"].square() * Tensor::from_slice(&[0.5_f32, 1.0, 2.0]))
            .sum(Kind::Float)
            .backward();
    }

    #[test]
    fn agrees_with_torch_adamw() {
        let ours = parameters();
        let mut optimiser = AdamW::new(SETTINGS, &ours);
        let store = tch::nn::VarStore::new(tch::Device::Cpu);
        let mut theirs = store.root().zeros("w", &[3]);
        no_grad(|| theirs.copy_(&Tensor::from_slice(&[1.0_f32, -2.0, 3.0])));
        let mut reference = tch::nn::OptimizerConfig::build(
            tch::nn::AdamW {
                wd: 0.01,
                ..Default::default()
            },
            &store,
            0.1,
        )
        .expect("torch's AdamW");
        for _ in 0..20 {
            backward(&ours);
            optimiser.update(&ours, 0.1).expect("finite");
            let loss = (theirs.square() * Tensor::from_slice(&[0.5_f32, 1.0, 2.0])).sum(Kind::Float);
            reference.backward_step(&loss);
        }
        let difference = (&ours["w"] - &theirs).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{difference}");
    }

    #[test]
    fn goes_on_from_a_restored_state() {
        let straight = parameters();
        let mut optimiser = AdamW::new(SETTINGS, &straight);
        for _ in 0..3 {
            backward(&straight);
            optimiser.update(&straight, 0.1).expect("finite");
        }
        let weights: Weights = [("w".to_owned(), straight["w"].detach().copy().set_requires_grad(true))]
            .into_iter()
            .collect();
        let mut restored = AdamW::new(SETTINGS, &weights);
        let state = optimiser
            .state()
            .into_iter()
            .map(|(name, tensor)| (name, tensor.copy()))
            .collect();
        restored.restore(optimiser.updates(), state).expect("complete");
        for parameters in [&straight, &weights] {
            backward(parameters);
        }
        optimiser.update(&straight, 0.1).expect("finite");
        restored.update(&weights, 0.1).expect("finite");
        assert!(straight["w"].equal(&weights["w"]));
    }

    #[test]
    fn clips_and_refuses_what_is_not_finite() {
        let clipped = parameters();
        let mut optimiser = AdamW::new(
            AdamWSettings {
                gradient_clip: 0.5,
                ..SETTINGS
            },
            &clipped,
        );
        backward(&clipped);
        let norm = optimiser.update(&clipped, 0.1).expect("finite");
        // Gradients 1, −4, 12.
        assert!((norm - 161.0_f64.sqrt()).abs() < 1e-5, "{norm}");

        let before = clipped["w"].copy();
        (&clipped["w"] * f64::INFINITY).sum(Kind::Float).backward();
        assert!(optimiser.update(&clipped, 0.1).is_err());
        assert!(before.equal(&clipped["w"]));
    }
}
