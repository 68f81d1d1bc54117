//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context as _;
use anytime_proto::ShortName;
use anytime_proto::settings::InvalidSetting;
use anytime_proto::v1;
use anytime_service::security::{IdentityArgs, ServingArgs};
use anytime_service::telemetry::TelemetryArgs;
use anytime_verifier::limits::{DEFAULT_CACHE_MIB, ServerLimits};
use anytime_verifier::options::Options;
use clap::{Args, Parser, Subcommand};

/// Grades answers to mathematical problems.
#[derive(Debug, Parser)]
#[command(name = "anytime-verifier", version = anytime_service::program::version())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer anytime.v1.VerifierService until SIGTERM
    Serve(Box<ServeArgs>),
    /// Grade lines of {"id", "response", "ground_truth"} from standard input to lines of {"id", "correct", "verdict",
    /// "extracted", "seconds"} on standard output, in order
    Grade(GradeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, env = "ANYTIME_LISTEN", default_value = "127.0.0.1:7102")]
    pub(crate) listen: SocketAddr,
    /// File that is given the bound host:port once the server listens
    #[arg(long, env = "ANYTIME_PORT_FILE")]
    pub(crate) port_file: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
    /// Most MiB of verdicts that are kept for the next time the same answer comes; 0 keeps none
    #[arg(long, env = "ANYTIME_CACHE_MIB", default_value_t = DEFAULT_CACHE_MIB, value_parser = clap::value_parser!(u64).range(..=1 << 20))]
    cache_mib: u64,
    /// Batches that may wait for a thread; a call that finds as many is refused, a stream is held back [default: 256]
    #[arg(long, env = "ANYTIME_WAITING_BATCHES")]
    waiting_batches: Option<NonZeroUsize>,
    /// Batches of one stream that are worked on at a time [default: 8]
    #[arg(long, env = "ANYTIME_STREAM_BATCHES")]
    stream_batches: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArgs,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
}

impl ServeArgs {
    /// How the server uses the machine.
    pub(crate) fn limits(&self) -> anyhow::Result<ServerLimits> {
        let mut limits = ServerLimits::with_threads(self.threads.count()?);
        limits.cache_bytes = self.cache_mib << 20;
        limits.waiting_batches = self.waiting_batches.unwrap_or(limits.waiting_batches);
        limits.stream_batches = self.stream_batches.unwrap_or(limits.stream_batches);
        Ok(limits)
    }
}

#[derive(Debug, Args)]
struct Threads {
    /// Threads that grade; by default one for each core
    #[arg(long, env = "ANYTIME_THREADS")]
    threads: Option<NonZeroUsize>,
}

impl Threads {
    fn count(&self) -> anyhow::Result<NonZeroUsize> {
        match self.threads {
            Some(threads) => Ok(threads),
            None => std::thread::available_parallelism().context("count the cores, --threads sets their number"),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct GradeArgs {
    /// How the answer is found: the last \boxed{…} (boxed), the last one in the block that starts with **Final Answer**
    /// (anytime), the last number (last-number)
    #[arg(long, default_value = "boxed", value_parser = choice::<v1::Extraction>)]
    extraction: v1::Extraction,
    /// 50 % is 0.5 and 50 (either), or not 50 (exact)
    #[arg(long, default_value = "either", value_parser = choice::<v1::Percents>)]
    percents: v1::Percents,
    /// 2/4 is 1/2 (any), or not (reduced)
    #[arg(long, default_value = "any", value_parser = choice::<v1::Fractions>)]
    fractions: v1::Fractions,
    /// 1.547 is not 1.55 (exact), or is if that is the ground truth (to-ground-truth)
    #[arg(long, default_value = "exact", value_parser = choice::<v1::Rounding>)]
    rounding: v1::Rounding,
    /// A unit may be left out or added (optional), must be there as in the ground truth (required), counts for nothing
    /// (ignored)
    #[arg(long, default_value = "optional", value_parser = choice::<v1::Units>)]
    units: v1::Units,
    /// `1, 2` is `2, 1` (unordered), or not (ordered)
    #[arg(long, default_value = "unordered", value_parser = choice::<v1::Lists>)]
    lists: v1::Lists,
    /// `1, 2` may stand for `(1, 2)` (lenient), or not (exact)
    #[arg(long, default_value = "lenient", value_parser = choice::<v1::Brackets>)]
    brackets: v1::Brackets,
    /// Add "answer_form", "ground_truth_forms" and "rule": what was compared, and what decided
    #[arg(long)]
    pub(crate) explain: bool,
    #[command(flatten)]
    threads: Threads,
}

impl GradeArgs {
    /// How many threads grade.
    pub(crate) fn threads(&self) -> anyhow::Result<NonZeroUsize> {
        self.threads.count()
    }

    /// The choices that the arguments make.
    pub(crate) fn options(&self) -> Result<Options, InvalidSetting> {
        let conventions = v1::Conventions {
            percents: self.percents.into(),
            fractions: self.fractions.into(),
            rounding: self.rounding.into(),
            units: self.units.into(),
            lists: self.lists.into(),
            brackets: self.brackets.into(),
        };
        Options::try_from_request(self.extraction.into(), Some(&conventions))
    }
}

/// Reads an enumeration by its short name, written with hyphens.
fn choice<Choice: ShortName>(name: &str) -> Result<Choice, String> {
    let chosen = Choice::from_short_name(&name.replace('-', "_"));
    chosen.ok_or_else(|| format!("not one of: {}", Choice::allowed().replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use anytime_verifier::options::{Conventions, Units};
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn options(arguments: &[&str]) -> Options {
        let all = [&["anytime-verifier", "grade"], arguments].concat();
        match Cli::try_parse_from(all).unwrap().command {
            Command::Grade(args) => args.options().unwrap(),
            Command::Serve(_) => panic!("another command"),
        }
    }

    #[test]
    fn the_usual_conventions_are_the_default() {
        let options = options(&[]);
        assert_eq!(options.extraction, v1::Extraction::Boxed);
        assert_eq!(options.conventions, Conventions::default());
    }

    #[test]
    fn every_convention_has_its_argument() {
        let choices = "--extraction last-number --percents exact --fractions reduced --rounding to-ground-truth \
                       --units ignored --lists ordered --brackets exact";
        let arguments: Vec<&str> = choices.split_whitespace().collect();
        let options = options(&arguments);
        assert_eq!(options.extraction, v1::Extraction::LastNumber);
        let expected = Conventions {
            exact_percents: true,
            reduced_fractions: true,
            rounding: true,
            units: Units::Ignored,
            ordered_lists: true,
            exact_brackets: true,
        };
        assert_eq!(options.conventions, expected);
    }
}
