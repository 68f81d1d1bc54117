//! Products in which no row depends on those beside it (batch invariance).
//!
//! oneDNN goes through the rows of a product in blocks. Within full blocks it adds the numbers of every row up in one
//! order, but the order in a block that is not full may be another (with AVX2, whose blocks have six rows, where one,
//! two or three are left over). Products of many rows are cut into parts that need not be full blocks, and those of
//! several hundred add in yet another order. So rows are padded with zeros to full blocks and multiplied in pieces that
//! are not cut. That is measured (docs/deterministic.md), and `row_independence` checks it on each
//! machine. Products of few rows, which are our own and add in another order (`narrow.cpp`), do not come up then.

use tch::Tensor;

/// A multiple of the rows in a block of oneDNN's products, and more than `NARROW_ROWS`.
const BLOCK: i64 = 6;

/// How many rows a product has at most. A multiple of the block. Products of up to 70 rows were never cut, and an actor's
/// usual 64 sequences, filled up, are one piece.
const PIECE: i64 = 66;

/// Rows [n, width], padded with rows of zeros to full blocks.
pub(crate) fn filled_up(rows: &Tensor) -> Tensor {
    let count = rows.size()[0];
    let missing = (BLOCK - count % BLOCK) % BLOCK;
    if missing == 0 {
        return rows.shallow_clone();
    }
    rows.constant_pad_nd([0, 0, 0, missing])
}

/// The rows without their padding.
pub(crate) fn first_rows(rows: Tensor, count: i64) -> Tensor {
    if rows.size()[0] == count {
        rows
    } else {
        rows.narrow(0, 0, count)
    }
}

/// What `apply` makes of the rows of `inputs`, each [n, …], in pieces of them: [n, …].
pub(crate) fn in_pieces<const N: usize>(inputs: [&Tensor; N], apply: impl Fn([&Tensor; N]) -> Tensor) -> Tensor {
    let rows = inputs[0].size()[0];
    if rows <= PIECE {
        return apply(inputs);
    }
    let pieces: Vec<Tensor> = (0..rows)
        .step_by(PIECE as usize)
        .map(|start| {
            let pieces = inputs.map(|input| input.narrow(0, start, PIECE.min(rows - start)));
            apply(pieces.each_ref())
        })
        .collect();
    Tensor::cat(&pieces, 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Device, Kind};

    use super::super::linear::{NARROW_ROWS, PackedLinear, Then};
    use super::super::wide::WideLinear;
    use super::*;

    fn drawn(size: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    /// Computes one row alone and among others, at several places, and compares every bit of the results.
    fn assert_independent(what: &str, kind: Kind, inputs: i64, apply: &dyn Fn(&Tensor) -> Tensor) {
        let row = drawn(&[1, inputs], kind);
        let apply = |rows: &Tensor| in_pieces([&filled_up(rows)], |[rows]| apply(rows)).narrow(0, 0, rows.size()[0]);
        let alone = apply(&row);
        for count in (1..=70).chain([96, 100, 127, 128, 200, 256, 333, 390, 600]) {
            for place in [0, count / 5, count / 3, count / 2, count * 4 / 5, count - 1] {
                let rows = drawn(&[count, inputs], kind);
                rows.narrow(0, place, 1).copy_(&row);
                let found = apply(&rows).narrow(0, place, 1);
                assert!(found.equal(&alone), "{kind:?}, {what}: row {place} of {count}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others() {
        let _guard = tch::no_grad_guard();
        tch::set_num_threads(1);
        // Those of the demo's model, of SmolLM2-135M, and widths that fill no vector.
        for (inputs, outputs) in [
            (96, 192),
            (96, 160),
            (160, 96),
            (96, 130),
            (64, 192),
            (192, 64),
            (576, 960),
            (1536, 576),
            (24, 40),
            (101, 37),
        ] {
            for kind in [Kind::Float, Kind::BFloat16] {
                let weight = drawn(&[outputs, inputs], kind);
                let bias = drawn(&[outputs], kind);
                let packed = PackedLinear::try_new(&weight, Some(&bias)).unwrap();
                let shape = format!("{inputs} to {outputs}");
                assert_independent(&shape, kind, inputs, &|rows| packed.apply(rows, Then::Nothing));
                assert_independent(&format!("{shape}, silu"), kind, inputs, &|rows| {
                    packed.apply(rows, Then::Silu)
                });
                let other = drawn(&[1, outputs], kind);
                assert_independent(&format!("{shape}, plus"), kind, inputs, &|rows| {
                    let others = other.expand([rows.size()[0], outputs], false).contiguous();
                    packed.apply(rows, Then::Plus(&others))
                });
                if let Some(wide) = WideLinear::try_new(&weight) {
                    assert_independent(&format!("{shape}, wide"), kind, inputs, &|rows| wide.apply(rows));
                }
            }
        }
    }

    #[test]
    fn pieces_are_what_their_rows_are_together() {
        let (few, many) = (drawn(&[7, 3], Kind::Float), drawn(&[2 * PIECE + 6, 3], Kind::Float));
        for rows in [&few, &many] {
            let doubled = in_pieces([rows, rows], |[rows, again]| {
                assert!(rows.size()[0] <= PIECE);
                rows + again
            });
            assert!(doubled.equal(&(rows * 2.0)));
        }
    }

    /// What the first test sees can go wrong: a few rows as they come are added up in another order.
    #[test]
    fn few_rows_as_they_come_depend_on_their_number() {
        let _guard = tch::no_grad_guard();
        tch::set_num_threads(1);
        let packed = PackedLinear::try_new(&drawn(&[960, 576], Kind::Float), None).unwrap();
        let rows = drawn(&[NARROW_ROWS + 1, 576], Kind::Float);
        let alone = packed.apply(&rows.narrow(0, 0, 1), Then::Nothing);
        assert!(!packed.apply(&rows, Then::Nothing).narrow(0, 0, 1).equal(&alone));
    }
}
