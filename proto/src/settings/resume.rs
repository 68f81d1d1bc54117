//! What may change about a job that has begun. Its recovery checkpoint, its queue and its order of problems follow from
//! the other settings.

use super::changed::changed;
use super::error::InvalidSetting;
use super::row::alternatives;
use crate::v1;

/// The settings that may change when a job is resumed: how much is computed at a time, what is written when, how long is
/// waited, and what steadies the updates. None of them changes what the recovery checkpoint or the queued groups mean.
pub const RESUMABLE: &[&str] = &[
    "priority",
    "labels",
    "training.micro_batch_tokens",
    "training.activation_checkpointing",
    "training.learning_rate",
    "training.beta2",
    "training.gradient_clip",
    "training.gradient_clip_history",
    "training.max_skipped_updates",
    "training.keep_groups",
    "training.sharding",
    "training.lora.merge",
    "rollout.lease_seconds",
    "evaluation.every",
    "evaluation.after",
    "evaluation.keep_generations",
    "checkpoint.output",
    "checkpoint.recovery_every",
    "checkpoint.export_every",
    "checkpoint.keep_last",
    "checkpoint.keep_every",
    "checkpoint.keep_best",
    "checkpoint.tensorboard",
];

/// Compares what a job is resumed with to what it began with. Returns whether anything differs.
///
/// # Errors
/// The first setting that differs and may not.
pub fn check_resumed(began: &v1::JobSpec, resumed: &v1::JobSpec) -> Result<bool, InvalidSetting> {
    let changed = changed(began, resumed);
    if let Some(path) = changed.iter().find(|path| !RESUMABLE.contains(path)) {
        let reason = format!(
            "a job that has begun keeps it; what can change is {}",
            alternatives(RESUMABLE).replace(" or ", " and ")
        );
        return Err(InvalidSetting::because(path, reason));
    }
    Ok(!changed.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::parse_job_file;
    use crate::settings::table::TABLE;

    const JOB: &str = "name = \"job\"\nkind = \"train\"\n[model]\npath = \"model\"\n[data]\npath = \"problems.jsonl\"\n\
                       [training]\nsteps = 3\n";

    #[test]
    fn what_may_change_is_a_setting() {
        for path in RESUMABLE {
            assert!(TABLE.iter().any(|row| row.path == *path), "{path}");
        }
    }

    #[test]
    fn a_job_is_resumed_with_what_may_change_and_nothing_else() {
        let began = parse_job_file(JOB).expect("a job file");
        let with = |more: &str| parse_job_file(&format!("{JOB}{more}")).expect("a job file");
        assert_eq!(check_resumed(&began, &began), Ok(false));
        // A default that is written out is no change.
        assert_eq!(check_resumed(&began, &with("learning_rate = 1e-6\n")), Ok(false));
        assert_eq!(check_resumed(&began, &with("micro_batch_tokens = 4096\n")), Ok(true));
        assert_eq!(check_resumed(&began, &with("[checkpoint]\noutput = \"x\"\n")), Ok(true));
        for (more, field) in [
            ("batch = 32\n", "training.batch"),
            ("[rollout]\ntraces = 4\n", "rollout.traces"),
            ("[objective.kimi]\n", "objective.name"),
        ] {
            let refused = check_resumed(&began, &with(more)).expect_err(more);
            assert_eq!(refused.field, field);
            assert!(refused.to_string().contains("training.micro_batch_tokens"), "{refused}");
        }
    }
}
