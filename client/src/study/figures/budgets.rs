//! Accuracy against budget, as in the paper's Figure 1, and the same as differences by seed.

use super::axis::Axis;
use super::look::Look;
use super::panel::{Curve, Kind, Panel, Point};
use super::sheet::{Figure, draw, methods};
use crate::study::statistics::Estimate;
use crate::study::summary::{MethodRuns, Summary};

const MOST_TICKS: usize = 16;

/// Mean accuracy of every method at every budget with bands over seeds.
pub(super) fn accuracy(summary: &Summary<'_>) -> anyhow::Result<Option<Figure>> {
    let budgets = x_values(summary);
    let mut curves = Vec::new();
    for (number, method) in summary.methods.iter().enumerate() {
        let estimates = (0..budgets.len()).map(|index| at_budget(method, index));
        curves.push(curve(number, &budgets, estimates));
    }
    let panel = Panel {
        title: String::new(),
        x_label: "thinking budget (tokens)".to_owned(),
        y_label: "accuracy".to_owned(),
        kind: Kind::Curves,
        x: Axis::at(&budgets, MOST_TICKS),
        bounds: (0.0, 1.0),
        has_zero: false,
        curves,
    };
    Ok(Some(Figure {
        name: "accuracy-by-budget",
        title: "Accuracy against thinking budget (the paper's Figure 1)".to_owned(),
        caption:
            "Mean over seeds after the last step; bands are 95 % t-intervals over seeds, and over the problems of the \
                  evaluation where a method has one seed."
                .to_owned(),
        svg: draw(&methods(summary), &[panel], 1)?,
    }))
}

/// A single run has no interval over seeds, so that it gets the interval of its evaluation, which is over problems.
fn at_budget(method: &MethodRuns<'_>, index: usize) -> Option<Estimate> {
    let mut estimate = method.estimate(|run| run.accuracy.get(index).copied())?;
    if let [run] = method.runs.as_slice() {
        let evaluation = run.evaluations.last();
        estimate.half_width = evaluation.and_then(|point| point.ci95.get(index).copied());
    }
    Some(estimate)
}

/// For every comparison, the mean difference between runs of the same seed, at every budget.
pub(super) fn differences(summary: &Summary<'_>) -> anyhow::Result<Option<Figure>> {
    let budgets = x_values(summary);
    let mut references: Vec<usize> = summary.comparisons.iter().map(|pair| pair.1).collect();
    references.sort_unstable();
    references.dedup();
    let mut panels = Vec::new();
    for reference in references {
        let mut curves = Vec::new();
        for (better, _) in summary.comparisons.iter().filter(|pair| pair.1 == reference) {
            let estimates = (0..budgets.len()).map(|index| {
                let test = summary.paired((*better, reference), |run| run.accuracy.get(index).copied());
                test.map(|test| test.difference)
            });
            curves.push(curve(*better, &budgets, estimates));
        }
        panels.push(Panel {
            title: format!("minus {}", summary.methods[reference].name),
            x_label: "thinking budget (tokens)".to_owned(),
            y_label: "difference in accuracy".to_owned(),
            kind: Kind::Intervals,
            x: Axis::at(&budgets, MOST_TICKS),
            bounds: (-1.0, 1.0),
            has_zero: true,
            curves,
        });
    }
    if panels.is_empty() {
        return Ok(None);
    }
    Ok(Some(Figure {
        name: "differences-by-budget",
        title: "Differences by seed at every budget".to_owned(),
        caption: "Mean over seeds of the difference between two runs of the same seed, with its 95 % t-interval: \
                  bands of Figure 1 may overlap where the differences do not include zero."
            .to_owned(),
        svg: draw(&methods(summary), &panels, 1)?,
    }))
}

fn x_values(summary: &Summary<'_>) -> Vec<f64> {
    summary.budgets.iter().copied().map(f64::from).collect()
}

/// Points of a series where there is an estimate.
pub(super) fn curve(number: usize, x: &[f64], estimates: impl Iterator<Item = Option<Estimate>>) -> Curve {
    let points = x.iter().zip(estimates).filter_map(|(x, estimate)| point(*x, estimate?));
    Curve {
        look: Look::of(number),
        points: points.collect(),
        has_markers: true,
    }
}

pub(super) fn point(x: f64, estimate: Estimate) -> Option<Point> {
    estimate.mean.is_finite().then(|| Point {
        x,
        mean: estimate.mean,
        ends: estimate.ends(),
    })
}
