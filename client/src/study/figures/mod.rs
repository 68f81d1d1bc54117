//! Pictures of a study, each in a file of its own: panels of curves under a legend.

mod axis;
mod baselines;
mod budgets;
mod curves;
mod look;
mod panel;
mod sheet;

use super::summary::Summary;
pub use sheet::Figure;

/// All figures that the results have data for.
///
/// # Errors
/// If the drawing library fails.
pub fn all(summary: &Summary<'_>) -> anyhow::Result<Vec<Figure>> {
    let figures = [
        budgets::accuracy(summary)?,
        budgets::differences(summary)?,
        curves::by_step(summary)?,
        curves::by_cost(summary)?,
        baselines::baselines(summary)?,
    ];
    Ok(figures.into_iter().flatten().collect())
}
