//! `anytime serve`: this program becomes the actor's, which answers requests, so that signals reach it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;

use super::offline::add;
use crate::arguments::ServeArgs;
use crate::local;

pub(super) fn run(arguments: &ServeArgs) -> anyhow::Result<()> {
    let program = local::actor_program()?;
    let mut command: Vec<OsString> = vec!["serve".into()];
    add(&mut command, "--model", Some(&arguments.model));
    add(&mut command, "--listen", Some(&arguments.listen));
    add(&mut command, "--port-file", arguments.port_file.as_ref());
    add(&mut command, "--name", arguments.name.as_ref());
    add(&mut command, "--budgets", arguments.budgets.as_ref());
    add(
        &mut command,
        "--max-thinking",
        arguments.max_thinking.map(|most| most.to_string()),
    );
    add(&mut command, "--slots", Some(arguments.slots.to_string()));
    add(&mut command, "--device", Some(&arguments.device));
    add(&mut command, "--threads", Some(arguments.threads.to_string()));
    command.extend(arguments.further.iter().cloned());
    // Returns only where the program could not be started.
    let error = Command::new(&program).args(command).exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
