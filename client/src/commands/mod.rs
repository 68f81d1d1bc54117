//! One file per command that is more than a call.

mod advantages;
mod evaluate;
mod export;
mod presets;
mod remote;
mod report;
mod show;

use crate::arguments::{CheckArgs, Cli, Command};
use crate::output::{print_json, print_line};
use crate::{demo, job_file, local, study};
use anytime_proto::ShortName as _;
use anytime_proto::settings::with_defaults;
use serde_json::json;

/// Runs what the arguments ask for.
///
/// # Errors
/// Whatever ended the command early; `anytime_service::exit::exit_code` says with which exit code.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let json = cli.json;
    match cli.command {
        Command::Submit(arguments) => remote::submit(arguments, json).await,
        Command::List(arguments) => remote::list(&arguments, json).await,
        Command::Get(arguments) => remote::get(&arguments, json).await,
        Command::Watch(arguments) => remote::watch(&arguments, json).await,
        Command::Cancel(arguments) => remote::cancel(&arguments, json).await,
        Command::Resume(arguments) => remote::resume(&arguments, json).await,
        Command::Export(arguments) => export::run(&arguments, json).await,
        Command::Evaluate(arguments) => evaluate::run(*arguments, json).await,
        Command::Report(arguments) => report::run(&arguments, json).await,
        Command::Show(arguments) => show::run(&arguments, json).await,
        Command::Check(arguments) => check(&arguments, json),
        Command::Advantages(arguments) => advantages::run(&arguments, json),
        Command::Local(arguments) => local::run(arguments, json).await,
        Command::Demo(arguments) => demo::run(arguments, json).await,
        Command::Presets(arguments) => presets::run(&arguments, json),
        Command::Data(arguments) => demo::write_task(&arguments),
        Command::Study(arguments) => study::run(arguments, json).await,
    }
}

/// `anytime check`: says what each job would do. With `--json` it prints the specifications with every default.
fn check(arguments: &CheckArgs, json: bool) -> anyhow::Result<()> {
    let mut documents = Vec::new();
    for job in job_file::read_all(&arguments.job_files, &arguments.overrides)? {
        let spec = &job.spec;
        if json {
            documents.push(json!({ "file": job.source, "spec": with_defaults(spec) }));
            continue;
        }
        print_line(&format!(
            "{}: a valid job file ({} {})",
            job.source,
            spec.kind().short_name(),
            spec.name()
        ))?;
    }
    if json {
        print_json(&documents)?;
    }
    Ok(())
}
