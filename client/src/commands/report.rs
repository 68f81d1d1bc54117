//! `anytime report`: report.json and curves.svg of a job, and where its figures are.

use std::time::Duration;

use anytime_proto::v1;
use anytime_proto::v1::job_event::Event;

use crate::arguments::ReportArgs;
use crate::follow::{EventSink, follow};
use crate::job_view::has_ended;
use crate::learner::Learner;
use crate::output::{print_json, print_line};
use crate::report::{Report, push_step, table, write};

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
    if let Some(curves) = files.curves {
        print_line(&format!("written: {}", curves.display()))?;
    }
    print_line(&format!(
        "the figures of every step, for other tools: {} in the directory of job {}, below the learner's --runs-dir",
        figures_of(&job),
        job.id
    ))?;
    Ok(())
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
