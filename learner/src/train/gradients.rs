//! The gradients of an update, and their norms.

use anytime_policy::Weights;
use anytime_policy::operators::training::clear_gradient;
use tch::{Device, Kind, Tensor};

use super::rank_group::RanksError;

/// The gradients of an update.
pub(super) struct Gradients<'a> {
    /// Name, parameter, gradient.
    pub(super) list: Vec<(&'a str, &'a Tensor, Tensor)>,
    /// The L2 norm of each, a scalar in f32; of gradients in f64 in f64.
    norms: Vec<Tensor>,
}

impl<'a> Gradients<'a> {
    pub(super) fn of(parameters: &'a Weights) -> Self {
        let mut list = Vec::with_capacity(parameters.len());
        let mut norms = Vec::with_capacity(parameters.len());
        for (name, parameter) in parameters {
            let gradient = parameter.grad();
            if gradient.defined() {
                let norm = gradient.norm();
                norms.push(match norm.kind() {
                    Kind::Double => norm,
                    _ => norm.to_kind(Kind::Float),
                });
                list.push((name.as_str(), parameter, gradient));
            }
        }
        Self { list, norms }
    }

    /// Takes these gradients for parts, and makes the norms those of the whole ones: `sum` makes each number the sum of those of
    /// all ranks, which all have gradients of the same parameters.
    ///
    /// # Errors
    /// Those of `sum`.
    pub(super) fn sum_norms(&mut self, sum: &dyn Fn(&mut [f64]) -> Result<(), RanksError>) -> Result<(), RanksError> {
        let mut squares: Vec<f64> = self.norm_of_each().iter().map(|norm| norm * norm).collect();
        sum(&mut squares)?;
        self.norms = squares.iter().map(|square| Tensor::from(square.sqrt())).collect();
        Ok(())
    }

    /// L2 norm over all gradients together.
    pub(super) fn norm(&self) -> f64 {
        if self.norms.is_empty() {
            return 0.0;
        }
        Tensor::stack(&self.norms, 0).norm().double_value(&[])
    }

    /// The L2 norms one by one.
    pub(super) fn norm_of_each(&self) -> Vec<f64> {
        if self.norms.is_empty() {
            return Vec::new();
        }
        let norms = Tensor::stack(&self.norms, 0)
            .to_device(Device::Cpu)
            .to_kind(Kind::Double);
        Vec::<f64>::try_from(norms).expect("one number for each tensor")
    }

    /// Why a gradient of this norm cannot be used.
    pub(super) fn what_is_wrong(&self, norm: f64) -> String {
        let norms = self.norm_of_each();
        let unfit = |norm: f64| !norm.is_finite() || !((norm * norm) as f32).is_finite();
        let tensors: Vec<&str> = (self.list.iter().zip(&norms))
            .filter(|(_, norm)| unfit(**norm))
            .map(|((name, ..), _)| *name)
            .collect();
        let which = match tensors.as_slice() {
            [] => "of all tensors together".to_owned(),
            [only] => format!("of {only}"),
            [first, rest @ ..] => format!("of {first} and {} other tensors", rest.len()),
        };
        format!("the gradient has a norm of {norm}: that {which} is not finite, or too large to be squared")
    }

    pub(super) fn clear(self) {
        for (_, parameter, gradient) in self.list {
            clear_gradient(parameter, gradient);
        }
    }
}
