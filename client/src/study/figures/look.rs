//! How a series looks: every method has a colour (Okabe and Ito's, which colour-blind people tell apart), a dash and a
//! marker of its own, so that it is also known in grey.

use plotters::coord::Shift;
use plotters::prelude::*;

/// What drawing returns.
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;
/// A part of a picture, in pixels.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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
pub(super) enum Marker {
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
pub(super) struct Look {
    pub(super) colour: RGBColor,
    pub(super) dash: Option<(u32, u32)>,
    pub(super) marker: Marker,
}

impl Look {
    /// The look of the series with this number; colour, dash and marker together come back only after many.
    pub(super) fn of(number: usize) -> Self {
        Self {
            colour: COLOURS[number % COLOURS.len()],
            dash: DASHES[(number + number / COLOURS.len()) % DASHES.len()],
            marker: MARKERS[(number + 3 * (number / MARKERS.len())) % MARKERS.len()],
        }
    }
}

/// A marker at a point of any coordinates, with a white edge that sets it off from what it covers.
pub(super) fn marker<'a, C: Clone + 'static>(look: Look, at: C) -> DynElement<'a, SVGBackend<'a>, C> {
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
