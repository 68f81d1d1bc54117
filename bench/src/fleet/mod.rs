//! A fleet without a model: simulated actors that lease and push with the actor's own client code, the real learner
//! with its queue in a real Redis, and a job that takes groups as training does but trains nothing.
//!
//! [`learner`] is the learner's process, [`actors`] the fleet with the groups that [`groups`] makes up, [`stack`] Redis
//! and the learner as child processes, and [`peer`] `redis-benchmark` on the same Redis. The cases are [`curve`] (how
//! many groups a second), [`memory`] (what grows) and [`weights`] (how many actors one learner feeds). [`table`] makes a
//! document of what they print.

pub mod actors;
pub mod curve;
pub mod groups;
pub mod learner;
pub mod memory;
pub mod peer;
pub mod stack;
pub mod table;
pub mod weights;

use anyhow::Context as _;
use clap::Subcommand;

use self::groups::Shape;

/// What of the fleet is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetCase {
    /// Groups a second, latencies, and the cost of each process, by the number of actors, beside redis-benchmark
    Curve {
        /// The groups that are pushed.
        #[command(flatten)]
        shape: Shape,
        /// How it is measured.
        #[command(flatten)]
        case: curve::CurveCase,
    },
    /// Memory while the trainer stands still, and over many pushes
    Memory {
        /// The groups that are pushed while it stands still.
        #[command(flatten)]
        shape: Shape,
        /// How it is measured.
        #[command(flatten)]
        case: memory::MemoryCase,
    },
    /// Fetches of the weights, whole and as deltas, by the number of actors
    Weights {
        /// How it is measured.
        #[command(flatten)]
        case: weights::WeightsCase,
    },
    /// The learner's process; the other cases start it
    #[command(hide = true)]
    Learner(Box<learner::LearnerArgs>),
}

/// Runs a case, and prints one JSON object for each measurement.
///
/// # Errors
/// If a process cannot be started or ends, or what is measured does not hold.
pub fn run(case: &FleetCase) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    match case {
        FleetCase::Learner(args) => learner::run(&runtime, args),
        FleetCase::Curve { shape, case } => runtime.block_on(curve::measure(shape, case)),
        FleetCase::Memory { shape, case } => runtime.block_on(memory::measure(shape, case)),
        FleetCase::Weights { case } => runtime.block_on(weights::measure(case)),
    }
}
