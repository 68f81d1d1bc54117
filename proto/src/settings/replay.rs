//! What may change about steps that are trained again on the groups that they had.

use super::changed::changed;
use super::error::InvalidSetting;
use super::row::alternatives;
use crate::v1;

/// The settings that decide what an update makes of given groups. All others decide which groups there are, or what is
/// written when, so that a replay could not show what they do.
pub const REPLAYABLE: &[&str] = &[
    "model.dtype",
    "training.steps",
    "training.minibatches",
    "training.learning_rate",
    "training.schedule",
    "training.warmup_updates",
    "training.beta1",
    "training.beta2",
    "training.epsilon",
    "training.weight_decay",
    "training.gradient_clip",
    "training.gradient_clip_history",
    "training.clip",
    "training.clip_high",
    "training.importance_cap",
    "training.normaliser",
    "training.micro_batch_tokens",
    "training.activation_checkpointing",
];

/// An objective's own settings may change as well, but not which objective it is: what another one asks of the rollouts,
/// and what it remembers of earlier steps, is not there.
const OBJECTIVE: &str = "objective.";

/// Compares what a step is trained again with to what it was trained with. Returns the settings that differ.
///
/// # Errors
/// The first setting that differs and may not.
pub fn check_replayed(trained: &v1::JobSpec, again: &v1::JobSpec) -> Result<Vec<&'static str>, InvalidSetting> {
    let changed = changed(trained, again);
    for path in &changed {
        let is_objectives = path.starts_with(OBJECTIVE) && *path != "objective.name";
        if !is_objectives && !REPLAYABLE.contains(path) {
            let reason = format!(
                "steps that are trained again keep it; what can change is {}, and the objective's own settings",
                alternatives(REPLAYABLE).replace(" or ", " and ")
            );
            return Err(InvalidSetting::because(path, reason));
        }
    }
    Ok(changed)
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
        for path in REPLAYABLE {
            assert!(TABLE.iter().any(|row| row.path == *path), "{path}");
        }
    }

    #[test]
    fn only_what_an_update_makes_of_its_groups_may_change() {
        let trained = parse_job_file(JOB).expect("a job file");
        let with = |more: &str| parse_job_file(&format!("{JOB}{more}")).expect("a job file");
        assert_eq!(check_replayed(&trained, &trained), Ok(Vec::new()));
        for (more, changed) in [
            ("learning_rate = 1e-5\n", "training.learning_rate"),
            ("[objective]\nlambda = 0.25\n", "objective.lambda"),
            (
                "[objective.brpo]\nvariance_reduction = \"none\"\n",
                "objective.brpo.variance_reduction",
            ),
        ] {
            assert_eq!(check_replayed(&trained, &with(more)), Ok(vec![changed]), "{more}");
        }
        for (more, field) in [
            ("batch = 32\n", "training.batch"),
            ("max_staleness = 0\n", "training.max_staleness"),
            ("[rollout]\nbudgets = [10, 20]\n", "rollout.budgets"),
            ("[objective]\nname = \"kimi\"\n", "objective.name"),
        ] {
            let refused = check_replayed(&trained, &with(more)).expect_err(more);
            assert_eq!(refused.field, field);
            assert!(refused.to_string().contains("training.learning_rate"), "{refused}");
        }
    }
}
