//! Training curves, as in the paper's Figures 4 to 6: against steps, and against what the steps cost.

use super::axis::Axis;
use super::budgets::{curve, point};
use super::look::Look;
use super::panel::{Curve, Kind, Panel};
use super::sheet::{Figure, draw, methods};
use crate::study::results::{EvaluationPoint, RunResult};
use crate::study::statistics::{estimate, interpolate};
use crate::study::summary::{Cost, Summary};

const MOST_TICKS: usize = 7;
/// Places of the common grid on which curves of different costs are averaged.
const PLACES: usize = 40;

/// A figure of an evaluation.
struct Quantity {
    title: &'static str,
    unit: &'static str,
    bounds: (f64, f64),
    value: fn(&EvaluationPoint) -> f64,
}

const ANYTIME: Quantity = Quantity {
    title: "anytime accuracy",
    unit: "mean over budgets",
    bounds: (0.0, 1.0),
    value: |point| point.anytime,
};
const FINAL: Quantity = Quantity {
    title: "final accuracy",
    unit: "at the largest budget",
    bounds: (0.0, 1.0),
    value: |point| point.final_accuracy,
};
const THINKING: Quantity = Quantity {
    title: "thinking length",
    unit: "tokens",
    bounds: (0.0, f64::INFINITY),
    value: |point| point.mean_thinking_tokens,
};

/// Anytime accuracy, final accuracy and thinking length against the step.
pub(super) fn by_step(summary: &Summary<'_>) -> anyhow::Result<Option<Figure>> {
    let runs = summary.methods.iter().flat_map(|method| &method.runs);
    let mut steps: Vec<u64> = runs
        .flat_map(|run| run.evaluations.iter().map(|point| point.step))
        .collect();
    steps.sort_unstable();
    steps.dedup();
    if steps.len() < 2 {
        return Ok(None);
    }
    let x: Vec<f64> = steps.iter().map(|step| *step as f64).collect();
    let mut panels = Vec::new();
    for quantity in [ANYTIME, FINAL, THINKING] {
        let mut curves = Vec::new();
        for (number, method) in summary.methods.iter().enumerate() {
            let estimates = steps.iter().map(|step| {
                method.estimate(|run| {
                    let found = run.evaluations.iter().find(|point| point.step == *step);
                    found.map(quantity.value)
                })
            });
            curves.push(curve(number, &x, estimates));
        }
        panels.push(panel(&quantity, "step", Axis::at(&x, MOST_TICKS), curves));
    }
    Ok(Some(Figure {
        name: "training-by-step",
        title: "Training curves (the paper's Figures 4 to 6)".to_owned(),
        caption: "Evaluations on held-out problems during training; mean over seeds, bands are 95 % t-intervals."
            .to_owned(),
        svg: draw(&methods(summary), &panels, 3)?,
    }))
}

/// Anytime and final accuracy against generated tokens and against wall time.
pub(super) fn by_cost(summary: &Summary<'_>) -> anyhow::Result<Option<Figure>> {
    if !summary.has_evaluations_between() {
        return Ok(None);
    }
    let mut panels = Vec::new();
    for (cost, label) in [
        (Cost::Tokens, "tokens generated for training"),
        (Cost::Seconds, "wall time of training (s)"),
    ] {
        for quantity in [ANYTIME, FINAL] {
            let mut curves = Vec::new();
            let mut longest: f64 = 0.0;
            for (number, method) in summary.methods.iter().enumerate() {
                // A mean over seeds needs all of them, so that a curve ends where the shortest run of its method does.
                let ends = method.runs.iter().filter_map(|run| cost.total(run));
                let end = ends.fold(f64::INFINITY, f64::min);
                if !end.is_finite() || end <= 0.0 {
                    continue;
                }
                longest = longest.max(end);
                curves.push(averaged(number, &method.runs, cost, end, quantity.value));
            }
            if !curves.is_empty() {
                panels.push(panel(&quantity, label, Axis::round(0.0, longest, 5), curves));
            }
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    Ok(Some(Figure {
        name: "training-by-cost",
        title: "What the steps cost".to_owned(),
        caption:
            "The same evaluations against tokens generated for training (thinking and summaries) and against the wall \
                  time of the training steps, evaluations left out. Between evaluations runs are interpolated; a curve \
                  ends where the first of its seeds does."
                .to_owned(),
        svg: draw(&methods(summary), &panels, 2)?,
    }))
}

fn averaged(number: usize, runs: &[&RunResult], cost: Cost, end: f64, value: fn(&EvaluationPoint) -> f64) -> Curve {
    let lines: Vec<Vec<(f64, f64)>> = runs.iter().map(|run| cost.curve(run, value)).collect();
    let mut points = Vec::new();
    for place in 0..=PLACES {
        let x = end * place as f64 / PLACES as f64;
        let values: Vec<f64> = lines.iter().filter_map(|line| interpolate(line, x)).collect();
        if values.len() == lines.len() {
            points.extend(estimate(&values).and_then(|estimate| point(x, estimate)));
        }
    }
    Curve {
        look: Look::of(number),
        points,
        has_markers: false,
    }
}

fn panel(quantity: &Quantity, x_label: &str, x: Axis, curves: Vec<Curve>) -> Panel {
    Panel {
        title: quantity.title.to_owned(),
        x_label: x_label.to_owned(),
        y_label: quantity.unit.to_owned(),
        kind: Kind::Curves,
        x,
        bounds: quantity.bounds,
        has_zero: false,
        curves,
    }
}
