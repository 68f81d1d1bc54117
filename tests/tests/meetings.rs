//! The learner's ranks before they compute: what is refused, who does not come, and who comes that is none.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use anytime_proto::v1::JobState;
use anytime_tests::programs;
use anytime_tests::stack::Stack;
use anytime_tests::wait::{eventually, within};

/// Runs a learner with these arguments until it ends.
fn learner(arguments: &[&str]) -> Output {
    let mut command = Command::new(programs::binary("anytime-learner"));
    command.args(["--device", "cpu"]).args(arguments);
    command.output().unwrap()
}

#[test]
fn arguments_that_cannot_work_are_refused() {
    for (arguments, says) in [
        (vec!["--world", "2"], "--world 2 needs --store, where the ranks meet"),
        (
            vec!["--world", "2", "--rank", "2", "--store", "127.0.0.1:1"],
            "--rank 2: it must be below --world, which is 2",
        ),
        (
            vec!["--rank", "1", "--store", "127.0.0.1:1"],
            "--rank 1: it must be below --world, which is 1",
        ),
        (vec!["--world", "2", "--store", "127.0.0.1"], "--store 127.0.0.1: "),
        (
            vec!["--world", "2", "--rank", "1", "--store", "192.0.2.1:7110"],
            "--store 192.0.2.1:7110 is reached from other machines",
        ),
        (
            vec![
                "--world",
                "2",
                "--store",
                "127.0.0.1:7110",
                "--rank-address",
                "192.0.2.1",
            ],
            "--store 127.0.0.1:7110 is reached from other machines",
        ),
    ] {
        let output = learner(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}

/// A rank that does not come pauses the job, which goes on when it does; strangers at the store change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rank_that_does_not_come_pauses_the_job() {
    within(150, async {
        let mut stack = Stack::start(0).await;
        stack.add_ranks(1).await;
        stack.ranks[0].kill();
        let store = stack.meeting_place();
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b""] {
            let mut stream = TcpStream::connect(&store).unwrap();
            stream.write_all(garbage).unwrap();
        }
        let job = stack.submit("alone", stack.workplace.sft(20)).await;
        let paused = eventually("a pause", 30, async || {
            let job = stack.job(&job.id).await?;
            (job.state() == JobState::Paused).then_some(job)
        })
        .await;
        assert!(
            paused
                .error
                .contains("rank 1 of 2 has not come within 5 s; look at the log of that rank and start it again"),
            "{}",
            paused.error
        );
        assert!(paused.retry_at.is_some(), "it is tried again by itself");

        // With another number of ranks it is no rank of this learner.
        let output = learner(&["--world", "3", "--rank", "1", "--store", &store]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("--world 3: rank 0 has --world 2"), "{said}");

        stack.spawn_rank(1);
        eventually("the end", 90, async || {
            let job = stack.job(&job.id).await?;
            (job.state() == JobState::Succeeded).then_some(())
        })
        .await;
        stack.ranks[0].assert_runs();
        tokio::time::timeout(Duration::from_secs(10), stack.ranks[0].terminate())
            .await
            .unwrap();
    })
    .await;
}
