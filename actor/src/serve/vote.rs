//! Which answer the summaries of a cut agree on. Two answers are the same where the grader calls them equal, so that 1/2
//! and 0.5 vote together; the largest class wins, and of equally large ones the more probable.

use anytime_proto::v1::{Extraction, VerdictKind};
use anytime_verifier::options::Conventions;
use anytime_verifier::{extract, grade_extracted};

/// One summary, as it votes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ballot {
    /// Its text.
    pub(crate) content: String,
    /// Natural logarithm of its probability.
    pub(crate) log_prob: f64,
}

/// What came of a vote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Elected {
    /// The summary that speaks for the largest class: its most probable.
    pub(crate) ballot: usize,
    /// The answer in it, where one is found.
    pub(crate) answer: Option<String>,
    /// The share of the summaries that are of its class, above 0 and at most 1.
    pub(crate) agreement: f64,
}

/// The answer in a text: in the form that this project trains, in a box, or its last number.
pub(crate) fn answer_in(content: &str) -> Option<&str> {
    [Extraction::Anytime, Extraction::Boxed, Extraction::LastNumber]
        .into_iter()
        .find_map(|form| extract(content, form))
        .map(str::trim)
        .filter(|answer| !answer.is_empty())
}

/// Whether the grader calls two answers equal.
pub(crate) fn are_equal(one: &str, other: &str) -> bool {
    let verdict = || grade_extracted(one, &[other.to_owned()], &Conventions::default());
    one == other || verdict().kind() == VerdictKind::Correct
}

/// Counts the votes. None where there are none.
pub(crate) fn elect(ballots: &[Ballot]) -> Option<Elected> {
    let answers: Vec<Option<&str>> = ballots.iter().map(|ballot| answer_in(&ballot.content)).collect();
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        let is_of = |class: &Vec<usize>| match (answer, answers[class[0]]) {
            (Some(one), Some(other)) => are_equal(one, other),
            // Without answers, texts are compared as they stand.
            (None, None) => ballots[index].content.trim() == ballots[class[0]].content.trim(),
            _ => false,
        };
        match classes.iter().position(is_of) {
            Some(class) => classes[class].push(index),
            None => classes.push(vec![index]),
        }
    }
    let weight = |class: &[usize]| -> f64 { class.iter().map(|&index| ballots[index].log_prob.exp()).sum() };
    let best = classes.iter().max_by(|one, other| {
        let by_size = one.len().cmp(&other.len());
        by_size.then_with(|| weight(one).total_cmp(&weight(other)))
    })?;
    let by_probability = |one: &&usize, other: &&usize| ballots[**one].log_prob.total_cmp(&ballots[**other].log_prob);
    let ballot = *best.iter().max_by(by_probability)?;
    Some(Elected {
        ballot,
        answer: answers[ballot].map(str::to_owned),
        agreement: best.len() as f64 / ballots.len() as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ballot(answer: &str, log_prob: f64) -> Ballot {
        Ballot {
            content: format!("**Final Answer**\n\\boxed{{{answer}}}"),
            log_prob,
        }
    }

    #[test]
    fn equal_values_vote_together() {
        let ballots = [ballot("0.5", -3.0), ballot("7", -0.1), ballot("\\frac{1}{2}", -2.0)];
        let elected = elect(&ballots).unwrap();
        assert_eq!((elected.ballot, elected.answer.as_deref()), (2, Some("\\frac{1}{2}")));
        assert!((elected.agreement - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn of_equally_large_classes_the_more_probable_wins() {
        let ballots = [ballot("1", -3.0), ballot("2", -1.0)];
        assert_eq!(elect(&ballots).unwrap().answer.as_deref(), Some("2"));
        let ballots = [ballot("1", -0.5), ballot("2", -1.0)];
        assert_eq!(elect(&ballots).unwrap().answer.as_deref(), Some("1"));
    }

    #[test]
    fn texts_without_an_answer_are_compared_as_they_stand() {
        let text = |content: &str| Ballot {
            content: content.to_owned(),
            log_prob: -1.0,
        };
        let elected = elect(&[text("yes "), text("no"), text("yes")]).unwrap();
        assert_eq!((elected.answer, elected.agreement), (None, 2.0 / 3.0));
        assert_eq!(elect(&[]), None);
        assert_eq!(answer_in("It is 12."), Some("12"));
    }
}
