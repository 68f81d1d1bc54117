//! Generates messages and services from `anytime/v1/*.proto` without protoc.

use std::error::Error;
use std::path::PathBuf;

/// Messages that are also read from job files (TOML).
const SPEC_MESSAGES: [&str; 10] = [
    "JobSpec",
    "ModelSpec",
    "DataSpec",
    "MarkerSpec",
    "RolloutSpec",
    "ObjectiveSpec",
    "TrainingSpec",
    "EvaluationSpec",
    "CheckpointSpec",
    "GradingSpec",
];

/// Enumerations inside them: (field, type), written by their short names.
const SPEC_ENUMS: [(&str, &str); 17] = [
    ("JobSpec.kind", "JobKind"),
    ("ModelSpec.dtype", "Dtype"),
    ("RolloutSpec.cache_policy", "CacheChoice"),
    ("ObjectiveSpec.prior", "Prior"),
    ("ObjectiveSpec.variance_reduction", "VarianceReduction"),
    ("ObjectiveSpec.summary_method", "SummaryMethod"),
    ("ObjectiveSpec.mix", "Mix"),
    ("ObjectiveSpec.summary_weighting", "SummaryWeighting"),
    ("ObjectiveSpec.summary_prior", "Prior"),
    ("ObjectiveSpec.length_penalty", "LengthPenalty"),
    ("TrainingSpec.schedule", "Schedule"),
    ("GradingSpec.percents", "Percents"),
    ("GradingSpec.fractions", "Fractions"),
    ("GradingSpec.rounding", "Rounding"),
    ("GradingSpec.units", "Units"),
    ("GradingSpec.lists", "Lists"),
    ("GradingSpec.brackets", "Brackets"),
];

/// Messages that the command line prints as JSON.
const REPORTED_MESSAGES: [&str; 3] = ["StepMetrics", "SegmentStatistics", "EvaluationResult"];

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["job", "metrics", "objective", "rollout", "spec", "verifier", "weights"].map(|name| format!("anytime/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["."])?;
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), prost_bytes(&descriptors))?;

    let mut builder = tonic_prost_build::configure();
    for message in SPEC_MESSAGES {
        builder = builder.type_attribute(
            format!("anytime.v1.{message}"),
            "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default, deny_unknown_fields)]",
        );
    }
    for (field, name) in SPEC_ENUMS {
        builder = builder.field_attribute(
            format!("anytime.v1.{field}"),
            format!(
                "#[serde(serialize_with = \"crate::short_names::serialize::<{name}, _>\", \
                 deserialize_with = \"crate::short_names::deserialize::<{name}, _>\")]"
            ),
        );
    }
    for message in REPORTED_MESSAGES {
        builder = builder.type_attribute(format!("anytime.v1.{message}"), "#[derive(serde::Serialize)]");
    }
    // Weights travel in chunks that are cut from one buffer without copying.
    builder
        .bytes(".anytime.v1.WeightsChunk.data")
        .bytes(".anytime.v1.WeightsDelta.Block.data")
        .compile_fds(descriptors)?;
    Ok(())
}

fn prost_bytes(descriptors: &protox::prost_reflect::prost_types::FileDescriptorSet) -> Vec<u8> {
    use protox::prost_reflect::prost::Message;
    descriptors.encode_to_vec()
}
