//! Cases of the corpora, spoilt and spliced.

use serde::Deserialize;

use crate::soup::PIECES;
use crate::support::{Random, answers, labelled, read_rows};

/// All that people, models and the other tests wrote.
pub(crate) struct Corpus {
    texts: Vec<String>,
    /// Pairs that are compared as they are, one of them a little changed.
    pairs: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Formula {
    truth: String,
    equal: Vec<String>,
    different: Vec<String>,
}

impl Corpus {
    pub(crate) fn read() -> Self {
        let mut texts = answers();
        let mut pairs = Vec::new();
        for case in labelled() {
            let answer = anytime_verifier::extract(&case.response, anytime_proto::v1::Extraction::Boxed);
            let answer = answer.unwrap_or(&case.response).to_owned();
            // Long ones are resource bombs, which come more rarely.
            if answer.len() < 300 {
                texts.push(answer.clone());
                pairs.push((answer, case.ground_truth));
            }
        }
        for formula in read_rows::<Formula>("formulas.jsonl") {
            for other in formula.equal.iter().chain(&formula.different) {
                texts.push(other.clone());
                pairs.push((other.clone(), formula.truth.clone()));
            }
            texts.push(formula.truth);
        }
        for (left, right) in read_rows::<(String, String)>("treacherous.jsonl") {
            texts.extend([left.clone(), right.clone()]);
            pairs.push((left, right));
        }
        Self { texts, pairs }
    }

    pub(crate) fn text(&self, random: &mut Random) -> String {
        random.pick(&self.texts).clone()
    }

    /// Two texts that have to do with each other.
    pub(crate) fn pair(&self, random: &mut Random) -> (String, String) {
        random.pick(&self.pairs).clone()
    }

    /// The start of one text and the end of another.
    pub(crate) fn splice(&self, random: &mut Random) -> String {
        let (first, second) = (self.text(random), self.text(random));
        let (first, second): (Vec<char>, Vec<char>) = (first.chars().collect(), second.chars().collect());
        let (end, start) = (random.below(first.len() + 1), random.below(second.len() + 1));
        first[..end].iter().chain(&second[start..]).collect()
    }
}

/// A text with a few small changes.
pub(crate) fn spoilt(text: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(3) {
        let position = random.below(characters.len() + 1);
        match random.below(9) {
            0 | 1 if position < characters.len() => {
                characters.remove(position);
            }
            2 if position + 1 < characters.len() => characters.swap(position, position + 1),
            3 if position < characters.len() => {
                let digits = ['0', '1', '2', '3', '9'];
                characters[position] = *random.pick(&digits);
            }
            4 => {
                let end = (position + 1 + random.below(6)).min(characters.len());
                let copied: Vec<char> = characters[position.min(end)..end].to_vec();
                let target = random.below(characters.len() + 1);
                characters.splice(target..target, copied);
            }
            5 => characters.insert(position, ' '),
            6 => characters.insert(
                position,
                *random.pick(&['-', '+', '^', '_', '(', ')', '1', '!', ',', '.']),
            ),
            _ => {
                characters.splice(position..position, random.pick(&PIECES).chars());
            }
        }
    }
    characters.into_iter().collect()
}
