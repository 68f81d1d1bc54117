//! Pictures of a study: panels of curves under a legend. Every method has a colour (Okabe and Ito's, which colour-blind
//! people tell apart), a dash and a marker of its own, so that it is also known in grey.

mod axis;
mod baselines;
mod budgets;
mod curves;
mod panel;

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use self::panel::{Panel, draw_panel};
use super::summary::Summary;

/// A picture of the report.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Name of its file, without `.svg`.
    pub name: &'static str,
    /// Heading.
    pub title: String,
    /// What is to be seen, and how it was computed.
    pub caption: String,
    /// The picture.
    pub svg: String,
}

/// All figures that the results have data for.
///
/// # Errors
/// If the drawing library fails.
pub fn all(summary: &Summary<'_>) -> anyhow::Result<Vec<Figure>> {
    let figures = [
        budgets::accuracy(summary)?,
        budgets::differences(summary)?,
        curves::by_step(summary)?,
        curves::by_cost(summary)?,
        baselines::baselines(summary)?,
    ];
    Ok(figures.into_iter().flatten().collect())
}

const PANEL_HEIGHT: u32 = 330;
/// Of a panel as wide as the picture.
const WIDE_PANEL_HEIGHT: u32 = 430;
const WIDTH: u32 = 1000;
const LEGEND_ROW: u32 = 24;
const LEGEND_MARGIN: i32 = 60;
/// Line, marker and gap before a name.
const LEGEND_KEY: i32 = 52;
/// A generous guess at the width of a letter: names may not run into each other in any font.
const LETTER: i32 = 8;
const LEGEND_GAP: i32 = 26;

pub(super) const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
pub(super) const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// Okabe and Ito without yellow, which white paper swallows; grey takes its place.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x77, 0x77, 0x77),
];

/// (dash, gap) in pixels; none is solid.
const DASHES: [Option<(u32, u32)>; 4] = [None, Some((10, 4)), Some((3, 3)), Some((16, 6))];

/// A point's shape.
#[derive(Clone, Copy, Debug)]
enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Ring,
    Plus,
    Frame,
}

const MARKERS: [Marker; 8] = [
    Marker::Circle,
    Marker::Square,
    Marker::Triangle,
    Marker::Diamond,
    Marker::Cross,
    Marker::Ring,
    Marker::Plus,
    Marker::Frame,
];

/// How a series looks everywhere in a report.
#[derive(Clone, Copy, Debug)]
struct Look {
    colour: RGBColor,
    dash: Option<(u32, u32)>,
    marker: Marker,
}

impl Look {
    /// The look of the series with this number; colour, dash and marker together come back only after many.
    fn of(number: usize) -> Self {
        Self {
            colour: COLOURS[number % COLOURS.len()],
            dash: DASHES[(number + number / COLOURS.len()) % DASHES.len()],
            marker: MARKERS[(number + 3 * (number / MARKERS.len())) % MARKERS.len()],
        }
    }
}

/// A named series of the legend.
#[derive(Clone, Debug)]
struct Series {
    name: String,
    look: Look,
}

/// The methods of a study as series, in their order.
fn methods(summary: &Summary<'_>) -> Vec<Series> {
    let names = summary.methods.iter().enumerate();
    names
        .map(|(number, method)| Series {
            name: method.name.clone(),
            look: Look::of(number),
        })
        .collect()
}

/// Draws panels, so many in a row, under the legend of all series.
fn draw(series: &[Series], panels: &[Panel], columns: usize) -> anyhow::Result<String> {
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

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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

/// A marker at a point of any coordinates, with a white edge that sets it off from what it covers.
fn marker<'a, C: Clone + 'static>(look: Look, at: C) -> DynElement<'a, SVGBackend<'a>, C> {
    let fill = look.colour.filled();
    let edge = WHITE.stroke_width(1);
    let line = look.colour.stroke_width(2);
    let at = EmptyElement::at(at);
    let closed = |corners: &[(i32, i32)]| {
        let mut outline = corners.to_vec();
        outline.push(corners[0]);
        outline
    };
    let shape = |corners: &[(i32, i32)]| {
        (
            Polygon::new(corners.to_vec(), fill),
            PathElement::new(closed(corners), edge),
        )
    };
    match look.marker {
        Marker::Circle => (at + Circle::new((0, 0), 4, fill) + Circle::new((0, 0), 5, edge)).into_dyn(),
        Marker::Square => {
            let (inside, outline) = shape(&[(-4, -4), (4, -4), (4, 4), (-4, 4)]);
            (at + inside + outline).into_dyn()
        }
        Marker::Triangle => {
            let (inside, outline) = shape(&[(0, -5), (5, 4), (-5, 4)]);
            (at + inside + outline).into_dyn()
        }
        Marker::Diamond => {
            let (inside, outline) = shape(&[(0, -6), (5, 0), (0, 6), (-5, 0)]);
            (at + inside + outline).into_dyn()
        }
        Marker::Cross => {
            (at + PathElement::new(vec![(-4, -4), (4, 4)], line) + PathElement::new(vec![(-4, 4), (4, -4)], line))
                .into_dyn()
        }
        Marker::Ring => (at + Circle::new((0, 0), 4, WHITE.filled()) + Circle::new((0, 0), 4, line)).into_dyn(),
        Marker::Plus => {
            (at + PathElement::new(vec![(-5, 0), (5, 0)], line) + PathElement::new(vec![(0, -5), (0, 5)], line))
                .into_dyn()
        }
        Marker::Frame => {
            let corners = [(-4, -4), (4, -4), (4, 4), (-4, 4)];
            let inside = Polygon::new(corners.to_vec(), WHITE.filled());
            (at + inside + PathElement::new(closed(&corners), line)).into_dyn()
        }
    }
}
