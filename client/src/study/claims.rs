//! The paper's claims: each one that the study has runs for is judged, by intervals alone.

use super::results::RunResult;
use super::statistics::{Estimate, PairedTest, holm};
use super::summary::Summary;

/// How sure a difference must be after correction for all comparisons.
const LEVEL: f64 = 0.05;

/// What the paper says of two methods: (better, other, claim).
const CLAIMS: [(&str, &str, &str); 8] = [
    ("ar-base", "grpo", "AR-base (BRPO) beats GRPO"),
    ("ar-linear", "grpo", "AR-linear (BRPO) beats GRPO"),
    ("ar-uniform", "grpo", "AR-uniform (BRPO) beats GRPO"),
    (
        "grpo+linear",
        "grpo",
        "rewards at every budget (linear prior) help GRPO",
    ),
    (
        "grpo+decouple",
        "grpo",
        "training the summaries of every budget (decoupling) helps GRPO",
    ),
    ("grpo+vr", "grpo", "BRPO's baseline (variance reduction) helps GRPO"),
    ("grpo+vr+decouple", "grpo", "baseline and decoupling together help GRPO"),
    (
        "ar-uniform",
        "v2only",
        "BRPO's baseline helps AR-uniform over the group's mean",
    ),
];

/// What the intervals say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The interval lies on the claim's side of zero.
    Holds,
    /// It lies there too, but after the correction chance could explain one such result among all comparisons.
    HoldsUncorrected,
    /// The interval lies on the other side.
    DoesNotHold,
    /// The interval includes zero, or there is none.
    Undecided,
}

impl Verdict {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsUncorrected => "holds alone, not after Holm's correction",
            Self::DoesNotHold => "does not hold",
            Self::Undecided => "undecided",
        }
    }

    fn of(difference: &Estimate, corrected: Option<f64>) -> Self {
        match difference.ends() {
            Some((low, _)) if low > 0.0 => match corrected {
                Some(p) if p > LEVEL => Self::HoldsUncorrected,
                _ => Self::Holds,
            },
            Some((_, high)) if high < 0.0 => Self::DoesNotHold,
            _ => Self::Undecided,
        }
    }
}

/// A claim and what came of it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What is claimed.
    pub text: String,
    /// The figure whose difference is judged.
    pub measure: String,
    /// The mean difference in favour of the claim, with its interval.
    pub difference: Estimate,
    /// Corrected p value; none where the claim is not one test.
    pub p_holm: Option<f64>,
    /// What the interval says.
    pub verdict: Verdict,
    /// Numbers of the methods whose runs it rests on.
    pub methods: Vec<usize>,
}

/// Name and value of what is compared.
type Measure = (&'static str, fn(&RunResult) -> Option<f64>);

/// Two methods by number, their test, and its p value corrected over all comparisons.
pub type Comparison = ((usize, usize), PairedTest, Option<f64>);

/// Every comparison of the study by one figure, with p values corrected over them.
pub fn compare_all(summary: &Summary<'_>, value: impl Fn(&RunResult) -> Option<f64>) -> Vec<Comparison> {
    let mut tests = Vec::new();
    for pair in &summary.comparisons {
        if let Some(test) = summary.paired(*pair, &value) {
            tests.push((*pair, test));
        }
    }
    let p_values: Vec<f64> = tests.iter().filter_map(|(_, test)| test.p_t).collect();
    let mut corrected = holm(&p_values).into_iter();
    tests
        .into_iter()
        .map(|(pair, test)| {
            let p = test.p_t.and_then(|_| corrected.next());
            (pair, test, p)
        })
        .collect()
}

/// All claims that the study can say something about.
pub fn claims(summary: &Summary<'_>) -> Vec<Claim> {
    let mut claims = Vec::new();
    let measures: [Measure; 2] = [
        ("anytime accuracy", |run| Some(run.anytime)),
        ("final accuracy", |run| Some(run.final_accuracy)),
    ];
    let by_measure = measures.map(|(name, value)| (name, compare_all(summary, value)));
    let at_every_budget = at_every_budget_corrected(summary);
    for pair in &summary.comparisons {
        for (measure, tests) in &by_measure {
            if let Some((_, test, p_holm)) = tests.iter().find(|(found, ..)| found == pair) {
                claims.push(Claim {
                    text: claim_text(summary, *pair),
                    measure: (*measure).to_owned(),
                    difference: test.difference,
                    p_holm: *p_holm,
                    verdict: Verdict::of(&test.difference, *p_holm),
                    methods: vec![pair.0, pair.1],
                });
            }
        }
        let of_pair = at_every_budget.iter().filter(|(found, _)| found == pair);
        claims.extend(of_pair.map(|(_, claim)| claim.clone()));
    }
    for number in 0..summary.methods.len() {
        claims.extend(lowest_variance(summary, number));
    }
    claims
}

fn claim_text(summary: &Summary<'_>, pair: (usize, usize)) -> String {
    let (better, other) = (&summary.methods[pair.0].name, &summary.methods[pair.1].name);
    let known = CLAIMS.iter().find(|claim| claim.0 == better && claim.1 == other);
    known.map_or_else(|| format!("{better} beats {other}"), |claim| claim.2.to_owned())
}

/// A claim about all budgets is as good as its weakest budget; one budget where the other method is surely better
/// refutes it. Its p value is the largest of all budgets (an intersection-union test), still to be corrected over the
/// comparisons.
fn at_every_budget(summary: &Summary<'_>, pair: (usize, usize)) -> Option<(Claim, Option<f64>)> {
    let mut tests = Vec::new();
    for (index, budget) in summary.budgets.iter().enumerate() {
        tests.push((*budget, summary.paired(pair, |run| run.accuracy.get(index).copied())?));
    }
    let verdict_of = |test: &PairedTest| Verdict::of(&test.difference, None);
    let lower_end = |test: &PairedTest| test.difference.ends().map_or(test.difference.mean, |ends| ends.0);
    let refuted = tests.iter().find(|(_, test)| verdict_of(test) == Verdict::DoesNotHold);
    let weakest = tests.iter().min_by(|a, b| lower_end(&a.1).total_cmp(&lower_end(&b.1)));
    let (budget, test) = refuted.or(weakest)?;
    let p_values: Option<Vec<f64>> = tests
        .iter()
        .map(|(_, test)| {
            let is_better = test.difference.mean > 0.0;
            test.p_t.map(|p| if is_better { p } else { 1.0 })
        })
        .collect();
    let claim = Claim {
        text: claim_text(summary, pair),
        measure: format!("accuracy at every budget (weakest: {budget})"),
        difference: test.difference,
        p_holm: None,
        verdict: verdict_of(test),
        methods: vec![pair.0, pair.1],
    };
    Some((claim, p_values.and_then(|values| values.into_iter().reduce(f64::max))))
}

/// The claims about every budget, one for each comparison that has data.
fn at_every_budget_corrected(summary: &Summary<'_>) -> Vec<((usize, usize), Claim)> {
    let mut found = Vec::new();
    for pair in &summary.comparisons {
        if let Some((claim, p)) = at_every_budget(summary, *pair) {
            found.push((*pair, claim, p));
        }
    }
    let p_values: Vec<f64> = found.iter().filter_map(|(.., p)| *p).collect();
    let mut corrected = holm(&p_values).into_iter();
    let mut claims = Vec::new();
    for (pair, mut claim, p) in found {
        claim.p_holm = p.and_then(|_| corrected.next());
        claim.verdict = Verdict::of(&claim.difference, claim.p_holm);
        claims.push((pair, claim));
    }
    claims
}

/// `Var[R − V] / Var[R]` below that of V1 and of V2, on the average over segments. In the first segment V is V2.
fn lowest_variance(summary: &Summary<'_>, number: usize) -> Vec<Claim> {
    let method = &summary.methods[number];
    let mut claims = Vec::new();
    for (other, name) in [(0, "V1"), (1, "V2")] {
        let gain = |run: &RunResult| {
            let mut gains = Vec::new();
            for segment in &run.segments {
                gains.push(segment.variance[other]? - segment.variance[2]?);
            }
            if gains.len() < 2 {
                return None;
            }
            super::statistics::mean(&gains)
        };
        let Some(difference) = method.estimate(gain) else {
            continue;
        };
        claims.push(Claim {
            text: format!("BRPO's baseline V leaves less variance than {name} in {}", method.name),
            measure: "Var[R − V]/Var[R], mean over segments".to_owned(),
            difference,
            p_holm: None,
            verdict: Verdict::of(&difference, None),
            methods: vec![number],
        });
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_follow_the_interval_and_the_correction() {
        let of = |mean: f64, half_width: Option<f64>, p| {
            let difference = Estimate {
                mean,
                half_width,
                count: 5,
            };
            Verdict::of(&difference, p)
        };
        assert_eq!(of(0.1, Some(0.05), Some(0.01)), Verdict::Holds);
        assert_eq!(of(0.1, Some(0.05), Some(0.2)), Verdict::HoldsUncorrected);
        assert_eq!(of(0.1, Some(0.05), None), Verdict::Holds);
        assert_eq!(of(-0.1, Some(0.05), Some(0.01)), Verdict::DoesNotHold);
        assert_eq!(of(0.1, Some(0.2), Some(0.4)), Verdict::Undecided);
        assert_eq!(of(0.1, None, None), Verdict::Undecided);
    }
}
