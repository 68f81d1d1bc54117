//! Products in which no row depends on those beside it (batch invariance).
//!
//! oneDNN adds a row's numbers up in one order, whatever the number of rows and the place of the row among them. That
//! is measured (docs/deterministic.md), and `row_independence` checks it on each machine. Products of few rows are our
//! own and add in another order (`narrow.cpp`), so few rows are padded with rows of zeros and go through oneDNN too.

use tch::Tensor;

use super::linear::NARROW_ROWS;

/// Rows [n, width], padded with rows of zeros where they are so few that they would go through the product of few rows.
pub(crate) fn filled_up(rows: &Tensor) -> Tensor {
    let missing = NARROW_ROWS + 1 - rows.size()[0];
    if missing <= 0 {
        return rows.shallow_clone();
    }
    rows.constant_pad_nd([0, 0, 0, missing])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Device, Kind};

    use super::super::linear::{PackedLinear, Then};
    use super::super::wide::WideLinear;
    use super::*;

    fn drawn(size: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    /// Computes one row alone and among others, at several places, and compares every bit of the results.
    fn assert_independent(what: &str, kind: Kind, inputs: i64, apply: &dyn Fn(&Tensor) -> Tensor) {
        let row = drawn(&[1, inputs], kind);
        let apply = |rows: &Tensor| apply(&filled_up(rows)).narrow(0, 0, rows.size()[0]);
        let alone = apply(&row);
        for count in (1..=70).chain([96, 100, 127, 128, 200, 256, 333, 600]) {
            for place in [0, count / 3, count / 2, count - 1] {
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
        for (inputs, outputs) in [(64, 192), (192, 64), (576, 960), (1536, 576), (24, 40), (101, 37)] {
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

    /// The test above can fail: a few rows as they come are added up in another order.
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
