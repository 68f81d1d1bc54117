//! What the figures of an evaluation need of its groups. Every group is reduced to it when it comes and is not kept:
//! tokens with their log-probabilities and versions take gigabytes where many problems are sampled often.

use std::ops::Range;

use anytime_objectives::ScoreTable;
use anytime_objectives::statistics::mean;
use anytime_proto::v1;

use super::counts::TraceCounts;

/// Scores and counts of the groups of one evaluation. Groups may be added in any order; results are in the order of the
/// problems, and of the leases of each.
pub struct Tally {
    budgets: usize,
    /// The places of each problem's leases.
    leases_of: Vec<Range<usize>>,
    /// By the place of the lease, where its group has come: the mean score of each trace at each budget, trace by trace.
    rewards: Vec<Option<Box<[f64]>>>,
    counts: TraceCounts,
}

/// One problem of a [`Tally`], with all groups that have come for it.
pub struct ProblemTally {
    /// Which problem.
    pub problem: usize,
    /// The places of its leases.
    pub leases: Range<usize>,
    /// Traces of all its groups.
    pub traces: usize,
    /// Mean score at every budget, over traces and summaries.
    pub accuracy: Vec<f64>,
}

impl Tally {
    /// An empty tally for an evaluation at this many budgets. `leases_of` are the places of each problem's leases, as
    /// [`repeated`](super::repeats::repeated) gives them.
    pub fn new(leases_of: Vec<Range<usize>>, budgets: usize) -> Self {
        let leases = leases_of.last().map_or(0, |last| last.end);
        Self {
            budgets,
            leases_of,
            rewards: vec![None; leases],
            counts: TraceCounts::default(),
        }
    }

    /// Adds the group of the lease at `place`, which has the evaluation's budgets. Each place is added once.
    pub fn add(&mut self, place: usize, group: &v1::ScoredGroup) {
        let rewards = ScoreTable::of_group(group).mean_per_budget();
        self.counts.add(group, &rewards);
        self.rewards[place] = Some(rewards.into_iter().flatten().collect());
    }

    /// How many groups were added.
    pub fn groups(&self) -> usize {
        self.rewards.iter().flatten().count()
    }

    /// Counts over all traces that were added.
    pub fn counts(&self) -> &TraceCounts {
        &self.counts
    }

    /// The problems for which any group has come, in their order.
    pub fn problems(&self) -> impl Iterator<Item = ProblemTally> {
        let problems = self.leases_of.iter().cloned().enumerate();
        problems.filter_map(|(problem, leases)| self.problem(problem, leases))
    }

    fn problem(&self, problem: usize, leases: Range<usize>) -> Option<ProblemTally> {
        let groups = || self.rewards[leases.clone()].iter().flatten();
        groups().next()?;
        let at_budget = |budget: usize| -> f64 {
            let of_traces: Vec<f64> = groups()
                .flat_map(|rewards| rewards.chunks(self.budgets).map(|trace| trace[budget]))
                .collect();
            mean(&of_traces)
        };
        let accuracy: Vec<f64> = (0..self.budgets).map(at_budget).collect();
        let scores: usize = groups().map(|rewards| rewards.len()).sum();
        Some(ProblemTally {
            problem,
            leases: leases.clone(),
            traces: scores.checked_div(self.budgets).unwrap_or(0),
            accuracy,
        })
    }
}
