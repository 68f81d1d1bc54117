//! How well the baselines predict the rewards to go, segment by segment, as in the paper's Figure 3.

use super::axis::Axis;
use super::budgets::curve;
use super::look::Look;
use super::panel::{Kind, Panel};
use super::sheet::{Figure, Series, draw};
use crate::study::summary::Summary;

const MOST_TICKS: usize = 8;

/// The baselines in the order of [`crate::study::results::SegmentPool`], the combined one last.
const BASELINES: [&str; 3] = ["V1 (previous budgets)", "V2 (group mean)", "V (both, BRPO)"];

/// Two panels for every method with several segments: the correlation, and the share of variance that is left.
pub(super) fn baselines(summary: &Summary<'_>) -> anyhow::Result<Option<Figure>> {
    let mut panels = Vec::new();
    for method in &summary.methods {
        let mut budgets: Vec<u32> = method
            .runs
            .iter()
            .flat_map(|run| run.segments.iter().map(|segment| segment.budget))
            .collect();
        budgets.sort_unstable();
        budgets.dedup();
        if budgets.len() < 2 {
            continue;
        }
        let x: Vec<f64> = budgets.iter().copied().map(f64::from).collect();
        for is_variance in [false, true] {
            let mut curves = Vec::new();
            for baseline in 0..BASELINES.len() {
                let estimates = budgets.iter().map(|budget| {
                    method.estimate(|run| {
                        let segment = run.segments.iter().find(|segment| segment.budget == *budget)?;
                        let values = if is_variance {
                            segment.variance
                        } else {
                            segment.correlation
                        };
                        values[baseline]
                    })
                });
                curves.push(curve(baseline, &x, estimates));
            }
            let what = if is_variance { "variance left" } else { "correlation" };
            let (formula, bounds) = if is_variance {
                ("Var[R − V] / Var[R]", (0.0, f64::INFINITY))
            } else {
                ("Corr[V, R]", (-1.0, 1.0))
            };
            panels.push(Panel {
                title: format!("{}: {what}", method.name),
                x_label: "segment ends at budget (tokens)".to_owned(),
                y_label: formula.to_owned(),
                kind: Kind::Curves,
                x: Axis::at(&x, MOST_TICKS),
                bounds,
                has_zero: false,
                curves,
            });
        }
    }
    if panels.is_empty() {
        return Ok(None);
    }
    let series: Vec<Series> = BASELINES
        .iter()
        .enumerate()
        .map(|(number, name)| Series {
            name: (*name).to_owned(),
            look: Look::of(number),
        })
        .collect();
    Ok(Some(Figure {
        name: "baselines-by-segment",
        title: "The baselines, segment by segment (the paper's Figure 3)".to_owned(),
        caption: "All three baselines against the same rewards to go R, pooled over the first tenth of the training \
                  steps (weighed by traces), since the paper measures them on the model that training starts from; mean \
                  over seeds with 95 % t-intervals. In the first segment V1 knows nothing, and V is V2."
            .to_owned(),
        svg: draw(&series, &panels, 2)?,
    }))
}
