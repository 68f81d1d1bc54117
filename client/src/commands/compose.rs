//! `anytime compose`: the Compose file of a host with GPUs, on standard output.

use serde_json::json;

use crate::arguments::ComposeArgs;
use crate::compose::Placement;
use crate::output::{print_json, print_line};

pub(super) fn run(arguments: &ComposeArgs, json: bool) -> anyhow::Result<()> {
    let placement = Placement::try_new(arguments.host_role, arguments.gpus, arguments.learner_gpus)?;
    let file = placement.file();
    if json {
        return print_json(&json!({
            "host_role": arguments.host_role.name(),
            "learner_gpus": placement.learner(),
            "actor_gpus": placement.actors(),
            "file": file,
        }));
    }
    print_line(file.trim_end())
}
