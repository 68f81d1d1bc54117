//! Deltas: nothing is lost, and nothing that arrives broken does harm.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use anytime_deltas::{BLOCK_ELEMENTS, DeltaDecoder, DeltaEncoder, DeltaError, ElementWidth};
use proptest::prelude::*;

const WIDTHS: [ElementWidth; 3] = [ElementWidth::One, ElementWidth::Two, ElementWidth::Four];

fn encode(width: ElementWidth, base: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    DeltaEncoder::try_new().unwrap().encode(width, base, new).unwrap()
}

fn apply(width: ElementWidth, base: &[u8], delta: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let mut block = base.to_vec();
    DeltaDecoder::try_new().unwrap().apply(width, &mut block, delta)?;
    Ok(block)
}

fn round_trip(width: ElementWidth, base: &[u8], new: &[u8]) {
    match encode(width, base, new) {
        Some(delta) => assert_eq!(apply(width, base, &delta).unwrap(), new),
        None => assert_eq!(base, new),
    }
}

fn bf16_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes())
        .collect()
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Two byte strings of one length that is a multiple of four.
fn any_pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (0_usize..600).prop_flat_map(|elements| {
        let bytes = || proptest::collection::vec(any::<u8>(), 4 * elements);
        (bytes(), bytes())
    })
}

proptest! {
    #[test]
    fn any_bytes_come_back((base, new) in any_pair()) {
        for width in WIDTHS {
            round_trip(width, &base, &new);
        }
    }

    #[test]
    fn floats_and_their_neighbours_come_back(
        values in proptest::collection::vec((any::<f32>(), -1e-3_f32..1e-3), 0..800)
    ) {
        let base: Vec<f32> = values.iter().map(|(value, _)| *value).collect();
        let new: Vec<f32> = values.iter().map(|(value, change)| value + change * value).collect();
        round_trip(ElementWidth::Two, &bf16_bytes(&base), &bf16_bytes(&new));
        round_trip(ElementWidth::Four, &f32_bytes(&base), &f32_bytes(&new));
    }

    #[test]
    fn noise_is_refused_or_stays_within_the_block(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        for width in WIDTHS {
            if let Ok(block) = apply(width, &[7; 64], &noise) {
                prop_assert_eq!(block.len(), 64);
            }
        }
    }

    #[test]
    fn a_changed_delta_stays_within_the_block_and_a_cut_one_is_refused(
        (base, new) in any_pair(),
        place in any::<prop::sample::Index>(),
        flipped in 1_u8..,
        kept in any::<prop::sample::Index>(),
    ) {
        let Some(delta) = encode(ElementWidth::Two, &base, &new) else { return Ok(()) };
        let mut changed = delta.clone();
        changed[place.index(delta.len())] ^= flipped;
        if let Ok(block) = apply(ElementWidth::Two, &base, &changed) {
            prop_assert_eq!(block.len(), base.len());
        }
        prop_assert!(apply(ElementWidth::Two, &base, &delta[..kept.index(delta.len())]).is_err());
    }

    #[test]
    fn steps_add_up_in_any_order((first, second) in any_pair(), third in any::<u8>()) {
        let third = vec![third; first.len()];
        let deltas = [encode(ElementWidth::Four, &first, &second), encode(ElementWidth::Four, &second, &third)];
        for order in [[0, 1], [1, 0]] {
            let mut block = first.clone();
            for delta in order.iter().filter_map(|&step| deltas[step].as_ref()) {
                block = apply(ElementWidth::Four, &block, delta).unwrap();
            }
            prop_assert_eq!(&block, &third);
        }
    }
}

#[test]
fn whole_blocks_come_back_and_few_changes_are_small() {
    for width in WIDTHS {
        let base: Vec<u8> = (0..width.block_bytes()).map(|index| (index * 31 % 251) as u8).collect();
        let mut new = base.clone();
        for place in (0..new.len()).step_by(997) {
            new[place] = new[place].wrapping_add(1);
        }
        round_trip(width, &base, &new);
        let delta = encode(width, &base, &new).unwrap();
        assert!(delta.len() < base.len() / 50, "{} of {}", delta.len(), base.len());
        assert!(encode(width, &base, &base).is_none());
    }
}

#[test]
fn what_is_no_block_is_refused() {
    let mut encoder = DeltaEncoder::try_new().unwrap();
    let mut decoder = DeltaDecoder::try_new().unwrap();
    for width in WIDTHS {
        let long = vec![0; width.block_bytes() + width.bytes()];
        assert!(matches!(
            encoder.encode(width, &long, &long),
            Err(DeltaError::Block { .. })
        ));
        assert!(matches!(
            encoder.encode(width, &[0; 4], &[0; 8]),
            Err(DeltaError::Lengths { base: 4, new: 8 })
        ));
        assert!(matches!(
            decoder.apply(width, &mut long.clone(), &[]),
            Err(DeltaError::Block { .. })
        ));
    }
    assert!(matches!(
        encoder.encode(ElementWidth::Four, &[0; 6], &[1; 6]),
        Err(DeltaError::Block { bytes: 6, .. })
    ));
    // A frame of another length than the block's, and one that unpacks to far more than the block.
    let short = encode(ElementWidth::Two, &[0; 8], &[1; 8]).unwrap();
    assert!(matches!(
        apply(ElementWidth::Two, &[0; 16], &short),
        Err(DeltaError::Content { held: 8, expected: 16 })
    ));
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    assert!(matches!(
        apply(ElementWidth::Two, &[0; 16], &bomb),
        Err(DeltaError::Zstd(_))
    ));
}

#[test]
fn blocks_cover_a_tensor_once() {
    for width in WIDTHS {
        let block = width.block_bytes();
        assert_eq!(block, BLOCK_ELEMENTS * width.bytes());
        for length in [0, width.bytes(), block, block + width.bytes(), 3 * block] {
            let mut end = 0;
            for number in 0..width.blocks(length) {
                let range = width.block(number, length).unwrap();
                assert_eq!(range.start, end);
                end = range.end;
            }
            assert_eq!(end, length);
            assert!(width.block(width.blocks(length), length).is_none());
        }
        assert!(width.block(usize::MAX, 8).is_none());
    }
    assert_eq!(ElementWidth::of_dtype("BF16"), ElementWidth::Two);
    assert_eq!(ElementWidth::of_dtype("F32"), ElementWidth::Four);
    assert_eq!(ElementWidth::of_dtype(""), ElementWidth::One);
}
