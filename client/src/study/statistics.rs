//! The statistics of a study: few seeds, so Student's t, exact permutations, and a correction for many comparisons.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

/// Level of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// More seeds than this have too many sign patterns to go through all of them.
const MOST_SIGNS: usize = 20;

/// Sums of the same numbers in another order differ by less than this.
const ROUNDING: f64 = 1e-12;

/// A mean with its 95 % t-interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half width of the interval; none for a single value.
    pub half_width: Option<f64>,
    /// How many values.
    pub count: usize,
}

impl Estimate {
    /// Lower and upper end.
    pub fn ends(&self) -> Option<(f64, f64)> {
        self.half_width.map(|half| (self.mean - half, self.mean + half))
    }
}

/// Mean and t-interval of independent values; none if there are no values.
pub fn estimate(values: &[f64]) -> Option<Estimate> {
    let mean = mean(values)?;
    let half_width = standard_error(values).and_then(|error| {
        let t = student(values.len())?.inverse_cdf(0.5 + CONFIDENCE / 2.0);
        Some(t * error)
    });
    Some(Estimate {
        mean,
        half_width,
        count: values.len(),
    })
}

/// Two methods compared by the differences of runs with the same seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedTest {
    /// Mean difference with its t-interval.
    pub difference: Estimate,
    /// Two-sided p of the paired t-test; none with fewer than two pairs.
    pub p_t: Option<f64>,
    /// Two-sided p of the exact sign-flip permutation test: its least possible value is 2^(1−n). None with fewer than
    /// two pairs or with too many to go through.
    pub p_sign_flip: Option<f64>,
}

/// Tests whether paired differences have mean zero; none without a pair.
pub fn paired_test(differences: &[f64]) -> Option<PairedTest> {
    Some(PairedTest {
        difference: estimate(differences)?,
        p_t: p_of_t(differences),
        p_sign_flip: p_of_sign_flips(differences),
    })
}

fn p_of_t(differences: &[f64]) -> Option<f64> {
    let error = standard_error(differences)?;
    let mean = mean(differences)?;
    if error == 0.0 {
        // Without any variation the differences are either all zero, or all the same number that is not.
        return Some(if mean == 0.0 { 1.0 } else { 0.0 });
    }
    let t = (mean / error).abs();
    Some(2.0 * student(differences.len())?.sf(t))
}

/// Under the null hypothesis each difference is as likely to have the other sign.
fn p_of_sign_flips(differences: &[f64]) -> Option<f64> {
    let count = differences.len();
    if !(2..=MOST_SIGNS).contains(&count) {
        return None;
    }
    let observed = differences.iter().sum::<f64>().abs();
    let patterns = 1_u32 << count;
    let mut as_extreme = 0_u32;
    for pattern in 0..patterns {
        let mut sum = 0.0;
        for (index, difference) in differences.iter().enumerate() {
            let is_flipped = pattern >> index & 1 == 1;
            sum += if is_flipped { -difference } else { *difference };
        }
        as_extreme += u32::from(sum.abs() >= observed - ROUNDING);
    }
    Some(f64::from(as_extreme) / f64::from(patterns))
}

/// Holm's step-down correction: p values that hold for all comparisons together, in the order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        let remaining = (p_values.len() - rank) as f64;
        largest = largest.max((remaining * p_values[index]).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

/// The value of a piecewise linear curve through points with ascending x; none outside of them.
pub fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    if x < first.0 || x > last.0 {
        return None;
    }
    if x == first.0 {
        return Some(first.1);
    }
    let after = points.iter().position(|point| point.0 >= x)?;
    let (right, left) = (points[after], points[after.checked_sub(1)?]);
    let share = (x - left.0) / (right.0 - left.0);
    Some(left.1 + share * (right.1 - left.1))
}

/// The mean; none if there are no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| anytime_objectives::statistics::mean(values))
}

/// The standard error of the mean; none for fewer than two values.
fn standard_error(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let count = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    // Equal values give a mean that is off by a rounding error, and then a variance that is not zero.
    if values.iter().all(|value| *value == values[0]) {
        return Some(0.0);
    }
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (count - 1.0) / count).sqrt())
}

/// Student's t-distribution for the mean of `count` values.
fn student(count: usize) -> Option<StudentsT> {
    let freedom = count.checked_sub(1)? as f64;
    StudentsT::new(0.0, 1.0, freedom).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    /// Values of R: t.test(c(1, 2, 4, 4, 9)).
    #[test]
    fn intervals_and_p_values_are_those_of_r() {
        let values = [1.0, 2.0, 4.0, 4.0, 9.0];
        let test = paired_test(&values).unwrap();
        assert_close(test.difference.mean, 4.0);
        // sd = sqrt(9.5), t(0.975, 4) = 2.776445
        assert_close(
            test.difference.half_width.unwrap(),
            2.776_445_105 * (9.5_f64 / 5.0).sqrt(),
        );
        // t = 2.901905, 4 degrees of freedom: the closed form of the tail is 1/2 − x(3 − x²)/4 with x = t/√(4 + t²).
        let t = 4.0 / (9.5_f64 / 5.0).sqrt();
        let x = t / (4.0 + t * t).sqrt();
        assert_close(test.p_t.unwrap(), 2.0 * (0.5 - x * (3.0 - x * x) / 4.0));
        // All positive: only the pattern itself and its mirror image are as extreme.
        assert_close(test.p_sign_flip.unwrap(), 2.0 / 32.0);
    }

    #[test]
    fn sign_flips_are_counted_exactly() {
        // |±3 ±1| ≥ 2 always; |±3 ±1 ±1| ≥ 3: 3+1+1, 3+1-1, 3-1+1 and their mirror images.
        assert_eq!(paired_test(&[3.0, -1.0]).unwrap().p_sign_flip, Some(1.0));
        assert_eq!(paired_test(&[3.0, 1.0, -1.0]).unwrap().p_sign_flip, Some(0.75));
        assert_eq!(paired_test(&[0.1; 21]).unwrap().p_sign_flip, None);
    }

    #[test]
    fn too_few_values_have_no_interval() {
        assert_eq!(estimate(&[]), None);
        let single = paired_test(&[0.5]).unwrap();
        assert_eq!(
            (single.difference.half_width, single.p_t, single.p_sign_flip),
            (None, None, None)
        );
        assert_eq!(paired_test(&[0.0, 0.0]).unwrap().p_t, Some(1.0));
        let same = paired_test(&[0.1, 0.1, 0.1]).unwrap();
        assert_eq!((same.difference.half_width, same.p_t), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn holm_steps_down_and_keeps_the_order() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in corrected.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert_close(*found, expected);
        }
        assert_eq!(holm(&[0.6, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn curves_are_linear_between_their_points() {
        let curve = [(0.0, 0.5), (10.0, 0.7), (20.0, 0.6)];
        for (x, expected) in [(0.0, 0.5), (5.0, 0.6), (10.0, 0.7), (15.0, 0.65), (20.0, 0.6)] {
            assert_close(interpolate(&curve, x).unwrap(), expected);
        }
        assert_eq!(
            (
                interpolate(&curve, -1.0),
                interpolate(&curve, 21.0),
                interpolate(&[], 0.0)
            ),
            (None, None, None)
        );
    }
}
