//! One case per call, one JSON object per case on standard output.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use anyhow::bail;
use anytime_bench::decode::{self, DecodeCase};
use anytime_bench::model::{LoadedModel, Shape, kind_name};
use anytime_policy::device;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;
use tch::Kind;

#[derive(Parser)]
#[command(
    name = "anytime-bench",
    version,
    about = "Measures the engine and the learner, one case per call"
)]
struct Arguments {
    #[command(subcommand)]
    case: Case,
}

#[derive(Subcommand)]
enum Case {
    /// Decodes sequences through the engine
    Decode {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        case: DecodeCase,
    },
}

#[derive(Args)]
struct Common {
    /// Name of the case in the output
    #[arg(long)]
    name: String,
    /// A Hugging Face model directory
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Random weights of this shape instead of a checkpoint
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// What the model computes in
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Where: cpu, cuda, cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of one tensor operation
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Runs that are measured, after one that is not
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// Memory of the key-value cache in GiB
    #[arg(long, default_value_t = 6)]
    cache_gib: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

impl Dtype {
    fn kind(self) -> Kind {
        match self {
            Dtype::F32 => Kind::Float,
            Dtype::Bf16 => Kind::BFloat16,
        }
    }
}

impl Common {
    fn load(&self, kind: Kind) -> anyhow::Result<LoadedModel> {
        device::set_threads(self.threads);
        let device = device::choose(&self.device)?;
        match (&self.checkpoint, self.shape) {
            (Some(directory), None) => LoadedModel::checkpoint(directory, kind, device),
            (None, Some(shape)) => LoadedModel::random(shape, 1, kind, device),
            _ => bail!("exactly one of --checkpoint and --shape is needed"),
        }
    }

    fn cache_bytes(&self) -> usize {
        self.cache_gib << 30
    }

    /// Prints the figures of a case with what every case has.
    fn print(&self, mut figures: serde_json::Value) {
        figures["case"] = json!(self.name);
        figures["side"] = json!("anytime");
        figures["dtype"] = json!(kind_name(self.dtype.kind()));
        figures["threads"] = json!(self.threads);
        println!("{figures}");
    }
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().case {
        Case::Decode { common, case } => {
            let model = common.load(common.dtype.kind())?;
            let seconds = decode::measure(&model, &case, common.cache_bytes(), common.repetitions)?;
            common.print(json!({"seconds": seconds, "tokens": case.tokens()}));
        }
    }
    Ok(())
}
