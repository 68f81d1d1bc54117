//! Branches over the cache equal full passes over their prefix and themselves, in every way of attending.

use crate::common::{difference, fixture_model, ids, small_model, token_by_token};
use crate::ways::{WAYS, Way, last};
use anytime_policy::{Decoder, Extension, Prefix, Slots};
use tch::{Kind, Tensor};

/// Branches of several prefixes, of several lengths, some of several tokens, next to prefixes that go on, in one kind.
fn branches_continue_their_prefixes(name: &str, way: Way) {
    let kind = way.kind();
    let (config, weights) = fixture_model(name, kind);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let (prefixes, branches) = (Slots { count: 9, capacity: 60 }, Slots { count: 12, capacity: 9 });
    let mut cache = way.cache(&config, prefixes, branches);
    let thoughts: Vec<(usize, Vec<u32>)> = [(0, 31), (1, 50), (2, 9), (7, 40)]
        .map(|(slot, length)| (slot, ids(slot as u32, length, 90)))
        .to_vec();
    // The last token of each is fed in the same call as the first tokens of its branches.
    let rows: Vec<Extension<'_>> = thoughts
        .iter()
        .map(|(slot, ids)| Extension {
            slot: *slot,
            start: 0,
            ids: &ids[..ids.len() - 1],
            prefix: None,
        })
        .collect();
    let _ = decoder.extend(&mut cache, &rows);

    // (branch slot, thought, its tokens that the branch sees, tokens of the branch)
    let cases = [
        (3, 0, 31, 7),
        (0, 0, 16, 4),
        (11, 0, 31, 1),
        (4, 1, 50, 6),
        (1, 1, 1, 6),
        (5, 3, 40, 9),
        (6, 3, 25, 2),
    ];
    let tails: Vec<Vec<u32>> = cases
        .iter()
        .map(|&(slot, _, _, length)| ids(100 + slot as u32, length, 90))
        .collect();
    let expected: Vec<Tensor> = cases
        .iter()
        .zip(&tails)
        .map(|(&(_, thought, seen, _), tail)| {
            let whole = [&thoughts[thought].1[..seen], tail].concat();
            token_by_token(&decoder, &config, &whole)
        })
        .collect();
    // First all but the last token of each branch at once, beside a prompt that begins; then the last one.
    let prompt = ids(77, 12, 90);
    let of_prompt = token_by_token(&decoder, &config, &prompt);
    for is_last in [false, true] {
        let mut rows: Vec<Extension<'_>> = Vec::new();
        let mut of_row = Vec::new();
        for (index, (&(slot, thought, length, _), tail)) in cases.iter().zip(&tails).enumerate() {
            let (start, ids) = match is_last {
                false if tail.len() == 1 => continue,
                false => (0, &tail[..tail.len() - 1]),
                true => (tail.len() - 1, &tail[tail.len() - 1..]),
            };
            let prefix = Prefix {
                slot: thoughts[thought].0,
                length,
            };
            rows.push(Extension {
                slot,
                start,
                ids,
                prefix: Some(prefix),
            });
            of_row.push((index, length + start + ids.len() - 1));
        }
        if !is_last {
            rows.extend(thoughts.iter().map(|(slot, ids)| Extension {
                slot: *slot,
                start: ids.len() - 1,
                ids: &ids[ids.len() - 1..],
                prefix: None,
            }));
        }
        let begins = rows.len();
        if !is_last {
            rows.push(Extension {
                slot: 5,
                start: 0,
                ids: &prompt,
                prefix: None,
            });
        }
        let hidden = decoder.extend(&mut cache, &rows);
        if !is_last {
            let difference = difference(&hidden.narrow(0, begins as i64, 1), &last(&of_prompt));
            assert!(
                difference <= way.tolerance(),
                "{name}, {way:?}, the prompt: {difference}"
            );
        }
        for (row, &(index, position)) in of_row.iter().enumerate() {
            let difference = difference(
                &hidden.narrow(0, row as i64, 1),
                &expected[index].narrow(0, position as i64, 1),
            );
            let tolerance = if kind == Kind::Double { 1e-12 } else { way.tolerance() };
            assert!(difference <= tolerance, "{name}, {way:?}, branch {index}: {difference}");
        }
    }
}

#[test]
fn branches_see_their_prefix_and_themselves() {
    for name in ["qwen2", "qwen3", "llama"] {
        for way in WAYS {
            branches_continue_their_prefixes(name, way);
        }
    }
}

#[test]
fn a_copied_branch_goes_on_by_itself() {
    for way in WAYS {
        a_copied_branch_goes_on(way);
    }
}

fn a_copied_branch_goes_on(way: Way) {
    let (config, weights) = small_model(5);
    let weights = weights
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_kind(way.kind())))
        .collect();
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let slots = |count, capacity| Slots { count, capacity };
    let mut cache = way.cache(&config, slots(2, 20), slots(5, 8));
    let (thought, inserted) = (ids(1, 15, 50), ids(2, 4, 50));
    let prefix = Prefix { slot: 1, length: 11 };
    let row = |slot, start, ids| Extension {
        slot,
        start,
        ids,
        prefix: Some(prefix),
    };
    let thinking = Extension {
        slot: 1,
        start: 0,
        ids: &thought,
        prefix: None,
    };
    let _ = decoder.extend(&mut cache, &[thinking]);
    let _ = decoder.extend(&mut cache, &[row(2, 0, &inserted)]);
    cache.copy_branch(2, &[0, 3, 4], 4);
    let ends: Vec<Vec<u32>> = (0..3).map(|seed| ids(30 + seed, 3, 50)).collect();
    let hidden = decoder.extend(
        &mut cache,
        &[row(0, 4, &ends[0]), row(4, 4, &ends[1]), row(3, 4, &ends[2])],
    );
    for (index, end) in ends.iter().enumerate() {
        let whole = [&thought[..11], &inserted, end].concat();
        let expected = last(&token_by_token(&decoder, &config, &whole));
        assert!(difference(&hidden.narrow(0, index as i64, 1), &expected) <= way.tolerance());
    }
    // One branch of one token, all by itself.
    let hidden = decoder.extend(&mut cache, &[row(4, 7, &ends[0][..1])]);
    let whole = [&thought[..11], &inserted, &ends[1], &ends[0][..1]].concat();
    let expected = last(&token_by_token(&decoder, &config, &whole));
    assert!(difference(&hidden, &expected) <= way.tolerance(), "{way:?}");
}
