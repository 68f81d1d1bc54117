//! A job whose data or tokenizer changed under it does not go on with rows in another order.

use std::fs;

use anytime_proto::v1::JobState;

use crate::real_jobs::{Answer, Place, good, interrupted, work_until};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_begun_goes_on_with_its_own_rows_and_no_others() {
    let place = Place::new(20);
    let learner = interrupted(&place, "changed").await;
    learner.stop().await;
    let data = place.path("data.jsonl");
    let rows = fs::read_to_string(&data).unwrap();
    // As many rows, and the last one is another: what is trained of all others would be in the same order.
    let same_number = rows.replace(
        "{\"problem\": \"19+1=\", \"answer\": 20}",
        "{\"problem\": \"9+9=\", \"answer\": 18}",
    );
    assert_ne!(same_number, rows);
    for (text, what) in [
        (
            format!("{rows}{{\"problem\": \"2+2=\", \"answer\": 4}}\n"),
            "20 rows then, 21 now",
        ),
        (same_number, "20 rows, and not the same"),
    ] {
        fs::write(&data, text).unwrap();
        let learner = place.learner("runs").await;
        let mut error = String::new();
        eventually("the job is not run", async || {
            let job = learner.get("changed").await;
            error = job.error.clone();
            assert_eq!(job.step, 3, "{error}");
            let is_paused = matches!(job.state(), JobState::Paused | JobState::Failed);
            let is_said = error.contains(what);
            // What was said before stands until the next try, which a person may ask for.
            if is_paused && !is_said {
                let _ = learner.resume("changed", None).await;
            }
            is_paused && is_said
        })
        .await;
        for part in ["data.path", data.to_str().unwrap(), "put it back"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        fs::write(&data, &rows).unwrap();
        learner.stop().await;
    }

    let learner = place.learner("runs").await;
    learner.resume("changed", None).await.unwrap();
    let job = work_until(&learner, "changed", JobState::Succeeded, |lease| {
        Answer::Push(good(lease))
    })
    .await;
    assert_eq!(job.step, 6);
    learner.stop().await;
}
