//! One file per command that is more than a call.

mod advantages;
mod ask;
mod audit;
mod certs;
mod check;
mod compose;
mod dead_letters;
mod doctor;
mod evaluate;
mod export;
mod generate;
mod health;
mod merge;
mod offline;
mod presets;
mod remote;
mod replay;
mod report;
mod serve;
mod show;
mod top;

use crate::arguments::{Cli, Command};
use crate::{demo, local, study};

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
        Command::Delete(arguments) => remote::delete(&arguments, json).await,
        Command::Resume(arguments) => remote::resume(&arguments, json).await,
        Command::Export(arguments) => export::run(&arguments, json).await,
        Command::Merge(arguments) => merge::run(&arguments, json).await,
        Command::Replay(arguments) => replay::run(&arguments, json).await,
        Command::Doctor(arguments) => doctor::run(&arguments, json).await,
        Command::Top(arguments) => top::run(&arguments, json).await,
        Command::Audit(arguments) => audit::run(&arguments, json).await,
        Command::DeadLetters(arguments) => dead_letters::run(&arguments, json).await,
        Command::Evaluate(arguments) => evaluate::run(*arguments, json).await,
        Command::Generate(arguments) => generate::run(&arguments).await,
        Command::Serve(arguments) => serve::run(&arguments).await,
        Command::Ask(arguments) => ask::ask(*arguments, json).await,
        Command::Chat(arguments) => ask::chat(*arguments, json).await,
        Command::Report(arguments) => report::run(&arguments, json).await,
        Command::Show(arguments) => show::run(&arguments, json).await,
        Command::Check(arguments) => check::run(&arguments, json).await,
        Command::Advantages(arguments) => advantages::run(&arguments, json),
        Command::Local(arguments) => local::run(arguments, json).await,
        Command::Demo(arguments) => demo::run(arguments, json).await,
        Command::Presets(arguments) => presets::run(&arguments, json),
        Command::Data(arguments) => demo::write_task(&arguments),
        Command::Study(arguments) => study::run(arguments, json).await,
        Command::Certs(arguments) => certs::run(&arguments, json),
        Command::Compose(arguments) => compose::run(&arguments, json),
        Command::Health(arguments) => health::run(&arguments, json).await,
    }
}
