//! One report for a CUDA host: do both devices compute the same, and how near do decoding, rollouts and training come
//! to what the device can do?
//!
//! What the device can do is measured, not looked up: bytes per second of a large copy, and operations per second of a
//! large matrix product. *Utilisation* is the operations of the model's linear layers for the tokens that the case is
//! about, over that peak; attention and repeated computation count for nothing. *Of the bandwidth limit* is the least
//! time that the bytes which have to move take, over the time that it took: for a decoding step all weights once and
//! the keys and values of every sequence, for an update the optimiser's state.
//!
//! The first repetition of every case is reported by itself: a library that prepares something for every new shape shows
//! there. So are the operators of a step, a token or an update, which are what launches cost, and the most memory.

mod cases;
mod estimate;
mod parity;

use anyhow::{Context as _, ensure};
use anytime_policy::ModelConfig;
use anytime_policy::actor_memory::words;
use anytime_policy::memory::{DeviceMemory, forget_peak};
use anytime_policy::operators::profile::profiled;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

pub use self::cases::GpuCases;
pub use self::estimate::Estimate;
use crate::decode::{self, DecodeCase};
use crate::limits;
use crate::model::{LoadedModel, Shape, kind_name};
use crate::report::median;
use crate::rollout::{self, RolloutCase};
use crate::steady::{self, SteadyCase};
use crate::training::{TrainingCase, Updates};

/// The measured peaks of the device.
#[derive(Clone, Copy, Debug)]
struct Peaks {
    flop_per_second: f64,
    bytes_per_second: f64,
}

/// Runs everything and returns one JSON document.
///
/// # Errors
/// Both devices disagree beyond the tolerance, or a case fails.
pub fn report(shape: Shape, kind: Kind, device: Device, cases: &GpuCases) -> anyhow::Result<Value> {
    let config = ModelConfig::from_json(&shape.config_json().to_string())?;
    let estimate = Estimate::new(&config, kind, cases);
    say(&format!(
        "by arithmetic this takes up to {} of the device's memory and {:.0} s",
        words(estimate.bytes),
        estimate.seconds
    ));
    if let Ok(memory) = DeviceMemory::ask(device) {
        ensure!(
            device == Device::Cpu || memory.free >= estimate.bytes,
            "the device has {} of which {} are free; smaller cases need less: --cache-gib, --traces, --mixed-lengths",
            words(memory.total),
            words(memory.free)
        );
    }
    let parity = parity::check(kind, device)?;
    say(&format!("parity with the CPU: {parity}"));
    let mut peaks = serde_json::Map::new();
    let mut figures = Vec::new();
    let mut add = |case: Value| {
        say(&case.to_string());
        figures.push(case);
    };
    let kinds = if kind == Kind::Float {
        vec![kind]
    } else {
        vec![kind, Kind::Float]
    };
    for (place, &kind) in kinds.iter().enumerate() {
        let is_first = place == 0;
        let peak = measure_peaks(kind, device);
        say(&format!(
            "peaks: {:.2} TFLOP/s in {}, {:.1} GB/s",
            peak.flop_per_second / 1e12,
            kind_name(kind),
            peak.bytes_per_second / 1e9
        ));
        let peak_json = json!({"flop_per_second": peak.flop_per_second, "bytes_per_second": peak.bytes_per_second});
        peaks.insert(kind_name(kind).to_owned(), peak_json);
        let bench = OnDevice {
            kind,
            device,
            cases,
            peaks: peak,
        };
        let model = LoadedModel::random(shape, 1, kind, device)?;
        // In f32 one case of each sort shows whether its paths run there too.
        let middle = cases.batches.len() / 2;
        let batches = if is_first {
            &cases.batches[..]
        } else {
            &cases.batches[middle..=middle]
        };
        for &batch in batches {
            add(bench.decode(&model, batch)?);
        }
        if is_first {
            add(bench.rollout(&model)?);
            add(bench.steady(&model)?);
        }
        drop(model);
        // Masters are f32; the model in `kind` has given its memory back.
        let masters = LoadedModel::random(shape, 1, Kind::Float, device)?;
        add(bench.training("training_update", masters, &[cases.training_case()])?);
        if is_first {
            let masters = LoadedModel::random(shape, 1, Kind::Float, device)?;
            add(bench.training("training_mixed", masters, &cases.mixed_cases())?);
        }
    }
    Ok(json!({
        "shape": shape.config_json(),
        "dtype": kind_name(kind),
        "estimate": {"bytes": estimate.bytes, "seconds": estimate.seconds},
        "parity": parity,
        "peaks": peaks,
        "cases": figures,
    }))
}

/// Tells the progress on standard error, because the document goes to standard output.
fn say(line: &str) {
    eprintln!("{line}");
}

fn measure_peaks(kind: Kind, device: Device) -> Peaks {
    let _guard = tch::no_grad_guard();
    // On the CPU the same code only has to run.
    let (side, bytes) = match device {
        Device::Cuda(_) => (8192, 4_i64 << 30),
        _ => (512, 64_i64 << 20),
    };
    let fastest = |seconds: Vec<f64>| seconds.into_iter().fold(f64::INFINITY, f64::min);
    let left = Tensor::randn([side, side], (kind, device));
    let right = Tensor::randn([side, side], (kind, device));
    let product = left.matmul(&right);
    let matmul = fastest(limits::repeat(5, device, || {
        let _ = left.matmul_out(&product, &right);
    }));
    let source = Tensor::zeros([bytes / 4], (Kind::Float, device));
    let mut target = source.zeros_like();
    let copy = fastest(limits::repeat(5, device, || target.copy_(&source)));
    Peaks {
        flop_per_second: 2.0 * (side as f64).powi(3) / matmul,
        // Every byte is read and written.
        bytes_per_second: 2.0 * bytes as f64 / copy,
    }
}

/// Bytes that one decoding step has to move: all weights that take part, and the keys and values before every sequence.
fn step_bytes(model: &LoadedModel, sequences: f64, context: f64) -> f64 {
    let config = &model.config;
    let element = model.weights["model.norm.weight"].kind().elt_size_in_bytes() as f64;
    let weights = (model.layer_parameters() + config.vocab_size * config.hidden_size) as f64;
    let per_token = (2 * config.num_hidden_layers as i64 * config.num_key_value_heads * config.head_dim) as f64;
    element * (weights + sequences * context * per_token)
}

/// The cases in one kind on one device.
struct OnDevice<'a> {
    kind: Kind,
    device: Device,
    cases: &'a GpuCases,
    peaks: Peaks,
}

/// The work of a case: what its utilisation is measured by.
struct Work {
    tokens: f64,
    flop: f64,
    bytes: f64,
}

/// What was measured of a case.
struct Measured {
    /// The first repetition, then the others.
    seconds: Vec<f64>,
    /// Operators dispatched for one of what `per` names, nested ones and views included: an upper bound of launches.
    operators: f64,
    per: &'static str,
    /// The most memory in use, in bytes.
    peak: Option<u64>,
}

impl OnDevice<'_> {
    fn figures(&self, name: &str, measured: &Measured, work: &Work) -> anyhow::Result<Value> {
        let (first, others) = measured.seconds.split_first().context("nothing was measured")?;
        let median = median(others).filter(|seconds| *seconds > 0.0);
        let seconds_median = median.with_context(|| format!("{name} was not measured"))?;
        let Work { tokens, flop, bytes } = work;
        Ok(json!({
            "case": name,
            "dtype": kind_name(self.kind),
            "first_seconds": first,
            "seconds": others,
            "seconds_median": seconds_median,
            "repetitions": others.len(),
            "tokens": tokens,
            "tokens_per_second": tokens / seconds_median,
            "operators": measured.operators,
            "operators_per": measured.per,
            "memory_peak_bytes": measured.peak,
            "model_flop_utilisation": flop / seconds_median / self.peaks.flop_per_second,
            "of_bandwidth_limit": bytes / self.peaks.bytes_per_second / seconds_median,
        }))
    }

    /// Runs a case and finds the most memory in use meanwhile.
    fn with_peak<R>(&self, work: impl FnOnce() -> anyhow::Result<R>) -> anyhow::Result<(R, Option<u64>)> {
        // Not every system lets the CPU's peak be counted anew.
        let is_anew = forget_peak(self.device).is_ok();
        let result = work()?;
        let memory = DeviceMemory::ask(self.device).ok().filter(|_| is_anew);
        Ok((result, memory.map(|memory| memory.peak)))
    }

    fn decode(&self, model: &LoadedModel, batch: usize) -> anyhow::Result<Value> {
        let cases = self.cases;
        let case = cases.decode_case(batch, cases.new_tokens);
        let run = |case: &DecodeCase, repetitions| decode::measure(model, case, cases.cache_bytes(), repetitions);
        let (figures, peak) = self.with_peak(|| run(&case, cases.repetitions + 1))?;
        // Prompts cancel in the difference of two lengths.
        let steps = |new_tokens: usize| {
            let case = cases.decode_case(batch, new_tokens);
            fewest_operators(model, &case, cases.cache_bytes())
        };
        let (few, many) = (4, 12);
        let measured = Measured {
            seconds: figures.seconds,
            operators: (steps(many)? - steps(few)?) / (many - few) as f64,
            per: "step",
            peak,
        };
        let tokens = case.tokens() as f64;
        let context = (case.prompt_tokens + case.new_tokens / 2) as f64;
        let work = Work {
            tokens,
            flop: tokens * model.flop_per_token(),
            bytes: case.new_tokens as f64 * step_bytes(model, batch as f64, context),
        };
        self.figures(&self.named(&format!("decode_b{batch}")), &measured, &work)
    }

    fn rollout(&self, model: &LoadedModel) -> anyhow::Result<Value> {
        let cases = self.cases;
        let case = cases.rollout_case();
        let run = |case: &RolloutCase, repetitions| rollout::measure(model, case, cases.cache_bytes(), repetitions);
        let (figures, peak) = self.with_peak(|| run(&case, cases.repetitions + 1))?;
        let tokens = (case.thinking_tokens() + case.summary_tokens_in_all()) as f64;
        let few = RolloutCase {
            budgets: vec![4, 8],
            summary_tokens: 4,
            ..case.clone()
        };
        // Rollouts, the thinking alone, and the waves.
        let few_tokens = (2 * few.thinking_tokens() + few.summary_tokens_in_all()) as f64;
        let measured = Measured {
            seconds: figures.rollouts.clone(),
            operators: operators_once_warm(|repetitions| run(&few, repetitions).map(|_| ()))? / few_tokens,
            per: "token",
            peak,
        };
        let traces = (case.groups * case.traces) as f64;
        let thinking_steps = case.thinking_tokens() as f64 / traces;
        let mean_cut = case.budgets.iter().sum::<u32>() as f64 / case.budgets.len() as f64;
        let together = case.slots.min(case.summaries_in_all()) as f64;
        let summary_steps = case.summary_tokens_in_all() as f64 / together;
        let prompt = case.prompt_tokens as f64;
        let work = Work {
            tokens,
            flop: tokens * model.flop_per_token(),
            bytes: thinking_steps * step_bytes(model, traces, prompt + thinking_steps / 2.0)
                + summary_steps * step_bytes(model, together, prompt + mean_cut),
        };
        let mut document = self.figures(&self.named("anytime_rollout"), &measured, &work)?;
        document["thinking_seconds_median"] = json!(median(&figures.thinking));
        document["own_tokens_seconds_median"] = json!(median(&figures.own_tokens));
        Ok(document)
    }

    fn steady(&self, model: &LoadedModel) -> anyhow::Result<Value> {
        let cases = self.cases;
        let case = cases.steady_case();
        let run = |case: &SteadyCase, repetitions| steady::measure(model, case, cases.cache_bytes(), repetitions);
        // It is the longest of all, so that one run after the first has to do.
        let (seconds, peak) = self.with_peak(|| run(&case, 2))?;
        let short = SteadyCase {
            shortest: case.shortest.div_ceil(16).max(4),
            longest: case.longest.div_ceil(16).max(4),
            ..case
        };
        let tokens_of = |case: &SteadyCase| (case.thinking_tokens() + case.summary_tokens_in_all()) as f64;
        let measured = Measured {
            seconds,
            operators: operators_once_warm(|repetitions| run(&short, repetitions).map(|_| ()))? / tokens_of(&short),
            per: "token",
            peak,
        };
        let tokens = tokens_of(&case);
        let steps = tokens / case.slots as f64;
        let lengths = case.lengths();
        // A trace stands at half of its length in the mean, and long ones stand longer.
        let squares: usize = lengths.iter().map(|length| length * length).sum();
        let mean = squares as f64 / lengths.iter().sum::<usize>().max(1) as f64 / 2.0;
        let work = Work {
            tokens,
            flop: tokens * model.flop_per_token(),
            bytes: steps * step_bytes(model, case.slots as f64, case.prompt_tokens as f64 + mean),
        };
        self.figures(&self.named("decode_steady"), &measured, &work)
    }

    fn training(&self, name: &str, masters: LoadedModel, cases: &[TrainingCase]) -> anyhow::Result<Value> {
        let packed: usize = cases.iter().map(TrainingCase::packed_tokens).sum();
        let trained: usize = cases.iter().map(TrainingCase::trained_tokens).sum();
        let head = (masters.config.vocab_size * masters.config.hidden_size) as f64;
        let layers = masters.layer_parameters() as f64;
        let parameters: usize = masters.weights.values().map(Tensor::numel).sum();
        let (measured, peak) = self.with_peak(|| {
            let mut updates = Updates::try_new(masters, cases, self.kind, true)?;
            let seconds = updates.measure(self.cases.repetitions + 1)?;
            let operators = operators(|| updates.update())?;
            Ok((seconds, operators))
        })?;
        let (seconds, operators) = measured;
        let measured = Measured {
            seconds,
            operators,
            per: "update",
            peak,
        };
        let work = Work {
            tokens: packed as f64,
            // Forward once, backward twice; what is computed again counts for nothing.
            flop: 6.0 * (layers * packed as f64 + head * trained as f64),
            // Masters and both moments are read and written, the gradient is read, all in f32.
            bytes: 7.0 * 4.0 * parameters as f64,
        };
        let mut document = self.figures(&self.named(name), &measured, &work)?;
        document["trained_tokens"] = json!(trained);
        Ok(document)
    }

    fn named(&self, case: &str) -> String {
        format!("{case}_{}", kind_name(self.kind))
    }
}

/// Repetitions whose difference is one: rows may be admitted over several steps, whose shapes recur only after a few.
const WARM: (usize, usize) = (4, 5);

/// How many operators the work dispatches on all threads, nested ones included.
fn operators(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (outcome, operators) = profiled(work);
    outcome?;
    Ok(operators.iter().map(|of| of.calls).sum::<u64>() as f64)
}

/// How many operators a repetition dispatches whose rows come into their first step together. Where the machine is busy they come
/// by ones and twos, which is more; so the fewest of many repetitions count, once what recurs has been prepared.
fn fewest_operators(model: &LoadedModel, case: &DecodeCase, cache_bytes: usize) -> anyhow::Result<f64> {
    const COUNTS: usize = 12;
    let mut counts = Vec::with_capacity(WARM.0 + COUNTS);
    decode::measure_each(model, case, cache_bytes, WARM.0 + COUNTS, |run| {
        counts.push(operators(|| run().map(|_| ()))?);
        Ok(())
    })?;
    Ok(counts.split_off(WARM.0).into_iter().fold(f64::INFINITY, f64::min))
}

/// How many operators a repetition of the work dispatches once what recurs has been prepared; `work` takes how many
/// repetitions it has.
fn operators_once_warm(work: impl Fn(usize) -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (few, many) = WARM;
    Ok((operators(|| work(many))? - operators(|| work(few))?) / (many - few) as f64)
}

/// The cases as a table in Markdown.
pub fn table(report: &Value) -> String {
    let mut text = String::from(
        "| case | first s | seconds | tokens/s | operators | memory peak | FLOP utilisation | of the bandwidth limit |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    let number = |case: &Value, name: &str| case[name].as_f64().unwrap_or(f64::NAN);
    for case in report["cases"].as_array().into_iter().flatten() {
        let text_of = |name: &str| case[name].as_str().unwrap_or_default();
        text.push_str(&format!(
            "| {} | {:.3} | {:.3} | {:.0} | {:.0} a {} | {} | {:.1} % | {:.1} % |\n",
            text_of("case"),
            number(case, "first_seconds"),
            number(case, "seconds_median"),
            number(case, "tokens_per_second"),
            number(case, "operators"),
            text_of("operators_per"),
            case["memory_peak_bytes"].as_u64().map_or("not known".to_owned(), words),
            100.0 * number(case, "model_flop_utilisation"),
            100.0 * number(case, "of_bandwidth_limit"),
        ));
    }
    text
}
