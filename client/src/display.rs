//! Shows a job as it runs: a bar where there is a terminal, plain lines where there is none, JSON lines for scripts.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;
use indicatif::{ProgressBar, ProgressStyle};

use crate::follow::EventSink;
use crate::job_view::{evaluation_line, event_json, notice_line, state_line, step_line, total_steps};
use crate::output::print_line;
use crate::report::push_step;

/// A plain line per step would drown a log where steps take milliseconds; the last step is always shown.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Where a display writes to, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A progress bar on standard error, with the lines that stay above it.
    Bar,
    /// Plain lines on standard output.
    Lines,
    /// Plain lines on standard error, because standard output belongs to a JSON document.
    LinesAside,
    /// One JSON object per event on standard output.
    JsonLines,
}

impl Style {
    /// The style for people: a bar if nothing is redirected.
    pub fn for_people() -> Self {
        let is_terminal = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        if is_terminal { Self::Bar } else { Self::Lines }
    }

    /// The style of a command whose result is one JSON document if `json` is set.
    pub fn beside_document(json: bool) -> Self {
        if json { Self::LinesAside } else { Self::for_people() }
    }
}

/// Shows the events of one job, and keeps its steps for the report.
#[derive(Debug)]
pub struct Display {
    style: Style,
    job_id: String,
    total_steps: u64,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    steps: Vec<v1::StepMetrics>,
}

impl Display {
    /// A display of this job.
    pub fn new(style: Style, job: &v1::Job) -> Self {
        let total_steps = total_steps(job);
        let bar = (style == Style::Bar).then(|| make_bar(&job.id, total_steps));
        Self {
            style,
            job_id: job.id.clone(),
            total_steps,
            bar,
            last_line: None,
            steps: Vec::new(),
        }
    }

    /// Where the job stands when it begins to be watched: plain lines show a step a second at most, so that of the steps so
    /// far the newest may be left out, and where the job stalls none comes after it.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn standing(&self, job: &v1::Job) -> anyhow::Result<()> {
        self.standing_text(job).map_or(Ok(()), |text| self.line(&text))
    }

    fn standing_text(&self, job: &v1::Job) -> Option<String> {
        let step = job.last_step.as_ref().filter(|_| self.style == Style::Lines)?;
        Some(format!(
            "is at step {}/{}  {}",
            step.step,
            self.total_steps,
            step_line(step)
        ))
    }

    /// Every step that was seen, in order.
    pub fn into_steps(mut self) -> Vec<v1::StepMetrics> {
        std::mem::take(&mut self.steps)
    }

    /// A line that stays.
    fn line(&self, text: &str) -> anyhow::Result<()> {
        let line = format!("{}  {text}", self.job_id);
        match (&self.bar, self.style) {
            (Some(bar), _) => bar.println(line),
            (None, Style::Lines) => print_line(&line)?,
            (None, _) => eprintln!("{line}"),
        }
        Ok(())
    }

    /// A line that may be left out when there are too many.
    fn frequent_line(&mut self, text: &str, must_show: bool) -> anyhow::Result<()> {
        let is_due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_INTERVAL);
        if !is_due && !must_show {
            return Ok(());
        }
        self.last_line = Some(Instant::now());
        self.line(text)
    }

    fn step(&mut self, step: &v1::StepMetrics) -> anyhow::Result<()> {
        push_step(&mut self.steps, step);
        if let Some(bar) = &self.bar {
            bar.set_position(step.step);
            bar.set_message(step_line(step));
            return Ok(());
        }
        let text = format!("step {}/{}  {}", step.step, self.total_steps, step_line(step));
        self.frequent_line(&text, step.step == self.total_steps)
    }

    fn progress(&mut self, progress: v1::EvaluationProgress) -> anyhow::Result<()> {
        let text = format!("evaluating  {}/{} groups", progress.done_groups, progress.total_groups);
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return Ok(());
        }
        self.frequent_line(&text, false)
    }
}

impl EventSink for Display {
    fn event(&mut self, event: &v1::JobEvent) -> anyhow::Result<()> {
        if self.style == Style::JsonLines {
            if let Some(Event::Step(step)) = &event.event {
                push_step(&mut self.steps, step);
            }
            return print_line(&event_json(event).to_string());
        }
        match &event.event {
            Some(Event::Step(step)) => self.step(step),
            Some(Event::Evaluation(evaluation)) => self.line(&evaluation_line(evaluation)),
            Some(Event::EvaluationProgress(progress)) => self.progress(*progress),
            Some(Event::State(state)) => self.line(&state_line(state)),
            Some(Event::Notice(notice)) => self.line(&notice_line(notice)),
            Some(Event::WentOn(went_on)) => self.line(&format!(
                "goes on from step {}; the steps after it are done again",
                went_on.step
            )),
            None => Ok(()),
        }
    }

    fn notice(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn make_bar(name: &str, total_steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(total_steps);
    let template = "{prefix} {bar:24.cyan/dim} {pos}/{len} {elapsed} {wide_msg}";
    // The template is constant; were it wrong, indicatif's own would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_begin_with_where_the_job_stands_and_what_it_waited_for() {
        let mut job = v1::Job {
            total_steps: 900,
            ..Default::default()
        };
        assert_eq!(Display::new(Style::Lines, &job).standing_text(&job), None);
        job.last_step = Some(v1::StepMetrics {
            step: 26,
            reward_per_budget: vec![0.5],
            wait_seconds: 312.4,
            step_seconds: 313.0,
            ..Default::default()
        });
        let text = Display::new(Style::Lines, &job).standing_text(&job).expect("a step");
        assert!(text.starts_with("is at step 26/900  reward 0.50"), "{text}");
        assert!(text.ends_with("waited 312.4 of 313.0 s"), "{text}");
        // The documents of scripts have every step.
        assert_eq!(Display::new(Style::JsonLines, &job).standing_text(&job), None);
    }
}
