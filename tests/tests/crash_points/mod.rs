//! The learner dies before one of the operations on files that a crash could leave half done: before every rename, fsync,
//! unlink, rmdir and mkdir in a job's directory, from its submission to its last export. Whichever it is, the job comes to
//! the same end in the next process, and the audit is clean.
//!
//! Every fourteenth point is tried with the tests; all of them with
//!
//! ```sh
//! cargo test --workspace --test system crash_points:: -- --ignored --nocapture
//! ```
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anytime_proto::v1::{self, JobSpec, JobState};
use anytime_tests::stack::Stack;
use anytime_tests::wait::within;

const STEPS: u64 = 7;

/// Builds the library that strikes.
fn shim(directory: &Path) -> PathBuf {
    let source = anytime_tests::programs::repository().join("tests/tests/crash_points/shim.c");
    let library = directory.join("shim.so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let built = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success(), "{} does not compile", source.display());
    library
}

/// A job with recovery checkpoints, exports in between that are pruned, and a last export to a place of its own.
fn job(stack: &Stack, name: &str) -> JobSpec {
    let mut spec = stack.workplace.train(name, STEPS);
    let training = spec.training.get_or_insert_default();
    training.batch = Some(2);
    let checkpoint = spec.checkpoint.get_or_insert_default();
    checkpoint.recovery_every = Some(2);
    checkpoint.export_every = Some(2);
    checkpoint.keep_last = Some(1);
    checkpoint.output = Some(format!("out/{name}"));
    spec
}

/// Lets the learner die before the operation with this number in the directory of the job (0: none), and has the job
/// end in another one. Returns the operations of the first process.
async fn strike(stack: &mut Stack, shim: &Path, number: usize) -> Vec<String> {
    let name = format!("point-{number}");
    let log = stack.workplace.path(&format!("{name}.log"));
    assert_eq!(stack.learner.process.terminate().await, 0);
    let environment = [
        ("LD_PRELOAD", shim.display().to_string()),
        ("CRASH_PATH", name.clone()),
        ("CRASH_AT", number.to_string()),
        ("CRASH_LOG", log.display().to_string()),
    ];
    stack.restart_learner_with(&environment).await;
    let request = v1::SubmitJobRequest {
        request_id: name.clone(),
        spec: Some(job(stack, &name)),
    };
    let began = Instant::now();
    let mut is_submitted = false;
    let mut has_died = false;
    loop {
        assert!(
            began.elapsed() < Duration::from_secs(90),
            "{name} does not come to an end"
        );
        if !has_died && stack.learner.process.exit_status().is_some() {
            has_died = true;
            stack.restart_learner().await;
        }
        if !is_submitted {
            // Again with the same request: the answer may be what was lost.
            is_submitted = stack.jobs().submit(request.clone()).await.is_ok();
        }
        if let Some(job) = stack.job(&name).await {
            assert!(
                matches!(job.state(), JobState::Queued | JobState::Running | JobState::Succeeded),
                "{name}: {:?} {}",
                job.state(),
                job.error
            );
            // The last operations come after the success is recorded.
            if job.state() == JobState::Succeeded && (number == 0 || has_died) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stack.assert_trained_once_each(&name).await;
    let model = stack.workplace.path(&format!("out/{name}"));
    assert!(model.join("model.safetensors").is_file(), "{name} has no model");
    let left = drafts(&stack.job_directory(&name));
    // The next process removes what the dead one was writing when it starts, and everything that the last one wrote is
    // complete.
    assert_eq!(left, Vec::<PathBuf>::new(), "{name}");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Unfinished files and directories.
fn drafts(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(".part") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(drafts(&path));
        }
    }
    found
}

async fn try_points(every: usize) {
    let mut stack = Stack::start(1).await;
    let shim = shim(&stack.workplace.path(""));
    let operations = strike(&mut stack, &shim, 0).await;
    assert!(operations.len() > 40, "the shim sees the operations: {operations:#?}");
    let points: Vec<usize> = (1..=operations.len()).step_by(every).collect();
    for number in &points {
        let seen = strike(&mut stack, &shim, *number).await;
        assert_eq!(seen.len(), *number, "it died there");
    }
    println!(
        "{} of {} crash points, each job came to its end",
        points.len(),
        operations.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_dies_before_an_operation_on_files_goes_on_in_the_next_process() {
    within(300, try_points(14)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tries every point, which takes minutes"]
async fn at_every_crash_point_the_job_goes_on() {
    within(3600, try_points(1)).await;
}
