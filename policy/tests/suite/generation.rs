//! Generation over the cache equals a full forward pass, whatever the slots and the order of the rows.

use crate::common::{difference, fixture_model, ids, small_model, token_by_token};
use anytime_policy::{Decoder, Extension, KvCache, ModelConfig, Prefix, Slots};
use tch::{Device, Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn cache(config: &ModelConfig, slots: usize, capacity: usize) -> KvCache {
    KvCache::new(config, slots, capacity, Kind::Float, Device::Cpu)
}

/// How generation attends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Token by token, in f32 on the CPU.
    Reads,
    /// Under masks, in f64 on the CPU as in f32 on CUDA.
    Groups,
    /// Without masks, as in bf16 on CUDA: in f64 by plain operators.
    Sequences,
    /// As on CUDA in bf16, with the kernels that a device has for it.
    Kernels,
}

const WAYS: [Way; 4] = [Way::Reads, Way::Groups, Way::Sequences, Way::Kernels];

impl Way {
    fn kind(self) -> Kind {
        match self {
            Way::Reads => Kind::Float,
            Way::Groups | Way::Sequences => Kind::Double,
            Way::Kernels => Kind::BFloat16,
        }
    }

    fn cache(self, config: &ModelConfig, prefixes: Slots, branches: Slots) -> KvCache {
        let make = match self {
            Way::Reads | Way::Groups => KvCache::with_branches,
            Way::Sequences | Way::Kernels => KvCache::by_token,
        };
        let cache = make(config, prefixes, branches, self.kind(), Device::Cpu);
        match self {
            Way::Kernels => cache.with_kernels(),
            _ => cache,
        }
    }

    /// The largest difference of two hidden states of about 1.
    fn tolerance(self) -> f64 {
        match self {
            // A few of the 8 bits that a number has.
            Way::Kernels => 0.1,
            _ => TOLERANCE,
        }
    }
}

fn last(states: &Tensor) -> Tensor {
    states.narrow(0, states.size()[0] - 1, 1)
}

#[test]
fn rows_of_all_lengths_in_one_call() {
    for way in WAYS {
        rows_of_all_lengths(way);
    }
}

fn rows_of_all_lengths(way: Way) {
    let (config, weights) = small_model(1);
    let weights = weights
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_kind(way.kind())))
        .collect();
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    // Lengths on both sides of what attends together, slots out of order and with gaps, cached prefixes of several
    // lengths and none.
    let cases = [
        (5, 0, 3),
        (0, 7, 1),
        (9, 20, 40),
        (2, 0, 50),
        (7, 3, 8),
        (1, 44, 1),
        (14, 9, 33),
    ];
    let sequences: Vec<Vec<u32>> = cases
        .iter()
        .map(|&(slot, start, new)| ids(slot as u32, start + new, 50))
        .collect();
    let slots = Slots {
        count: 15,
        capacity: 60,
    };
    let mut cache = way.cache(&config, slots, Slots::default());
    for (&(slot, start, _), sequence) in cases.iter().zip(&sequences) {
        if start > 0 {
            let _ = decoder.extend(
                &mut cache,
                &[Extension {
                    slot,
                    start: 0,
                    ids: &sequence[..start],
                    prefix: None,
                }],
            );
        }
    }
    let mut rows = Vec::new();
    for (&(slot, start, _), sequence) in cases.iter().zip(&sequences) {
        rows.push(Extension {
            slot,
            start,
            ids: &sequence[start..],
            prefix: None,
        });
    }
    let hidden = decoder.extend(&mut cache, &rows);
    assert_eq!(hidden.size(), [cases.len() as i64, config.hidden_size]);
    for (index, sequence) in sequences.iter().enumerate() {
        let expected = last(&token_by_token(&decoder, &config, sequence));
        let difference = difference(&hidden.narrow(0, index as i64, 1), &expected);
        assert!(difference <= way.tolerance(), "row {index}, {way:?}: {difference}");
    }
    assert!(!hidden.requires_grad());
}

/// Decodes sequences in the given slots side by side; each sequence starts and ends at its own time.
fn decode_in_slots(slots: &[usize], slot_count: usize, name: &str, way: Way) {
    let (config, weights) = fixture_model(name, way.kind());
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let prefixes = Slots {
        count: slot_count,
        capacity: 40,
    };
    let mut cache = way.cache(&config, prefixes, Slots::default());
    let sequences: Vec<Vec<u32>> = slots
        .iter()
        .map(|&slot| ids(slot as u32 + 7, 12 + slot % 20, 90))
        .collect();
    let expected: Vec<Tensor> = sequences
        .iter()
        .map(|sequence| token_by_token(&decoder, &config, sequence))
        .collect();
    let longest = sequences.iter().map(Vec::len).max().unwrap();
    for step in 0..longest + slots.len() {
        // Sequence i starts at step i, so that lengths differ all the time.
        let active: Vec<(usize, usize)> = (0..slots.len())
            .filter(|&index| step >= index && step - index < sequences[index].len())
            .map(|index| (index, step - index))
            .collect();
        if active.is_empty() {
            continue;
        }
        let rows: Vec<Extension<'_>> = active
            .iter()
            .map(|&(index, start)| Extension {
                slot: slots[index],
                start,
                ids: &sequences[index][start..=start],
                prefix: None,
            })
            .collect();
        let hidden = decoder.extend(&mut cache, &rows);
        for (row, &(index, position)) in active.iter().enumerate() {
            let difference = difference(
                &hidden.narrow(0, row as i64, 1),
                &expected[index].narrow(0, position as i64, 1),
            );
            assert!(
                difference <= way.tolerance(),
                "{name}, slot {}, position {position}: {difference}",
                slots[index]
            );
        }
    }
}

#[test]
fn decoding_in_dense_slots() {
    for way in WAYS {
        decode_in_slots(&[0, 1, 2, 3, 4, 5], 6, "qwen2", way);
        decode_in_slots(&[3, 1, 5, 0, 2], 8, "llama", way);
    }
}

#[test]
fn decoding_in_sparse_slots() {
    for way in WAYS {
        decode_in_slots(&[0, 63], 64, "qwen3", way);
        decode_in_slots(&[40, 3, 22], 64, "qwen2-tied", way);
    }
}

#[test]
fn copied_prefixes_continue_on_their_own() {
    let (config, weights) = small_model(2);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let mut cache = cache(&config, 6, 50);
    let prefix = ids(3, 20, 50);
    let _ = decoder.extend(
        &mut cache,
        &[Extension {
            slot: 4,
            start: 0,
            ids: &prefix,
            prefix: None,
        }],
    );
    cache.copy_prefix(4, &[1, 5, 4], 13);
    let branches: Vec<Vec<u32>> = (0..3).map(|seed| ids(50 + seed, 6 + 7 * seed as usize, 50)).collect();
    let rows = [
        Extension {
            slot: 1,
            start: 13,
            ids: &branches[0],
            prefix: None,
        },
        Extension {
            slot: 5,
            start: 13,
            ids: &branches[1],
            prefix: None,
        },
        // The source goes on from its end: the copies have not touched it.
        Extension {
            slot: 4,
            start: 20,
            ids: &branches[2],
            prefix: None,
        },
    ];
    let hidden = decoder.extend(&mut cache, &rows);
    for (row, extension) in rows.iter().enumerate() {
        let mut sequence = prefix[..extension.start].to_vec();
        sequence.extend(extension.ids);
        let expected = last(&token_by_token(&decoder, &config, &sequence));
        let difference = difference(&hidden.narrow(0, row as i64, 1), &expected);
        assert!(difference <= TOLERANCE, "row {row}: {difference}");
    }
}

#[test]
fn a_slot_can_be_used_again() {
    let (config, weights) = small_model(3);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let mut cache = cache(&config, 2, 32);
    let long = ids(1, 32, 50);
    let _ = decoder.extend(
        &mut cache,
        &[Extension {
            slot: 0,
            start: 0,
            ids: &long,
            prefix: None,
        }],
    );
    let short = ids(2, 5, 50);
    let hidden = decoder.extend(
        &mut cache,
        &[Extension {
            slot: 0,
            start: 0,
            ids: &short,
            prefix: None,
        }],
    );
    assert!(difference(&hidden, &last(&token_by_token(&decoder, &config, &short))) <= TOLERANCE);
}

#[test]
fn a_full_slot_whose_capacity_is_odd() {
    let (config, weights) = small_model(4);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let mut cache = cache(&config, 2, 19);
    assert_eq!(cache.prefixes(), Slots { count: 2, capacity: 19 });
    let sequence = ids(1, 19, 50);
    let short = ids(2, 4, 50);
    let _ = decoder.extend(
        &mut cache,
        &[Extension {
            slot: 1,
            start: 0,
            ids: &sequence[..18],
            prefix: None,
        }],
    );
    let rows = [
        Extension {
            slot: 1,
            start: 18,
            ids: &sequence[18..],
            prefix: None,
        },
        Extension {
            slot: 0,
            start: 0,
            ids: &short,
            prefix: None,
        },
    ];
    let hidden = decoder.extend(&mut cache, &rows);
    let expected = [&sequence, &short].map(|tokens| last(&token_by_token(&decoder, &config, tokens)));
    assert!(difference(&hidden, &Tensor::cat(&expected, 0)) <= TOLERANCE);
}

#[test]
fn bytes_of_a_slot() {
    let (config, _) = small_model(1);
    // Two tensors, 2 layers, 2 key heads of 8, 2 bytes; 100 positions are allocated as 112.
    assert_eq!(
        KvCache::slot_bytes(&config, 100, Kind::BFloat16),
        2 * 2 * 2 * 8 * 112 * 2
    );
}

#[test]
#[should_panic(expected = "slot 1 would hold 9 tokens, its capacity is 8")]
fn a_slot_does_not_overflow() {
    let (config, weights) = small_model(1);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let _ = decoder.extend(
        &mut cache(&config, 2, 8),
        &[Extension {
            slot: 1,
            start: 5,
            ids: &[1, 2, 3, 4],
            prefix: None,
        }],
    );
}

#[test]
fn bf16_stays_close_to_f32() {
    let (config, weights) = fixture_model("qwen2", Kind::Float);
    let (_, narrow_weights) = fixture_model("qwen2", Kind::BFloat16);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let narrow = Decoder::new(&config, &narrow_weights).unwrap();
    let tokens = ids(5, 30, 97);
    let expected = decoder
        .logits(&token_by_token(&decoder, &config, &tokens))
        .softmax(-1, Kind::Float);
    let found = narrow.logits(&token_by_token(&narrow, &config, &tokens));
    assert_eq!(found.kind(), Kind::Float);
    let distance = (found.softmax(-1, Kind::Float) - expected)
        .abs()
        .sum(Kind::Float)
        .double_value(&[])
        / 60.0;
    println!("bf16 against f32: mean total variation {distance:.1e}");
    assert!(distance < 0.1, "{distance}");
}

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
