//! `anytime merge`: adapters added to the weights of their base, by the learner's program.

use super::offline::{add, run_learner};
use crate::arguments::MergeArgs;

pub(super) async fn run(arguments: &MergeArgs, json: bool) -> anyhow::Result<()> {
    let mut command = vec!["merge".into(), arguments.adapters.clone().into()];
    add(&mut command, "--output", Some(&arguments.output));
    add(&mut command, "--dtype", arguments.dtype.as_ref());
    if json {
        command.push("--json".into());
    }
    run_learner(command).await
}
