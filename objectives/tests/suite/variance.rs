//! The variance that each baseline leaves, measured against the others on the policy of `toy`.

use anytime_proto::v1::{Mix, VarianceReduction};

use crate::toy::Toy;
use crate::unbiased::{Advantages, of_objective, sample, variant};

#[test]
fn the_mix_leaves_the_least_variance() {
    let toy = Toy::new(&[1, 2, 3], &[0.2, 0.3, 0.5]);
    let reductions = [
        VarianceReduction::None,
        VarianceReduction::V1,
        VarianceReduction::V2,
        VarianceReduction::Brpo,
    ];
    let advantages = reductions.map(|reduction| of_objective(&variant(&toy, reduction, true, Mix::Index)));
    let all: Vec<&Advantages<'_>> = advantages.iter().map(|one| one as &Advantages<'_>).collect();
    // The paper's G and A.
    let sampled = sample(&toy, 8, 4, 4_000, &all);
    let variances: Vec<f64> = sampled.iter().map(|sampled| sampled.variance.iter().sum()).collect();
    for (reduction, variance) in reductions.iter().zip(&variances) {
        println!(
            "{reduction:?}: {:.3} of the variance without a baseline",
            variance / variances[0]
        );
    }
    let [none, v1, v2, mix] = variances[..] else {
        panic!("four were sampled");
    };
    assert!(none > v1 && none > v2 && v1 > mix && v2 > mix, "{variances:?}");
}
