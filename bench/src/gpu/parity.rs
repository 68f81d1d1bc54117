//! Whether a device computes what the CPU computes: one small random model on both, along every path that generation and
//! training take.
//!
//! In f32 every number may differ a little, because products are summed in another order; in the narrower kind the mean
//! may. A path that is wrong on the device differs by far more: the tests plant an error in one weight and see every
//! path say so.

use anyhow::{Context as _, ensure};
use anytime_actor::engine::sampler::{Draw, sample};
use anytime_actor::plan::Sampling;
use anytime_policy::operators::kernels;
use anytime_policy::{Branch, Decoder, Extension, KvCache, Prefix, Slots, TreeBatch, TreeRow};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor, no_grad};

use crate::model::{LoadedModel, Shape, kind_name, prompt_ids};
use crate::training::{TrainingCase, Updates};

/// Largest |Δ log-probability| between the CPU and the device, both in f32. Products are summed in another order.
const LOG_PROBS_F32: f64 = 1e-3;
/// Largest mean |Δ log-probability| between f32 on the CPU and bf16 on the device, whose products have 8 bits.
const LOG_PROBS_BF16_MEAN: f64 = 0.05;
/// Largest ‖Δ‖ of a parameter's gradient over its norm, in f32 and in bf16.
const GRADIENT: [f64; 2] = [1e-3, 0.2];
/// Largest ‖Δ‖ of all parameters' change in one update over its norm, in f32 and in bf16. The first update of AdamW goes
/// by the sign of each gradient, and those near zero may have either.
const UPDATE: [f64; 2] = [0.1, 0.7];
/// The largest share of draws that may come out as another token: where a uniform number lies on the border of two.
const DRAWS: f64 = 0.01;

/// Compares a device with the CPU and returns what was found, by path.
///
/// # Errors
/// A path differs by more than it may, or cannot be run.
pub(super) fn check(kind: Kind, device: Device) -> anyhow::Result<Value> {
    let on_cpu = LoadedModel::random(Shape::Tiny, 7, Kind::Float, Device::Cpu)?;
    let in_f32 = on_cpu.converted(Kind::Float, device);
    compare(&on_cpu, &in_f32, &on_cpu.converted(kind, device), kind)
}

/// As [`check`], with the models to compare: f32 and the other kind against f32 on the CPU.
fn compare(expected: &LoadedModel, in_f32: &LoadedModel, other: &LoadedModel, kind: Kind) -> anyhow::Result<Value> {
    let name = kind_name(kind);
    let mut document = json!({
        "tolerance_f32_largest": LOG_PROBS_F32, "tolerance_mean": LOG_PROBS_BF16_MEAN,
        "tolerance_gradient": GRADIENT, "tolerance_update": UPDATE, "tolerance_draws": DRAWS,
    });
    let reference = log_probs(expected)?.0;
    let (in_f32_values, _) = log_probs(in_f32)?;
    let (other_values, recorded) = log_probs(other)?;
    document["kernels"] = match kernels::prepare(other.device()) {
        Ok(()) => json!("in use"),
        Err(problem) => json!(problem),
    };
    // Where steps are launched one operator at a time after all, a report should say so.
    document["recorded_steps"] = match recorded {
        Ok(steps) => json!(steps),
        Err(problem) => json!(problem),
    };
    for ((expected, found), narrow) in reference.iter().zip(&in_f32_values).zip(&other_values) {
        let path = expected.path;
        let largest = (&found.values - &expected.values).abs().max().double_value(&[]);
        at_most(path, "in f32, at most", largest, LOG_PROBS_F32)?;
        let mean = (&narrow.values - &expected.values).abs().mean(Kind::Double);
        let mean = mean.double_value(&[]);
        at_most(path, &format!("in {name}, in the mean"), mean, LOG_PROBS_BF16_MEAN)?;
        document[format!("{path}_f32_largest")] = json!(largest);
        document[format!("{path}_{name}_mean")] = json!(mean);
    }
    let (gradient, change) = (gradients(expected)?, update(expected, Kind::Float)?);
    // The trainer has no other kinds than these.
    let update_kind = if kind == Kind::BFloat16 { kind } else { Kind::Float };
    for (model, kind, place) in [(in_f32, Kind::Float, 0), (other, kind, 1)] {
        let name = kind_name(kind);
        let largest = largest_error(&gradient, &gradients(model)?);
        at_most(
            "gradient",
            &format!("in {name}, over its norm"),
            largest,
            GRADIENT[place],
        )?;
        document[format!("gradient_{name}")] = json!(largest);
        let update_kind = if place == 0 { Kind::Float } else { update_kind };
        let error = largest_error(&change, &update(in_f32, update_kind)?);
        at_most("update", &format!("in {name}, over its norm"), error, UPDATE[place])?;
        document[format!("update_{name}")] = json!(error);
        let share = other_draws(kind, model.device());
        at_most("draws", &format!("in {name}, as a share"), share, DRAWS)?;
        document[format!("draws_{name}")] = json!(share);
    }
    Ok(document)
}

fn at_most(path: &str, what: &str, found: f64, limit: f64) -> anyhow::Result<()> {
    // The comparison fails for NaN too.
    ensure!(
        found <= limit,
        "{path} {what}, differs by {found} from the CPU's in f32; it may differ by up to {limit}"
    );
    Ok(())
}

/// Log-probabilities that were computed along one path, in f64 on the CPU.
struct Values {
    path: &'static str,
    values: Tensor,
}

impl Values {
    fn new(path: &'static str, values: &Tensor) -> Self {
        let values = values.to_device(Device::Cpu).to_kind(Kind::Double);
        Self { path, values }
    }
}

/// The log-probabilities along every path, and how many sorts of steps the device has recorded meanwhile, or why none.
fn log_probs(model: &LoadedModel) -> anyhow::Result<(Vec<Values>, Result<usize, String>)> {
    let decoder = model.decoder()?;
    let row = tree_row(model)?;
    let batch = TreeBatch::pack(&[row], decoder.device());
    let tree = no_grad(|| decoder.log_probs(&decoder.tree(&batch), batch.targets(), 1.0));
    let mut all = vec![Values::new("tree", &tree)];
    let again = model.converted(decoder.kind(), decoder.device()).decoder()?;
    let (values, recorded) = cached([&decoder, &again], model);
    all.extend(values);
    Ok((all, recorded))
}

/// A trace with two branches.
fn tree_row(model: &LoadedModel) -> anyhow::Result<TreeRow> {
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
    Ok(row)
}

/// Decoding steps of each part of [`cached`].
const STEPS: usize = 3;

/// A sequence in the cache, with the tokens that are still to come.
struct Running {
    slot: usize,
    prefix: Option<Prefix>,
    length: usize,
    rest: Vec<u32>,
}

impl Running {
    /// The next `count` tokens.
    fn next(&mut self, count: usize) -> (usize, Vec<u32>) {
        let start = self.length;
        self.length += count;
        (start, self.rest.drain(..count).collect())
    }
}

/// Feeds each row its next `count` tokens, or its prompt where none is given. Returns the log-probabilities of the whole
/// vocabulary after the last of them, [rows, vocabulary] in f32.
fn feed(decoder: &Decoder, cache: &mut KvCache, rows: &mut [&mut Running], count: Option<usize>) -> Tensor {
    let mut tokens = Vec::with_capacity(rows.len());
    for row in rows.iter_mut() {
        let count = count.unwrap_or_else(|| row.rest.len() - 2 * STEPS);
        tokens.push(row.next(count));
    }
    let extensions: Vec<Extension<'_>> = rows
        .iter()
        .zip(&tokens)
        .map(|(row, (start, ids))| Extension {
            slot: row.slot,
            start: *start,
            ids,
            prefix: row.prefix,
        })
        .collect();
    let hidden = decoder.extend(cache, &extensions);
    no_grad(|| decoder.logits(&hidden).log_softmax(-1, Kind::Float))
}

/// Generation through the cache: prompts of four lengths in slots that lie scattered, so that some are read in place and
/// some are copied out; prefixes copied to other slots; branches that read the thinking of another slot, some of them
/// copied, beside thinkings that go on.
fn cached([decoder, again]: [&Decoder; 2], model: &LoadedModel) -> (Vec<Values>, Result<usize, String>) {
    let vocabulary = model.config.vocab_size;
    let (prefixes, branches) = (
        Slots {
            count: 32,
            capacity: 224,
        },
        Slots { count: 8, capacity: 24 },
    );
    let (kind, device) = (decoder.kind(), decoder.device());
    let mut cache = KvCache::with_branches(&model.config, prefixes, branches, kind, device);
    let mut thinkings: Vec<Running> = [0, 2, 3, 7, 8, 11, 13, 14, 19, 20, 24, 26]
        .iter()
        .enumerate()
        .map(|(number, &slot)| Running {
            slot,
            prefix: None,
            length: 0,
            rest: prompt_ids(number, [9, 40, 90, 170][number % 4] + number + STEPS * 2, vocabulary),
        })
        .collect();
    let mut of_thinkings: Vec<&mut Running> = thinkings.iter_mut().collect();
    let prompts = feed(decoder, &mut cache, &mut of_thinkings, None);
    let mut mixed = Vec::new();
    for _ in 0..STEPS {
        mixed.push(feed(decoder, &mut cache, &mut of_thinkings, Some(1)));
    }

    // The first thinking is continued three times, with other tokens each time.
    let copied = thinkings[0].length;
    let targets = [30, 31, 27];
    cache.copy_prefix(thinkings[0].slot, &targets, copied);
    let mut copies: Vec<Running> = targets
        .iter()
        .map(|&slot| Running {
            slot,
            prefix: None,
            length: copied,
            rest: prompt_ids(40 + slot, STEPS, vocabulary),
        })
        .collect();
    let mut of_copies: Vec<&mut Running> = copies.iter_mut().collect();
    let mut after_copies = Vec::new();
    for _ in 0..STEPS {
        after_copies.push(feed(decoder, &mut cache, &mut of_copies, Some(1)));
    }

    // Branches at two cuts of two thinkings: four inserted tokens are computed once and copied.
    let inserted = 4;
    let branch = |slot: usize, thinking: &Running, seen: usize| Running {
        slot,
        prefix: Some(Prefix {
            slot: thinking.slot,
            length: seen,
        }),
        length: 0,
        rest: prompt_ids(70 + slot, inserted + STEPS, vocabulary),
    };
    let mut summaries = vec![
        branch(0, &thinkings[3], 100),
        branch(3, &thinkings[2], thinkings[2].length),
    ];
    let mut of_summaries: Vec<&mut Running> = summaries.iter_mut().collect();
    let first_of_branches = feed(decoder, &mut cache, &mut of_summaries, Some(inserted));
    cache.copy_branch(0, &[1, 2, 6], inserted);
    for slot in [1, 2, 6] {
        let mut copy = branch(slot, &thinkings[3], 100);
        copy.length = inserted;
        copy.rest.drain(..inserted);
        summaries.push(copy);
    }
    let mut together: Vec<&mut Running> = thinkings.iter_mut().chain(summaries.iter_mut()).collect();
    let mut beside = Vec::new();
    for _ in 0..STEPS {
        beside.push(feed(decoder, &mut cache, &mut together, Some(1)));
    }
    // Steps of one branch alone, under weights that are equal and lie elsewhere, as after an update: what was recorded of
    // the others is of no use for them.
    let mut alone = branch(7, &thinkings[3], 100);
    let mut alone_values = vec![feed(again, &mut cache, &mut [&mut alone], Some(inserted))];
    for _ in 0..STEPS {
        alone_values.push(feed(again, &mut cache, &mut [&mut alone], Some(1)));
    }
    let values = vec![
        Values::new("prompts", &prompts),
        Values::new("mixed_lengths", &Tensor::cat(&mixed, 0)),
        Values::new("copies", &Tensor::cat(&after_copies, 0)),
        Values::new("branches", &first_of_branches),
        Values::new("branches_beside_thinkings", &Tensor::cat(&beside, 0)),
        Values::new("a_branch_alone", &Tensor::cat(&alone_values, 0)),
    ];
    (values, cache.recorded_steps().map_err(str::to_owned))
}

/// The gradient of every parameter for a loss over a trace and its branches, in f64 on the CPU.
fn gradients(model: &LoadedModel) -> anyhow::Result<Vec<(String, Tensor)>> {
    let weights = model
        .weights
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.detach().copy().set_requires_grad(true)))
        .collect();
    let decoder = Decoder::new(&model.config, &weights)?;
    let row = tree_row(model)?;
    let batch = TreeBatch::pack(&[row], decoder.device());
    let log_probs = decoder.log_probs(&decoder.tree(&batch), batch.targets(), 1.0);
    // Right and wrong tokens in turn.
    let signs = Tensor::arange(log_probs.size()[0], (Kind::Float, decoder.device())).remainder(2.0) - 0.25;
    let loss = (log_probs.to_kind(Kind::Float) * signs).mean(Kind::Float);
    loss.backward();
    let gradient = |tensor: &Tensor| tensor.grad().to_device(Device::Cpu).to_kind(Kind::Double);
    Ok(weights
        .iter()
        .map(|(name, tensor)| (name.clone(), gradient(tensor)))
        .collect())
}

/// What one update of the trainer adds to all parameters, in f64 on the CPU. `masters` are in f32; `kind` is what forward
/// and backward passes compute in.
fn update(masters: &LoadedModel, kind: Kind) -> anyhow::Result<Vec<(String, Tensor)>> {
    let case = TrainingCase {
        traces: 2,
        prompt_tokens: 8,
        budgets: vec![12, 24],
        summaries: 2,
        summary_tokens: 6,
    };
    let on_cpu = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    let mut before = masters.converted(Kind::Float, masters.device());
    // The trainer changes its parameters in place, and these may be the caller's.
    for tensor in before.weights.values_mut() {
        *tensor = tensor.copy();
    }
    let starts: Vec<(String, Tensor)> = before
        .weights
        .iter()
        .map(|(name, tensor)| (name.clone(), on_cpu(tensor)))
        .collect();
    let mut updates = Updates::try_new(before, &[case], kind, false)?;
    updates.update()?;
    let mut all = Vec::new();
    for (name, start) in &starts {
        let after = updates.masters().get(name).context("a parameter is gone")?;
        all.push((on_cpu(after) - start).reshape([-1]));
    }
    // One bound over all of them: single gradients near zero may have either sign.
    Ok(vec![("all".to_owned(), Tensor::cat(&all, 0))])
}

/// The largest ‖found − expected‖ / ‖expected‖ over all tensors. A tensor with next to nothing of the whole is measured
/// by a hundredth of the whole: the bias of the keys moves all scores of a query alike, so that its gradient is rounding.
fn largest_error(expected: &[(String, Tensor)], found: &[(String, Tensor)]) -> f64 {
    let square = |tensor: &Tensor| tensor.square().sum(Kind::Double).double_value(&[]);
    let whole = expected.iter().map(|(_, tensor)| square(tensor)).sum::<f64>().sqrt();
    let floor = (whole / 100.0).max(f64::MIN_POSITIVE);
    expected
        .iter()
        .zip(found)
        .map(|((_, expected), (_, found))| square(&(found - expected)).sqrt() / square(expected).sqrt().max(floor))
        // NaN is the largest of all.
        .fold(0.0, |largest: f64, error| {
            if largest.is_nan() || error <= largest {
                largest
            } else {
                error
            }
        })
}

/// The share of draws that come out as another token than on the CPU, from the same logits: from the whole vocabulary, at
/// another temperature, and from the most probable tokens alone.
fn other_draws(kind: Kind, device: Device) -> f64 {
    const ROWS: usize = 400;
    const VOCABULARY: usize = 1000;
    let _guard = tch::no_grad_guard();
    let logits = Tensor::arange((ROWS * VOCABULARY) as i64, (Kind::Float, Device::Cpu));
    // Spread like logits: between −8 and 8, without an order.
    let logits = ((logits * 12.9898).sin() * 8.0).view([ROWS as i64, VOCABULARY as i64]);
    let logits = logits.to_kind(kind);
    // In f64 the CPU has no operator of its own: it is compared with the one that it has in f32.
    let on_cpu = if kind == Kind::Double {
        logits.to_kind(Kind::Float)
    } else {
        logits.shallow_clone()
    };
    let mut others = 0;
    for (temperature, top_p, top_k) in [(1.0, 1.0, 0), (0.6, 1.0, 0), (0.6, 0.95, 0), (1.0, 1.0, 20)] {
        let sampling = Sampling {
            temperature,
            top_p,
            top_k,
            vocabulary: VOCABULARY - 3,
        };
        let draws: Vec<Draw> = (0..ROWS)
            .map(|row| Draw {
                sampling,
                uniform: (row as f64 + 0.5) / ROWS as f64,
            })
            .collect();
        let (expected, found) = (sample(&on_cpu, &draws), sample(&logits.to_device(device), &draws));
        others += expected
            .iter()
            .zip(&found)
            .filter(|(one, other)| match (one, other) {
                (Some(one), Some(other)) => one.id != other.id,
                // Logits that are not finite are a difference, whichever side has them.
                _ => true,
            })
            .count();
    }
    others as f64 / (4 * ROWS) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tiny() -> LoadedModel {
        LoadedModel::random(Shape::Tiny, 7, Kind::Float, Device::Cpu).unwrap()
    }

    #[test]
    fn the_way_of_devices_agrees_with_that_of_the_cpu() {
        // In f64 the CPU takes the operators that a device takes, and none of its own.
        let found = check(Kind::Double, Device::Cpu).unwrap();
        for path in [
            "tree",
            "prompts",
            "mixed_lengths",
            "copies",
            "branches",
            "branches_beside_thinkings",
            "a_branch_alone",
        ] {
            let mean = found[format!("{path}_f64_mean")].as_f64().unwrap();
            assert!(mean < 1e-5, "{path}: {mean}");
            assert!(mean > 0.0, "{path} was computed in the same way twice");
            assert_eq!(found[format!("{path}_f32_largest")], 0.0, "{path}");
        }
        assert!(found["gradient_f64"].as_f64().unwrap() < 1e-3, "{found}");
        assert_eq!(found["draws_f32"], 0.0);
    }

    #[test]
    fn a_planted_error_is_seen_on_every_path() {
        let (right, wrong) = (tiny(), tiny());
        let _ = no_grad(|| {
            wrong.weights["model.layers.1.self_attn.v_proj.weight"]
                .shallow_clone()
                .g_mul_scalar_(1.5)
        });
        let (expected, found) = (log_probs(&right).unwrap().0, log_probs(&wrong).unwrap().0);
        for (expected, found) in expected.iter().zip(&found) {
            let largest = (&found.values - &expected.values).abs().max().double_value(&[]);
            assert!(largest > LOG_PROBS_F32, "{}: {largest}", expected.path);
        }
        let error = largest_error(&gradients(&right).unwrap(), &gradients(&wrong).unwrap());
        assert!(error > GRADIENT[0], "gradient: {error}");
        let message = compare(&right, &wrong, &right, Kind::Float).unwrap_err().to_string();
        assert!(message.starts_with("tree in f32, at most, differs by "), "{message}");
        let change = update(&right, Kind::Float).unwrap();
        let other = LoadedModel::random(Shape::Tiny, 8, Kind::Float, Device::Cpu).unwrap();
        assert!(largest_error(&change, &update(&other, Kind::Float).unwrap()) > UPDATE[1]);
    }

    #[test]
    fn nan_is_no_agreement() {
        assert!(at_most("path", "what", f64::NAN, 1.0).is_err());
        let (one, nan) = (Tensor::from(1.0_f64), Tensor::from(f64::NAN));
        let named = |tensor: &Tensor| vec![("a".to_owned(), tensor.shallow_clone())];
        assert!(largest_error(&named(&one), &named(&nan)).is_nan());
    }
}
