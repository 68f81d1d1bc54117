//! Checks whether the numbers of a token depend on what is computed together with it (batch invariance).
//!
//! Attention, normalisation and drawing are independent by construction (`operators`). Products are not:
//! [`Decoder::set_row_independent`] sends all of them through oneDNN in full blocks of rows, which it treated alike on
//! every machine that was measured. But oneDNN promises nothing of the kind and chooses its code by processor and shape, so whoever
//! relies on it checks first.

use tch::Tensor;

use crate::cache::{KvCache, Slots};
use crate::decoder::Decoder;
use crate::extension::Extension;

/// Tokens of the sequences whose numbers are compared: one that attends with others and one that attends alone.
const LENGTHS: [usize; 2] = [5, 40];

/// Tokens that are computed together with them.
const COMPANIES: [usize; 6] = [0, 3, 30, 83, 211, 400];

/// Makes the decoder's rows independent, computes a few tokens alone and in company, and compares them bit by bit. It
/// takes as long as about two thousand tokens of a prompt.
///
/// # Errors
/// Why they cannot be independent, or what differs.
pub fn check_row_independence(decoder: &mut Decoder) -> Result<(), String> {
    decoder.can_be_row_independent()?;
    decoder.set_row_independent(true);
    let alone = LENGTHS.map(|length| outcome(decoder, &[length], 0));
    for company in COMPANIES {
        let together = outcome(decoder, &LENGTHS, company);
        for (place, alone) in [0, together[1].size()[0] - 1].into_iter().zip(&alone) {
            for (alone, together) in alone.iter().zip(&together) {
                let row = together.narrow(0, place, 1);
                if !alone.narrow(0, 0, 1).equal(&row) {
                    return Err(format!(
                        "this machine computes other numbers for a token where {company} others are computed with it"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Runs sequences of these lengths beside a sequence of `company` tokens, which comes behind the first of them. Returns
/// the logits and the states of the last token of each sequence, and of one more token behind each, which sees what was
/// computed for all tokens before it. Behind the rows of the logits come as many others as there is company.
fn outcome(decoder: &Decoder, lengths: &[usize], company: usize) -> Vec<Tensor> {
    let _guard = tch::no_grad_guard();
    let ids = |length: usize, first: usize| -> Vec<u32> {
        let vocabulary = (decoder.config().vocab_size as usize).min(1000);
        (0..length)
            .map(|place| ((first + place * 7) % vocabulary) as u32)
            .collect()
    };
    let mut sequences: Vec<(usize, Vec<u32>)> = lengths
        .iter()
        .map(|&length| (length, ids(length + 1, length)))
        .collect();
    if company > 0 {
        sequences.insert(1, (company, ids(2 * company, 3)));
    }
    let longest = sequences.iter().map(|(_, ids)| ids.len()).max().unwrap_or(1);
    let slots = Slots {
        count: sequences.len(),
        capacity: longest,
    };
    let (kind, device) = (decoder.kind(), decoder.device());
    let mut cache = KvCache::with_branches(decoder.config(), slots, Slots::default(), kind, device);
    let extend = |cache: &mut KvCache, is_first: bool| {
        let rows: Vec<Extension<'_>> = (sequences.iter().enumerate())
            .map(|(slot, (first, ids))| Extension {
                slot,
                start: if is_first { 0 } else { *first },
                ids: if is_first { &ids[..*first] } else { &ids[*first..] },
                prefix: None,
            })
            .collect();
        decoder.extend(cache, &rows)
    };
    let states = [extend(&mut cache, true), extend(&mut cache, false)];
    let mut outcomes = Vec::new();
    for states in states {
        let width = states.size()[1];
        let others = Tensor::ones([company as i64, width], (states.kind(), states.device()));
        outcomes.push(decoder.logits(&Tensor::cat(&[&states, &others], 0)));
        outcomes.push(states);
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::config::ModelConfig;
    use crate::weights::initialise_weights;

    fn decoder(kind: Kind) -> Decoder {
        tch::set_num_threads(1);
        let config = ModelConfig::from_json(
            r#"{"model_type": "qwen2", "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 130, "max_position_embeddings": 512,
            "initializer_range": 0.2}"#,
        )
        .expect("a configuration");
        let weights = initialise_weights(&config, 3, Device::Cpu);
        let weights = (weights.into_iter())
            .map(|(name, tensor)| (name, tensor.to_kind(kind)))
            .collect();
        Decoder::new(&config, &weights).expect("a decoder").for_generation()
    }

    #[test]
    fn rows_are_independent_where_that_is_asked_for() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let mut decoder = decoder(kind);
            assert_eq!(check_row_independence(&mut decoder), Ok(()), "{kind:?}");
        }
    }

    #[test]
    fn dependent_rows_are_seen() {
        let mut decoder = decoder(Kind::Float);
        assert!(check_row_independence(&mut decoder).is_ok());
        let independent = outcome(&decoder, &LENGTHS[..1], 0);
        decoder.set_row_independent(false);
        let fast = [0, 211].map(|company| outcome(&decoder, &LENGTHS[..1], company));
        let first = |outcomes: &[Tensor]| outcomes[2].narrow(0, 0, 1);
        assert!(
            !first(&fast[0]).equal(&first(&fast[1])),
            "few and many rows are one kernel"
        );
        assert!((first(&fast[0]) - first(&independent)).abs().max().double_value(&[]) < 1e-3);
    }

    #[test]
    fn other_devices_and_kinds_say_so() {
        let weights_of = decoder(Kind::Double);
        assert!(weights_of.can_be_row_independent().is_err());
    }
}
