//! Draws one token per row, by temperature, then top-k, then top-p, with a handful of tensor operations for the whole
//! batch and one transfer from the device.
//!
//! The log-probability of a token is the logarithm of exactly the distribution it was drawn from. A draw is the inverse
//! of the cumulative distribution at a uniform number that the row brings along, so that it depends on nothing else.

use anytime_policy::operators::drawing::{self, RowDraw};
use tch::{Device, IndexOp, Kind, Tensor};

use crate::plan::Sampling;

/// The distribution of one row, and the uniform number that chooses a token from it.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The row's distribution.
    pub sampling: Sampling,
    /// A number in (0, 1). The drawn token is the one at which the cumulative distribution passes it.
    pub uniform: f64,
}

/// A drawn token and how likely it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability under the sampling distribution.
    pub log_prob: f32,
}

impl Drawn {
    /// None where the row of logits gave no distribution, which shows as a log-probability that is NaN.
    fn try_new(id: u32, log_prob: f64) -> Option<Self> {
        // Rounding may lift a probability of 1 a little above it. `min` would also turn NaN into a valid number.
        (!log_prob.is_nan()).then(|| Self {
            id,
            log_prob: (log_prob as f32).min(0.0),
        })
    }
}

/// Draws a token for each row of `logits` [n, vocabulary], f32 or bf16. None for a row from which nothing can be drawn:
/// one with NaN or +∞, or with no logit above -∞.
///
/// # Panics
/// If there are not as many draws as rows, or libtorch fails.
pub fn sample(logits: &Tensor, draws: &[Draw]) -> Vec<Option<Drawn>> {
    let (rows, width) = logits.size2().expect("logits have two dimensions");
    assert_eq!(rows as usize, draws.len(), "one draw for each row of logits");
    let device = logits.device();
    let truncates = draws.iter().any(|draw| draw.sampling.truncates());
    if !truncates && drawing::can_draw(logits) {
        return draw_in_place(logits, draws);
    }
    let logits = restrict_vocabulary(logits, width, draws);
    // Not in place: the restricted logits may be a view of the caller's.
    let logits = match unless_all(draws, 1.0, |sampling| f64::from(sampling.temperature)) {
        Some(temperatures) => &logits / column(&temperatures, device).to_kind(Kind::Float),
        None => logits,
    };

    let uniforms: Vec<f64> = draws.iter().map(|draw| draw.uniform).collect();
    let uniforms = column(&uniforms, device);
    let (ids, chosen) = if truncates {
        let (sorted, ids_by_rank) = logits.sort_stable(true, -1, true);
        let (ranks, chosen) = invert(&truncate(sorted, draws, device), &uniforms);
        (ids_by_rank.gather(-1, &ranks, false), chosen)
    } else {
        invert(&logits, &uniforms)
    };

    // One transfer. f64 holds every id and every f32 exactly.
    let both = Tensor::cat(&[ids.to_kind(Kind::Double), chosen.to_kind(Kind::Double)], 0);
    let mut values = vec![0_f64; 2 * draws.len()];
    both.to_device(Device::Cpu)
        .view(-1)
        .copy_data(&mut values, 2 * draws.len());
    let (ids, log_probs) = values.split_at(draws.len());
    ids.iter()
        .zip(log_probs)
        .map(|(&id, &log)| Drawn::try_new(id as u32, log))
        .collect()
}

/// As [`sample`], but how a row is drawn does not depend on the others. libtorch's operators over many rows may round
/// differently by the place of a row in the tensor, and one row with top-k or top-p would send all rows through them.
pub fn sample_each(logits: &Tensor, draws: &[Draw]) -> Vec<Option<Drawn>> {
    if !draws.iter().any(|draw| draw.sampling.truncates()) && drawing::can_draw(logits) {
        return sample(logits, draws);
    }
    let rows = draws.chunks(1).enumerate();
    rows.flat_map(|(row, draw)| sample(&logits.narrow(0, row as i64, 1), draw))
        .collect()
}

/// How many neighbouring places of the vocabulary are summed first, as one stretch.
const STRETCH: i64 = 256;

/// The place at which the cumulative distribution of softmax(logits) passes the uniform number, and its
/// log-probability: [n, width] f32 and [n, 1] f64 to [n, 1] int64 and [n, 1] f64. Places of probability zero are never
/// it.
///
/// Cumulative sums run in f64: with 150,000 tokens the tail of an f32 sum would lose the tokens it is made of. A sum
/// over the whole width would cost more than the layers of a small model, so stretches are found first, and only the
/// one that is hit is looked at place by place.
fn invert(logits: &Tensor, uniforms: &Tensor) -> (Tensor, Tensor) {
    let width = logits.size()[1];
    let largest = logits.amax([-1], true);
    let masses = (logits - &largest).exp_();
    let stretches = width / STRETCH;
    let mut sums = Vec::with_capacity(2);
    if stretches > 0 {
        let whole = masses
            .narrow(1, 0, stretches * STRETCH)
            .unflatten(1, [stretches, STRETCH]);
        sums.push(whole.sum_dim_intlist([-1].as_slice(), false, Kind::Float));
    }
    if stretches * STRETCH < width {
        let rest = masses.narrow(1, stretches * STRETCH, width - stretches * STRETCH);
        sums.push(rest.sum_dim_intlist([-1].as_slice(), true, Kind::Float));
    }
    let sums = Tensor::cat(&sums, 1).to_kind(Kind::Double);
    let ends = sums.cumsum(-1, Kind::Double);
    let total = ends.narrow(1, -1, 1);
    let targets = uniforms * &total;
    let stretch = passed(&ends, &targets);
    let mass = sums.gather(1, &stretch, false);
    // The share of the stretch's mass that lies below the target.
    let share = (&targets - (ends.gather(1, &stretch, false) - &mass)) / &mass;

    // The last stretch may be shorter: places beyond the width have no mass.
    let offsets = Tensor::arange(STRETCH, (Kind::Int64, logits.device()));
    let places = stretch * STRETCH + offsets;
    let inside = masses
        .gather(1, &places.clamp_max(width - 1), false)
        .to_kind(Kind::Double);
    let inside = inside.masked_fill(&places.ge(width), 0.0);
    let ends = inside.cumsum(-1, Kind::Double);
    let targets = share * ends.narrow(1, -1, 1);
    // Beyond the width only where all is NaN.
    let chosen = places.gather(1, &passed(&ends, &targets), false).clamp_max(width - 1);
    let log_probs = (logits.gather(1, &chosen, false) - largest).to_kind(Kind::Double) - total.log();
    (chosen, log_probs)
}

/// The first place whose end lies above the target, or the last place with any mass: [n, width] and [n, 1] to [n, 1].
fn passed(ends: &Tensor, targets: &Tensor) -> Tensor {
    let passed = targets.searchsorted(ends, false, true, "right", None::<&Tensor>);
    // Rounding may bring a target up to the total.
    let last = ends
        .narrow(1, -1, 1)
        .contiguous()
        .searchsorted(ends, false, false, "left", None::<&Tensor>);
    // With NaN in the row the place that is found lies behind the last one.
    passed.minimum(&last).clamp_max(ends.size()[1] - 1)
}

/// Draws without truncation, row by row, in two passes over a row's logits.
fn draw_in_place(logits: &Tensor, draws: &[Draw]) -> Vec<Option<Drawn>> {
    let rows: Vec<RowDraw> = draws
        .iter()
        .map(|draw| RowDraw {
            temperature: draw.sampling.temperature,
            vocabulary: draw.sampling.vocabulary,
            uniform: draw.uniform,
        })
        .collect();
    let drawn = drawing::draw(logits, &rows).into_iter();
    drawn.map(|(id, log_prob)| Drawn::try_new(id, log_prob)).collect()
}

/// The logits up to the largest vocabulary of all rows, with -∞ beyond a row's own.
fn restrict_vocabulary(logits: &Tensor, width: i64, draws: &[Draw]) -> Tensor {
    let of = |draw: &Draw| (draw.sampling.vocabulary as i64).min(width);
    let largest = draws.iter().map(of).max().unwrap_or(width);
    let restricted = logits.narrow(-1, 0, largest).to_kind(Kind::Float);
    if draws.iter().all(|draw| of(draw) == largest) {
        return restricted;
    }
    let limits: Vec<f64> = draws.iter().map(|draw| of(draw) as f64).collect();
    let limits = column(&limits, logits.device());
    let ids = Tensor::arange(largest, (Kind::Double, logits.device()));
    restricted.masked_fill(&ids.ge_tensor(&limits), f64::NEG_INFINITY)
}

/// Sets to -∞ what top-k and then top-p leave out of logits sorted in descending order. The first always stays.
fn truncate(mut sorted: Tensor, draws: &[Draw], device: Device) -> Tensor {
    let width = sorted.size()[1];
    if draws.iter().any(|draw| draw.sampling.top_k > 0) {
        let keep = |top_k: usize| if top_k == 0 { width as f64 } else { top_k as f64 };
        let keep: Vec<f64> = draws.iter().map(|draw| keep(draw.sampling.top_k)).collect();
        let ranks = Tensor::arange(width, (Kind::Double, device));
        sorted = sorted.masked_fill(&ranks.ge_tensor(&column(&keep, device)), f64::NEG_INFINITY);
    }
    if draws.iter().any(|draw| draw.sampling.top_p < 1.0) {
        // The bound 2 is above every sum, so that a row without top-p keeps everything.
        let bound = |top_p: f32| if top_p < 1.0 { f64::from(top_p) } else { 2.0 };
        let bounds: Vec<f64> = draws.iter().map(|draw| bound(draw.sampling.top_p)).collect();
        let probabilities = sorted.softmax(-1, Kind::Double);
        let mass_before = probabilities.cumsum(-1, Kind::Double) - &probabilities;
        let left_out = mass_before.ge_tensor(&column(&bounds, device));
        let _ = left_out.i((.., 0)).fill_(0);
        sorted = sorted.masked_fill_(&left_out, f64::NEG_INFINITY);
    }
    sorted
}

/// The values of all rows, or nothing where all of them are `neutral`.
fn unless_all(draws: &[Draw], neutral: f64, value: impl Fn(&Sampling) -> f64) -> Option<Vec<f64>> {
    let values: Vec<f64> = draws.iter().map(|draw| value(&draw.sampling)).collect();
    values.iter().any(|&value| value != neutral).then_some(values)
}

/// `[n]` → [n, 1] f64 on the device.
fn column(values: &[f64], device: Device) -> Tensor {
    Tensor::from_slice(values).unsqueeze(1).to_device(device)
}
