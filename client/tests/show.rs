//! `anytime show` through the binary: from directories on disk, from a learner, and its errors where nothing is found.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anytime_proto::generations::{DIRECTORY, KeptNode, KeptProblem, KeptSummary, KeptTrace, ProblemHead, step_file};
use anytime_proto::v1;
use support::{Ended, FakeLearner, Script, anytime};

fn summary(text: &str, answer: Option<&str>, verdict: &str) -> KeptSummary {
    let is_correct = verdict == "correct";
    KeptSummary {
        text: text.to_owned(),
        tokens: 3,
        finish: "eos".to_owned(),
        verdict: verdict.to_owned(),
        extracted: answer.map(str::to_owned),
        formatted: verdict != "no_answer",
        score: if is_correct { 1.0 } else { 0.0 },
    }
}

/// Two traces: one cut at 6 that ended before 12 and 18, one broken off by an end of sequence.
fn problem(row: u64, id: &str, accuracy: [f64; 3]) -> KeptProblem {
    let thinking = "4+7=1 \u{1b}[31m1-2=9</think>";
    let thought = KeptTrace {
        thinking: thinking.to_owned(),
        tokens: 11,
        finish: "end_marker".to_owned(),
        nodes: vec![
            KeptNode {
                budgets: vec![6],
                cut: 6,
                cut_at: 5,
                inserted: "...</think>\n\n**Final Answer**\n\\boxed{".to_owned(),
                summaries: vec![summary("1}", Some("1"), "wrong")],
            },
            KeptNode {
                budgets: vec![12, 18],
                cut: 11,
                cut_at: thinking.chars().count(),
                inserted: "\n\n**Final Answer**\n\\boxed{".to_owned(),
                summaries: vec![
                    summary("9}", Some("9"), "correct"),
                    summary("so\nnothing", None, "no_answer"),
                ],
            },
        ],
    };
    let broken_off = KeptTrace {
        thinking: "hm".to_owned(),
        tokens: 2,
        finish: "eos".to_owned(),
        nodes: vec![KeptNode {
            budgets: vec![6, 12, 18],
            cut: 2,
            cut_at: 2,
            inserted: "...</think>".to_owned(),
            summaries: vec![summary("8}", Some("8"), "wrong"); 3],
        }],
    };
    KeptProblem {
        head: ProblemHead {
            row,
            id: id.to_owned(),
            problem: format!("4+7-2= ({id})"),
            ground_truths: vec!["9".to_owned()],
            budgets: vec![6, 12, 18],
            summaries_per_budget: 1,
            accuracy: accuracy.to_vec(),
        },
        traces: vec![thought, broken_off],
    }
}

fn keep(job: &Path, step: u64, problems: &[KeptProblem]) -> PathBuf {
    let directory = job.join(DIRECTORY);
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(job.join("job.pb"), b"").unwrap();
    let path = directory.join(step_file(step));
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| serde_json::to_string(problem).unwrap() + "\n")
        .collect();
    std::fs::write(&path, lines.concat()).unwrap();
    path
}

/// A run with two jobs; the one that comes first by name was evaluated last.
fn run_directory() -> tempfile::TempDir {
    let run = tempfile::tempdir().unwrap();
    let problems = [
        problem(0, "easy", [1.0, 1.0, 1.0]),
        problem(2, "hard", [0.0, 0.25, 0.5]),
    ];
    keep(&run.path().join("brpo"), 0, &problems[..1]);
    keep(&run.path().join("brpo"), 30, &problems);
    let older = keep(&run.path().join("warm"), 7, &problems[..1]);
    let file = std::fs::File::options().write(true).open(older).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    std::fs::create_dir_all(run.path().join("logs")).unwrap();
    run
}

async fn show(run: &Path, arguments: &[&str]) -> Ended {
    anytime(&[&["show", run.to_str().unwrap()], arguments].concat()).await
}

fn refused(ended: &Ended, says: &[&str]) {
    assert_eq!((ended.code, ended.stdout.as_str()), (64, ""), "{}", ended.stderr);
    assert_eq!(ended.stderr.trim_end().lines().count(), 1, "{}", ended.stderr);
    for part in says {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn problems_are_listed_worst_first() {
    let run = run_directory();
    let ended = show(run.path(), &[]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines[0], "job brpo, step 30: 2 problems, worst first");
    assert_eq!(lines[1], "   row  id    anytime      6     12     18  problem");
    assert_eq!(lines[2], "     2  hard    0.250  0.000  0.250  0.500  4+7-2= (hard)");
    assert_eq!(lines[3], "     0  easy    1.000  1.000  1.000  1.000  4+7-2= (easy)");

    let document = show(run.path(), &["--json"]).await.json();
    assert_eq!(document["step"], 30);
    assert_eq!(document["problems"][1]["id"], "hard");
    let other = show(run.path(), &["--job", "warm"]).await;
    assert!(
        other.stdout.starts_with("job warm, step 7: 1 problems"),
        "{}",
        other.stdout
    );
    let by_itself = show(&run.path().join("brpo"), &["--step", "0"]).await;
    assert!(
        by_itself.stdout.starts_with("job brpo, step 0: 1 problems"),
        "{}",
        by_itself.stdout
    );
}

#[tokio::test]
async fn a_trace_is_shown_with_its_cuts_summaries_and_verdicts() {
    let run = run_directory();
    let ended = show(run.path(), &["--problem", "hard"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expected = "\
problem       hard (row 2) of job brpo, step 30
  4+7-2= (hard)
ground truth  9
accuracy      6: 0.000  12: 0.250  18: 0.500  anytime 0.250

  trace  tokens  ended by        6     12     18
      0      11  end marker   0.00   1.00   0.00
      1       2  eos          0.00   0.00   0.00

trace 0: 11 thinking tokens, ended by itself
  4+7=1▎6  ␛[31m1-2=9</think>▎12,18

▎6  after 6 tokens, then ...</think>⏎⏎**Final Answer**⏎\\boxed{
  ✗ wrong, answer 1, 3 tokens
      1}

▎12,18  after 11 tokens, then ⏎⏎**Final Answer**⏎\\boxed{
  ✓ correct, answer 9, 3 tokens, for budget 12
      9}
  ✗ no answer, not formatted, 3 tokens, for budget 18
      so
      nothing
";
    assert_eq!(ended.stdout, expected);

    // By its row number, and only the trace asked for.
    let other = show(run.path(), &["--problem", "2", "--trace", "1"]).await;
    assert!(
        other.stdout.contains("trace 1: 2 thinking tokens, broken off"),
        "{}",
        other.stdout
    );
    assert!(other.stdout.contains("without score"), "{}", other.stdout);
    assert!(!other.stdout.contains("trace 0"), "{}", other.stdout);

    let line = show(run.path(), &["--problem", "hard", "--json"]).await.json();
    assert_eq!(
        line,
        serde_json::to_value(problem(2, "hard", [0.0, 0.25, 0.5])).unwrap()
    );
    let one = show(run.path(), &["--problem", "hard", "--trace", "1", "--json"])
        .await
        .json();
    assert_eq!(one["traces"].as_array().unwrap().len(), 1);
    assert_eq!(one["traces"][0]["finish"], "eos");
}

#[tokio::test]
async fn what_is_not_there_is_answered_with_what_is() {
    let run = run_directory();
    refused(&show(run.path(), &["--problem", "x"]).await, &["`x`", "easy, hard"]);
    refused(&show(run.path(), &["--step", "4"]).await, &["step 4", "0, 30"]);
    refused(&show(run.path(), &["--job", "x"]).await, &["--job x", "brpo, warm"]);
    refused(
        &show(run.path(), &["--problem", "easy", "--trace", "2"]).await,
        &["--trace 2", "2 traces"],
    );
    refused(
        &show(&run.path().join("brpo"), &["--job", "warm"]).await,
        &["--job warm"],
    );
    refused(&show(&run.path().join("logs"), &[]).await, &["holds no job"]);
    refused(
        &show(&run.path().join("nowhere"), &[]).await,
        &["nowhere", "no such directory"],
    );
    std::fs::remove_dir_all(run.path().join("brpo").join(DIRECTORY)).unwrap();
    refused(
        &show(&run.path().join("brpo"), &[]).await,
        &["evaluation.keep_generations"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_learner_elsewhere_is_shown_the_same() {
    let run = run_directory();
    let script = Script {
        job_directory: run.path().join("brpo"),
        ..Default::default()
    };
    let learner = FakeLearner::start(script).await;
    learner.add_job(v1::Job {
        id: "brpo".to_owned(),
        ..Default::default()
    });
    let url = learner.url();
    for arguments in [&[][..], &["--problem", "hard"], &["--problem", "0", "--step", "0"]] {
        let remote = anytime(&[&["show", "brpo", "--learner", &url], arguments].concat()).await;
        let local = show(run.path(), arguments).await;
        assert_eq!((remote.code, local.code), (0, 0), "{}", remote.stderr);
        assert_eq!(remote.stdout, local.stdout);
    }
    let unknown = anytime(&["show", "brpo", "--learner", &url, "--problem", "x"]).await;
    refused(&unknown, &["`x`", "easy, hard"]);
    refused(
        &anytime(&["show", "other", "--learner", &url]).await,
        &["no directory", "other"],
    );
    refused(
        &anytime(&["show", "brpo", "--learner", &url, "--job", "brpo"]).await,
        &["--job brpo"],
    );
    let away = anytime(&["show", "brpo", "--learner", "http://127.0.0.1:9"]).await;
    assert_eq!(away.code, 69, "{}", away.stderr);
}
