//! Generation over the cache equals a full forward pass, whatever the slots and the order of the rows.

use crate::common::{difference, fixture_model, ids, small_model, token_by_token};
use crate::ways::{TOLERANCE, WAYS, Way, last};
use anytime_policy::{Decoder, Extension, KvCache, ModelConfig, Slots};
use tch::{Device, Kind, Tensor};

fn cache(config: &ModelConfig, slots: usize, capacity: usize) -> KvCache {
    KvCache::new(config, slots, capacity, Kind::Float, Device::Cpu)
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
