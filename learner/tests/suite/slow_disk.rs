//! A disk that answers late: whoever waits for it waits alone. What the learner tells from its memory goes on, because a
//! process whose threads wait for a disk keeps no connection alive.

use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anytime_proto::v1::diagnosis_service_client::DiagnosisServiceClient;
use anytime_proto::v1::{self, JobState};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::eventually;
use crate::support::learner::{TestLearner, spec};
use crate::support::redis_server::RedisServer;

/// Longer than any of these requests takes, and shorter than a connection lives without an answer.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_the_disk_hold_up_nobody_else() {
    let (redis, runs) = (RedisServer::start(), TempDir::new().unwrap());
    let learner = TestLearner::start(&redis.url(), runs.path(), |context| {
        loop {
            context.check()?;
            std::thread::sleep(Duration::from_millis(5));
        }
    })
    .await;
    let learner = Arc::new(learner);
    for job in ["running", "waiting"] {
        learner.submit(job, spec(job)).await.unwrap();
    }
    learner.wait_for_state("running", JobState::Running).await;
    // Whoever opens it to write waits until somebody reads.
    let stuck = runs.path().join("waiting/cancelled");
    assert!(Command::new("mkfifo").arg(&stuck).status().unwrap().success());
    // A learner that does hang is let go, so that this test ends.
    let pipe = stuck.clone();
    std::thread::spawn(move || {
        std::thread::sleep(4 * AT_ONCE);
        let _reader = File::open(pipe);
        std::thread::sleep(12 * AT_ONCE);
    });
    let cancel = |learner: &Arc<TestLearner>| {
        let mut jobs = learner.jobs();
        tokio::spawn(async move {
            let job_id = "waiting".to_owned();
            jobs.cancel(v1::CancelJobRequest { job_id }).await
        })
    };
    let resume = |learner: &Arc<TestLearner>| {
        let mut jobs = learner.jobs();
        tokio::spawn(async move {
            let job_id = "waiting".to_owned();
            jobs.resume(v1::ResumeJobRequest { job_id, spec: None }).await
        })
    };
    let mut waiting: Vec<_> = (0..4).map(|_| cancel(&learner)).collect();
    // Meanwhile nobody creates or resumes a job either.
    let resumed: Vec<_> = (0..4).map(|_| resume(&learner)).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(waiting.iter().all(|call| !call.is_finished()), "they wait for the disk");
    for _ in 0..20 {
        let job = timeout(AT_ONCE, learner.get("waiting")).await.expect("an answer");
        assert_eq!(job.state(), JobState::Queued, "what the disk has not taken is not told");
        let listed = timeout(AT_ONCE, learner.jobs().list(v1::ListJobsRequest::default())).await;
        assert_eq!(listed.expect("an answer").unwrap().into_inner().jobs.len(), 2);
        let mut diagnosis = DiagnosisServiceClient::new(learner.channel());
        let told = timeout(AT_ONCE, diagnosis.diagnose(v1::DiagnoseRequest::default())).await;
        assert_eq!(told.expect("an answer").unwrap().into_inner().jobs.len(), 2);
    }
    // A disk that had failed for good would be no file to sync.
    let reader = File::open(&stuck).unwrap();
    for call in waiting.drain(..) {
        assert!(
            call.await.unwrap().is_err(),
            "a pipe cannot be synced, and the cancellation is not said to be kept"
        );
    }
    for call in resumed {
        assert_eq!(call.await.unwrap().unwrap().into_inner().state(), JobState::Queued);
    }
    drop(reader);
    std::fs::remove_file(&stuck).unwrap();
    cancel(&learner).await.unwrap().unwrap();
    learner.wait_for_state("waiting", JobState::Cancelled).await;
    learner.cancel("running").await;
    eventually("the other ends", async || {
        learner.get("running").await.state() == JobState::Cancelled
    })
    .await;
    Arc::into_inner(learner).expect("nobody else holds it").stop().await;
}
