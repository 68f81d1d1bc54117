//! `anytime report`: report.json, curves.svg and timeline.svg of a job, and where its figures are.

use std::time::Duration;

use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;

use crate::arguments::ReportArgs;
use crate::follow::{EventSink, follow};
use crate::job_view::{has_ended, kind};
use crate::learner::Learner;
use crate::output::{print_json, print_line};
use crate::report::{Report, push_step, table, write};
use crate::timeline;

/// How long reading a job's events again may take. Without them the report lacks only the series of its steps.
const REPLAY_LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn run(arguments: &ReportArgs, json: bool) -> anyhow::Result<()> {
    let mut learner = Learner::try_new(&arguments.job.learner)?;
    let job = learner.get(&arguments.job.job).await?;
    let mut steps = Steps::default();
    if has_ended(&job) {
        let replay = follow(&mut learner, &job.id, &mut steps, REPLAY_LIMIT);
        match tokio::time::timeout(REPLAY_LIMIT, replay).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => eprintln!("no series of steps: {error:#}"),
            Err(_) => eprintln!(
                "the series of steps is incomplete: no answer within {} s",
                REPLAY_LIMIT.as_secs()
            ),
        }
    }
    let report = Report::new(&job, steps.seen);
    let files = write(&report, &arguments.out)?;
    if json {
        return print_json(&report);
    }
    print_line(&table(&report))?;
    print_line(&format!("written: {}", files.report.display()))?;
    for picture in files.curves.iter().chain(&files.timeline) {
        print_line(&format!("written: {}", picture.display()))?;
    }
    if files.timeline.is_none() {
        print_line(&format!("no {}: {}", timeline::FILE, why_no_timeline(&job)))?;
    }
    print_line(&format!(
        "the figures of every step, for other tools: {} in the directory of job {}, below the learner's --runs-dir",
        figures_of(&job),
        job.id
    ))?;
    Ok(())
}

/// Why there is no picture of the last steps.
fn why_no_timeline(job: &v1::Job) -> &'static str {
    if kind(job) != v1::JobKind::Train {
        "only the steps of train jobs say when their parts were"
    } else if !has_ended(job) {
        "the steps of a job are read again once it has ended"
    } else {
        "no step was seen that says when its parts were"
    }
}

/// What the learner writes beside the job.
fn figures_of(job: &v1::Job) -> &'static str {
    let checkpoint = job.spec.as_ref().and_then(|spec| spec.checkpoint.as_ref());
    if checkpoint.is_some_and(v1::CheckpointSpec::tensorboard) {
        "metrics.jsonl and tensorboard/"
    } else {
        "metrics.jsonl"
    }
}

#[derive(Default)]
struct Steps {
    seen: Vec<v1::StepMetrics>,
}

impl EventSink for Steps {
    fn event(&mut self, event: &v1::JobEvent) -> anyhow::Result<()> {
        if let Some(Event::Step(step)) = &event.event {
            push_step(&mut self.seen, step);
        }
        Ok(())
    }

    fn notice(&mut self, text: &str) {
        eprintln!("{text}");
    }
}
