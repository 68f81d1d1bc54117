//! Which processes `anytime local` and `anytime demo` start.

use clap::Args;

/// Which processes are started, and how.
#[derive(Clone, Debug, Args)]
pub struct ProcessArgs {
    /// Actor processes [default: 2, or as many as --devices names after the learner's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub actors: Option<u32>,
    /// Processes that compute the learner's updates together
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub learner_ranks: u32,
    /// Computing threads of each process
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: u32,
    /// Use this Redis instead of starting one
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Where learner and actors compute, all on the same device: auto, cpu, cuda, cuda:1, … [default: auto; of the demo,
    /// whose model is too small for anything else to be faster: cpu]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// A device for each process, first those of the learner (one for each of --learner-ranks) and then one for every actor:
    /// numbers of CUDA devices, or cpu
    #[arg(
        long,
        value_name = "LEARNER,ACTOR,…",
        value_delimiter = ',',
        conflicts_with = "device",
        allow_hyphen_values = true
    )]
    pub devices: Vec<String>,
}
