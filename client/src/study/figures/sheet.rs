//! A figure as a whole: its panels in rows under a legend of all series.

use anyhow::anyhow;
use plotters::prelude::*;

use super::look::{Area, Drawn, INK, Look, marker};
use super::panel::{Panel, draw_panel};
use crate::study::summary::Summary;

/// A picture of the report.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its file, without `.svg`.
    pub name: &'static str,
    /// Heading of the figure.
    pub title: String,
    /// What the figure shows, and how it was computed.
    pub caption: String,
    /// The picture itself.
    pub svg: String,
}

const PANEL_HEIGHT: u32 = 330;
/// The height of a panel that is as wide as the picture.
const WIDE_PANEL_HEIGHT: u32 = 430;
const WIDTH: u32 = 1000;
const LEGEND_ROW: u32 = 24;
const LEGEND_MARGIN: i32 = 60;
/// Width of the line, the marker and the gap before a name.
const LEGEND_KEY: i32 = 52;
/// A generous guess at the width of a letter: names may not run into each other in any font.
const LETTER: i32 = 8;
const LEGEND_GAP: i32 = 26;

/// A named series of the legend.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) look: Look,
}

/// The methods of a study as series, in their order.
pub(super) fn methods(summary: &Summary<'_>) -> Vec<Series> {
    let names = summary.methods.iter().enumerate();
    names
        .map(|(number, method)| Series {
            name: method.name.clone(),
            look: Look::of(number),
        })
        .collect()
}

/// Draws the panels in `columns` columns, under the legend of all series.
pub(super) fn draw(series: &[Series], panels: &[Panel], columns: usize) -> anyhow::Result<String> {
    let rows = panels.len().div_ceil(columns).max(1);
    let places = legend_places(series);
    let legend_rows = places.last().map_or(1, |place| place.1 + 1);
    let legend_height = 12 + LEGEND_ROW * legend_rows;
    let panel_height = if columns == 1 { WIDE_PANEL_HEIGHT } else { PANEL_HEIGHT };
    let height = legend_height + panel_height * u32::try_from(rows).unwrap_or(1);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let drawn = draw_into(&root, legend_height, series, &places, panels, (rows, columns));
        drawn.map_err(|error| anyhow!("draw a figure: {error}"))?;
    }
    Ok(svg)
}

fn draw_into(
    root: &Area<'_>,
    legend_height: u32,
    series: &[Series],
    places: &[(i32, u32)],
    panels: &[Panel],
    grid: (usize, usize),
) -> Drawn {
    root.fill(&WHITE)?;
    let (head, body) = root.split_vertically(legend_height);
    for (one, (x, row)) in series.iter().zip(places) {
        draw_key(&head, one, *x, 12 + i32::try_from(row * LEGEND_ROW).unwrap_or(0))?;
    }
    for (area, panel) in body.split_evenly(grid).iter().zip(panels) {
        draw_panel(area, panel)?;
    }
    root.present()
}

/// (x, row) of every name: a new row begins where the next name would leave the picture.
fn legend_places(series: &[Series]) -> Vec<(i32, u32)> {
    let right = i32::try_from(WIDTH).unwrap_or(i32::MAX);
    let mut places = Vec::new();
    let (mut x, mut row) = (LEGEND_MARGIN, 0);
    for one in series {
        let letters = i32::try_from(one.name.chars().count()).unwrap_or(0);
        let width = LEGEND_KEY + LETTER * letters + LEGEND_GAP;
        if x > LEGEND_MARGIN && x + width > right {
            (x, row) = (LEGEND_MARGIN, row + 1);
        }
        places.push((x, row));
        x += width;
    }
    places
}

fn draw_key(head: &Area<'_>, series: &Series, x: i32, y: i32) -> Drawn {
    let look = series.look;
    let (left, right) = (x, x + LEGEND_KEY - 10);
    for (start, end) in dashes(look.dash, left, right) {
        head.draw(&PathElement::new([(start, y), (end, y)], look.colour.stroke_width(2)))?;
    }
    head.draw(&marker(look, ((left + right) / 2, y)))?;
    let font = ("sans-serif", 14).into_font().color(&INK);
    head.draw(&Text::new(series.name.clone(), (x + LEGEND_KEY, y - 6), font))
}

fn dashes(dash: Option<(u32, u32)>, left: i32, right: i32) -> Vec<(i32, i32)> {
    let Some((length, gap)) = dash else {
        return vec![(left, right)];
    };
    let period = usize::try_from(length + gap).unwrap_or(1);
    let length = i32::try_from(length).unwrap_or(1);
    (left..right)
        .step_by(period)
        .map(|start| (start, (start + length).min(right)))
        .collect()
}
