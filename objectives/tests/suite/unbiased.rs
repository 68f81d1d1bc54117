//! The expected gradient of the thinking tokens against the exact gradient of J_anytime (equation 3), on a policy that
//! can be summed over.

use anytime_objectives::{ScoreTable, objective};
use anytime_proto::settings::ObjectiveSettings;
use anytime_proto::v1::{self, VarianceReduction};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::support::{brpo, settings};
use crate::toy::{Toy, Trace, draw};

/// Advantages as [trace][segment] of a group, from its scores.
pub(crate) type Advantages<'a> = dyn Fn(ScoreTable) -> Vec<Vec<f64>> + 'a;

/// The advantages of the objective with these settings.
pub(crate) fn of_objective(settings: &ObjectiveSettings) -> impl Fn(ScoreTable) -> Vec<Vec<f64>> + use<> {
    let objective = objective(settings);
    move |table| objective.analyse(table).expect("scores decide it").advantages
}

/// A baseline that looks at the budget that the token still decides about: V1 with r at k ≤ s.
fn peeking(prior: &[f64]) -> impl Fn(ScoreTable) -> Vec<Vec<f64>> + use<> {
    let prior = prior.to_vec();
    move |table| {
        let of_trace = |rewards: &Vec<f64>| -> Vec<f64> {
            (0..rewards.len())
                .map(|segment| {
                    let to_go: f64 = (segment..rewards.len()).map(|k| prior[k] * rewards[k]).sum();
                    let mean = rewards[..=segment].iter().sum::<f64>() / (segment + 1) as f64;
                    to_go - mean * prior[segment..].iter().sum::<f64>()
                })
                .collect()
        };
        table.mean_per_budget().iter().map(of_trace).collect()
    }
}

pub(crate) fn variant(toy: &Toy, reduction: VarianceReduction, leave_one_out: bool, mix: v1::Mix) -> ObjectiveSettings {
    settings(&toy.budgets, |spec| {
        spec.set_prior(v1::Prior::Explicit);
        spec.prior_weights = toy.prior.clone();
        brpo(spec).set_variance_reduction(reduction);
        spec.set_mix(mix);
        spec.lambda = Some(0.7);
        brpo(spec).leave_one_out = Some(leave_one_out);
    })
}

pub(crate) fn table(toy: &Toy, group: &[&Trace], scores: Vec<Vec<Vec<f64>>>) -> ScoreTable {
    let lengths = group.iter().map(|trace| trace.tokens.len() as u32).collect();
    ScoreTable::try_new(toy.budgets.clone(), scores, Some(lengths), None).expect("a valid group")
}

/// The expected gradient over all groups of G traces. Advantages are linear in the scores, and given the traces the
/// scores are independent of what the advantages multiply. So the probabilities of being right can stand in for the
/// scores.
fn expected_gradient(toy: &Toy, size: usize, advantages: &Advantages<'_>) -> Vec<f64> {
    let mut gradient = vec![0.0; toy.parameters()];
    for problem in toy.problems() {
        let traces = toy.traces(problem);
        let groups = traces.len().pow(size as u32);
        for number in 0..groups {
            let of_group: Vec<&Trace> = (0..size)
                .map(|place| &traces[number / traces.len().pow(place as u32) % traces.len()])
                .collect();
            let probability: f64 = of_group.iter().map(|trace| trace.probability).product();
            let scores = of_group
                .iter()
                .map(|trace| trace.right.iter().map(|right| vec![*right]).collect());
            let scale = probability / (size * toy.problems().len()) as f64;
            let advantages = advantages(table(toy, &of_group, scores.collect()));
            for (trace, advantages) in of_group.iter().zip(&advantages) {
                toy.add_gradient(&mut gradient, trace, advantages, scale);
            }
        }
    }
    gradient
}

/// Gradients of groups that were drawn, one per group.
pub(crate) struct Sampled {
    pub(crate) mean: Vec<f64>,
    /// Variance of one group's gradient, per parameter.
    pub(crate) variance: Vec<f64>,
    groups: usize,
}

impl Sampled {
    /// The largest distance from these values over all parameters, in standard errors.
    fn standard_errors_from(&self, exact: &[f64]) -> f64 {
        let distances = self.mean.iter().zip(exact).zip(&self.variance);
        let in_errors = distances.map(|((mean, exact), variance)| {
            let error = (variance / self.groups as f64).sqrt();
            (mean - exact).abs() / error
        });
        in_errors.fold(0.0, f64::max)
    }
}

/// Draws groups with `summaries` scores of 0 or 1 per budget, and takes every baseline's gradient of the same groups.
pub(crate) fn sample(toy: &Toy, size: usize, summaries: usize, groups: usize, all: &[&Advantages<'_>]) -> Vec<Sampled> {
    let mut random = ChaCha8Rng::seed_from_u64(20);
    let traces: Vec<Vec<Trace>> = toy.problems().map(|problem| toy.traces(problem)).collect();
    let mut sums = vec![vec![0.0; toy.parameters()]; all.len()];
    let mut squares = sums.clone();
    for _ in 0..groups {
        let problem = random.random_range(toy.problems());
        let of_group: Vec<&Trace> = (0..size).map(|_| draw(&traces[problem], &mut random)).collect();
        let mut scores = Vec::with_capacity(size);
        for trace in &of_group {
            let mut score = |right: f64| if random.random::<f64>() < right { 1.0 } else { 0.0 };
            let row: Vec<Vec<f64>> = (trace.right.iter())
                .map(|right| (0..summaries).map(|_| score(*right)).collect())
                .collect();
            scores.push(row);
        }
        let table = table(toy, &of_group, scores);
        for ((advantages, sums), squares) in all.iter().zip(&mut sums).zip(&mut squares) {
            let mut gradient = vec![0.0; toy.parameters()];
            for (trace, advantages) in of_group.iter().zip(&advantages(table.clone())) {
                toy.add_gradient(&mut gradient, trace, advantages, 1.0 / size as f64);
            }
            for ((sum, square), value) in sums.iter_mut().zip(squares).zip(&gradient) {
                *sum += value;
                *square += value * value;
            }
        }
    }
    let count = groups as f64;
    let means = sums.into_iter().zip(squares);
    means
        .map(|(sums, squares)| {
            let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
            let variance = squares.iter().zip(&mean);
            Sampled {
                variance: variance.map(|(square, mean)| square / count - mean * mean).collect(),
                mean,
                groups,
            }
        })
        .collect()
}

fn three_budgets() -> Toy {
    Toy::new(&[1, 2, 3], &[0.2, 0.3, 0.5])
}

fn uneven_budgets() -> Toy {
    Toy::new(&[1, 3, 4], &[0.5, 0.1, 0.4])
}

fn assert_equal(actual: &[f64], expected: &[f64], what: &str) {
    for (parameter, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (actual - expected).abs() < 1e-8,
            "{what}, parameter {parameter}: {actual}, {expected}"
        );
    }
}

#[test]
fn every_baseline_that_leaves_the_trace_out_is_unbiased() {
    for toy in [three_budgets(), uneven_budgets()] {
        let exact = toy.exact_gradient();
        assert!(
            exact.iter().all(|slope| slope.abs() > 1e-7),
            "every parameter counts: {exact:?}"
        );
        for (reduction, mix) in [
            (VarianceReduction::None, v1::Mix::Index),
            (VarianceReduction::V1, v1::Mix::Index),
            (VarianceReduction::V2, v1::Mix::Index),
            (VarianceReduction::Brpo, v1::Mix::Index),
            (VarianceReduction::Brpo, v1::Mix::Budget),
        ] {
            let settings = variant(&toy, reduction, true, mix);
            let expected = expected_gradient(&toy, 2, &of_objective(&settings));
            assert_equal(&expected, &exact, &format!("{reduction:?} {mix:?}"));
        }
    }
}

#[test]
fn the_papers_v2_shortens_each_segment_by_its_weight_over_the_size_of_the_group() {
    for size in [2, 3] {
        let toy = three_budgets();
        let (segments, exact) = (toy.budgets.len() as f64, toy.exact_gradient());
        // w: the weight of V2 at a segment.
        type Weight<'a> = &'a dyn Fn(usize) -> f64;
        let brpo: Weight<'_> = &|segment| (segments - segment as f64) / segments;
        let variants = [(VarianceReduction::Brpo, brpo), (VarianceReduction::V2, &|_| 1.0)];
        for (reduction, weight) in variants {
            let settings = variant(&toy, reduction, false, v1::Mix::Index);
            let expected = expected_gradient(&toy, size, &of_objective(&settings));
            let shortened: Vec<f64> = (exact.iter().enumerate())
                .map(|(parameter, slope)| slope * (1.0 - weight(toy.segment_of_parameter(parameter)) / size as f64))
                .collect();
            assert_equal(&expected, &shortened, &format!("{reduction:?}, G = {size}"));
        }
    }
}

#[test]
fn a_baseline_that_peeks_at_the_budget_to_come_is_biased() {
    let toy = three_budgets();
    let exact = toy.exact_gradient();
    let expected = expected_gradient(&toy, 2, &peeking(&toy.prior));
    let largest = expected
        .iter()
        .zip(&exact)
        .map(|(one, other)| (one - other).abs())
        .fold(0.0, f64::max);
    assert!(largest > 0.01, "{largest}");
}

#[test]
fn sampled_gradients_agree_within_four_standard_errors_and_a_wrong_baseline_does_not() {
    let toy = three_budgets();
    let exact = toy.exact_gradient();
    let size = 4;
    let reductions = [
        VarianceReduction::None,
        VarianceReduction::V1,
        VarianceReduction::V2,
        VarianceReduction::Brpo,
    ];
    let left_out = reductions.map(|reduction| of_objective(&variant(&toy, reduction, true, v1::Mix::Index)));
    let paper = of_objective(&variant(&toy, VarianceReduction::Brpo, false, v1::Mix::Index));
    let peeking = peeking(&toy.prior);
    let mut all: Vec<&Advantages<'_>> = left_out.iter().map(|one| one as &Advantages<'_>).collect();
    all.extend([&paper as &Advantages<'_>, &peeking]);
    let sampled = sample(&toy, size, 1, 20_000, &all);
    for (reduction, sampled) in reductions.iter().zip(&sampled) {
        let distance = sampled.standard_errors_from(&exact);
        println!("{reduction:?}: {distance:.2} standard errors");
        assert!(distance < 4.0, "{reduction:?}: {distance}");
    }

    let segments = toy.budgets.len() as f64;
    let shortened: Vec<f64> = (exact.iter().enumerate())
        .map(|(parameter, slope)| {
            let weight = (segments - toy.segment_of_parameter(parameter) as f64) / segments;
            slope * (1.0 - weight / size as f64)
        })
        .collect();
    let [paper, peeking] = &sampled[reductions.len()..] else {
        panic!("two more were sampled");
    };
    let of_paper = (
        paper.standard_errors_from(&shortened),
        paper.standard_errors_from(&exact),
    );
    println!(
        "the paper's: {:.2} from the shortened gradient, {:.2} from the exact one",
        of_paper.0, of_paper.1
    );
    assert!(of_paper.0 < 4.0 && of_paper.1 > 4.0, "{of_paper:?}");
    let of_peeking = peeking.standard_errors_from(&exact);
    println!("peeking: {of_peeking:.2}");
    assert!(of_peeking > 4.0, "{of_peeking}");
}
