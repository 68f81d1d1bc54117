//! One panel: curves with their bands, or points with their intervals side by side.

use plotters::prelude::*;

use super::axis::Axis;
use super::look::{Area, Drawn, GRID, INK, Look, marker};

const BAND_OPACITY: f64 = 0.13;
const TITLE_HEIGHT: u32 = 26;
const Y_TICKS: usize = 6;
/// The distance of bars at the same place, so that they never touch each other.
const DODGE_PIXELS: i32 = 9;

/// Curves, or intervals side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Curves,
    Intervals,
}

/// A mean and, where it is known, its interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) mean: f64,
    pub(super) ends: Option<(f64, f64)>,
}

/// The points of one series, by x.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) look: Look,
    pub(super) points: Vec<Point>,
    /// Whether points have markers; many points have none.
    pub(super) has_markers: bool,
}

/// One coordinate system with its curves, its labels and the range of its values; [`draw_panel`] draws it.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x_label: String,
    pub(super) y_label: String,
    pub(super) kind: Kind,
    pub(super) x: Axis,
    /// The range that no value can leave, such as 0 to 1; bands are cut there.
    pub(super) bounds: (f64, f64),
    /// Whether zero is a value to compare with: then it is in the picture, as a line.
    pub(super) has_zero: bool,
    pub(super) curves: Vec<Curve>,
}

impl Panel {
    /// From the lowest to the highest end of an interval, within the bounds; a panel with a zero line includes zero.
    fn y_axis(&self) -> Axis {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for point in points {
            let (bottom, top) = point.ends.unwrap_or((point.mean, point.mean));
            low = low.min(bottom.max(self.bounds.0));
            high = high.max(top.min(self.bounds.1));
        }
        if self.has_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if !low.is_finite() || !high.is_finite() {
            return Axis::round(0.0, 1.0, Y_TICKS);
        }
        Axis::round(low, high, Y_TICKS)
    }
}

pub(super) fn draw_panel(area: &Area<'_>, panel: &Panel) -> Drawn {
    let (head, body) = area.split_vertically(TITLE_HEIGHT);
    let font = ("sans-serif", 15).into_font().style(FontStyle::Bold).color(&INK);
    head.draw(&Text::new(panel.title.clone(), (62, 8), font))?;
    let y = panel.y_axis();
    let (x_names, y_names) = (panel.x.clone(), y.clone());
    let mut chart = ChartBuilder::on(&body)
        .margin(6)
        .margin_right(30)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(panel.x.clone(), y)?;
    chart
        .configure_mesh()
        .x_desc(panel.x_label.clone())
        .y_desc(panel.y_label.clone())
        .x_label_formatter(&|value| x_names.label(*value))
        .y_label_formatter(&|value| y_names.label(*value))
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(("sans-serif", 13).into_font().color(&INK))
        .axis_desc_style(("sans-serif", 14).into_font().color(&INK))
        .draw()?;
    if panel.has_zero {
        let line = vec![(panel.x.start, 0.0), (panel.x.end, 0.0)];
        chart.draw_series(std::iter::once(PathElement::new(line, INK.stroke_width(1))))?;
    }
    match panel.kind {
        Kind::Curves => {
            for curve in &panel.curves {
                let band = band(curve, panel.bounds);
                chart.draw_series(
                    band.into_iter()
                        .map(|corners| Polygon::new(corners, curve.look.colour.mix(BAND_OPACITY).filled())),
                )?;
            }
            // Lines after all bands, so that no band lies over a line.
            for curve in &panel.curves {
                let line = curve.points.iter().map(|point| (point.x, point.mean));
                let style = curve.look.colour.stroke_width(2);
                match curve.look.dash {
                    None => chart.draw_series(LineSeries::new(line, style))?,
                    Some((dash, gap)) => chart.draw_series(DashedLineSeries::new(line, dash, gap, style))?,
                };
                if curve.has_markers {
                    let plotting = chart.plotting_area();
                    draw_markers(&body, curve, 0, |x, y| plotting.map_coordinate(&(x, y)))?;
                }
            }
        }
        Kind::Intervals => {
            let plotting = chart.plotting_area();
            let count = i32::try_from(panel.curves.len()).unwrap_or(1);
            for (number, curve) in (0_i32..).zip(&panel.curves) {
                let shift = (2 * number - (count - 1)) * DODGE_PIXELS / 2;
                draw_intervals(&body, curve, panel.bounds, shift, |x, y| {
                    plotting.map_coordinate(&(x, y))
                })?;
            }
        }
    }
    Ok(())
}

/// The corners of the bands: one polygon for every stretch of points with intervals.
fn band(curve: &Curve, bounds: (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let mut bands = Vec::new();
    for stretch in curve.points.split(|point| point.ends.is_none()) {
        let ends = || {
            stretch
                .iter()
                .filter_map(|point| point.ends.map(|ends| (point.x, ends)))
        };
        let mut corners: Vec<(f64, f64)> = ends().map(|(x, (_, high))| (x, high.min(bounds.1))).collect();
        corners.extend(ends().rev().map(|(x, (low, _))| (x, low.max(bounds.0))));
        if stretch.len() > 1 {
            bands.push(corners);
        }
    }
    bands
}

/// Draws the means, moved aside by `shift` pixels.
fn draw_markers(area: &Area<'_>, curve: &Curve, shift: i32, place: impl Fn(f64, f64) -> (i32, i32)) -> Drawn {
    let (left, top) = area.get_base_pixel();
    for point in &curve.points {
        let (x, y) = place(point.x, point.mean);
        area.draw(&marker(curve.look, (x - left + shift, y - top)))?;
    }
    Ok(())
}

/// Draws bars with their means, moved aside by `shift` pixels. A bar that goes on beyond the bounds has no cap there.
fn draw_intervals(
    area: &Area<'_>,
    curve: &Curve,
    bounds: (f64, f64),
    shift: i32,
    place: impl Fn(f64, f64) -> (i32, i32),
) -> Drawn {
    let (left, top) = area.get_base_pixel();
    let style = curve.look.colour.stroke_width(2);
    for point in &curve.points {
        let Some((low, high)) = point.ends else {
            continue;
        };
        let ends = [low, high].map(|y| {
            let inside = y.clamp(bounds.0, bounds.1);
            let (x, pixel) = place(point.x, inside);
            ((x - left + shift, pixel - top), inside == y)
        });
        area.draw(&PathElement::new(ends.map(|(end, _)| end), style))?;
        for ((x, y), is_inside) in ends {
            if is_inside {
                area.draw(&PathElement::new([(x - 3, y), (x + 3, y)], style))?;
            }
        }
    }
    draw_markers(area, curve, shift, place)
}
