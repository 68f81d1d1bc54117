//! `results.json`: what came of every run of a study. The report is made of this file alone.

use std::path::Path;

use anyhow::Context as _;
use anytime_proto::settings::{kept_spec_from_json, with_defaults};
use anytime_proto::v1;
use anytime_service::exit::ExitError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stability::Stability;
use crate::output::write_whole;

/// Name of the file in a study's directory.
pub const RESULTS_FILE: &str = "results.json";

/// One finished run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct RunResult {
    /// The preset that was run, `BASE/METHOD`.
    pub preset: String,
    /// What the study calls it; another name than the preset's where the study changes its settings.
    pub method: String,
    /// The seed of data, first weights, warm start and all sampling; runs of one seed differ in the method alone.
    pub seed: u64,
    /// Budgets of the evaluation in tokens, ascending, the same for every method.
    pub budgets: Vec<u32>,
    /// Accuracy at each budget after the last step.
    pub accuracy: Vec<f64>,
    /// Unweighted mean over the budgets.
    pub anytime: f64,
    /// At the largest budget.
    #[serde(rename = "final")]
    pub final_accuracy: f64,
    /// Mean length of the thinking in tokens.
    pub mean_thinking_tokens: f64,
    /// Training steps.
    pub steps: u64,
    /// Wall time of the job in seconds, evaluations included.
    pub seconds: f64,
    /// Wall time of the training steps alone.
    pub training_seconds: f64,
    /// Tokens generated for training, thinking and summaries.
    pub generated_tokens: u64,
    /// Problems of an evaluation.
    pub problems: u32,
    /// Traces per problem of an evaluation.
    pub samples: u32,
    /// Every evaluation, by step; step 0 is what training started from.
    pub evaluations: Vec<EvaluationPoint>,
    /// The baselines by segment, pooled over the first tenth of the steps; empty where the learner did not measure
    /// them.
    pub segments: Vec<SegmentPool>,
    /// How the reward of training went; none in results of earlier versions, and for fewer than ten steps.
    #[serde(default)]
    pub stability: Option<Stability>,
    /// Directory of the run, relative to the study's; its report.json is the learner's account.
    pub run: String,
    /// The learner's id of the job.
    pub job_id: String,
    /// The job's settings, defaults included.
    pub settings: Value,
}

/// Accuracy after a number of steps.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
#[derive(Default)]
pub struct EvaluationPoint {
    /// Steps done.
    pub step: u64,
    /// Tokens generated for training so far.
    pub generated_tokens: u64,
    /// Wall time of the training steps so far, evaluations left out.
    pub seconds: f64,
    /// Accuracy at each budget.
    pub accuracy: Vec<f64>,
    /// Half width of the 95 % interval over problems of each accuracy.
    pub ci95: Vec<f64>,
    /// Unweighted mean over the budgets.
    pub anytime: f64,
    /// At the largest budget.
    #[serde(rename = "final")]
    pub final_accuracy: f64,
    /// Mean length of the thinking in tokens.
    pub mean_thinking_tokens: f64,
    /// Share of summaries with the right format.
    pub formatted_share: f64,
    /// Share of traces that ended their thinking themselves.
    pub finished_share: f64,
    /// Share of traces that were right at an earlier budget and are not at the largest.
    pub overthinking_share: f64,
}

/// The baselines in one segment: means over steps, weighed by traces.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SegmentPool {
    /// The budget at which the segment ends.
    pub budget: u32,
    /// Number of traces in all pooled steps.
    pub traces: u64,
    /// Corr[V1, R], Corr[V2, R], Corr[V, R]; none where no step had a value.
    pub correlation: [Option<f64>; 3],
    /// `Var[R − V1] / Var[R]`, and the same for V2 and V.
    pub variance: [Option<f64>; 3],
}

/// Where a run belongs in the study.
#[derive(Clone, Debug)]
pub struct RunName {
    /// The preset, `BASE/METHOD`.
    pub preset: String,
    /// What the study calls it.
    pub method: String,
    /// The seed of the run.
    pub seed: u64,
    /// Directory of the run, relative to the study's.
    pub run: String,
}

impl RunResult {
    /// The result of a job that has succeeded; `series` are all its steps.
    ///
    /// # Errors
    /// If it was not evaluated after its last step.
    pub fn of(name: &RunName, job: &v1::Job, series: &[v1::StepMetrics]) -> anyhow::Result<Self> {
        let evaluations: Vec<EvaluationPoint> = job.evaluations.iter().map(|one| point(one, series)).collect();
        let newest = job
            .evaluations
            .iter()
            .rev()
            .find(|one| one.step == job.step && one.step > 0);
        let newest = newest.with_context(|| format!("job {} was not evaluated after its last step", job.id))?;
        let spec = job.spec.clone().unwrap_or_default();
        Ok(Self {
            preset: name.preset.clone(),
            method: name.method.clone(),
            seed: name.seed,
            budgets: newest.budgets.clone(),
            accuracy: newest.accuracy.clone(),
            anytime: newest.anytime,
            final_accuracy: newest.r#final,
            mean_thinking_tokens: newest.mean_thinking_tokens,
            steps: job.step,
            seconds: job.seconds,
            training_seconds: series.iter().map(|step| step.step_seconds).sum(),
            generated_tokens: series.iter().map(generated_tokens).sum(),
            problems: newest.problems,
            samples: newest.samples,
            evaluations,
            segments: pool(series),
            stability: Stability::of(series),
            run: name.run.clone(),
            job_id: job.id.clone(),
            settings: serde_json::to_value(with_defaults(&spec)).context("settings")?,
        })
    }

    /// Whether the run had these settings; those that the learner fills in are not compared, nor where the study lay.
    pub fn has_settings(&self, wanted: &v1::JobSpec) -> bool {
        let Ok(found) = kept_spec_from_json(self.settings.clone()) else {
            return false;
        };
        let in_study = |spec: v1::JobSpec| with_paths_in_study(spec, self.seed);
        crate::local::is_same_job(&in_study(with_defaults(wanted)), &in_study(found))
    }
}

/// The directory of a seed, relative to the study's.
pub fn seed_directory(seed: u64) -> String {
    format!("seed-{seed}")
}

/// What a study makes itself lies below the directory of its seed, wherever `--out` is: paths from there on.
fn with_paths_in_study(mut spec: v1::JobSpec, seed: u64) -> v1::JobSpec {
    let directory = seed_directory(seed);
    let model = spec.model.iter_mut().filter_map(|model| model.path.as_mut());
    let data = spec.data.iter_mut().flat_map(|data| &mut data.path);
    let evaluation = spec.evaluation.iter_mut().flat_map(|evaluation| &mut evaluation.path);
    for path in model.chain(data).chain(evaluation) {
        let parts: Vec<&str> = path.split('/').collect();
        if let Some(start) = parts.iter().rposition(|part| *part == directory) {
            *path = parts[start..].join("/");
        }
    }
    spec
}

fn point(evaluation: &v1::EvaluationResult, series: &[v1::StepMetrics]) -> EvaluationPoint {
    let until = series.iter().filter(|step| step.step <= evaluation.step);
    EvaluationPoint {
        step: evaluation.step,
        generated_tokens: until.clone().map(generated_tokens).sum(),
        seconds: until.map(|step| step.step_seconds).sum(),
        accuracy: evaluation.accuracy.clone(),
        ci95: evaluation.ci95.clone(),
        anytime: evaluation.anytime,
        final_accuracy: evaluation.r#final,
        mean_thinking_tokens: evaluation.mean_thinking_tokens,
        formatted_share: evaluation.formatted_share,
        finished_share: evaluation.finished_share,
        overthinking_share: evaluation.overthinking_share,
    }
}

/// Tokens generated in a step. Earlier learners report only their rate.
fn generated_tokens(step: &v1::StepMetrics) -> u64 {
    if step.generated_tokens > 0 {
        return step.generated_tokens;
    }
    (step.generated_tokens_per_second * step.step_seconds).round().max(0.0) as u64
}

/// Share of the steps, counted from the first, over which the baselines are pooled. The paper measures its baselines on
/// the model that training starts from. Towards the end nearly every trace is right, and ratios over the small variance
/// of R become arbitrarily large.
const POOLED_SHARE: f64 = 0.1;

fn pool(series: &[v1::StepMetrics]) -> Vec<SegmentPool> {
    let steps = series.iter().map(|step| step.step).max().unwrap_or(0);
    let last = (steps as f64 * POOLED_SHARE).ceil() as u64;
    let early: Vec<&v1::StepMetrics> = series.iter().filter(|step| step.step <= last).collect();
    let series = early.as_slice();
    let mut budgets: Vec<u32> = series
        .iter()
        .flat_map(|step| step.segments.iter().map(|segment| segment.budget))
        .collect();
    budgets.sort_unstable();
    budgets.dedup();
    let of_budget = |budget: u32| {
        let segments: Vec<&v1::SegmentStatistics> = series
            .iter()
            .flat_map(|step| &step.segments)
            .filter(|segment| segment.budget == budget)
            .collect();
        let pooled = |value: fn(&v1::SegmentStatistics) -> Option<f64>| weighted_mean(&segments, value);
        SegmentPool {
            budget,
            traces: segments.iter().map(|segment| segment.traces).sum(),
            correlation: [
                pooled(|segment| segment.correlation_v1),
                pooled(|segment| segment.correlation_v2),
                pooled(|segment| segment.correlation_v),
            ],
            variance: [
                pooled(|segment| segment.variance_v1),
                pooled(|segment| segment.variance_v2),
                pooled(|segment| segment.variance_v),
            ],
        }
    };
    budgets.into_iter().map(of_budget).collect()
}

fn weighted_mean(segments: &[&v1::SegmentStatistics], value: fn(&v1::SegmentStatistics) -> Option<f64>) -> Option<f64> {
    let mut sum = 0.0;
    let mut weight = 0.0;
    for segment in segments {
        let Some(value) = value(segment).filter(|value| value.is_finite()) else {
            continue;
        };
        sum += value * segment.traces as f64;
        weight += segment.traces as f64;
    }
    (weight > 0.0).then(|| sum / weight)
}

/// Reads the results of a directory; none where there is no file yet.
///
/// # Errors
/// [`ExitError`] with the configuration code if the file is broken.
pub fn load(directory: &Path) -> anyhow::Result<Option<Vec<RunResult>>> {
    let path = directory.join(RESULTS_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let results = serde_json::from_str(&text)
        .map_err(|error| ExitError::configuration(format!("{}: {error}", path.display())))?;
    Ok(Some(results))
}

/// Writes the results of a directory.
///
/// # Errors
/// If the file cannot be written.
pub fn save(directory: &Path, results: &[RunResult]) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(results).context("results")?;
    write_whole(&directory.join(RESULTS_FILE), text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(number: u64, traces: u64, correlation: Option<f64>) -> v1::StepMetrics {
        v1::StepMetrics {
            step: number,
            step_seconds: 2.0,
            generated_tokens_per_second: 50.0,
            segments: vec![v1::SegmentStatistics {
                budget: 6,
                traces,
                correlation_v: correlation,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn segments_of_the_first_tenth_are_pooled_by_traces() {
        let late = step(30, 1000, Some(-1.0));
        let series = [step(1, 10, Some(0.5)), step(2, 30, Some(0.9)), step(3, 100, None), late];
        let pooled = pool(&series);
        assert_eq!((pooled[0].budget, pooled[0].traces), (6, 140));
        assert!((pooled[0].correlation[2].unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(pooled[0].variance, [None; 3]);
        assert!(pool(&[]).is_empty());
    }

    #[test]
    fn a_study_that_was_moved_goes_on_and_one_of_other_data_does_not() {
        let spec = |out: &str, data: &str| v1::JobSpec {
            model: Some(v1::ModelSpec {
                path: Some(format!("{out}/seed-1/sft")),
                ..Default::default()
            }),
            data: Some(v1::DataSpec {
                path: vec![format!("{out}/{data}")],
                ..Default::default()
            }),
            ..Default::default()
        };
        let name = RunName {
            preset: "demo/grpo".to_owned(),
            method: "grpo".to_owned(),
            seed: 1,
            run: "seed-1/grpo".to_owned(),
        };
        let job = v1::Job {
            step: 1,
            evaluations: vec![v1::EvaluationResult {
                step: 1,
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut result = RunResult::of(&name, &job, &[]).unwrap();
        result.settings = serde_json::to_value(with_defaults(&spec("/runs/study", "seed-1/data/train.jsonl"))).unwrap();
        assert!(result.has_settings(&spec("elsewhere", "seed-1/data/train.jsonl")));
        assert!(result.has_settings(&spec("seed-1/deep", "seed-1/data/train.jsonl")));
        // Results of earlier versions have a setting that is gone.
        result.settings["training"]["seed"] = 1.into();
        assert!(result.has_settings(&spec("elsewhere", "seed-1/data/train.jsonl")));
        for other in ["seed-1/data/test.jsonl", "seed-2/data/train.jsonl", "train.jsonl"] {
            assert!(!result.has_settings(&spec("/runs/study", other)), "{other}");
        }
    }

    #[test]
    fn totals_add_up_to_each_evaluation() {
        let series = [step(1, 10, Some(0.5)), step(2, 30, Some(0.9)), step(3, 100, None)];
        let evaluation = |step| v1::EvaluationResult {
            step,
            budgets: vec![6],
            accuracy: vec![0.5],
            ..Default::default()
        };
        let mut job = v1::Job {
            id: "x-1".to_owned(),
            step: 3,
            evaluations: vec![evaluation(0), evaluation(2), evaluation(3)],
            ..Default::default()
        };
        let name = RunName {
            preset: "demo/grpo".to_owned(),
            method: "grpo".to_owned(),
            seed: 1,
            run: "seed-1/grpo".to_owned(),
        };
        let result = RunResult::of(&name, &job, &series).unwrap();
        let totals: Vec<(u64, u64, f64)> = result
            .evaluations
            .iter()
            .map(|point| (point.step, point.generated_tokens, point.seconds))
            .collect();
        assert_eq!(totals, [(0, 0, 0.0), (2, 200, 4.0), (3, 300, 6.0)]);
        assert_eq!((result.generated_tokens, result.training_seconds), (300, 6.0));

        job.evaluations.pop();
        assert!(RunResult::of(&name, &job, &series).is_err(), "not evaluated at the end");
    }
}
