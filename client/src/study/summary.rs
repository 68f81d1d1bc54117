//! The results of a study in the order of its report: methods, their runs by seed, and what is compared.

use std::collections::BTreeMap;

use anytime_service::exit::ExitError;

use super::results::{EvaluationPoint, RunResult};
use super::statistics::{Estimate, PairedTest, estimate, paired_test};

/// The cost at which two methods are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Training steps.
    Steps,
    /// Tokens generated for training.
    Tokens,
    /// Wall time of the training steps in seconds.
    Seconds,
}

impl Cost {
    /// What the run had spent at an evaluation.
    pub fn of(self, point: &EvaluationPoint) -> f64 {
        match self {
            Self::Steps => point.step as f64,
            Self::Tokens => point.generated_tokens as f64,
            Self::Seconds => point.seconds,
        }
    }

    /// What the run had spent at its last evaluation; none where it was never evaluated.
    pub fn total(self, run: &RunResult) -> Option<f64> {
        run.evaluations.last().map(|point| self.of(point))
    }

    /// A figure of the evaluations against the cost.
    pub fn curve(self, run: &RunResult, value: fn(&EvaluationPoint) -> f64) -> Vec<(f64, f64)> {
        run.evaluations
            .iter()
            .map(|point| (self.of(point), value(point)))
            .collect()
    }
}

/// The runs of one method.
#[derive(Clone, Debug)]
pub struct MethodRuns<'a> {
    /// What the study calls it.
    pub name: String,
    /// The preset that it was made from.
    pub preset: String,
    /// Its runs in the order of their seeds.
    pub runs: Vec<&'a RunResult>,
}

impl MethodRuns<'_> {
    /// Mean and interval over seeds; runs without the value are left out.
    pub fn estimate(&self, value: impl Fn(&RunResult) -> Option<f64>) -> Option<Estimate> {
        let values: Vec<f64> = self.runs.iter().filter_map(|run| value(run)).collect();
        estimate(&values)
    }
}

/// What a report is made of: the results grouped by method and seed, and the pairs of methods that are compared.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Heading of the report.
    pub title: String,
    /// The methods in the order of the study.
    pub methods: Vec<MethodRuns<'a>>,
    /// The comparisons, as numbers of two methods: the one that is expected to be better, and the other.
    pub comparisons: Vec<(usize, usize)>,
    /// The budgets of every evaluation in tokens, ascending.
    pub budgets: Vec<u32>,
}

impl<'a> Summary<'a> {
    /// Orders results by method (as `order` has them, then as they come) and seed. `comparisons` are names; none means
    /// every method against the first.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code: no results, two of the same method and seed, or other budgets.
    pub fn try_new(
        title: String,
        results: &'a [RunResult],
        order: &[String],
        comparisons: Option<&[(String, String)]>,
    ) -> Result<Self, ExitError> {
        let Some(first) = results.first() else {
            return Err(ExitError::configuration(
                "there are no results: a report takes one run or more",
            ));
        };
        let mut names: Vec<&str> = order.iter().map(String::as_str).collect();
        for result in results {
            if !names.contains(&result.method.as_str()) {
                names.push(&result.method);
            }
        }
        let mut methods = Vec::new();
        for name in names {
            let mut by_seed = BTreeMap::new();
            for run in results.iter().filter(|run| run.method == name) {
                if run.budgets != first.budgets {
                    return Err(refused(
                        run,
                        "all runs of a report have the same budgets, and another run has other ones",
                    ));
                }
                if by_seed.insert(run.seed, run).is_some() {
                    return Err(refused(
                        run,
                        "a method has one run for a seed, and this is the second: each may be in the results only once",
                    ));
                }
            }
            let runs: Vec<&RunResult> = by_seed.into_values().collect();
            if let Some(run) = runs.first() {
                methods.push(MethodRuns {
                    name: name.to_owned(),
                    preset: run.preset.clone(),
                    runs,
                });
            }
        }
        let number = |name: &str| methods.iter().position(|method: &MethodRuns<'_>| method.name == name);
        let comparisons = match comparisons {
            Some(pairs) => pairs
                .iter()
                .filter_map(|(better, other)| Some((number(better)?, number(other)?)))
                .collect(),
            None => (1..methods.len()).map(|better| (better, 0)).collect(),
        };
        Ok(Self {
            title,
            methods,
            comparisons,
            budgets: first.budgets.clone(),
        })
    }

    /// Tests the differences between runs of the same seed of two methods; none if they have no seed in common.
    pub fn paired(&self, pair: (usize, usize), value: impl Fn(&RunResult) -> Option<f64>) -> Option<PairedTest> {
        let (better, other) = (&self.methods[pair.0], &self.methods[pair.1]);
        let mut differences = Vec::new();
        for run in &better.runs {
            let partner = other.runs.iter().find(|partner| partner.seed == run.seed);
            if let Some(partner) = partner
                && let (Some(ours), Some(theirs)) = (value(run), value(partner))
            {
                differences.push(ours - theirs);
            }
        }
        paired_test(&differences)
    }

    /// The least cost at which any run ended: up to there all runs can be compared. None if some run ended later and
    /// some run has no evaluation between its first and its last, because its accuracy on the way was not measured.
    pub fn common_total(&self, cost: Cost) -> Option<f64> {
        let runs = self.methods.iter().flat_map(|method| &method.runs);
        let totals: Vec<f64> = runs.map(|run| cost.total(run)).collect::<Option<_>>()?;
        let least = totals.iter().copied().reduce(f64::min).filter(|total| *total > 0.0)?;
        let is_end_of_all = totals.iter().all(|total| *total == least);
        (is_end_of_all || self.has_evaluations_between()).then_some(least)
    }

    /// Whether every run was evaluated between its first and last evaluation too, so that a line through them is
    /// measured.
    pub fn has_evaluations_between(&self) -> bool {
        let mut runs = self.methods.iter().flat_map(|method| &method.runs);
        runs.all(|run| run.evaluations.len() > 2)
    }
}

fn refused(run: &RunResult, reason: &str) -> ExitError {
    ExitError::configuration(format!(
        "the result of {} with seed {} and budgets {:?} does not fit: {reason}",
        run.method, run.seed, run.budgets
    ))
}
