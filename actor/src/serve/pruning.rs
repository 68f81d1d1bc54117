//! Which branches of a request are given up (SART, arXiv 2505.13326). A branch is scored by a service, or without one by how
//! far its summaries agree with each other, and with the answers that the other branches have so far.
//!
//! Until the first branch has ended, those below a low threshold are given up, but not many: they explore. From then on the
//! threshold is the score of that branch. So many stay as have to end.

use std::collections::{BTreeMap, BTreeSet};

use super::anytime::{PruneRule, ScoredBy};
use super::polling::Chosen;
use super::vote::are_equal;

/// What a branch said last.
#[derive(Clone, Debug)]
struct Said {
    answer: Option<String>,
    agreement: f64,
}

/// The branches of a request.
pub(crate) struct Pruning {
    rule: PruneRule,
    /// So many have to end.
    finish_first: usize,
    /// Branches that are not given up.
    left: usize,
    given_up: BTreeSet<usize>,
    /// How often there was no score.
    unscored: usize,
    /// By branch (from 0), those that are not given up.
    said: BTreeMap<usize, Said>,
    /// The score of the first branch that ended.
    first_ended: Option<f64>,
}

impl Pruning {
    pub(crate) fn new(rule: PruneRule, branches: u32, finish_first: u32) -> Self {
        Self {
            rule,
            finish_first: finish_first as usize,
            left: branches as usize,
            given_up: BTreeSet::new(),
            unscored: 0,
            said: BTreeMap::new(),
            first_ended: None,
        }
    }

    /// A branch that thinks has been looked at; true where it is to be given up. Without a score it never is.
    pub(crate) fn look(&mut self, branch: usize, score: Option<f64>) -> bool {
        let Some(score) = score else {
            self.unscored += 1;
            return false;
        };
        let is_below = match self.first_ended {
            Some(threshold) => score < threshold,
            None => score < self.rule.threshold && self.given_up.len() < self.rule.most,
        };
        if !is_below || self.left <= self.finish_first || !self.given_up.insert(branch) {
            return false;
        }
        self.left -= 1;
        self.said.remove(&branch);
        true
    }

    /// A branch has ended.
    pub(crate) fn end(&mut self, score: Option<f64>) {
        match score {
            Some(score) => _ = self.first_ended.get_or_insert(score),
            None => self.unscored += 1,
        }
    }

    /// How many were given up.
    pub(crate) fn given_up(&self) -> usize {
        self.given_up.len()
    }

    /// How often there was no score; None where scores are made here.
    pub(crate) fn unscored(&self) -> Option<usize> {
        (self.rule.by == ScoredBy::Reward).then_some(self.unscored)
    }

    /// Keeps what a branch says, and gives its score: the mean of its own agreement and of the share of the others, among
    /// those that have said anything, that answer the same.
    pub(crate) fn hear(&mut self, branch: usize, chosen: &Chosen) -> f64 {
        let said = Said {
            answer: chosen.answer.clone(),
            agreement: chosen.agreement,
        };
        let others: Vec<&Said> = (self.said.iter())
            .filter(|(other, _)| **other != branch)
            .map(|(_, said)| said)
            .collect();
        let agrees = |other: &&&Said| match (&other.answer, &said.answer) {
            (Some(one), Some(two)) => are_equal(one, two),
            _ => false,
        };
        let score = if said.answer.is_none() {
            // Texts without an answer may well agree.
            0.0
        } else if others.is_empty() {
            said.agreement
        } else {
            let agreeing = others.iter().filter(agrees).count() as f64 / others.len() as f64;
            (said.agreement + agreeing) / 2.0
        };
        self.said.insert(branch, said);
        score
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(answer: &str, agreement: f64) -> Chosen {
        Chosen {
            index: 0,
            content: String::new(),
            answer: (!answer.is_empty()).then(|| answer.to_owned()),
            agreement,
            is_cut_off: false,
        }
    }

    fn pruning(threshold: f64, most: usize, finish_first: u32) -> Pruning {
        let rule = PruneRule {
            every: 10,
            threshold,
            most,
            by: ScoredBy::Agreement,
        };
        Pruning::new(rule, 4, finish_first)
    }

    fn look(pruning: &mut Pruning, branch: usize, chosen: &Chosen) -> bool {
        let score = pruning.hear(branch, chosen);
        pruning.look(branch, Some(score))
    }

    #[test]
    fn without_a_score_nothing_is_given_up() {
        let mut pruning = pruning(1.0, 4, 1);
        assert!(!pruning.look(0, None));
        pruning.end(None);
        assert_eq!((pruning.given_up(), pruning.unscored), (0, 2));
        assert!(pruning.look(1, Some(0.9)), "nobody's end has a score yet");
        pruning.end(Some(0.5));
        pruning.end(Some(0.8));
        assert!(
            !pruning.look(2, Some(0.6)),
            "the first score of an end is the threshold"
        );
        assert!(pruning.look(3, Some(0.4)));
        assert!(!pruning.look(3, Some(0.1)), "it is given up already");
        assert_eq!(pruning.given_up(), 2);
    }

    #[test]
    fn while_none_has_ended_few_are_given_up() {
        let mut pruning = pruning(0.4, 1, 1);
        assert!(!look(&mut pruning, 0, &chosen("7", 0.5)), "alone it agrees with itself");
        // Half of its own and none of the other: 0.25.
        assert!(look(&mut pruning, 1, &chosen("8", 0.5)));
        assert!(!look(&mut pruning, 2, &chosen("9", 0.25)), "one is as many as may be");
        assert_eq!(pruning.given_up(), 1);
        // What was given up says nothing any more.
        assert!(!look(&mut pruning, 3, &chosen("14/2", 0.5)));
    }

    #[test]
    fn behind_the_first_end_its_score_is_the_threshold() {
        let mut pruning = pruning(0.0, 4, 2);
        assert!(!look(&mut pruning, 0, &chosen("7", 1.0)));
        assert!(!look(&mut pruning, 1, &chosen("8", 0.5)));
        assert!(!look(&mut pruning, 2, &chosen("", 1.0)), "nothing is below 0");
        // Its own half, and one of three others: 0.42.
        let score = pruning.hear(3, &chosen("7", 0.5));
        pruning.end(Some(score));
        assert!(!look(&mut pruning, 0, &chosen("7.0", 0.75)));
        assert!(
            look(&mut pruning, 2, &chosen("", 1.0)),
            "without an answer there is no score"
        );
        assert!(look(&mut pruning, 1, &chosen("8", 0.5)));
        assert!(!look(&mut pruning, 0, &chosen("5", 0.1)), "two have to end");
        assert_eq!(pruning.given_up(), 2);
    }
}
