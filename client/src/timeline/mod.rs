//! `timeline.svg`: what the learner did over the last steps of a job, and the way of every group that they trained, from
//! its lease to its update. `layout` says what stands where in time, `draw` draws it.

mod draw;
mod layout;

use anytime_proto::v1;

use layout::Layout;

/// The name of the picture, beside the report.
pub const FILE: &str = "timeline.svg";

/// At most so many steps are drawn: with more, nobody could tell them apart.
pub const MOST_STEPS: usize = 20;

/// The steps with their times that can be drawn: the last ones that have any.
pub fn last_steps(series: &[v1::StepMetrics]) -> Vec<(u64, v1::StepTimeline)> {
    let timed = series
        .iter()
        .filter_map(|step| Some((step.step, step.timeline.clone()?)));
    let mut last: Vec<(u64, v1::StepTimeline)> = timed.rev().take(MOST_STEPS).collect();
    last.reverse();
    last
}

/// Whether [`draw`] has something to draw.
pub fn can_be_drawn(steps: &[(u64, v1::StepTimeline)]) -> bool {
    Layout::of(steps).is_some()
}

/// Draws the timeline of steps; none where none of them says when it was.
///
/// # Errors
/// If the drawing library fails.
pub fn draw(name: &str, steps: &[(u64, v1::StepTimeline)]) -> anyhow::Result<Option<String>> {
    match Layout::of(steps) {
        Some(layout) => Ok(Some(draw::picture(name, &layout)?)),
        None => Ok(None),
    }
}
