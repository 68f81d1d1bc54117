//! Jobs on disk.

use std::path::Path;

use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::entry::Started;
use anytime_learner::jobs::events::{EventLog, KEPT_IN_MEMORY};
use anytime_learner::jobs::registry::JobRegistry;
use anytime_learner::outputs::Places;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::{self, JobState, job_event::Event};
use prost::Message as _;
use tempfile::TempDir;

use crate::support::learner::spec;

fn step(number: u64) -> Event {
    Event::Step(v1::StepMetrics {
        step: number,
        ..v1::StepMetrics::default()
    })
}

fn steps_on_disk(log: &EventLog, after: u64) -> Vec<(u64, u64)> {
    let events = log.on_disk_after(after).read(usize::MAX).unwrap();
    events
        .iter()
        .filter_map(|event| match &event.event {
            Some(Event::Step(step)) => Some((event.number, step.step)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_torn_end_of_an_event_log_costs_one_event_and_nothing_is_cut() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.log");
    let mut log = EventLog::open(&path).unwrap();
    for number in 1..=3 {
        log.append(step(number)).unwrap();
    }
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    for torn in [&whole[..5], &whole[..20], &[0, 0, 0, 0][..], &[200, 1, 8][..]] {
        std::fs::write(&path, [&whole[..], torn].concat()).unwrap();
        let mut log = EventLog::open(&path).unwrap();
        assert_eq!(log.damaged(), torn.len() as u64);
        assert_eq!(log.last_step().unwrap().step, 3);
        // Somebody may have seen the torn one as event 4, and asks for those behind it.
        log.append(step(4)).unwrap();
        assert_eq!(steps_on_disk(&log, 2), [(3, 3), (5, 4)]);
        assert_eq!(log.recent_after(4, 10).unwrap()[0].number, 5);
        let again = EventLog::open(&path).unwrap();
        assert_eq!((again.last_number(), again.damaged()), (5, torn.len() as u64));
        assert_eq!(steps_on_disk(&again, 0), [(1, 1), (2, 2), (3, 3), (5, 4)]);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.starts_with(&[&whole[..], torn].concat()));
    }
}

#[test]
fn a_damaged_byte_in_an_event_log_costs_one_event() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.log");
    let mut log = EventLog::open(&path).unwrap();
    for number in 1..=2000 {
        log.append(step(number)).unwrap();
    }
    drop(log);
    let mut bytes = std::fs::read(&path).unwrap();
    let third = bytes.len() / 3;
    bytes[third] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let mut log = EventLog::open(&path).unwrap();
    assert!(log.damaged() > 0);
    log.append(step(2001)).unwrap();
    let steps = steps_on_disk(&log, 0);
    assert_eq!(steps.len(), 2000);
    assert!(steps.iter().all(|(number, step)| number == step));
    let after = steps_on_disk(&log, 1500);
    assert_eq!(after[0], (1501, 1501));
}

#[test]
fn old_events_are_read_from_disk() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.log");
    let mut log = EventLog::open(&path).unwrap();
    let count = KEPT_IN_MEMORY as u64 + 10;
    for number in 1..=count {
        log.append(step(number)).unwrap();
    }
    assert!(log.recent_after(9, 5).is_none());
    assert_eq!(log.recent_after(10, 5).unwrap()[0].number, 11);
    assert!(log.recent_after(count, 5).unwrap().is_empty());
    assert_eq!(log.on_disk_after(0).read(3).unwrap().len(), 3);
    // Opened again, it holds nothing in memory, and knows where to read on.
    let log = EventLog::open(&path).unwrap();
    assert!(log.recent_after(count - 1, 5).is_none());
    for after in [0, 511, 512, 513, 5000, count - 1] {
        let events = log.on_disk_after(after).read(3).unwrap();
        assert_eq!(events[0].number, after + 1);
    }
}

#[test]
fn long_events_take_no_more_memory_than_short_ones() {
    let directory = TempDir::new().unwrap();
    let mut log = EventLog::open(&directory.path().join("events.log")).unwrap();
    // Steps of a thousand groups, each of which is named.
    let trained = |sequence| v1::TrainedGroup {
        sequence,
        thinking_tokens: 8000,
        ..v1::TrainedGroup::default()
    };
    let count = 2_000;
    for number in 1..=count {
        let account = v1::StepAccount {
            trained: (0..1000).map(|index| trained(number * 1000 + index)).collect(),
            ..v1::StepAccount::default()
        };
        let metrics = v1::StepMetrics {
            step: number,
            account: Some(account),
            ..v1::StepMetrics::default()
        };
        log.append(Event::Step(metrics)).unwrap();
    }
    let kept = (1..=count)
        .rev()
        .take_while(|number| log.recent_after(number - 1, 1).is_some());
    let kept = kept.count();
    assert!((500..1500).contains(&kept), "{kept} events of 10 kB are kept");
    // Those that are not kept are on the disk.
    assert_eq!(log.on_disk_after(0).read(1).unwrap()[0].number, 1);
}

#[test]
fn steps_that_are_done_again_stand_once() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.log");
    let mut log = EventLog::open(&path).unwrap();
    let went_on = |step| Event::WentOn(v1::WentOn { step });
    for number in 1..=8 {
        log.append(step(number)).unwrap();
    }
    // Killed; its checkpoint is of step 5.
    log.append(went_on(5)).unwrap();
    assert!(log.last_step().is_none());
    for number in 6..=7 {
        log.append(step(number)).unwrap();
    }
    // Killed again, and the newest checkpoint is damaged.
    log.append(went_on(2)).unwrap();
    log.append(step(3)).unwrap();
    let expected = [(1, 1), (2, 2), (13, 3)];
    for log in [&log, &EventLog::open(&path).unwrap()] {
        assert_eq!(steps_on_disk(log, 0), expected);
        // 6 to 8, then 3 to 7.
        assert_eq!(log.undone_steps(), 8);
    }
    let recent = log.recent_after(0, 100).unwrap();
    let numbers: Vec<u64> = recent.iter().map(|event| event.number).collect();
    assert_eq!(numbers, [1, 2, 9, 12, 13]);
    // A step that comes again without a word is shown, for the audit to find it.
    log.append(step(3)).unwrap();
    assert_eq!(steps_on_disk(&log, 12), [(13, 3), (14, 3)]);
    // The limit counts those that are sent.
    assert_eq!(log.recent_after(1, 2).unwrap()[1].number, 9);
    assert_eq!(log.on_disk_after(1).read(2).unwrap()[1].number, 9);
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
    // A job that cannot be read is listed too, and does not run.
    assert_eq!(listed, ["broken", "demo-3", "demo-2", "demo"]);
    let broken = registry.list()[0].clone();
    assert_eq!(broken.state(), JobState::Failed);
    assert!(broken.job().error.contains("job.toml"), "{}", broken.job().error);
    let refused = registry.resume(&broken, None).unwrap_err().to_string();
    assert!(refused.contains("cannot be read"), "{refused}");
    assert_eq!(std::fs::read(runs.join("broken/job.pb.damaged")).unwrap(), b"\xff\xff");
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

/// A job's start checks again and notes what is not noted yet, at once where the learner is idle: what the submission has found
/// was noted twice.
#[test]
fn what_the_check_found_is_noted_before_the_job_may_start() {
    let runs = TempDir::new().unwrap();
    let mut checked = CheckedJob::from(JobSettings::try_new(&spec("demo")).unwrap());
    let text = "a row stands there twice";
    checked.found.notices.push(v1::Notice {
        topic: "repeated_rows".to_owned(),
        text: text.to_owned(),
        step: 0,
    });
    let registry = JobRegistry::open(places(runs.path())).unwrap();
    let entry = registry.create("r1", &spec("demo"), &checked).unwrap();
    let noted: Vec<String> = entry.job().notices.into_iter().map(|notice| notice.text).collect();
    assert_eq!(noted, [text]);
    let again = registry.create("r1", &spec("demo"), &checked).unwrap();
    assert_eq!(again.job().notices.len(), 1, "a request that is sent again");
}

#[test]
fn a_damaged_job_file_is_made_again_and_the_job_goes_on() {
    let runs = TempDir::new().unwrap();
    let checked = CheckedJob::from(JobSettings::try_new(&spec("demo")).unwrap());
    let before = {
        let registry = JobRegistry::open(places(runs.path())).unwrap();
        let running = registry.create("r1", &spec("demo"), &checked).unwrap();
        running.start();
        running.report_evaluation(v1::EvaluationResult {
            anytime: 0.5,
            ..v1::EvaluationResult::default()
        });
        for number in 1..=7 {
            running.report_step(v1::StepMetrics {
                step: number,
                ..v1::StepMetrics::default()
            });
        }
        running.notice("topic", "something happened");
        let ended = registry.create("r2", &spec("demo"), &checked).unwrap();
        ended.start();
        ended.finish(JobState::Failed, "no luck");
        running.job()
    };
    let path = runs.path().join("demo/job.pb");
    let whole = std::fs::read(&path).unwrap();
    let flipped = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    let damages = [
        Some(Vec::new()),
        Some(whole[..whole.len() / 2].to_vec()),
        Some(flipped(0)),
        Some(flipped(whole.len() / 2)),
        Some(vec![0; whole.len()]),
        None,
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        match &damage {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let registry = JobRegistry::open(places(runs.path())).unwrap();
        let entry = registry.of_request("r1").expect("found by its request");
        let job = entry.job();
        assert_eq!(job.state(), JobState::Running, "damage {index}");
        assert_eq!((job.step, job.created), (7, before.created));
        assert_eq!((&job.spec, &job.evaluations), (&before.spec, &before.evaluations));
        let topics: Vec<&str> = job.notices.iter().map(|notice| notice.topic.as_str()).collect();
        assert_eq!(topics, ["topic", "job_file"]);
        if let Some(bytes) = damage {
            assert_eq!(std::fs::read(runs.path().join("demo/job.pb.damaged")).unwrap(), bytes);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(registry.next()).id().as_str(), "demo");
        let other = registry.of_request("r2").unwrap().job();
        assert_eq!((other.state(), other.error.as_str()), (JobState::Failed, "no luck"));
    }
}

#[test]
fn a_job_file_of_an_earlier_version_is_read() {
    let runs = TempDir::new().unwrap();
    let checked = CheckedJob::from(JobSettings::try_new(&spec("demo")).unwrap());
    let job = {
        let registry = JobRegistry::open(places(runs.path())).unwrap();
        registry.create("r1", &spec("demo"), &checked).unwrap().job()
    };
    // Without a checksum.
    std::fs::write(runs.path().join("demo/job.pb"), job.encode_to_vec()).unwrap();
    let registry = JobRegistry::open(places(runs.path())).unwrap();
    assert_eq!(registry.of_request("r1").unwrap().job(), job);
}
