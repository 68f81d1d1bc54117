//! The kernels, run on the CPU, against libtorch's operators.

use super::*;
use crate::operators::drawing::RowDraw;

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16)
}

fn largest_difference(one: &Tensor, other: &Tensor) -> f64 {
    let difference = one.to_kind(Kind::Double) - other.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}

#[test]
fn heads_turn_and_are_stored_as_by_libtorch() {
    let (tokens, heads, kv_heads, head_dim) = (5, 6, 2, 16);
    let angles = Tensor::rand([tokens, head_dim / 2], (Kind::Float, Device::Cpu)) * 6.0;
    let both = |half: &Tensor, other: &Tensor| Tensor::cat(&[half, other], -1).unsqueeze(1);
    let (cosine, sine) = (both(&angles.cos(), &angles.cos()), both(&-angles.sin(), &angles.sin()));
    let (query_norm, key_norm) = (random(&[head_dim]), random(&[head_dim]));
    for has_norms in [false, true] {
        let projected = random(&[tokens, heads + 2 * kv_heads, head_dim]);
        let (keys, values) = (random(&[9, kv_heads, head_dim]), random(&[9, kv_heads, head_dim]));
        let (old_keys, old_values) = (keys.copy(), values.copy());
        let rows = Tensor::from_slice(&[7_i64, 0, 8, 2, 3]);
        let store = Store {
            keys: &keys,
            values: &values,
            rows: &rows,
        };
        let norms = has_norms.then_some(HeadNorms {
            query: &query_norm,
            key: &key_norm,
            epsilon: 1e-5,
        });
        let queries = rotate_and_store(&projected, norms, &cosine, &sine, store, kv_heads);

        let turned = |part: Tensor, norm: &Tensor| {
            let part = match has_norms {
                true => part.rms_norm([head_dim], Some(norm), 1e-5),
                false => part,
            };
            let swapped = part.roll([head_dim / 2], [-1]);
            (&part * &cosine).addcmul(&swapped, &sine).to_kind(Kind::BFloat16)
        };
        let expected = turned(projected.narrow(1, 0, heads), &query_norm);
        // One place of a bf16 number near 4 is 0.03.
        let bound = if has_norms { 0.04 } else { 0.0 };
        assert!(largest_difference(&queries, &expected) <= bound);
        let new_keys = old_keys.index_copy(0, &rows, &turned(projected.narrow(1, heads, kv_heads), &key_norm));
        assert!(largest_difference(&keys, &new_keys) <= bound);
        let new_values = projected.narrow(1, heads + kv_heads, kv_heads);
        assert_eq!(
            largest_difference(&values, &old_values.index_copy(0, &rows, &new_values)),
            0.0
        );
    }
}

#[test]
fn gates_are_those_of_libtorch() {
    for (tokens, width) in [(1, 2), (3, 34), (70, 128)] {
        let both = random(&[tokens, 2 * width]) * 4.0;
        let halves = both.chunk(2, -1);
        let expected = halves[0].silu() * &halves[1];
        // A unit in the last place where the exponentials differ.
        let difference = (gate(&both) - &expected).abs() / (expected.abs() + 1e-3);
        assert!(difference.max().double_value(&[]) <= 0.01);
    }
}

#[test]
fn rows_are_copied_in_all_tensors_at_once() {
    let tensors = [random(&[12, 2, 4]), random(&[12, 2, 4])];
    let before = tensors.each_ref().map(|tensor| tensor.copy());
    let copies = [(0, 5, 3), (0, 9, 3), (8, 3, 1), (4, 4, 0)].map(|(from, to, count)| RowCopy { from, to, count });
    copy_rows(&tensors.each_ref(), &copies);
    for (tensor, before) in tensors.iter().zip(&before) {
        let expected = before.copy();
        for RowCopy { from, to, count } in copies {
            expected.narrow(0, to, count).copy_(&before.narrow(0, from, count));
        }
        assert_eq!(largest_difference(tensor, &expected), 0.0);
    }
}

#[test]
#[should_panic(expected = "3 rows from 0 to 2 overlap")]
fn copies_do_not_overlap() {
    let copy = RowCopy {
        from: 0,
        to: 2,
        count: 3,
    };
    copy_rows(&[&random(&[12, 8])], &[copy]);
}

#[test]
fn branches_are_merged_by_their_sums() {
    let (heads, kv_heads, head_dim, first) = (6, 2, 8, 2);
    let shared = heads / kv_heads;
    for counts in [[4, 3], [4, 0], [2, 5]] {
        let tokens: i64 = counts.iter().sum();
        let output = random(&[tokens, heads, head_dim]);
        let sums = Tensor::randn([heads, tokens], (Kind::Float, Device::Cpu));
        let rows = (tokens - first) * shared;
        let seen = random(&[rows, kv_heads, head_dim]);
        let seen_sums = Tensor::randn([kv_heads, rows], (Kind::Float, Device::Cpu)) * 3.0;
        let parts: Vec<(Tensor, Tensor)> = [(0, counts[0]), (counts[0], counts[1])]
            .into_iter()
            .map(|(start, count)| {
                (
                    output.narrow(0, start, count),
                    sums.narrow(1, start, count).contiguous(),
                )
            })
            .collect();
        let part = |place: usize| {
            let (output, sums) = &parts[place];
            (counts[place] > 0).then_some(Part { output, sums })
        };
        let seen_part = Part {
            output: &seen,
            sums: &seen_sums,
        };
        let merged = merge([part(0), part(1)], seen_part, first);

        assert_eq!(
            largest_difference(&merged.narrow(0, 0, first), &output.narrow(0, 0, first)),
            0.0
        );
        for token in first..tokens {
            for head in 0..heads {
                let row = (token - first) * shared + head % shared;
                let of_seen = seen_sums.double_value(&[head / shared, row]).exp();
                let of_own = sums.double_value(&[head, token]).exp();
                let own = output.get(token).get(head).to_kind(Kind::Double) * of_own;
                let more = seen.get(row).get(head / shared).to_kind(Kind::Double) * of_seen;
                let expected = (own + more) / (of_own + of_seen);
                let found = merged.get(token).get(head);
                assert!(
                    largest_difference(&found, &expected) < 0.02,
                    "token {token}, head {head}"
                );
            }
        }
    }
}

#[test]
fn tokens_are_those_that_the_cpu_draws() {
    for (rows, width) in [(40, 1), (300, 255), (300, 256), (200, 257), (60, 3000)] {
        let logits = Tensor::randn([rows, width], (Kind::Float, Device::Cpu)) * 3.0;
        let draws: Vec<RowDraw> = (0..rows)
            .map(|row| RowDraw {
                temperature: [1.0, 0.6, 1.7][row as usize % 3],
                vocabulary: [width, (width / 2).max(1), width + 5][row as usize % 3] as usize,
                uniform: (row as f64 + 0.5) / rows as f64,
            })
            .collect();
        let expected = super::super::drawing::draw(&logits, &draws);
        let places: Vec<i64> = draws.iter().map(|draw| draw.vocabulary as i64).collect();
        let found = draw(
            &logits,
            &places,
            draws.iter().map(|draw| f64::from(draw.temperature)),
            draws.iter().map(|draw| draw.uniform),
        );
        // Sums in another order may move the border of two tokens over a uniform number.
        let apart = |pair: &(&(u32, f64), &(i64, f64))| i64::from(pair.0.0) != pair.1.0;
        let differing = expected.iter().zip(&found).filter(apart).count();
        assert!(differing <= 1, "{differing} of {rows} rows of {width}");
        for ((id, log_prob), (place, found)) in expected.iter().zip(&found) {
            if i64::from(*id) == *place {
                assert!((log_prob - found).abs() < 1e-5, "{log_prob} and {found}");
            }
        }
    }
}

#[test]
fn rows_that_are_no_distribution_have_no_logarithm() {
    for bad in [f32::NAN, f32::INFINITY] {
        let logits = Tensor::from_slice(&[0.5, bad, 1.0]).unsqueeze(0);
        let drawn = draw(&logits, &[3], [1.0].into_iter(), [0.4].into_iter());
        assert!(drawn[0].1.is_nan() && (0..3).contains(&drawn[0].0), "{drawn:?}");
    }
    let nothing = Tensor::full([1, 300], f64::NEG_INFINITY, (Kind::Float, Device::Cpu));
    let drawn = draw(&nothing, &[300], [1.0].into_iter(), [0.4].into_iter());
    assert!(drawn[0].1.is_nan(), "{drawn:?}");
    // What has no mass is never drawn, not even at the ends.
    let one = Tensor::from_slice(&[f32::NEG_INFINITY, 2.0, f32::NEG_INFINITY]).unsqueeze(0);
    for uniform in [1e-300, 0.5, 1.0 - 1e-16] {
        let drawn = draw(&one, &[3], [1.0].into_iter(), [uniform].into_iter());
        assert_eq!(drawn, [(1, 0.0)]);
    }
}

#[test]
fn the_cpu_has_no_use_for_them() {
    assert_eq!(prepare(Device::Cpu).unwrap_err(), "there are no kernels for Cpu");
    assert!(!can_gate(Kind::BFloat16, Device::Cpu, 8));
}

#[test]
#[should_panic(expected = "a kernel takes contiguous tensors")]
fn strides_are_refused() {
    let values = random(&[2, 4, 3]).transpose(1, 2);
    check(&values, Kind::BFloat16, Device::Cpu, &[2, 3, 4]);
}
