//! `anytime replay`: steps of a job trained again on the groups that it has kept, by the learner's program alone.

use anytime_service::exit::ExitError;
use toml::Table;

use super::offline::{add, run_learner};
use crate::arguments::ReplayArgs;
use crate::overrides;

pub(super) async fn run(arguments: &ReplayArgs, json: bool) -> anyhow::Result<()> {
    let mut command = vec!["replay".into(), arguments.job.clone().into()];
    add(&mut command, "--from", Some(arguments.from.to_string()));
    add(&mut command, "--steps", arguments.steps.map(|steps| steps.to_string()));
    add(&mut command, "--runs-dir", arguments.runs_dir.as_ref());
    add(&mut command, "--root", arguments.root.as_ref());
    add(&mut command, "--device", arguments.device.as_ref());
    add(
        &mut command,
        "--threads",
        arguments.threads.map(|threads| threads.to_string()),
    );
    add(&mut command, "--set", changes(&arguments.set)?);
    add(&mut command, "--out", arguments.out.as_ref());
    if json {
        command.push("--json".into());
    }
    run_learner(command).await
}

/// All changed settings as one document of TOML; none where nothing is changed.
fn changes(set: &[String]) -> Result<Option<String>, ExitError> {
    let mut all = Table::new();
    for setting in set {
        overrides::merge(&mut all, &overrides::parse(setting)?);
    }
    if all.is_empty() {
        return Ok(None);
    }
    let text = toml::to_string(&all);
    text.map(Some)
        .map_err(|error| ExitError::configuration(format!("--set: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_settings_travel_as_one_document() {
        assert_eq!(changes(&[]).unwrap(), None);
        let set = [
            "training.learning_rate=1e-5",
            "training.schedule=cosine",
            "objective.lambda=0.25",
        ];
        let text = changes(&set.map(str::to_owned)).unwrap().unwrap();
        let table: Table = toml::from_str(&text).unwrap();
        assert_eq!(table["training"]["learning_rate"].as_float(), Some(1e-5));
        assert_eq!(table["training"]["schedule"].as_str(), Some("cosine"));
        assert_eq!(table["objective"]["lambda"].as_float(), Some(0.25));
        let refused = changes(&["training.rate=1".to_owned()]).unwrap_err();
        assert!(refused.message.contains("training.rate"), "{}", refused.message);
    }
}
