//! Whether tensors are the parameters of a model.

use crate::config::ModelConfig;
use crate::error::PolicyError;
use crate::weights::{Weights, expected_tensors};

/// Checks that every expected tensor is there and nothing else, all of one kind on one device.
pub(super) fn check(config: &ModelConfig, weights: &Weights) -> Result<(), PolicyError> {
    let origin = || "weights".to_owned();
    let expected = expected_tensors(config);
    for (name, shape) in &expected {
        let Some(tensor) = weights.get(name) else {
            return Err(PolicyError::MissingTensor {
                origin: origin(),
                name: name.clone(),
                hint: String::new(),
            });
        };
        if tensor.size() != *shape {
            let (found, expected) = (tensor.size(), shape.clone());
            return Err(PolicyError::TensorShape {
                origin: origin(),
                name: name.clone(),
                found,
                expected,
            });
        }
        let common = &weights[&expected[0].0];
        if (tensor.kind(), tensor.device()) != (common.kind(), common.device()) {
            return Err(PolicyError::TensorKind {
                origin: origin(),
                name: name.clone(),
                found: format!("{:?} on {:?}", tensor.kind(), tensor.device()),
                allowed: format!("{:?} on {:?}, as {}", common.kind(), common.device(), expected[0].0),
            });
        }
    }
    match weights
        .keys()
        .find(|name| !expected.iter().any(|(known, _)| known == *name))
    {
        Some(name) => Err(PolicyError::UnexpectedTensor {
            origin: origin(),
            name: name.clone(),
            model_type: config.model_type.name().to_owned(),
            hint: String::new(),
        }),
        None => Ok(()),
    }
}
