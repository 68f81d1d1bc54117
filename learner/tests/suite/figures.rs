//! What other tools read of a job: `metrics.jsonl` and TensorBoard's event file, over kills, full disks and whatever else
//! happens to them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::entry::{JobEntry, Started};
use anytime_learner::jobs::registry::JobRegistry;
use anytime_learner::outputs::Places;
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::{self, JobState};
use prost::Message;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::learner::spec;

/// Of TensorFlow's event.proto and summary.proto, independent of what writes them.
#[derive(Clone, PartialEq, Message)]
struct TensorBoardEvent {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, tag = "3")]
    file_version: String,
    #[prost(message, optional, tag = "5")]
    summary: Option<TensorBoardSummary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorBoardSummary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<TensorBoardValue>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorBoardValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The events of a file, whose every checksum holds.
fn tensorboard_events(path: &Path) -> Vec<TensorBoardEvent> {
    let bytes = fs::read(path).unwrap();
    let mut left = bytes.as_slice();
    let mut take = |count: usize| left.split_off(..count).expect("a whole record").to_vec();
    let holds = |bytes: &[u8], checksum: &[u8]| {
        let crc = crc32c::crc32c(bytes);
        let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(checksum, masked.to_le_bytes());
    };
    let (mut events, mut position) = (Vec::new(), 0);
    while position < bytes.len() {
        let length = take(8);
        holds(&length, &take(4));
        let count = u64::from_le_bytes(length.try_into().unwrap()) as usize;
        let content = take(count);
        holds(&content, &take(4));
        position += 16 + count;
        events.push(TensorBoardEvent::decode(content.as_slice()).unwrap());
    }
    events
}

/// The file with the figures. The one before it may still be there, emptied.
fn tensorboard_file(job: &Path) -> PathBuf {
    let listing = fs::read_dir(job.join("tensorboard")).unwrap();
    let mut files: Vec<PathBuf> = listing.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let file = files.pop().expect("a file");
    assert!(files.len() <= 1, "{files:?}");
    assert!(
        files.iter().all(|earlier| fs::read(earlier).unwrap().is_empty()),
        "{files:?}"
    );
    file
}

/// Lines of `metrics.jsonl`, all of them whole.
fn lines(job: &Path) -> Vec<Value> {
    let text = fs::read_to_string(job.join("metrics.jsonl")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Kind and step of each line, and its loss or accuracy.
fn shown(job: &Path) -> Vec<(String, u64, f64)> {
    let of = |line: &Value| {
        let value = ["train/loss", "eval/accuracy/mean"].map(|name| line.get(name).and_then(Value::as_f64));
        let event = line["event"].as_str().unwrap().to_owned();
        (event, line["step"].as_u64().unwrap(), value[0].or(value[1]).unwrap())
    };
    lines(job).iter().map(of).collect()
}

/// The steps of the lines that are steps; TensorBoard's file has the same figures as the lines.
fn steps(job: &Path) -> Vec<u64> {
    let events = tensorboard_events(&tensorboard_file(job));
    assert_eq!(events[0].file_version, "brain.Event:2");
    assert_eq!(events[1].session_log, Some(SessionLog { status: 1 }));
    let lines = lines(job);
    assert_eq!(events.len() - 2, lines.len());
    for (event, line) in events[2..].iter().zip(&lines) {
        assert_eq!(event.step as u64, line["step"].as_u64().unwrap());
        assert!(event.wall_time > 1.7e9);
        let values = &event.summary.as_ref().unwrap().value;
        assert_eq!(values.len(), line.as_object().unwrap().len() - 5);
        for value in values {
            let of_line = line[&value.tag].as_f64().unwrap() as f32;
            assert_eq!(value.simple_value, Some(of_line), "{}", value.tag);
        }
    }
    let steps = lines.iter().filter(|line| line["event"] == "step");
    steps.map(|line| line["step"].as_u64().unwrap()).collect()
}

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
        }
    }

    fn job(&self) -> PathBuf {
        self.directory.path().join("runs/demo")
    }

    /// As a new process, after the one before was killed.
    fn open(&self) -> JobRegistry {
        JobRegistry::open(Places {
            runs_directory: self.directory.path().join("runs"),
            ..Places::default()
        })
        .unwrap()
    }

    fn submit(&self, registry: &JobRegistry, spec: &v1::JobSpec) -> Arc<JobEntry> {
        let checked = CheckedJob::from(JobSettings::try_new(spec).unwrap());
        let entry = registry.create("request", spec, &checked).unwrap();
        assert_eq!(entry.start(), Started::Running);
        entry
    }

    fn started(&self, registry: &JobRegistry) -> Arc<JobEntry> {
        let entry = registry.of_request("request").unwrap();
        assert_eq!(entry.start(), Started::Running);
        entry
    }
}

/// The second number tells two tries of a step apart.
fn report(entry: &JobEntry, step: u64, loss: f64) {
    entry.report_step(v1::StepMetrics {
        step,
        loss,
        reward_per_budget: vec![0.5, 0.75, 1.0, 1.0],
        ..v1::StepMetrics::default()
    });
}

fn report_evaluation(entry: &JobEntry, step: u64, anytime: f64) {
    entry.report_evaluation(v1::EvaluationResult {
        step,
        anytime,
        budgets: vec![6, 12],
        accuracy: vec![anytime, anytime],
        ..v1::EvaluationResult::default()
    });
}

#[test]
fn steps_and_evaluations_become_lines_and_events_as_they_come() {
    let place = Place::new();
    let registry = place.open();
    let entry = place.submit(&registry, &spec("demo"));
    assert_eq!(
        lines(&place.job()),
        Vec::<Value>::new(),
        "it is there from the beginning"
    );
    assert!(!place.job().join("tensorboard").exists(), "no run without figures");
    report_evaluation(&entry, 0, 0.25);
    for step in 1..=3 {
        report(&entry, step, step as f64);
        assert_eq!(steps(&place.job()), (1..=step).collect::<Vec<u64>>());
    }
    let first = &lines(&place.job())[1];
    assert_eq!(first["reward/budget_2000"], 0.5, "with the budgets of the settings");
    assert_eq!(first["reward/budget_8000"], 1.0);
    let began = first["wall_seconds"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&began), "{began}");
    let numbers: Vec<u64> = lines(&place.job())
        .iter()
        .map(|line| line["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [3, 4, 5, 6], "those of the events");
    let text = fs::read_to_string(place.job().join("metrics.jsonl")).unwrap();
    let head = r#"{"step":0,"event":"evaluation","number":3,"time":""#;
    assert!(text.starts_with(head), "{text}");
    entry.finish(JobState::Succeeded, "");
    assert_eq!(steps(&place.job()), [1, 2, 3]);
}

#[test]
fn steps_that_are_done_again_after_a_kill_stand_once() {
    let place = Place::new();
    let registry = place.open();
    let entry = place.submit(&registry, &spec("demo"));
    report_evaluation(&entry, 0, 0.5);
    for step in 1..=5 {
        report(&entry, step, 1.0);
    }
    report_evaluation(&entry, 5, 0.75);
    drop((entry, registry));

    let registry = place.open();
    let entry = place.started(&registry);
    assert_eq!(
        steps(&place.job()),
        [1, 2, 3, 4, 5],
        "nothing is undone before that is known"
    );
    let before = tensorboard_file(&place.job());
    entry.report_going_on(3);
    assert_eq!(steps(&place.job()), [1, 2, 3]);
    assert!(tensorboard_file(&place.job()) > before, "a later name");
    report(&entry, 4, 2.0);
    drop((entry, registry));

    // Once more, and to the same step: nothing is undone.
    let registry = place.open();
    let entry = place.started(&registry);
    entry.report_going_on(4);
    report(&entry, 5, 2.0);
    // The same evaluation again takes the place of the first.
    report_evaluation(&entry, 0, 0.625);
    report(&entry, 6, 2.0);
    entry.finish(JobState::Succeeded, "");
    assert_eq!(steps(&place.job()), [1, 2, 3, 4, 5, 6]);
    let line = |event: &str, step, value| (event.to_owned(), step, value);
    let expected = [
        line("step", 1, 1.0),
        line("step", 2, 1.0),
        line("step", 3, 1.0),
        // Its result is kept, though the step is done again.
        line("evaluation", 5, 0.75),
        line("step", 4, 2.0),
        line("step", 5, 2.0),
        line("evaluation", 0, 0.625),
        line("step", 6, 2.0),
    ];
    assert_eq!(shown(&place.job()), expected);
}

fn append(path: &Path, bytes: &[u8]) {
    fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

#[test]
fn what_a_kill_cut_short_or_somebody_changed_is_whole_again_when_the_job_goes_on() {
    let harm: [fn(&Path); 6] = [
        |job| append(&job.join("metrics.jsonl"), br#"{"step":4,"eve"#),
        |job| append(&tensorboard_file(job), &[7, 0, 0, 0, 0]),
        |job| append(&job.join("metrics.jsonl"), b"{}\n\xff\xfe\n"),
        |job| fs::remove_file(job.join("metrics.jsonl")).unwrap(),
        |job| fs::remove_dir_all(job.join("tensorboard")).unwrap(),
        |job| fs::write(job.join("tensorboard/events.out.tfevents.9999999990.other"), "x").unwrap(),
    ];
    for harm in harm {
        let place = Place::new();
        let registry = place.open();
        let entry = place.submit(&registry, &spec("demo"));
        (1..=3).for_each(|step| report(&entry, step, 1.0));
        drop((entry, registry));
        harm(&place.job());
        let registry = place.open();
        let entry = place.started(&registry);
        assert_eq!(steps(&place.job()), [1, 2, 3]);
        report(&entry, 4, 1.0);
        assert_eq!(steps(&place.job()), [1, 2, 3, 4]);
    }
}

#[test]
fn files_that_are_deleted_while_the_job_runs_are_back_with_the_next_step() {
    let place = Place::new();
    let registry = place.open();
    let entry = place.submit(&registry, &spec("demo"));
    (1..=3).for_each(|step| report(&entry, step, 1.0));
    fs::remove_file(place.job().join("metrics.jsonl")).unwrap();
    fs::remove_dir_all(place.job().join("tensorboard")).unwrap();
    report(&entry, 4, 1.0);
    assert_eq!(steps(&place.job()), [1, 2, 3, 4]);
    // Emptied, which leaves the file where it is.
    fs::write(place.job().join("metrics.jsonl"), "").unwrap();
    report(&entry, 5, 1.0);
    assert_eq!(steps(&place.job()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_file_that_cannot_be_written_costs_no_step_and_is_made_up_for() {
    let place = Place::new();
    let registry = place.open();
    let entry = place.submit(&registry, &spec("demo"));
    report(&entry, 1, 1.0);
    let in_the_way = place.job().join("metrics.jsonl");
    fs::remove_file(&in_the_way).unwrap();
    fs::create_dir(&in_the_way).unwrap();
    let tensorboard = place.job().join("tensorboard");
    fs::remove_dir_all(&tensorboard).unwrap();
    fs::write(&tensorboard, "mine").unwrap();
    // More than is kept in memory, so that they are read from the disk.
    let count = 10_100;
    (2..=count).for_each(|step| report(&entry, step, 1.0));
    assert_eq!(entry.job().step, count);
    assert!(fs::read_dir(&in_the_way).unwrap().next().is_none(), "it is the user's");
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(fs::read(&tensorboard).unwrap(), b"mine");
    fs::remove_file(&tensorboard).unwrap();
    entry.finish(JobState::Succeeded, "");
    assert_eq!(steps(&place.job()), (1..=count).collect::<Vec<u64>>());
}

#[test]
fn a_job_that_is_over_is_left_alone_unless_its_file_is_behind() {
    let place = Place::new();
    let registry = place.open();
    let entry = place.submit(&registry, &spec("demo"));
    (1..=3).for_each(|step| report(&entry, step, 1.0));
    entry.finish(JobState::Failed, "no luck");
    drop((entry, registry));
    let path = place.job().join("metrics.jsonl");
    let whole = fs::read(&path).unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let file = tensorboard_file(&place.job());
    drop(place.open());
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified);
    assert_eq!(tensorboard_file(&place.job()), file);
    // The disk took part of it, or nothing.
    for length in [whole.len() - 1, whole.len() / 2, 0] {
        fs::write(&path, &whole[..length]).unwrap();
        drop(place.open());
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(steps(&place.job()), [1, 2, 3]);
    }
    // As earlier versions left it: the file comes with the resumption.
    fs::remove_file(&path).unwrap();
    fs::remove_dir_all(place.job().join("tensorboard")).unwrap();
    let registry = place.open();
    assert!(!path.exists());
    let entry = registry.of_request("request").unwrap();
    registry.resume(&entry, None).unwrap();
    assert_eq!(entry.start(), Started::Running);
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(steps(&place.job()), [1, 2, 3]);
}

#[test]
fn a_setting_leaves_tensorboard_out_also_when_a_job_is_resumed() {
    let with = |tensorboard| {
        let mut spec = spec("demo");
        spec.checkpoint.get_or_insert_default().tensorboard = tensorboard;
        spec
    };
    let place = Place::new();
    let registry = place.open();
    let entry = place.submit(&registry, &with(Some(false)));
    report(&entry, 1, 1.0);
    assert_eq!(lines(&place.job()).len(), 1);
    assert!(!place.job().join("tensorboard").exists());
    entry.finish(JobState::Failed, "no luck");
    // Let go of by its thread, as when it has failed.
    registry.resume(&entry, Some(with(Some(true)))).unwrap();
    assert_eq!(entry.start(), Started::Running);
    assert_eq!(steps(&place.job()), [1], "what came before is there too");
    report(&entry, 2, 1.0);
    assert_eq!(steps(&place.job()), [1, 2]);
    entry.finish(JobState::Failed, "no luck");
    registry.resume(&entry, Some(with(Some(false)))).unwrap();
    assert_eq!(entry.start(), Started::Running);
    report(&entry, 3, 1.0);
    assert_eq!(lines(&place.job()).len(), 3);
    let events = tensorboard_events(&tensorboard_file(&place.job()));
    assert_eq!(events.len(), 2 + 2, "it ends where it was left");
}
