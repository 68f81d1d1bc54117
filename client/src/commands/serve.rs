//! `anytime serve`: this program becomes the actor's, which answers requests, so that signals reach it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::Context as _;
use anytime_proto::ShortName as _;
use anytime_proto::v1::JobState;
use anytime_service::exit::ExitError;
use tonic::Code;

use super::offline::add;
use crate::arguments::ServeArgs;
use crate::learner::Learner;
use crate::local;

pub(super) async fn run(arguments: &ServeArgs) -> anyhow::Result<()> {
    let program = local::actor_program()?;
    let mut command: Vec<OsString> = vec!["serve".into()];
    add(&mut command, "--model", arguments.model.as_ref());
    if let Some(job) = &arguments.follow {
        refuse_a_job_that_is_over(arguments, job).await?;
        add(&mut command, "--follow", Some(job));
        add(&mut command, "--learner", Some(&arguments.learner.learner));
    }
    let (identity, calling) = (
        &arguments.learner.security.identity,
        &arguments.learner.security.calling,
    );
    add(&mut command, "--tls-cert", identity.tls_cert.as_ref());
    add(&mut command, "--tls-key", identity.tls_key.as_ref());
    add(&mut command, "--tls-ca", calling.tls_ca.as_ref());
    add(&mut command, "--token-file", calling.token_file.as_ref());
    if identity.insecure {
        command.push("--insecure".into());
    }
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

/// Looks at the job that is to be followed, unless the token only lets weights be fetched.
///
/// # Errors
/// Where the learner does not answer, has no such job, or the job publishes no weights any more.
async fn refuse_a_job_that_is_over(arguments: &ServeArgs, job: &str) -> anyhow::Result<()> {
    let mut learner = Learner::try_new(&arguments.learner)?;
    let state = match learner.try_get(job).await {
        Ok(job) => job.state(),
        Err(status) if status.code() == Code::PermissionDenied => return Ok(()),
        Err(status) => return Err(learner.explain(&status)),
    };
    if matches!(state, JobState::Succeeded | JobState::Cancelled) {
        let state = state.short_name();
        return Err(ExitError::configuration(format!(
            "--follow {job}: the job is {state} and publishes no weights any more; serve the directory that it wrote, or one \
             that `anytime export` writes"
        ))
        .into());
    }
    Ok(())
}
