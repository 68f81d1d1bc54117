//! One report for a CUDA host: do both devices compute the same, and how near do decoding, rollouts and training come
//! to what the device can do?
//!
//! What the device can do is measured, not looked up: bytes per second of a large copy, and operations per second of a
//! large matrix product. *Utilisation* is the operations of the model's linear layers for the tokens that the case is
//! about, over that peak; attention and repeated computation count for nothing. *Of the bandwidth limit* is the least
//! time that the bytes which have to move take, over the time that it took: for a decoding step all weights once and
//! the keys and values of every sequence, for an update the optimiser's state.

use anyhow::ensure;
use anytime_policy::{Branch, Decoder, Extension, KvCache, TreeBatch, TreeRow};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

use crate::decode::{self, DecodeCase};
use crate::limits;
use crate::model::{LoadedModel, Shape, kind_name, prompt_ids};
use crate::report::median;
use crate::rollout::{self, RolloutCase};
use crate::training::{self, TrainingCase};

/// Largest |Δ log-probability| between the CPU and the device, both in f32. Products are summed in another order.
pub const PARITY_F32: f64 = 1e-3;
/// Largest mean |Δ log-probability| between f32 on the CPU and bf16 on the device, whose products have 8 bits.
pub const PARITY_BF16_MEAN: f64 = 0.05;

/// How large the cases are.
#[derive(Clone, Debug, clap::Args)]
pub struct GpuCases {
    /// Sequences decoded at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,64,256")]
    pub batches: Vec<usize>,
    /// Tokens of a prompt
    #[arg(long, default_value_t = 128)]
    pub prompt_tokens: usize,
    /// Tokens drawn in each sequence of the decoding cases
    #[arg(long, default_value_t = 128)]
    pub new_tokens: usize,
    /// Thinking tokens at which rollouts are summarised
    #[arg(long, value_delimiter = ',', default_value = "64,128,192,256")]
    pub budgets: Vec<u32>,
    /// Traces of each of two groups, and of an update
    #[arg(long, default_value_t = 16)]
    pub traces: usize,
    /// Sequences that run at the same time in rollouts
    #[arg(long, default_value_t = 256)]
    pub slots: usize,
    /// Memory of the key-value cache in GiB
    #[arg(long, default_value_t = 12)]
    pub cache_gib: usize,
    /// Runs of each case that are measured, after one that is not
    #[arg(long, default_value_t = 2)]
    pub repetitions: usize,
}

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
    let parity = parity(kind, device)?;
    say(&format!("parity with the CPU: {parity}"));
    let peaks = measure_peaks(kind, device);
    say(&format!(
        "peaks: {:.2} TFLOP/s in {}, {:.1} GB/s",
        peaks.flop_per_second / 1e12,
        kind_name(kind),
        peaks.bytes_per_second / 1e9
    ));
    let model = LoadedModel::random(shape, 1, kind, device)?;
    let mut figures = Vec::new();
    for &batch in &cases.batches {
        figures.push(decode_figures(&model, batch, cases, peaks)?);
        say(&figures[figures.len() - 1].to_string());
    }
    figures.push(rollout_figures(&model, cases, peaks)?);
    say(&figures[figures.len() - 1].to_string());
    drop(model);
    // Masters are f32; the model in `kind` has given its memory back.
    let masters = LoadedModel::random(shape, 1, Kind::Float, device)?;
    figures.push(training_figures(masters, kind, cases, peaks)?);
    say(&figures[figures.len() - 1].to_string());
    Ok(json!({
        "shape": shape.config_json(),
        "dtype": kind_name(kind),
        "parity": parity,
        "peaks": {"flop_per_second": peaks.flop_per_second, "bytes_per_second": peaks.bytes_per_second},
        "cases": figures,
    }))
}

/// Tells the progress on standard error, because the document goes to standard output.
fn say(line: &str) {
    eprintln!("{line}");
}

/// Log-probabilities of one small random model on the CPU and on the device, through training's tree rows and through
/// the cache.
fn parity(kind: Kind, device: Device) -> anyhow::Result<Value> {
    let on_cpu = LoadedModel::random(Shape::Tiny, 7, Kind::Float, Device::Cpu)?;
    let expected = tree_log_probs(&on_cpu.decoder()?, &on_cpu)?;
    let difference = |model: &LoadedModel, through_cache: bool| -> anyhow::Result<(f64, f64)> {
        let decoder = model.decoder()?;
        let (values, expected) = if through_cache {
            (
                cache_log_probs(&decoder, model)?,
                cache_log_probs(&on_cpu.decoder()?, &on_cpu)?,
            )
        } else {
            (tree_log_probs(&decoder, model)?, expected.shallow_clone())
        };
        let difference = (values - expected).abs();
        let (largest, mean) = (difference.max(), difference.mean(Kind::Double));
        Ok((largest.double_value(&[]), mean.double_value(&[])))
    };
    let (f32, other) = (on_cpu.converted(Kind::Float, device), on_cpu.converted(kind, device));
    let mut document = json!({"tolerance_f32_largest": PARITY_F32, "tolerance_bf16_mean": PARITY_BF16_MEAN});
    for (way, through_cache) in [("tree", false), ("cache", true)] {
        let (largest, _) = difference(&f32, through_cache)?;
        ensure!(
            largest <= PARITY_F32,
            "log-probabilities through the {way} differ by {largest} from the CPU's; they may differ by up to {PARITY_F32}"
        );
        let (_, mean) = difference(&other, through_cache)?;
        ensure!(
            mean <= PARITY_BF16_MEAN,
            "log-probabilities through the {way} in {} differ by {mean} in the mean from the CPU's in f32; they may \
             differ by up to {PARITY_BF16_MEAN}",
            kind_name(kind)
        );
        document[format!("{way}_f32_largest")] = json!(largest);
        document[format!("{way}_{}_mean", kind_name(kind))] = json!(mean);
    }
    Ok(document)
}

/// Log-probabilities of a trace with two branches, `[n]` f32 on the CPU.
fn tree_log_probs(decoder: &Decoder, model: &LoadedModel) -> anyhow::Result<Tensor> {
    let vocabulary = model.config.vocab_size;
    let branch = |number: usize, cut: usize| Branch {
        cut,
        inserted: 4,
        ids: prompt_ids(number, 20, vocabulary),
    };
    let row = TreeRow {
        prompt: 16,
        prefix: prompt_ids(0, 80, vocabulary),
        branches: vec![branch(1, 30), branch(2, 64)],
    };
    row.check(vocabulary as u32)?;
    let batch = TreeBatch::pack(&[row], decoder.device());
    let log_probs = no_grad(|| decoder.log_probs(&decoder.tree(&batch), batch.targets(), 1.0));
    Ok(log_probs.to_kind(Kind::Float).to_device(Device::Cpu))
}

/// Log-probabilities of the whole vocabulary after a prompt and after each of three more tokens, for three sequences,
/// [4 * 3, vocabulary] f32 on the CPU.
fn cache_log_probs(decoder: &Decoder, model: &LoadedModel) -> anyhow::Result<Tensor> {
    let vocabulary = model.config.vocab_size;
    let mut cache = KvCache::new(&model.config, 4, 64, decoder.kind(), decoder.device());
    let sequences: Vec<Vec<u32>> = (0..3).map(|slot| prompt_ids(slot, 20 + slot, vocabulary)).collect();
    let mut steps = Vec::new();
    for step in 0..4 {
        let extensions: Vec<Extension<'_>> = sequences
            .iter()
            .enumerate()
            .map(|(slot, ids)| {
                // All ids but the last three are the prompt; those are fed one by one.
                let fed = ids.len() - 3 + step;
                let start = if step == 0 { 0 } else { fed - 1 };
                Extension {
                    slot,
                    start,
                    ids: &ids[start..fed],
                    prefix: None,
                }
            })
            .collect();
        let hidden = decoder.extend(&mut cache, &extensions);
        let logits = no_grad(|| decoder.logits(&hidden));
        steps.push(logits.log_softmax(-1, Kind::Float).to_device(Device::Cpu));
    }
    Ok(Tensor::cat(&steps, 0))
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

fn figures(case: &str, seconds: &[f64], tokens: f64, flop: f64, bytes: f64, peaks: Peaks) -> anyhow::Result<Value> {
    let median = median(seconds).filter(|seconds| *seconds > 0.0);
    let seconds_median = median.ok_or_else(|| anyhow::anyhow!("{case} was not measured"))?;
    Ok(json!({
        "case": case,
        "seconds": seconds,
        "seconds_median": seconds_median,
        "repetitions": seconds.len(),
        "tokens": tokens,
        "tokens_per_second": tokens / seconds_median,
        "model_flop_utilisation": flop / seconds_median / peaks.flop_per_second,
        "of_bandwidth_limit": bytes / peaks.bytes_per_second / seconds_median,
    }))
}

fn decode_figures(model: &LoadedModel, batch: usize, cases: &GpuCases, peaks: Peaks) -> anyhow::Result<Value> {
    // Up to 16 sequences share a prompt, as traces of a group do.
    let traces = if batch.is_multiple_of(16) { 16 } else { 1 };
    let case = DecodeCase {
        prompts: batch / traces,
        traces,
        prompt_tokens: cases.prompt_tokens,
        new_tokens: cases.new_tokens,
    };
    let seconds = decode::measure(model, &case, cases.cache_gib << 30, cases.repetitions)?.seconds;
    let tokens = case.tokens() as f64;
    let context = (case.prompt_tokens + case.new_tokens / 2) as f64;
    let bytes = case.new_tokens as f64 * step_bytes(model, batch as f64, context);
    let name = format!("decode_b{batch}");
    figures(&name, &seconds, tokens, tokens * model.flop_per_token(), bytes, peaks)
}

fn rollout_figures(model: &LoadedModel, cases: &GpuCases, peaks: Peaks) -> anyhow::Result<Value> {
    let case = RolloutCase {
        groups: 2,
        traces: cases.traces,
        prompt_tokens: cases.prompt_tokens,
        budgets: cases.budgets.clone(),
        summaries: 4,
        summary_tokens: 16,
        slots: cases.slots,
    };
    let measured = rollout::measure(model, &case, cases.cache_gib << 30, cases.repetitions)?;
    let tokens = (case.thinking_tokens() + case.summary_tokens_in_all()) as f64;
    let traces = (case.groups * case.traces) as f64;
    let thinking_steps = case.thinking_tokens() as f64 / traces;
    let mean_cut = case.budgets.iter().sum::<u32>() as f64 / case.budgets.len() as f64;
    let together = case.slots.min(case.summaries_in_all()) as f64;
    let summary_steps = case.summary_tokens_in_all() as f64 / together;
    let prompt = case.prompt_tokens as f64;
    let bytes = thinking_steps * step_bytes(model, traces, prompt + thinking_steps / 2.0)
        + summary_steps * step_bytes(model, together, prompt + mean_cut);
    let flop = tokens * model.flop_per_token();
    let mut document = figures("anytime_rollout", &measured.rollouts, tokens, flop, bytes, peaks)?;
    document["thinking_seconds_median"] = json!(median(&measured.thinking));
    document["own_tokens_seconds_median"] = json!(median(&measured.own_tokens));
    Ok(document)
}

fn training_figures(masters: LoadedModel, kind: Kind, cases: &GpuCases, peaks: Peaks) -> anyhow::Result<Value> {
    let case = TrainingCase {
        traces: cases.traces,
        prompt_tokens: cases.prompt_tokens,
        budgets: cases.budgets.clone(),
        summaries: 4,
        summary_tokens: 16,
    };
    let head = (masters.config.vocab_size * masters.config.hidden_size) as f64;
    let layers = masters.layer_parameters() as f64;
    // Forward once, backward twice.
    let flop = 6.0 * (layers * case.packed_tokens() as f64 + head * case.trained_tokens() as f64);
    // Masters and both moments are read and written, the gradient is read, all in f32.
    let parameters: usize = masters.weights.values().map(Tensor::numel).sum();
    let bytes = 7.0 * 4.0 * parameters as f64;
    let seconds = training::measure(masters, &case, kind, cases.repetitions)?;
    let mut document = figures(
        "training_update",
        &seconds,
        case.packed_tokens() as f64,
        flop,
        bytes,
        peaks,
    )?;
    document["trained_tokens"] = json!(case.trained_tokens());
    Ok(document)
}

/// The cases as a table in Markdown.
pub fn table(report: &Value) -> String {
    let mut text = String::from("| case | seconds | tokens/s | FLOP utilisation | of the bandwidth limit |\n");
    text.push_str("|---|---|---|---|---|\n");
    let number = |case: &Value, name: &str| case[name].as_f64().unwrap_or(f64::NAN);
    for case in report["cases"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "| {} | {:.3} | {:.0} | {:.1} % | {:.1} % |\n",
            case["case"].as_str().unwrap_or_default(),
            number(case, "seconds_median"),
            number(case, "tokens_per_second"),
            100.0 * number(case, "model_flop_utilisation"),
            100.0 * number(case, "of_bandwidth_limit"),
        ));
    }
    text
}
