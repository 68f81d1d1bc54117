//! One case per call, one JSON object per case on standard output.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use anytime_bench::decode::{self, DecodeCase};
use anytime_bench::fleet::{self, FleetCase};
use anytime_bench::gpu::{self, GpuCases};
use anytime_bench::limits;
use anytime_bench::model::{LoadedModel, Shape, kind_name};
use anytime_bench::neighbours::Neighbours;
use anytime_bench::profile;
use anytime_bench::report::{self, Measurements};
use anytime_bench::rollout::{self, RolloutCase};
use anytime_bench::training::{self, TrainingCase};
use anytime_policy::operators::kernels;
use anytime_policy::{device, waiting};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
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
    /// Rolls groups out with all their summaries; prints one object for everything, one for the thinking alone and one
    /// for the summaries' own tokens
    Rollout {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        case: RolloutCase,
    },
    /// Trains one update
    Training {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        case: TrainingCase,
    },
    /// Runs the linear layers alone, without this project's code; prints one object per number of rows
    Limits {
        #[command(flatten)]
        common: Common,
        /// Tokens of a pass
        #[arg(long, value_delimiter = ',', default_value = "1,16,64,256,1024")]
        rows: Vec<usize>,
    },
    /// Runs the matrix products of an update alone, without this project's code
    TrainLimit {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        case: TrainingCase,
    },
    /// Measures which operators the time of the engine or of the trainer goes to
    Profile {
        #[command(subcommand)]
        what: Profiled,
    },
    /// Measures the learner and its queue with a fleet of actors that generate nothing
    #[command(subcommand)]
    Fleet(FleetCase),
    /// Checks a device against the CPU and measures everything on it
    Gpu(GpuArguments),
    /// Puts what the other cases printed into a table and a JSON document
    Summary(SummaryArguments),
    /// The same for what the cases of the fleet printed
    FleetSummary(SummaryArguments),
}

#[derive(Subcommand)]
enum Profiled {
    /// Rollouts of whole groups, as the actor generates them
    Engine {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        output: ProfileOutput,
        #[command(flatten)]
        case: RolloutCase,
    },
    /// Updates, as the learner trains
    Trainer {
        #[command(flatten)]
        setup: Setup,
        #[command(flatten)]
        output: ProfileOutput,
        #[command(flatten)]
        case: TrainingCase,
    },
}

#[derive(Args)]
struct ProfileOutput {
    /// Print one JSON object with all operators instead of a table
    #[arg(long)]
    json: bool,
    /// Operators in the table; the others share a line
    #[arg(long, default_value_t = 25)]
    rows: usize,
}

#[derive(Args)]
struct GpuArguments {
    /// Where: cuda, cuda:N, or cpu to try the same code
    #[arg(long, default_value = "cuda")]
    device: String,
    /// The model, with random weights
    #[arg(long, value_enum, default_value_t = Shape::R1DistillQwen)]
    shape: Shape,
    /// What the model computes in
    #[arg(long, value_enum, default_value_t = Dtype::Bf16)]
    dtype: Dtype,
    #[command(flatten)]
    cases: GpuCases,
    /// Leave the project's own kernels out, to see what they are worth
    #[arg(long)]
    without_kernels: bool,
    #[command(flatten)]
    about: About,
    /// Where the document goes
    #[arg(long)]
    out: PathBuf,
}

#[derive(Args)]
struct SummaryArguments {
    /// The lines that the cases printed
    #[arg(long)]
    lines: PathBuf,
    #[command(flatten)]
    about: About,
    /// Where the document goes
    #[arg(long)]
    out: PathBuf,
}

/// What a document says of its run.
#[derive(Args)]
struct About {
    /// The command that made it
    #[arg(long)]
    command: String,
    /// The day of the run
    #[arg(long)]
    date: String,
    /// NAME=VALUE of what the cases cannot know
    #[arg(long = "version-of")]
    versions: Vec<String>,
}

impl About {
    fn document(&self, mut versions: Map<String, Value>) -> anyhow::Result<Map<String, Value>> {
        for version in &self.versions {
            let (name, value) = version
                .split_once('=')
                .with_context(|| format!("--version-of is {version:?}; it must be NAME=VALUE"))?;
            versions.insert(name.to_owned(), json!(value));
        }
        let mut document = Map::new();
        document.insert("command".to_owned(), json!(self.command));
        document.insert("date".to_owned(), json!(self.date));
        document.insert("hardware".to_owned(), report::hardware());
        document.insert("versions".to_owned(), Value::Object(versions));
        Ok(document)
    }
}

#[derive(Args)]
struct Common {
    /// Name of the case in the output
    #[arg(long)]
    name: String,
    #[command(flatten)]
    setup: Setup,
}

/// What runs, and how.
#[derive(Args)]
struct Setup {
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
    /// Threads that keep a core busy each while the case is measured, as another program would
    #[arg(long, default_value_t = 0)]
    busy: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
    /// On the CPU the operators of other devices run in it, and none of the CPU's own: for tests of those.
    #[value(hide = true)]
    F64,
}

impl Dtype {
    fn kind(self) -> Kind {
        match self {
            Dtype::F32 => Kind::Float,
            Dtype::Bf16 => Kind::BFloat16,
            Dtype::F64 => Kind::Double,
        }
    }
}

impl Setup {
    /// Loads the model for a case of the engine, whose own thread computes.
    fn load_for_engine(&self) -> anyhow::Result<LoadedModel> {
        device::set_threads(self.threads);
        device::compute_on_this_thread_alone();
        self.read(self.dtype.kind())
    }

    fn load(&self, kind: Kind) -> anyhow::Result<LoadedModel> {
        device::set_threads(self.threads);
        self.read(kind)
    }

    /// The other work on the machine, which ends with what is returned. Loading is over when it begins.
    fn neighbours(&self) -> anyhow::Result<Neighbours> {
        Neighbours::start(self.busy)
    }

    fn read(&self, kind: Kind) -> anyhow::Result<LoadedModel> {
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

    fn describe(&self, figures: &mut Value) {
        figures["dtype"] = json!(kind_name(self.dtype.kind()));
        figures["threads"] = json!(self.threads);
        if self.busy > 0 {
            figures["busy"] = json!(self.busy);
        }
    }
}

impl Common {
    /// Prints the figures of a case with what every case has.
    fn print(&self, side: &str, figures: Value) {
        self.print_as(&self.name, side, figures);
    }

    /// The same under another name, where a call has several cases.
    fn print_as(&self, name: &str, side: &str, mut figures: Value) {
        figures["case"] = json!(name);
        figures["side"] = json!(side);
        self.setup.describe(&mut figures);
        println!("{figures}");
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().case) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, without the backtrace that a `Result` from main may bring along.
            eprintln!("anytime-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Case {
    /// Threads of one tensor operation.
    fn threads(&self) -> usize {
        match self {
            Self::Decode { common, .. }
            | Self::Rollout { common, .. }
            | Self::Training { common, .. }
            | Self::Limits { common, .. }
            | Self::TrainLimit { common, .. } => common.setup.threads,
            Self::Profile { what } => match what {
                Profiled::Engine { setup, .. } | Profiled::Trainer { setup, .. } => setup.threads,
            },
            Self::Gpu(_) | Self::Summary(_) | Self::Fleet(_) | Self::FleetSummary(_) => 1,
        }
    }
}

fn run(case: Case) -> anyhow::Result<()> {
    // The threads wait for each other as those of actor and learner do.
    waiting::wait_briefly(case.threads()).context("starting the program again")?;
    anytime_policy::operators::keep_freed_memory();
    match case {
        Case::Decode { common, case } => {
            let model = common.setup.load_for_engine()?;
            let _neighbours = common.setup.neighbours()?;
            let figures = decode::measure(&model, &case, common.setup.cache_bytes(), common.setup.repetitions)?;
            common.print(
                "anytime",
                json!({"seconds": figures.seconds, "tokens": case.tokens(), "ids_digest": figures.ids_digest}),
            );
        }
        Case::Rollout { common, case } => run_rollout(&common, &case)?,
        Case::Training { common, case } => {
            let masters = common.setup.load(Kind::Float)?;
            let _neighbours = common.setup.neighbours()?;
            let seconds = training::measure(masters, &case, common.setup.dtype.kind(), common.setup.repetitions)?;
            let (packed, trained) = (case.packed_tokens(), case.trained_tokens());
            common.print(
                "anytime",
                json!({"seconds": seconds, "computed_tokens": packed, "trained_tokens": trained}),
            );
        }
        Case::Limits { common, rows } => {
            let model = common.setup.load(common.setup.dtype.kind())?;
            let _neighbours = common.setup.neighbours()?;
            for rows in rows {
                let seconds = limits::forward(&model, rows, common.setup.repetitions);
                let flop = rows as f64 * model.flop_per_token();
                let figures = json!({"seconds": seconds, "tokens": rows, "flop": flop});
                common.print_as(&format!("{}_{rows}", common.name), "libtorch", figures);
            }
        }
        Case::TrainLimit { common, case } => {
            let model = common.setup.load(common.setup.dtype.kind())?;
            let _neighbours = common.setup.neighbours()?;
            let (packed, trained) = (case.packed_tokens(), case.trained_tokens());
            let seconds = limits::update(&model, packed, trained, common.setup.repetitions);
            let head = model.config.vocab_size * model.config.hidden_size;
            let products = model.layer_parameters() * packed as i64 + head * trained as i64;
            common.print("libtorch", json!({"seconds": seconds, "flop": 6.0 * products as f64}));
        }
        Case::Profile { what } => run_profile(&what)?,
        Case::Fleet(case) => fleet::run(&case)?,
        Case::Gpu(arguments) => run_gpu(&arguments)?,
        Case::Summary(arguments) => {
            let lines = std::fs::read_to_string(&arguments.lines)
                .with_context(|| format!("reading {}", arguments.lines.display()))?;
            let measurements = Measurements::parse(&lines)?;
            let about = arguments.about.document(measurements.versions())?;
            write(&arguments.out, &measurements.document(about))?;
            print!("{}", measurements.table());
        }
        Case::FleetSummary(arguments) => {
            let lines = std::fs::read_to_string(&arguments.lines)
                .with_context(|| format!("reading {}", arguments.lines.display()))?;
            let measured = fleet::table::parse(&lines)?;
            print!("{}", fleet::table::tables(&measured));
            let about = arguments.about.document(Map::new())?;
            write(&arguments.out, &fleet::table::document(about, measured))?;
        }
    }
    Ok(())
}

fn run_rollout(common: &Common, case: &RolloutCase) -> anyhow::Result<()> {
    let model = common.setup.load_for_engine()?;
    let _neighbours = common.setup.neighbours()?;
    let figures = rollout::measure(&model, case, common.setup.cache_bytes(), common.setup.repetitions)?;
    let dtype = kind_name(common.setup.dtype.kind());
    let (thinking, summary) = (case.thinking_tokens(), case.summary_tokens_in_all());
    common.print(
        "anytime",
        json!({
            "seconds": figures.rollouts, "tokens": thinking + summary,
            "thinking_tokens": thinking, "summary_tokens": summary, "slots": case.slots,
            "ids_digest": figures.ids_digest,
        }),
    );
    let parts = [
        ("thinking", figures.thinking, thinking),
        ("own_tokens", figures.own_tokens, summary),
    ];
    for (part, seconds, tokens) in parts {
        // A case that is measured beside other work is a figure of its own.
        let suffix = if common.setup.busy > 0 { "_busy" } else { "" };
        let name = format!("rollout_{part}_{dtype}{suffix}");
        common.print_as(&name, "anytime", json!({"seconds": seconds, "tokens": tokens}));
    }
    Ok(())
}

fn run_profile(what: &Profiled) -> anyhow::Result<()> {
    let (profile, name, setup, output) = match what {
        Profiled::Engine { setup, output, case } => {
            let model = setup.load_for_engine()?;
            let _neighbours = setup.neighbours()?;
            let profile = profile::engine(&model, case, setup.cache_bytes(), setup.repetitions)?;
            (profile, "engine", setup, output)
        }
        Profiled::Trainer { setup, output, case } => {
            let masters = setup.load(Kind::Float)?;
            let _neighbours = setup.neighbours()?;
            let profile = profile::trainer(masters, case, setup.dtype.kind(), setup.repetitions)?;
            (profile, "trainer", setup, output)
        }
    };
    if output.json {
        let mut document = profile.document();
        document["profile"] = json!(name);
        document["device"] = json!(setup.device);
        setup.describe(&mut document);
        println!("{document}");
    } else {
        print!("{}", profile.table(output.rows));
    }
    Ok(())
}

fn run_gpu(arguments: &GpuArguments) -> anyhow::Result<()> {
    let device = device::choose(&arguments.device)?;
    if arguments.without_kernels {
        kernels::use_none();
    }
    let mut document = arguments.about.document(Map::new())?;
    let report = gpu::report(arguments.shape, arguments.dtype.kind(), device, &arguments.cases)?;
    print!("{}", gpu::table(&report));
    document.insert("device".to_owned(), json!(arguments.device));
    document.insert("report".to_owned(), report);
    write(&arguments.out, &Value::Object(document))
}

fn write(path: &Path, document: &Value) -> anyhow::Result<()> {
    let text = format!("{}\n", serde_json::to_string_pretty(document)?);
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
