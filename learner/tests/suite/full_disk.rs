//! A disk that is full, a real one: a file system of a few hundred kilobytes in memory, mounted in a name space of its own
//! for a process that runs the inner tests on it. Where the system lets nobody mount there is nothing to be tested.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anytime_files::write_durably;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::events::EventLog;
use anytime_proto::v1::{self, JobState, job_event::Event};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

/// Where the inner tests find the small file system.
const PLACE: &str = "ANYTIME_SMALL_DISK";

const SIZE: u64 = 512 * 1024;

/// Runs an inner test on a small file system.
fn on_a_small_disk(test: &str) {
    let directory = TempDir::new().unwrap();
    let script = r#"mount -t tmpfs -o size="$0" tmpfs "$1" || exit 99; shift; exec "$@""#;
    let outcome = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(SIZE.to_string())
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", test, "--nocapture"])
        .env(PLACE, directory.path())
        .output();
    let output = match outcome {
        Ok(output) => output,
        Err(error) => return eprintln!("not tested: unshare cannot be run ({error})"),
    };
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if output.status.code() == Some(99) || text.contains("unshare failed") {
        return eprintln!("not tested: this system lets nobody mount a small file system\n{text}");
    }
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn small_disk() -> PathBuf {
    PathBuf::from(std::env::var_os(PLACE).expect("run by the test that mounts it"))
}

/// Fills the disk to the last byte.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    let mut size = 4096;
    while size > 0 {
        if file.write_all(&vec![7; size]).is_err() {
            size /= 2;
        }
    }
    path
}

fn step(number: u64) -> Event {
    Event::Step(v1::StepMetrics {
        step: number,
        ..v1::StepMetrics::default()
    })
}

#[test]
fn events_that_the_disk_refuses_are_written_once_it_takes_them() {
    on_a_small_disk("full_disk::inside_events");
}

#[test]
#[ignore = "run by events_that_the_disk_refuses_are_written_once_it_takes_them, on a small file system"]
fn inside_events() {
    let disk = small_disk();
    let path = disk.join("events.log");
    let mut log = EventLog::open(&path).unwrap();
    let mut number = 0;
    // Up to the middle of a page: what is left of it can be written when the disk is full.
    while fs::metadata(&path).unwrap().len() < 4000 {
        number += 1;
        log.append(step(number)).unwrap();
    }
    let filler = fill(&disk);
    let first_refused = loop {
        number += 1;
        if let Err(error) = log.append(step(number)) {
            assert!(format!("{error:#}").contains("No space left on device"), "{error:#}");
            break number;
        }
    };
    for _ in 0..20 {
        number += 1;
        assert!(log.append(step(number)).is_err());
    }
    assert!(log.has_unwritten());
    // Watchers see them all the same.
    assert_eq!(log.recent_after(first_refused - 1, 100).unwrap().len(), 21);
    fs::remove_file(filler).unwrap();
    number += 1;
    log.append(step(number)).unwrap();
    assert!(!log.has_unwritten());
    let events = log.on_disk_after(0).read(usize::MAX).unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=number).collect::<Vec<_>>());
    let again = EventLog::open(&path).unwrap();
    assert_eq!((again.last_number(), again.last_step().unwrap().step), (number, number));
}

#[test]
fn a_job_pauses_while_the_disk_is_full_and_loses_nothing() {
    on_a_small_disk("full_disk::inside_job");
}

/// Reports steps, and writes a file that needs a quarter of the disk, as a checkpoint would.
fn work(context: &JobContext, may_write: &AtomicBool) -> anyhow::Result<()> {
    for number in 1..=20 {
        context.report_step(v1::StepMetrics {
            step: number,
            ..v1::StepMetrics::default()
        });
    }
    while !may_write.load(Ordering::Relaxed) {
        context.check()?;
        std::thread::sleep(Duration::from_millis(5));
    }
    context.report_step(v1::StepMetrics {
        step: 21,
        ..v1::StepMetrics::default()
    });
    let state = vec![3; SIZE as usize / 4];
    let path = context.directory().join("state");
    context.write_or_wait(|| Ok(write_durably(&path, &state)?))?;
    context.wait_until_recorded()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_job_pauses_while_the_disk_is_full_and_loses_nothing, on a small file system"]
async fn inside_job() {
    let (redis, disk) = (RedisServer::start(), small_disk());
    let runs = disk.join("runs");
    let may_write = Arc::new(AtomicBool::new(false));
    let gate = may_write.clone();
    let learner = TestLearner::start(&redis.url(), &runs, move |context| work(context, &gate)).await;
    learner.submit("request", spec("demo")).await.unwrap();
    eventually("the job has begun", async || learner.get("demo").await.step == 20).await;
    let filler = fill(&disk);
    may_write.store(true, Ordering::Relaxed);
    let paused = learner.wait_for_state("demo", JobState::Paused).await;
    assert!(paused.error.contains("No space left on device"), "{}", paused.error);
    assert!(
        paused.error.contains("make room there") && paused.error.contains("has lost nothing"),
        "{}",
        paused.error
    );
    assert!(paused.retry_at.is_some());
    // It tries again, and stays paused.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(learner.get("demo").await.state(), JobState::Paused);
    fs::remove_file(filler).unwrap();
    learner.resume("demo", None).await.unwrap();
    let job = learner.wait_for_state("demo", JobState::Succeeded).await;
    assert_eq!((job.step, job.error.as_str()), (21, ""));
    assert_eq!(fs::metadata(runs.join("demo/state")).unwrap().len(), SIZE / 4);
    learner.stop().await;

    // All of it is on the disk: every step, and that it paused.
    let figures = fs::read_to_string(runs.join("demo/metrics.jsonl")).unwrap();
    let steps = figures.lines().map(|line| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["step"]
            .as_u64()
            .unwrap()
    });
    assert_eq!(steps.collect::<Vec<_>>(), (1..=21).collect::<Vec<_>>());
    let files: Vec<_> = fs::read_dir(runs.join("demo/tensorboard")).unwrap().collect();
    assert_eq!(files.len(), 1);
    let log = EventLog::open(&runs.join("demo/events.log")).unwrap();
    let events = log.on_disk_after(0).read(usize::MAX).unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.number).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let steps = events
        .iter()
        .filter(|event| matches!(event.event, Some(Event::Step(_))));
    assert_eq!(steps.count(), 21);
    let states: Vec<JobState> = events
        .iter()
        .filter_map(|event| match event.event.as_ref()? {
            Event::State(change) => Some(change.state()),
            _ => None,
        })
        .collect();
    assert_eq!(states[..3], [JobState::Queued, JobState::Running, JobState::Paused]);
    assert_eq!(states[states.len() - 2..], [JobState::Running, JobState::Succeeded]);
}

#[test]
fn a_job_can_be_given_up_and_deleted_where_the_disk_is_full() {
    on_a_small_disk("full_disk::inside_delete");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_job_can_be_given_up_and_deleted_where_the_disk_is_full, on a small file system"]
async fn inside_delete() {
    let (redis, disk) = (RedisServer::start(), small_disk());
    let runs = disk.join("runs");
    let may_write = Arc::new(AtomicBool::new(true));
    let gate = may_write.clone();
    let learner = TestLearner::start(&redis.url(), &runs, move |context| work(context, &gate)).await;
    learner.submit("over", spec("over")).await.unwrap();
    learner.wait_for_state("over", JobState::Succeeded).await;
    may_write.store(false, Ordering::Relaxed);
    learner.submit("stuck", spec("stuck")).await.unwrap();
    eventually("the job has begun", async || learner.get("stuck").await.step == 20).await;
    let filler = fill(&disk);
    may_write.store(true, Ordering::Relaxed);
    learner.wait_for_state("stuck", JobState::Paused).await;
    let refused = learner.submit("new", spec("new")).await.unwrap_err();
    assert!(refused.message().contains("No space left on device"), "{refused}");
    let delete = async |job_id: &str| {
        let request = v1::DeleteJobRequest {
            job_id: job_id.to_owned(),
            with_models: false,
        };
        learner.jobs().delete(request).await
    };
    // One that is over gives its room back, and the job that waited for room goes on.
    delete("over").await.unwrap();
    learner.resume("stuck", None).await.unwrap();
    learner.wait_for_state("stuck", JobState::Succeeded).await;
    // Full again: a job that pauses is cancelled, deleted, and its room is free.
    fs::remove_file(filler).unwrap();
    may_write.store(false, Ordering::Relaxed);
    learner.submit("given up", spec("given-up")).await.unwrap();
    eventually("it has begun", async || learner.get("given-up").await.step == 20).await;
    fill(&disk);
    may_write.store(true, Ordering::Relaxed);
    learner.wait_for_state("given-up", JobState::Paused).await;
    learner.cancel("given-up").await;
    learner.wait_for_state("given-up", JobState::Cancelled).await;
    delete("given-up").await.unwrap();
    delete("stuck").await.unwrap();
    eventually("their files are gone", async || {
        let names = fs::read_dir(&runs).unwrap().flatten().map(|one| one.file_name());
        names.filter(|name| !name.to_string_lossy().starts_with(".l")).count() == 0
    })
    .await;
    let job = learner.submit("next", spec("next")).await.unwrap();
    learner.wait_for_state(&job.id, JobState::Succeeded).await;
    learner.stop().await;
}
