//! Axes with ticks at round numbers, or where the data has its points.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// A linear axis with given ticks.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// An axis over these values with round ends and about `count` ticks.
    pub(super) fn round(low: f64, high: f64, count: usize) -> Self {
        // Values that are all the same still need a span, and a step that is not lost in their digits.
        let span = (high - low).max(low.abs().max(high.abs()) * 0.01).max(1e-6);
        let step = round_step(span, count);
        let start = (low / step + 1e-9).floor() * step;
        let end = (high / step - 1e-9).ceil() * step;
        let end = if end > start { end } else { start + step };
        let steps = ((end - start) / step).round() as usize;
        let ticks = (0..=steps).map(|number| start + number as f64 * step).collect();
        Self { start, end, ticks }
    }

    /// An axis with a tick at every value (or every second, third, … where there are many) and some air on both sides.
    pub(super) fn at(values: &[f64], most: usize) -> Self {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let air = ((high - low) * 0.08).max(1e-9 + high.abs() * 0.02);
        let stride = values.len().div_ceil(most).max(1);
        Self {
            start: low - air,
            end: high + air,
            // The last one always has its tick.
            ticks: values.iter().rev().step_by(stride).rev().copied().collect(),
        }
    }

    /// A number beside a tick: as many decimals as the step between ticks needs, thousands and millions by letters.
    pub(super) fn label(&self, value: f64) -> String {
        let step = match self.ticks.as_slice() {
            [first, second, ..] => (second - first).abs(),
            _ => 1.0,
        };
        let largest = self.end.abs().max(self.start.abs());
        let (unit, letter) = if largest >= 2e6 {
            (1e6, "M")
        } else if largest >= 2e4 {
            (1e3, "k")
        } else {
            (1.0, "")
        };
        let step = step / unit;
        // One is enough for 0.5, none for 20; the tenth of a step tells 0.25 from 0.2.
        let decimals = (0..4).find(|digits| {
            let scaled = step * 10_f64.powi(*digits);
            (scaled - scaled.round()).abs() < 1e-6
        });
        let decimals = usize::try_from(decimals.unwrap_or(4)).unwrap_or(0);
        let text = format!("{:.decimals$}", value / unit);
        let is_zero = text.trim_matches(['-', '0', '.']).is_empty();
        if is_zero { "0".to_owned() } else { text + letter }
    }
}

/// 1, 2 or 5 times a power of ten.
fn round_step(span: f64, count: usize) -> f64 {
    let raw = span / count.max(1) as f64;
    let power = 10_f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= raw * 0.999)
        .unwrap_or(10.0);
    factor * power
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let pixels = f64::from(limit.1 - limit.0);
        limit.0 + ((value - self.start) / (self.end - self.start) * pixels).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.start..self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| axis.label(*tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_their_labels_tell_them_apart() {
        assert_eq!(labels(&Axis::round(0.31, 0.93, 6)), ["0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(
            labels(&Axis::round(-0.04, 0.11, 6)),
            ["-0.05", "0", "0.05", "0.10", "0.15"]
        );
        assert_eq!(
            labels(&Axis::round(0.0, 1.7e6, 4)),
            ["0", "0.5M", "1.0M", "1.5M", "2.0M"]
        );
        for same in [0.0, 0.5, 1.7e6] {
            let axis = Axis::round(same, same, 4);
            let is_inside = axis.start <= same && same <= axis.end && axis.start < axis.end;
            assert!(is_inside && axis.ticks.len() >= 2, "{axis:?}");
        }
        let budgets: Vec<f64> = (1..=8).map(|number| f64::from(number) * 2000.0).collect();
        assert_eq!(labels(&Axis::at(&budgets, 4)), ["4000", "8000", "12000", "16000"]);
    }
}
