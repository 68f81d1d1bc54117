//! Which objective a job trains with, and the settings that only this one has.

use super::InvalidSetting;
use super::validate::{Checked, number};
use crate::{ShortName as _, v1};

/// Objectives that exist; the crate `objectives` has one file for each.
const NAMES: [&str; 7] = ["brpo", "grpo", "elastic", "adaptthink", "degrpo", "short_rl", "kimi"];

/// More samples per problem are a typing error.
const MOST_REFERENCE_SAMPLES: u32 = 4096;

/// An objective with what only it has. See `ObjectiveSpec` in objective.proto.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Method {
    Brpo,
    Grpo,
    Elastic {
        divide_by_deviation: bool,
    },
    AdaptThink {
        /// δ.
        no_thinking_bonus: f64,
        /// K.
        reference_samples: u32,
        sequence_ratio: bool,
    },
    DeGrpo {
        /// α.
        control_weight: f64,
        /// γ.
        thinking_cost: f64,
    },
    ShortRl {
        /// τ_ℓ.
        length_tolerance: u32,
        /// τ_acc.
        accuracy_tolerance: f64,
        length_weight: f64,
    },
    Kimi {
        length_weight: f64,
    },
}

/// Checks the settings that only some objectives have; the defaults are filled in.
pub(super) fn check(objective: &v1::ObjectiveSpec) -> Checked<Method> {
    let name = objective.name.clone().unwrap_or_default();
    if !NAMES.contains(&name.as_str()) {
        return Err(InvalidSetting::new("objective.name", name, NAMES.join(", ")));
    }
    refuse_others(objective, &name)?;
    let not_negative = |x: f64| x >= 0.0;
    let length_weight = || {
        let weight = objective.length_weight;
        number("objective.length_weight", weight, not_negative, "0 or more")
    };
    Ok(match name.as_str() {
        "elastic" => Method::Elastic {
            divide_by_deviation: objective.divide_by_deviation.unwrap_or_default(),
        },
        "adaptthink" => Method::AdaptThink {
            no_thinking_bonus: number(
                "objective.no_thinking_bonus",
                objective.no_thinking_bonus,
                not_negative,
                "0 or more",
            )?,
            reference_samples: reference_samples(objective.reference_samples.unwrap_or_default())?,
            sequence_ratio: objective.sequence_ratio.unwrap_or_default(),
        },
        "degrpo" => Method::DeGrpo {
            control_weight: number(
                "objective.control_weight",
                objective.control_weight,
                not_negative,
                "0 or more",
            )?,
            thinking_cost: number(
                "objective.thinking_cost",
                objective.thinking_cost,
                |x| (0.0..=2.0).contains(&x),
                "0 to 2, where a correct response is worth no more than a wrong one",
            )?,
        },
        "short_rl" => Method::ShortRl {
            length_tolerance: objective.length_tolerance.unwrap_or_default(),
            accuracy_tolerance: number(
                "objective.accuracy_tolerance",
                objective.accuracy_tolerance,
                |x| (0.0..=1.0).contains(&x),
                "0 to 1",
            )?,
            length_weight: length_weight()?,
        },
        "kimi" => Method::Kimi {
            length_weight: length_weight()?,
        },
        "grpo" => Method::Grpo,
        _ => Method::Brpo,
    })
}

fn reference_samples(samples: u32) -> Checked<u32> {
    if (1..=MOST_REFERENCE_SAMPLES).contains(&samples) {
        return Ok(samples);
    }
    let allowed = format!("1 to {MOST_REFERENCE_SAMPLES}");
    Err(InvalidSetting::new("objective.reference_samples", samples, allowed))
}

/// A setting that the chosen objective does not read is refused: whoever sets it expects something of it.
fn refuse_others(objective: &v1::ObjectiveSpec, name: &str) -> Checked<()> {
    let own: [(&str, Option<f64>, &[&str]); 9] = [
        (
            "divide_by_deviation",
            objective.divide_by_deviation.map(|value| f64::from(u8::from(value))),
            &["elastic"],
        ),
        (
            "sequence_ratio",
            objective.sequence_ratio.map(|value| f64::from(u8::from(value))),
            &["adaptthink"],
        ),
        ("no_thinking_bonus", objective.no_thinking_bonus, &["adaptthink"]),
        (
            "reference_samples",
            objective.reference_samples.map(f64::from),
            &["adaptthink"],
        ),
        ("control_weight", objective.control_weight, &["degrpo"]),
        ("thinking_cost", objective.thinking_cost, &["degrpo"]),
        (
            "length_tolerance",
            objective.length_tolerance.map(f64::from),
            &["short_rl"],
        ),
        ("accuracy_tolerance", objective.accuracy_tolerance, &["short_rl"]),
        ("length_weight", objective.length_weight, &["short_rl", "kimi"]),
    ];
    for (field, value, objectives) in own {
        if let Some(value) = value.filter(|_| !objectives.contains(&name)) {
            let allowed = format!(
                "nothing with `objective.name` \"{name}\"; it is of {}",
                objectives.join(" and ")
            );
            return Err(InvalidSetting::new(&format!("objective.{field}"), value, allowed));
        }
    }
    let is_ours = matches!(name, "brpo" | "grpo");
    let penalty = objective.length_penalty();
    if !is_ours && penalty != v1::LengthPenalty::None {
        let allowed = format!("\"none\" with `objective.name` \"{name}\"; it is of brpo and grpo");
        return Err(InvalidSetting::new(
            "objective.length_penalty",
            penalty.short_name(),
            allowed,
        ));
    }
    if name == "adaptthink" && objective.leave_one_out() {
        let allowed = "false with `objective.name` \"adaptthink\", which has no baseline from the group";
        return Err(InvalidSetting::new("objective.leave_one_out", true, allowed));
    }
    Ok(())
}
