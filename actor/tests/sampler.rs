//! The sampler against distributions computed by hand.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

use anytime_actor::engine::sampler::{Draw, Drawn, sample};
use anytime_actor::plan::Sampling;
use tch::{Kind, Tensor};

const LOGITS: [f32; 6] = [1.0, -0.5, 2.0, 0.25, 2.0, -3.0];
const DRAWS: usize = 4000;

fn plain() -> Sampling {
    Sampling {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        vocabulary: LOGITS.len(),
    }
}

/// One row per uniform number, on an even grid: frequencies then equal probabilities up to the grid's width.
fn on_a_grid(sampling: Sampling) -> Vec<Drawn> {
    let logits = Tensor::from_slice(&LOGITS).unsqueeze(0).repeat([DRAWS as i64, 1]);
    let draws: Vec<Draw> = (0..DRAWS)
        .map(|index| Draw {
            sampling,
            uniform: (index as f64 + 0.5) / DRAWS as f64,
        })
        .collect();
    draw_all(&logits, &draws)
}

/// Draws from logits that are all distributions.
fn draw_all(logits: &Tensor, draws: &[Draw]) -> Vec<Drawn> {
    let drawn = sample(logits, draws).into_iter();
    drawn.map(|drawn| drawn.expect("a distribution")).collect()
}

/// Softmax of the logits over the tokens that are kept.
fn probabilities(temperature: f64, kept: &[usize]) -> Vec<f64> {
    let weight = |id: usize| {
        if kept.contains(&id) {
            (f64::from(LOGITS[id]) / temperature).exp()
        } else {
            0.0
        }
    };
    let total: f64 = (0..LOGITS.len()).map(weight).sum();
    (0..LOGITS.len()).map(|id| weight(id) / total).collect()
}

fn assert_distribution(sampling: Sampling, expected: &[f64]) {
    let drawn = on_a_grid(sampling);
    for (id, &probability) in expected.iter().enumerate() {
        let of_id: Vec<&Drawn> = drawn.iter().filter(|drawn| drawn.id as usize == id).collect();
        let frequency = of_id.len() as f64 / DRAWS as f64;
        assert!(
            (frequency - probability).abs() <= 2.0 / DRAWS as f64,
            "token {id}: {frequency} for {probability}"
        );
        for drawn in of_id {
            assert!(
                (f64::from(drawn.log_prob) - probability.ln()).abs() < 1e-5,
                "token {id}: {}",
                drawn.log_prob
            );
        }
    }
}

#[test]
fn frequencies_and_log_probs_are_those_of_the_softmax() {
    assert_distribution(plain(), &probabilities(1.0, &[0, 1, 2, 3, 4, 5]));
}

#[test]
fn temperature_divides_the_logits() {
    let sampling = Sampling {
        temperature: 0.5,
        ..plain()
    };
    assert_distribution(sampling, &probabilities(0.5, &[0, 1, 2, 3, 4, 5]));
}

#[test]
fn ids_beyond_the_vocabulary_are_never_drawn() {
    let sampling = Sampling {
        vocabulary: 4,
        ..plain()
    };
    assert_distribution(sampling, &probabilities(1.0, &[0, 1, 2, 3]));
}

#[test]
fn top_k_keeps_the_most_probable() {
    let sampling = Sampling { top_k: 3, ..plain() };
    assert_distribution(sampling, &probabilities(1.0, &[0, 2, 4]));
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_the_mass() {
    let all = probabilities(1.0, &[0, 1, 2, 3, 4, 5]);
    // Tokens 2 and 4 are the most probable; a little more than their mass takes token 0 in.
    let sampling = Sampling {
        top_p: (all[2] + all[4] + 0.01) as f32,
        ..plain()
    };
    assert_distribution(sampling, &probabilities(1.0, &[0, 2, 4]));
    let first_only = Sampling { top_p: 1e-6, ..plain() };
    assert_distribution(first_only, &probabilities(1.0, &[2]));
}

#[test]
fn top_p_acts_on_what_top_k_left() {
    let kept = probabilities(1.0, &[0, 2, 4]);
    let sampling = Sampling {
        top_k: 3,
        top_p: (kept[2] + kept[4] - 0.01) as f32,
        ..plain()
    };
    assert_distribution(sampling, &probabilities(1.0, &[2, 4]));
}

#[test]
fn rows_of_one_batch_have_their_own_distributions() {
    let samplings = [
        plain(),
        Sampling {
            temperature: 2.0,
            ..plain()
        },
        Sampling { top_k: 1, ..plain() },
        Sampling {
            vocabulary: 2,
            ..plain()
        },
        Sampling { top_p: 0.5, ..plain() },
    ];
    let logits = Tensor::from_slice(&LOGITS).unsqueeze(0);
    for uniform in [0.001, 0.3, 0.77, 0.9999] {
        let draws: Vec<Draw> = samplings.iter().map(|&sampling| Draw { sampling, uniform }).collect();
        let rows = draws.len() as i64;
        let together = draw_all(&logits.repeat([rows, 1]), &draws);
        for (draw, drawn) in draws.iter().zip(&together) {
            // A sorted row is summed in another order: the token may differ from an unsorted one, its probability not.
            let kept: Vec<usize> = match draw.sampling {
                Sampling { top_k: 1, .. } => vec![2],
                Sampling { vocabulary: 2, .. } => vec![0, 1],
                Sampling { top_p, .. } if top_p < 1.0 => vec![2, 4],
                _ => (0..LOGITS.len()).collect(),
            };
            let expected = probabilities(f64::from(draw.sampling.temperature), &kept)[drawn.id as usize];
            assert!(
                (f64::from(drawn.log_prob).exp() - expected).abs() < 1e-6,
                "{draw:?}: {drawn:?}"
            );
        }
    }
}

#[test]
fn a_wide_vocabulary_is_drawn_from_place_by_place() {
    // Neither a multiple of the stretches that are summed first, nor without impossible tokens.
    const WIDTH: usize = 1_000;
    let mut logits: Vec<f32> = (0..WIDTH).map(|id| ((id * 7_919) % 1_013) as f32 / 100.0).collect();
    logits[250..300].fill(f32::NEG_INFINITY);
    logits[990..].fill(f32::NEG_INFINITY);
    let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
    let total: f64 = weights.iter().sum();
    let ends: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect();

    let sampling = Sampling {
        vocabulary: WIDTH,
        ..plain()
    };
    let draws: Vec<Draw> = (0..DRAWS)
        .map(|index| Draw {
            sampling,
            uniform: (index as f64 + 0.5) / DRAWS as f64,
        })
        .collect();
    let rows = Tensor::from_slice(&logits).unsqueeze(0).repeat([DRAWS as i64, 1]);
    // f32 row by row, as on the CPU; f64 by tensor operations, as on a GPU.
    let drawn = [Kind::Float, Kind::Double].map(|kind| draw_all(&rows.to_kind(kind), &draws));
    for (draw, drawn) in draws.iter().cycle().zip(drawn.concat()) {
        let id = drawn.id as usize;
        let start = if id == 0 { 0.0 } else { ends[id - 1] };
        assert!(weights[id] > 0.0, "token {id} is impossible");
        assert!(
            start - 1e-6 <= draw.uniform && draw.uniform <= ends[id] + 1e-6,
            "token {id} for {}",
            draw.uniform
        );
        assert!((f64::from(drawn.log_prob) - (weights[id] / total).ln()).abs() < 1e-5);
    }
}

#[test]
fn nothing_is_drawn_from_what_is_no_distribution() {
    const WIDTH: usize = 700;
    let sampling = Sampling {
        vocabulary: WIDTH,
        ..plain()
    };
    let samplings = [
        sampling,
        Sampling {
            temperature: 0.7,
            ..sampling
        },
        Sampling { top_k: 3, ..sampling },
        Sampling { top_p: 0.9, ..sampling },
        Sampling {
            top_k: 50,
            top_p: 0.5,
            ..sampling
        },
    ];
    let good: Vec<f32> = (0..WIDTH).map(|id| (id % 13) as f32).collect();
    let with = |place: usize, value: f32| {
        let mut row = good.clone();
        row[place] = value;
        row
    };
    let impossible = vec![f32::NEG_INFINITY; WIDTH];
    let mut only_nan = impossible.clone();
    only_nan[400] = f32::NAN;
    let bad = [
        with(0, f32::NAN),
        with(WIDTH - 1, f32::NAN),
        with(255, -f32::NAN),
        with(300, f32::INFINITY),
        vec![f32::NAN; WIDTH],
        impossible,
        only_nan,
    ];
    for (number, bad) in bad.iter().enumerate() {
        for sampling in samplings {
            // By the CPU's own operator where nothing is truncated, and by tensor operations as on a GPU.
            for kind in [Kind::Float, Kind::BFloat16, Kind::Double] {
                let rows = [good.as_slice(), bad, &good].concat();
                let rows = Tensor::from_slice(&rows).view([3, WIDTH as i64]).to_kind(kind);
                for uniform in [1e-9, 0.5, 1.0 - 1e-9] {
                    let drawn = sample(&rows, &[Draw { sampling, uniform }; 3]);
                    assert_eq!(drawn[1], None, "row {number}, {kind:?}, {sampling:?}, {uniform}");
                    assert!(
                        drawn[0].is_some() && drawn[0] == drawn[2],
                        "its neighbours are drawn from"
                    );
                }
            }
        }
    }
    // A token that is excluded, or has no chance, is no fault.
    let row = Tensor::from_slice(&with(5, f32::NEG_INFINITY)).unsqueeze(0);
    assert!(sample(&row, &[Draw { sampling, uniform: 0.5 }])[0].is_some());
}
