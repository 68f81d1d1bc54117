//! Jobs on disk.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::entry::Started;
use anytime_learner::jobs::events::{EventLog, KEPT_IN_MEMORY, read_after};
use anytime_learner::jobs::registry::JobRegistry;
use anytime_learner::outputs::Places;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::{self, JobState, job_event::Event};
use tempfile::TempDir;

use crate::support::learner::spec;

fn step(number: u64) -> Event {
    Event::Step(v1::StepMetrics {
        step: number,
        ..v1::StepMetrics::default()
    })
}

#[test]
fn a_torn_end_of_an_event_log_is_cut() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.pb");
    let mut log = EventLog::open(&path).unwrap();
    for number in 1..=3 {
        log.append(step(number)).unwrap();
    }
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for torn in [&whole[..5], &[0, 0, 0, 0][..], &[200, 1, 8][..]] {
        std::fs::write(&path, &whole).unwrap();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(torn)
            .unwrap();
        let mut log = EventLog::open(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert_eq!((log.last_number(), log.last_step().unwrap().step), (3, 3));
        log.append(step(4)).unwrap();
        assert_eq!(
            read_after(&path, 0, 2, 10)
                .unwrap()
                .iter()
                .map(|it| it.number)
                .collect::<Vec<_>>(),
            [3, 4]
        );
    }
}

#[test]
fn old_events_are_read_from_disk() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.pb");
    let mut log = EventLog::open(&path).unwrap();
    let count = KEPT_IN_MEMORY as u64 + 10;
    for number in 1..=count {
        log.append(step(number)).unwrap();
    }
    assert!(log.recent_after(9, 5).is_none());
    assert_eq!(log.recent_after(10, 5).unwrap()[0].number, 11);
    assert!(log.recent_after(count, 5).unwrap().is_empty());
    assert_eq!(read_after(&path, 0, 0, 3).unwrap().len(), 3);
    // Opened again, it holds nothing in memory, and knows where to read on.
    let log = EventLog::open(&path).unwrap();
    assert!(log.recent_after(count - 1, 5).is_none());
    for after in [0, 511, 512, 513, 5000, count - 1] {
        let from = log.place_after(after);
        let events = read_after(&path, from, after, 3).unwrap();
        assert_eq!(events[0].number, after + 1);
        assert_eq!(events, read_after(&path, 0, after, 3).unwrap());
    }
    assert!(log.place_after(5000) > 0);
}

fn places(runs: &Path) -> Places {
    Places {
        runs_directory: runs.to_owned(),
        ..Places::default()
    }
}

#[test]
fn a_restart_finds_all_jobs_and_the_order_in_which_they_run() {
    let directory = TempDir::new().unwrap();
    let runs = directory.path().join("runs");
    let checked = CheckedJob::from(JobSettings::try_new(&spec("demo")).unwrap());
    {
        let registry = JobRegistry::open(places(&runs)).unwrap();
        let ids: Vec<String> = ["r1", "r2", "r3", "r2"]
            .map(|request| {
                registry
                    .create(request, &spec("demo"), &checked)
                    .unwrap()
                    .id()
                    .to_string()
            })
            .into();
        assert_eq!(ids, ["demo", "demo-2", "demo-3", "demo-2"]);
        // The third has begun; the first has ended.
        let third = registry.of_request("r3").unwrap();
        assert_eq!(third.start(), Started::Running);
        third.report_step(v1::StepMetrics {
            step: 5,
            ..v1::StepMetrics::default()
        });
        third.report_evaluation(v1::EvaluationResult {
            step: 5,
            anytime: 0.5,
            ..v1::EvaluationResult::default()
        });
        let first = registry.of_request("r1").unwrap();
        assert_eq!(first.start(), Started::Running);
        first.finish(JobState::Failed, "no luck");
        assert!(
            JobRegistry::open(places(&runs)).is_err(),
            "two learners on one directory"
        );
    }
    std::fs::create_dir(runs.join(".submitting-crashed")).unwrap();
    std::fs::create_dir(runs.join("not-a-job")).unwrap();
    std::fs::create_dir(runs.join("broken")).unwrap();
    std::fs::write(runs.join("broken/job.pb"), b"\xff\xff").unwrap();

    let registry = JobRegistry::open(places(&runs)).unwrap();
    assert!(!runs.join(".submitting-crashed").exists());
    let listed: Vec<String> = registry.list().iter().map(|entry| entry.id().to_string()).collect();
    assert_eq!(listed, ["demo-3", "demo-2", "demo"]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let order = [(); 2].map(|()| runtime.block_on(registry.next()).id().to_string());
    assert_eq!(order, ["demo-3", "demo-2"]);
    assert_eq!(registry.of_request("r2").unwrap().id().as_str(), "demo-2");
    let third = registry.of_request("r3").unwrap();
    assert_eq!((third.state(), third.job().step), (JobState::Running, 5));
    // The same evaluation again takes the place of the first.
    third.report_evaluation(v1::EvaluationResult {
        step: 5,
        anytime: 0.6,
        ..v1::EvaluationResult::default()
    });
    assert_eq!(
        third.evaluations().iter().map(|it| it.anytime).collect::<Vec<_>>(),
        [0.6]
    );
    let failed = registry.of_request("r1").unwrap().job();
    assert_eq!((failed.state(), failed.error.as_str()), (JobState::Failed, "no luck"));
    assert!(failed.ended.is_some());

    let text = std::fs::read_to_string(runs.join("demo/job.toml")).unwrap();
    assert_eq!(
        anytime_proto::settings::parse_job_file(&text).unwrap().name.as_deref(),
        Some("demo")
    );
}

#[test]
fn a_cancelled_job_does_not_come_back() {
    let runs = TempDir::new().unwrap();
    let checked = CheckedJob::from(JobSettings::try_new(&spec("demo")).unwrap());
    {
        let registry = JobRegistry::open(places(runs.path())).unwrap();
        let running = registry.create("r1", &spec("demo"), &checked).unwrap();
        running.start();
        running.cancel().unwrap();
        assert_eq!(running.state(), JobState::Running);
        let waiting = registry.create("r2", &spec("demo"), &checked).unwrap();
        waiting.cancel().unwrap();
        assert_eq!(waiting.state(), JobState::Cancelled);
        assert_eq!(waiting.start(), Started::HadEnded);
    }
    let registry = JobRegistry::open(places(runs.path())).unwrap();
    assert!(registry.of_request("r1").unwrap().cancelled().is_cancelled());
}
