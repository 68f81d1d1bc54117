//! `anytime generate`: the groups of a job in a file, by an actor alone. The learner's program says which groups the job
//! would ask for, and the actor's program generates them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anytime_proto::v1;
use anytime_service::exit::ExitError;
use prost::Message as _;

use super::offline::{add, run_learner_with, run_program};
use crate::arguments::GenerateArgs;
use crate::job_file;
use crate::local;

pub(super) async fn run(arguments: &GenerateArgs) -> anyhow::Result<()> {
    let mut spec = job_file::read_one(arguments.job_file.as_ref(), &arguments.overrides)?;
    if let Some(model) = &arguments.model {
        let of_spec = spec.model.get_or_insert_default();
        of_spec.path = Some(model.clone());
        (of_spec.from_job, of_spec.from_step) = (None, None);
        of_spec.initialise = Some(false);
    }
    let leases = Leases::beside(&arguments.out)?;
    let mut command = vec!["leases".into(), "--root".into(), ".".into()];
    add(&mut command, "--out", Some(&leases.0));
    add(&mut command, "--first", Some(arguments.first.to_string()));
    add(
        &mut command,
        "--groups",
        arguments.groups.map(|groups| groups.to_string()),
    );
    run_learner_with(command, &v1::JobSpec::encode_to_vec(&spec)).await?;

    let mut command: Vec<OsString> = vec!["generate".into(), (&leases.0).into(), "--root".into(), ".".into()];
    add(&mut command, "--out", Some(&arguments.out));
    add(&mut command, "--verifier", arguments.verifier.as_ref());
    add(&mut command, "--device", Some(&arguments.device));
    add(&mut command, "--threads", Some(arguments.threads.to_string()));
    run_program(&local::actor_program()?, command).await
}

/// The file between the two programs, which goes with this value.
struct Leases(PathBuf);

impl Leases {
    fn beside(out: &Path) -> Result<Self, ExitError> {
        let Some(name) = out.file_name() else {
            let message = format!("--out {}: it must be a file", out.display());
            return Err(ExitError::configuration(message));
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".leases");
        Ok(Self(out.with_file_name(hidden)))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        // Where it was never written there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}
