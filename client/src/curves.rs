//! `curves.svg`: accuracy against thinking budget, before and after, with 95 % bands. It is made for a README:
//! 800 pixels wide on a light card of its own, so that it is read on a dark page as well.

use std::ops::Range;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::accuracy::{Accuracy, with_interval};

const WIDTH: u32 = 800;
const HEIGHT: u32 = 480;

/// Title and legend have a strip of their own above the plot, where no curve can run into them.
const HEAD_HEIGHT: u32 = 84;

/// Where the text of the head begins: above the axis of the plot.
const LEFT: i32 = 78;

/// The legend's distance from one curve's name to the next.
const LEGEND_STEP: i32 = 350;

/// Room at the right of the plot, where every curve has its name.
const NAME_WIDTH: u32 = 76;

/// Names of two curves at least so far apart can be read one above the other.
const NAME_HEIGHT: i32 = 20;

/// With more ticks than this their labels would run into each other.
const MOST_TICKS: usize = 8;

/// Two colours of Okabe and Ito, which colour-blind people tell apart, and everybody by their lightness in grey print.
const ORANGE: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
const BAND_OPACITY: f64 = 0.18;

struct Curve<'a> {
    name: &'static str,
    colour: RGBColor,
    accuracy: &'a Accuracy,
}

/// Draws the curves of a report; none where nothing was evaluated.
///
/// # Errors
/// If the drawing library fails.
pub fn draw(name: &str, before: Option<&Accuracy>, after: Option<&Accuracy>) -> anyhow::Result<Option<String>> {
    let mut curves = Vec::new();
    if let Some(accuracy) = before {
        curves.push(Curve {
            name: "before",
            colour: ORANGE,
            accuracy,
        });
    }
    if let Some(accuracy) = after {
        let label = if curves.is_empty() { "accuracy" } else { "after" };
        curves.push(Curve {
            name: label,
            colour: BLUE,
            accuracy,
        });
    }
    curves.retain(|curve| !curve.accuracy.budgets.is_empty());
    if curves.is_empty() {
        return Ok(None);
    }
    let mut svg = String::new();
    draw_into(&mut svg, name, &curves).map_err(|error| anyhow!("draw curves: {error}"))?;
    Ok(Some(svg))
}

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw_into(svg: &mut String, job_name: &str, curves: &[Curve<'_>]) -> Drawn {
    let root = SVGBackend::with_string(svg, (WIDTH, HEIGHT)).into_drawing_area();
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(HEAD_HEIGHT);
    draw_head(&head, job_name, curves)?;
    draw_plot(&body, curves)?;
    root.present()
}

fn draw_head(head: &DrawingArea<SVGBackend<'_>, Shift>, job_name: &str, curves: &[Curve<'_>]) -> Drawn {
    let title = format!("Accuracy at every thinking budget: {job_name}");
    let font = ("sans-serif", 20).into_font().style(FontStyle::Bold).color(&INK);
    head.draw(&Text::new(title, (LEFT, 16), font))?;
    let mut x = LEFT;
    for curve in curves {
        let accuracy = curve.accuracy;
        let label = format!(
            "{}: anytime {}",
            curve.name,
            with_interval(accuracy.anytime, (accuracy.anytime_low, accuracy.anytime_high))
        );
        head.draw(&Rectangle::new(
            [(x, 51), (x + 24, 65)],
            curve.colour.mix(BAND_OPACITY).filled(),
        ))?;
        head.draw(&PathElement::new([(x, 58), (x + 24, 58)], curve.colour.stroke_width(3)))?;
        let font = ("sans-serif", 16).into_font().color(&INK);
        head.draw(&Text::new(label, (x + 32, 49), font))?;
        x += LEGEND_STEP;
    }
    Ok(())
}

fn draw_plot(body: &DrawingArea<SVGBackend<'_>, Shift>, curves: &[Curve<'_>]) -> Drawn {
    let budgets = curves.iter().flat_map(|curve| curve.accuracy.budgets.iter().copied());
    let largest_budget = f64::from(budgets.max().unwrap_or(1));
    let ticks = ticks(&curves[0].accuracy.budgets);
    let mut chart = ChartBuilder::on(body)
        .margin(12)
        .margin_right(NAME_WIDTH)
        .x_label_area_size(54)
        .y_label_area_size(64)
        .build_cartesian_2d(
            BudgetAxis {
                end: largest_budget * 1.02,
                ticks,
            },
            0.0..1.0,
        )?;
    chart
        .configure_mesh()
        .x_desc("thinking budget (tokens)")
        .y_desc("accuracy, with 95 % interval")
        .y_labels(6)
        .x_label_formatter(&|budget| format!("{budget:.0}"))
        .y_label_formatter(&|accuracy| format!("{accuracy:.1}"))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(("sans-serif", 16).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 17).into_font().color(&INK))
        .draw()?;
    for curve in curves {
        let points = points(curve.accuracy);
        let mut band: Vec<(f64, f64)> = points.iter().map(|point| (point.budget, point.high)).collect();
        band.extend(points.iter().rev().map(|point| (point.budget, point.low)));
        chart.draw_series(std::iter::once(Polygon::new(
            band,
            curve.colour.mix(BAND_OPACITY).filled(),
        )))?;
    }
    // Lines after all bands, so that no band lies over a line.
    for curve in curves {
        let line: Vec<(f64, f64)> = points(curve.accuracy)
            .iter()
            .map(|point| (point.budget, point.accuracy))
            .collect();
        let dots: Vec<_> = line
            .iter()
            .map(|point| Circle::new(*point, 4, curve.colour.filled()))
            .collect();
        chart.draw_series(LineSeries::new(line, curve.colour.stroke_width(3)))?;
        chart.draw_series(dots)?;
    }
    if curves.len() > 1 {
        draw_names(body, curves, |point| chart.plotting_area().map_coordinate(point))?;
    }
    Ok(())
}

/// Writes every curve's name at its end, in its colour. Where two curves end close to each other, the names move apart.
fn draw_names(
    body: &DrawingArea<SVGBackend<'_>, Shift>,
    curves: &[Curve<'_>],
    place: impl Fn(&(f64, f64)) -> (i32, i32),
) -> Drawn {
    let (left, top) = body.get_base_pixel();
    let mut names: Vec<(i32, i32, &Curve<'_>)> = Vec::new();
    for curve in curves {
        if let Some(end) = points(curve.accuracy).last() {
            let (x, y) = place(&(end.budget, end.accuracy));
            names.push((x - left + 10, y - top, curve));
        }
    }
    names.sort_by_key(|(_, y, _)| *y);
    if let [(_, upper, _), (_, lower, _)] = names.as_mut_slice() {
        let missing = (NAME_HEIGHT - (*lower - *upper)).max(0);
        *upper -= missing / 2;
        *lower += missing - missing / 2;
    }
    for (x, y, curve) in names {
        let font = ("sans-serif", 17).into_font().style(FontStyle::Bold);
        let style = font.color(&curve.colour).pos(Pos::new(HPos::Left, VPos::Center));
        body.draw(&Text::new(curve.name, (x, y), style))?;
    }
    Ok(())
}

/// A linear axis from 0 with its ticks at the budgets.
struct BudgetAxis {
    end: f64,
    ticks: Vec<f64>,
}

impl Ranged for BudgetAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let pixels = f64::from(limit.1 - limit.0);
        limit.0 + (value / self.end * pixels).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        0.0..self.end
    }
}

/// Accuracy at one budget with its interval.
struct Point {
    budget: f64,
    accuracy: f64,
    low: f64,
    high: f64,
}

/// Every budget that was measured.
fn points(accuracy: &Accuracy) -> Vec<Point> {
    let mut points = Vec::new();
    let ends = accuracy.accuracy_low.iter().zip(&accuracy.accuracy_high);
    for ((budget, mean), (low, high)) in accuracy.budgets.iter().zip(&accuracy.accuracy).zip(ends) {
        if mean.is_finite() {
            points.push(Point {
                budget: f64::from(*budget),
                accuracy: *mean,
                low: if low.is_finite() { *low } else { *mean },
                high: if high.is_finite() { *high } else { *mean },
            });
        }
    }
    points
}

/// The budgets that are written at the axis: all, or as many as fit, always with the largest.
fn ticks(budgets: &[u32]) -> Vec<f64> {
    let stride = budgets.len().div_ceil(MOST_TICKS).max(1);
    let mut ticks: Vec<f64> = budgets
        .iter()
        .rev()
        .step_by(stride)
        .map(|budget| f64::from(*budget))
        .collect();
    ticks.reverse();
    ticks
}
