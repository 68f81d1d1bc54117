//! Draws a timeline: 1,000 pixels wide on a light card of its own. What things are is said by where they stand and by their
//! form; colours, which differ in lightness too, only help.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::layout::{Bar, Layout, Stretch};

const WIDTH: u32 = 1000;

/// Where time begins: the names of the rows stand to the left of it.
const LEFT: i32 = 176;
const RIGHT: i32 = 976;

/// Title, explanation and legend.
const HEAD_HEIGHT: i32 = 118;
/// The axis of time and its name.
const FOOT_HEIGHT: i32 = 56;

/// The distance from one row of the learner to the next, and the height of its bars.
const LEARNER_ROW: i32 = 22;
const LEARNER_BAR: i32 = 14;

/// The space between the learner and the actors, and between one actor and the next.
const GAP: i32 = 14;

/// An actor's name needs so much, however few rows it has.
const NAME_HEIGHT: i32 = 16;

/// The rows of groups share so much, within these heights.
const ROWS_HEIGHT: i32 = 480;
const HIGHEST_ROW: i32 = 12;
const LOWEST_ROW: i32 = 4;

/// The numbers of two steps at least so far apart can be read.
const NUMBER_WIDTH: i32 = 26;

/// The width of what the legend shows.
const KEY_WIDTH: i32 = 30;

/// Longer names are cut.
const MOST_NAME: usize = 20;
const MOST_TITLE: usize = 56;

/// A light and a dark colour that colour-blind people and grey print tell apart.
const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The picture as SVG.
///
/// # Errors
/// If the drawing library fails.
pub(super) fn picture(name: &str, layout: &Layout) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw_into(&mut svg, name, layout).map_err(|error| anyhow!("draw timeline: {error}"))?;
    Ok(svg)
}

fn draw_into(svg: &mut String, name: &str, layout: &Layout) -> Drawn {
    let row = row_height(layout);
    let body_height = body_height(layout, row);
    let height = HEAD_HEIGHT + body_height + FOOT_HEIGHT;
    let root = SVGBackend::with_string(svg, (WIDTH, height.unsigned_abs())).into_drawing_area();
    root.fill(&WHITE)?;
    draw_head(&root, name, layout)?;
    let scale = Scale {
        seconds: layout.seconds,
    };
    draw_grid(&root, layout, &scale, HEAD_HEIGHT + body_height)?;
    let mut y = HEAD_HEIGHT;
    for (name, stretches) in &layout.learner {
        label(&root, name, (LEFT - 10, y + LEARNER_ROW / 2), HPos::Right)?;
        for stretch in stretches {
            let top = y + (LEARNER_ROW - LEARNER_BAR) / 2;
            fill(&root, &scale, *stretch, (top, top + LEARNER_BAR), INK)?;
        }
        y += LEARNER_ROW;
    }
    for actor in &layout.actors {
        y += GAP;
        label(
            &root,
            &shown(&actor.name, MOST_NAME),
            (LEFT - 10, y + NAME_HEIGHT / 2),
            HPos::Right,
        )?;
        for (number, bars) in (0..).zip(&actor.rows) {
            for bar in bars {
                draw_bar(&root, &scale, bar, y + number * row, row)?;
            }
        }
        y += actor_height(actor.rows.len(), row);
    }
    root.present()
}

/// From seconds to pixels.
struct Scale {
    seconds: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> i32 {
        LEFT + (seconds / self.seconds * f64::from(RIGHT - LEFT)).round() as i32
    }
}

fn row_height(layout: &Layout) -> i32 {
    let rows: usize = layout.actors.iter().map(|actor| actor.rows.len()).sum();
    (ROWS_HEIGHT / i32::try_from(rows).unwrap_or(i32::MAX).max(1)).clamp(LOWEST_ROW, HIGHEST_ROW)
}

fn actor_height(rows: usize, row: i32) -> i32 {
    (i32::try_from(rows).unwrap_or_default() * row).max(NAME_HEIGHT)
}

fn body_height(layout: &Layout, row: i32) -> i32 {
    let learner = LEARNER_ROW * i32::try_from(layout.learner.len()).unwrap_or_default();
    let actors = layout
        .actors
        .iter()
        .map(|actor| GAP + actor_height(actor.rows.len(), row));
    learner + actors.sum::<i32>()
}

fn draw_head(root: &Area<'_>, name: &str, layout: &Layout) -> Drawn {
    let (first, last) = layout.steps;
    let which = if first == last {
        format!("step {first}")
    } else {
        format!("steps {first} to {last}")
    };
    let bold = ("sans-serif", 20).into_font().style(FontStyle::Bold).color(&INK);
    let title = format!("Timeline of {which}: {}", shown(name, MOST_TITLE));
    root.draw(&Text::new(title, (20, 14), bold))?;
    let mut says =
        "What the learner did, and below it every group that these steps trained, by the actor that generated it."
            .to_owned();
    if layout.left_out > 0 {
        says.push_str(&format!(" {} groups are not shown.", layout.left_out));
    }
    root.draw(&Text::new(says, (20, 44), small()))?;
    root.draw(&Text::new("A group is", (20, 66), small()))?;
    let (top, bottom) = (68, 78);
    let bar = |x: i32| [(x, top), (x + KEY_WIDTH, bottom)];
    let line = |x: i32| {
        [
            (x, i32::midpoint(top, bottom)),
            (x + KEY_WIDTH, i32::midpoint(top, bottom)),
        ]
    };
    let places = [100, 334, 466, 560];
    root.draw(&Rectangle::new(bar(places[0]), SKY.filled()))?;
    root.draw(&PathElement::new(line(places[1]), INK.stroke_width(1)))?;
    root.draw(&Rectangle::new(bar(places[2]), INK.filled()))?;
    let edge = places[3] + KEY_WIDTH / 2;
    root.draw(&PathElement::new(
        [(edge, top - 2), (edge, bottom + 2)],
        GRID.stroke_width(2),
    ))?;
    let texts = [
        "leased and with its actor,",
        "in the queue,",
        "trained.",
        "The end of a step, with its number.",
    ];
    for (text, x) in texts.into_iter().zip(places) {
        root.draw(&Text::new(text, (x + KEY_WIDTH + 8, 66), small()))?;
    }
    Ok(())
}

/// Where steps end, with their numbers above, and the axis of time below.
fn draw_grid(root: &Area<'_>, layout: &Layout, scale: &Scale, bottom: i32) -> Drawn {
    let mut last = i32::MIN / 2;
    for (step, end) in &layout.ends {
        let x = scale.x(*end);
        root.draw(&PathElement::new(
            [(x, HEAD_HEIGHT - 4), (x, bottom)],
            GRID.stroke_width(1),
        ))?;
        if x - last >= NUMBER_WIDTH {
            label(root, &step.to_string(), (x, HEAD_HEIGHT - 12), HPos::Center)?;
            last = x;
        }
    }
    label(root, "step", (LEFT - 10, HEAD_HEIGHT - 12), HPos::Right)?;
    root.draw(&PathElement::new(
        [(LEFT, bottom + 6), (RIGHT, bottom + 6)],
        INK.stroke_width(1),
    ))?;
    let tick = tick(layout.seconds);
    let mut count = 0;
    while f64::from(count) * tick <= layout.seconds {
        let x = scale.x(f64::from(count) * tick);
        root.draw(&PathElement::new(
            [(x, bottom + 6), (x, bottom + 11)],
            INK.stroke_width(1),
        ))?;
        let text = with_as_many_digits(f64::from(count) * tick, tick);
        label(root, &text, (x, bottom + 20), HPos::Center)?;
        count += 1;
    }
    let (first, _) = layout.steps;
    let axis = format!("seconds from the beginning of step {first}");
    label(root, &axis, (i32::midpoint(LEFT, RIGHT), bottom + 40), HPos::Center)
}

fn draw_bar(root: &Area<'_>, scale: &Scale, bar: &Bar, top: i32, row: i32) -> Drawn {
    let rows = (top, top + row - 2);
    if let Some(stretch) = bar.generated {
        fill(root, scale, stretch, rows, SKY)?;
    }
    if let Some((from, to)) = bar.queued {
        let middle = i32::midpoint(rows.0, rows.1);
        let ends = [(scale.x(from), middle), (scale.x(to), middle)];
        root.draw(&PathElement::new(ends, INK.stroke_width(1)))?;
    }
    fill(root, scale, bar.trained, rows, INK)
}

/// A bar that is seen however short it is.
fn fill(root: &Area<'_>, scale: &Scale, (from, to): Stretch, (top, bottom): (i32, i32), colour: RGBColor) -> Drawn {
    let left = scale.x(from);
    let right = scale.x(to).max(left + 1);
    root.draw(&Rectangle::new([(left, top), (right, bottom)], colour.filled()))
}

fn label(root: &Area<'_>, text: &str, place: (i32, i32), side: HPos) -> Drawn {
    let style = small().pos(Pos::new(side, VPos::Center));
    root.draw(&Text::new(text.to_owned(), place, style))
}

fn small() -> TextStyle<'static> {
    ("sans-serif", 15).into_font().color(&INK)
}

/// A name that others chose, as XML can hold it and the picture has room for it.
fn shown(name: &str, most: usize) -> String {
    let is_character = |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    let characters = name
        .chars()
        .map(|character| if is_character(character) { character } else { '\u{fffd}' });
    let mut text: String = characters.clone().take(most).collect();
    if characters.count() > most {
        text.pop();
        text.push('…');
    }
    text
}

/// The distance of ticks: 1, 2 or 5 times a power of ten, so that there are at most ten.
fn tick(seconds: f64) -> f64 {
    let rough = seconds / 10.0;
    let power = 10_f64.powi(rough.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|step| step * power);
    steps.into_iter().find(|step| *step >= rough).unwrap_or(rough)
}

fn with_as_many_digits(value: f64, tick: f64) -> String {
    let digits = (-tick.log10().floor()).max(0.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (seconds, expected) in [(10.0, 1.0), (11.0, 2.0), (0.3, 0.05), (7200.0, 1000.0), (45.0, 5.0)] {
            assert!(
                (tick(seconds) / expected - 1.0).abs() < 1e-9,
                "{seconds}: {}",
                tick(seconds)
            );
        }
        assert_eq!(with_as_many_digits(0.15, 0.05), "0.15");
        assert_eq!(with_as_many_digits(1500.0, 500.0), "1500");
    }

    #[test]
    fn names_are_cut_and_hold_nothing_that_xml_does_not() {
        assert_eq!(shown("actor-1", 20), "actor-1");
        assert_eq!(shown("0123456789", 5), "0123…");
        assert_eq!(shown("a\u{1}b\u{ffff}\n", 20), "a\u{fffd}b\u{fffd}\u{fffd}");
    }
}
