//! From answers to a scored group, which is all that the figures of an evaluation need.

use anytime_proto::settings::JobSettings;
use anytime_proto::v1::{self, Extraction, FinishReason, VerdictKind};
use anytime_service::exit::ExitError;
use anytime_verifier::options::{Conventions, Options};
use anytime_verifier::{extract, grade};

use super::reply::{Answer, Sample};

/// Where the answer of a model is looked for that this project did not train: in its own form, then in a box.
const FORMS: [Extraction; 2] = [Extraction::Anytime, Extraction::Boxed];

/// The conventions of grading that the job asks for.
///
/// # Errors
/// [`ExitError`] with the configuration code where there are no such.
pub(super) fn conventions(settings: &JobSettings) -> Result<Conventions, ExitError> {
    let conventions = settings.grading.conventions();
    let options = Options::try_from_request(Extraction::Anytime.into(), Some(&conventions));
    Ok(options.map_err(ExitError::configuration)?.conventions)
}

/// What a user should know of the answers beside their accuracy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    answers: usize,
    /// Answers whose thinking was longer than asked for.
    over_budget: usize,
    /// Answers without any text.
    empty: usize,
}

impl Counted {
    pub(super) fn add(&mut self, other: &Self) {
        self.answers += other.answers;
        self.over_budget += other.over_budget;
        self.empty += other.empty;
    }

    /// Lines of warning; none where nothing is wrong.
    pub(super) fn says(&self) -> Vec<String> {
        let of = self.answers;
        let mut lines = Vec::new();
        if self.over_budget > 0 {
            let count = self.over_budget;
            lines.push(format!(
                "the thinking of {count} of {of} answers is longer than its budget; another --budget-field may be what this \
                 server reads"
            ));
        }
        if self.empty > 0 {
            let count = self.empty;
            lines.push(format!("{count} of {of} answers are empty, and count as wrong"));
        }
        lines
    }
}

/// The samples of a problem as a group with a trace each.
pub(super) fn group_of(
    samples: &[Sample],
    ground_truths: &[String],
    budgets: &[u32],
    conventions: &Conventions,
) -> (v1::ScoredGroup, Counted) {
    let mut counted = Counted::default();
    let traces = samples.iter().map(|sample| {
        let nodes = sample.answers.iter().zip(budgets).enumerate();
        let nodes = nodes.map(|(index, (answer, &budget))| {
            counted.answers += 1;
            counted.over_budget += usize::from(answer.thinking_tokens > budget as usize);
            counted.empty += usize::from(answer.content.trim().is_empty());
            v1::Node {
                cut: u32::try_from(answer.thinking_tokens).unwrap_or(u32::MAX),
                first_budget: index as u32,
                multiplicity: 1,
                inserted_ids: Vec::new(),
                summaries: vec![summary_of(answer, ground_truths, conventions)],
            }
        });
        let nodes: Vec<v1::Node> = nodes.collect();
        let last = sample.answers.last();
        let finish = match last {
            Some(last) if last.has_ended => FinishReason::EndMarker,
            _ => FinishReason::Length,
        };
        v1::Trace {
            thinking: Some(counted_tokens(last.map_or(0, |last| last.thinking_tokens), finish)),
            nodes,
        }
    });
    let group = v1::ScoredGroup {
        budgets: budgets.to_vec(),
        summaries_per_budget: 1,
        traces: traces.collect(),
        ..v1::ScoredGroup::default()
    };
    (group, counted)
}

fn summary_of(answer: &Answer, ground_truths: &[String], conventions: &Conventions) -> v1::Summary {
    let form = FORMS.into_iter().find(|&form| extract(&answer.content, form).is_some());
    let options = Options {
        extraction: form.unwrap_or_default(),
        conventions: *conventions,
    };
    let verdict = grade(&answer.content, ground_truths, &options).kind();
    v1::Summary {
        generated: Some(counted_tokens(answer.answer_tokens, FinishReason::Eos)),
        verdict: verdict.into(),
        formatted: form.is_some(),
        score: if verdict == VerdictKind::Correct { 1.0 } else { 0.0 },
    }
}

/// So many tokens, of which nothing else is known.
fn counted_tokens(tokens: usize, finish: FinishReason) -> v1::Generated {
    v1::Generated {
        ids: vec![0; tokens],
        finish: finish.into(),
        ..v1::Generated::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::result::evaluation_result;
    use crate::evaluation::tally::Tally;

    fn answer(content: &str, thinking_tokens: usize) -> Answer {
        Answer {
            content: content.to_owned(),
            thinking_tokens,
            answer_tokens: 2,
            has_ended: thinking_tokens < 8,
        }
    }

    #[test]
    fn samples_become_the_figures_of_an_evaluation() {
        let samples = [
            Sample {
                answers: vec![
                    answer("It is \\boxed{3}.", 4),
                    answer("**Final Answer**\n\\boxed{\\frac{1}{2}}", 6),
                ],
            },
            Sample {
                answers: vec![answer("", 9), answer("0.5", 8)],
            },
        ];
        let (group, counted) = group_of(&samples, &["1/2".to_owned()], &[4, 8], &Conventions::default());
        assert_eq!(
            counted,
            Counted {
                answers: 4,
                over_budget: 1,
                empty: 1
            }
        );
        assert_eq!(counted.says().len(), 2);
        let mut tally = Tally::new(std::iter::once(0..1).collect(), 2);
        tally.add(0, &group);
        let result = evaluation_result(&tally, &[4, 8]);
        // A number that stands in no box is no answer.
        assert_eq!(result.accuracy, [0.0, 0.5]);
        assert_eq!((result.problems, result.samples), (1, 2));
        assert_eq!(result.mean_thinking_tokens, 7.0);
        assert_eq!(result.generated_tokens, 6 + 8 + 4 * 2);
        assert_eq!((result.formatted_share, result.finished_share), (0.5, 0.5));
        assert!(Counted::default().says().is_empty());
    }
}
