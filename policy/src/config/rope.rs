//! Base and stretching of rotary positions: two fields in older files, one object in newer ones.

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::PolicyError;

/// The base where no file names one.
const USUAL_THETA: f64 = 10000.0;

/// What the objects may hold. transformers ignores other names, and with them what they stand for.
const KNOWN: [&str; 15] = [
    "rope_type",
    "type",
    "rope_theta",
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "partial_rotary_factor",
    // A note in the files of the first YaRN models.
    "finetuned",
];

/// How rotary positions are stretched beyond the length of pre-training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Positions are not stretched.
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// The divisor, at least 1.
        factor: f64,
    },
    /// As in Llama 3.1: low frequencies are divided by `factor`, high ones are kept, and those between follow a ramp.
    Llama3 {
        /// The divisor of low frequencies, at least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// The length of pre-training, in tokens.
        original_max_position_embeddings: f64,
    },
    /// YaRN (arXiv 2309.00071): as for Llama 3.1, with a ramp over the channels, and queries and keys grow by a factor.
    Yarn {
        /// The divisor of low frequencies, at least 1.
        factor: f64,
        /// Cosines and sines are multiplied by it.
        attention_factor: f64,
        /// Channels that turn more often than this within the length of pre-training are kept.
        beta_fast: f64,
        /// Channels that turn less often than this within it are divided by `factor`.
        beta_slow: f64,
        /// The length of pre-training, in tokens.
        original_max_position_embeddings: f64,
        /// Whether the ends of the ramp are rounded to whole channels.
        truncate: bool,
    },
}

/// Base and stretching. Where both `rope_scaling` and `rope_parameters` are written, `rope_scaling` counts, as in
/// transformers 5. A file whose base would be lost that way is refused.
pub(super) fn read(fields: &Fields, max_position_embeddings: usize) -> Result<(f64, RopeScaling), PolicyError> {
    let is_written = |object: &&Map<String, Value>| !object.is_empty();
    let scaling = fields.object("rope_scaling")?.filter(is_written);
    let parameters = fields.object("rope_parameters")?;
    let (object, prefix) = match (scaling, parameters) {
        (Some(object), _) => (object, "rope_scaling."),
        (None, Some(object)) => (object, "rope_parameters."),
        (None, None) => return Ok((theta(fields, &fields.json, "", USUAL_THETA)?, RopeScaling::None)),
    };
    let outer_theta = theta(fields, &fields.json, "", USUAL_THETA)?;
    let own_theta = theta(fields, object, prefix, outer_theta)?;
    if let (Some(_), Some(parameters)) = (scaling, parameters) {
        let theirs = theta(fields, parameters, "rope_parameters.", own_theta)?;
        if theirs != own_theta {
            let allowed = format!(
                "{own_theta}, which is the base beside rope_scaling, or written as rope_scaling.rope_theta: rope_scaling \
                 replaces rope_parameters as a whole"
            );
            return Err(fields.refuse_value("rope_parameters.rope_theta", theirs, &allowed));
        }
    }
    Ok((
        own_theta,
        stretching(fields, object, prefix, own_theta, max_position_embeddings)?,
    ))
}

fn theta(fields: &Fields, object: &Map<String, Value>, prefix: &str, otherwise: f64) -> Result<f64, PolicyError> {
    fields.positive(object, prefix, "rope_theta", Some(otherwise))
}

fn stretching(
    fields: &Fields,
    object: &Map<String, Value>,
    prefix: &str,
    theta: f64,
    max_position_embeddings: usize,
) -> Result<RopeScaling, PolicyError> {
    // Older files call the field `type`. Of a file with both, other readers use `rope_type` and ignore `type`.
    let kind = object.get("rope_type").map(|kind| ("rope_type", kind));
    let older = object.get("type").map(|kind| ("type", kind));
    if let (Some((_, kind)), Some((_, older))) = (kind, older)
        && kind != older
    {
        let allowed = format!("left out, or rope_type ({kind}): the two names are one field");
        return Err(fields.refuse_value(&format!("{prefix}type"), older, &allowed));
    }
    let kind = kind.or(older);
    // This check comes before those of all other fields, which belong to the type and would be reported as unknown.
    if let Some((key, kind)) = kind
        && !kind.as_str().is_some_and(|kind| TYPES.contains(&kind))
    {
        return Err(fields.refuse_value(&format!("{prefix}{key}"), kind, &allowed_instead_of(kind)));
    }
    if let Some((name, value)) = object.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        let allowed = "left out, because the decoder has no such field; parameters per type of layer are not supported";
        return Err(fields.refuse_value(&format!("{prefix}{name}"), value, allowed));
    }
    if let Some(value) = object.get("partial_rotary_factor")
        && value.as_f64() != Some(1.0)
        && !value.is_null()
    {
        return Err(fields.refuse_value(&format!("{prefix}partial_rotary_factor"), value, "1"));
    }
    let Some((_, kind)) = kind else {
        // transformers treats scaling without a type as no scaling.
        return match object.get("factor") {
            Some(_) => Err(fields.refuse_value(&format!("{prefix}rope_type"), "missing", ALLOWED)),
            None => Ok(RopeScaling::None),
        };
    };
    let number = |name: &str| fields.positive(object, prefix, name, None);
    match kind.as_str() {
        Some("linear") => Ok(RopeScaling::Linear {
            factor: number("factor")?,
        }),
        Some("llama3") => {
            let low_freq_factor = number("low_freq_factor")?;
            let high_freq_factor = number("high_freq_factor")?;
            if high_freq_factor <= low_freq_factor {
                let allowed = format!("more than low_freq_factor ({low_freq_factor})");
                return Err(fields.refuse_value(&format!("{prefix}high_freq_factor"), high_freq_factor, &allowed));
            }
            Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: number("original_max_position_embeddings")?,
            })
        }
        Some("yarn") => yarn(fields, object, prefix, theta, max_position_embeddings),
        _ => Ok(RopeScaling::None),
    }
}

const TYPES: [&str; 4] = ["default", "linear", "llama3", "yarn"];
const ALLOWED: &str = "default, linear, llama3 or yarn";

/// What is allowed instead of a type, and why one that transformers knows is not.
fn allowed_instead_of(kind: &Value) -> String {
    let reason = match kind.as_str() {
        Some("dynamic" | "longrope" | "su") => {
            ": with this one the frequencies depend on the length of each sequence, so that tokens that were generated \
             and the same tokens in training would have different positions"
        }
        Some("mrope") => ": this one has positions of images",
        _ => "",
    };
    format!("{ALLOWED}{reason}")
}

/// The fields of YaRN with the defaults of transformers.
fn yarn(
    fields: &Fields,
    object: &Map<String, Value>,
    prefix: &str,
    theta: f64,
    max_position_embeddings: usize,
) -> Result<RopeScaling, PolicyError> {
    let refuse =
        |name: &str, value: f64, allowed: &str| Err(fields.refuse_value(&format!("{prefix}{name}"), value, allowed));
    // transformers treats a 0 here as a missing field.
    let number = |name: &str, otherwise: f64| match object.get(name).and_then(Value::as_f64) {
        Some(0.0) => Ok(otherwise),
        _ => fields.positive(object, prefix, name, Some(otherwise)),
    };
    let factor = fields.positive(object, prefix, "factor", None)?;
    if factor < 1.0 {
        return refuse("factor", factor, "1 or more");
    }
    if theta <= 1.0 {
        return refuse("rope_theta", theta, "more than 1 with yarn");
    }
    let (beta_fast, beta_slow) = (number("beta_fast", 32.0)?, number("beta_slow", 1.0)?);
    if beta_fast < beta_slow {
        return refuse("beta_fast", beta_fast, &format!("beta_slow ({beta_slow}) or more"));
    }
    let original = number("original_max_position_embeddings", max_position_embeddings as f64)?;
    let truncate = match object.get("truncate") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(flag)) => *flag,
        Some(value) => return Err(fields.refuse_value(&format!("{prefix}truncate"), value, "true or false")),
    };
    let grown = |scale: f64| {
        if factor <= 1.0 {
            1.0
        } else {
            0.1 * scale * factor.ln() + 1.0
        }
    };
    let (scale, scale_all) = (number("mscale", 0.0)?, number("mscale_all_dim", 0.0)?);
    let usual = if scale > 0.0 && scale_all > 0.0 {
        grown(scale) / grown(scale_all)
    } else {
        grown(1.0)
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor: fields.positive(object, prefix, "attention_factor", Some(usual))?,
        beta_fast,
        beta_slow,
        original_max_position_embeddings: original,
        truncate,
    })
}
