//! `anytime-verifier grade` as a process: lines in, lines out.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_anytime-verifier"))
        .arg("grade")
        .args(arguments)
        .env_remove("ANYTIME_THREADS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn grade(arguments: &[&str], input: impl Into<Vec<u8>>) -> Output {
    let mut child = start(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.into();
    let writer = std::thread::spawn(move || {
        // A child that ends at a bad line reads no further.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn line(id: impl Into<Value>, answer: impl std::fmt::Display, ground_truth: impl Into<Value>) -> String {
    let response = format!("It is \\boxed{{{answer}}}.");
    let line = json!({"id": id.into(), "response": response, "ground_truth": ground_truth.into()});
    format!("{line}\n")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn problem(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_order_is_kept_over_all_threads() {
    let input: String = (0..5000).map(|id| line(id, id, (id - id % 3).to_string())).collect();
    for threads in ["1", "3", "16"] {
        let output = grade(&["--threads", threads], input.as_str());
        assert!(output.status.success(), "{}", problem(&output));
        assert!(output.stderr.is_empty(), "{}", problem(&output));
        let graded = lines(&output);
        assert_eq!(graded.len(), 5000);
        for (id, verdict) in graded.iter().enumerate() {
            assert_eq!(verdict["id"], id);
            assert_eq!(verdict["correct"], id % 3 == 0);
            assert_eq!(verdict["verdict"], if id % 3 == 0 { "correct" } else { "wrong" });
            assert_eq!(verdict["extracted"], id.to_string());
            assert!(verdict["seconds"].as_f64().unwrap() < 1.0);
        }
    }
}

#[test]
fn one_ground_truth_of_a_list_is_enough() {
    let input = [
        line("list", 7, json!(["8", "7.0"])),
        line("number", 7, 7),
        line("none", 7, json!([8, 9])),
    ]
    .concat();
    let graded = lines(&grade(&[], input));
    let correct: Vec<bool> = graded
        .iter()
        .map(|verdict| verdict["correct"].as_bool().unwrap())
        .collect();
    assert_eq!(correct, [true, true, false]);
}

#[test]
fn the_extraction_can_be_chosen() {
    let input = line(1, 7, "7");
    let boxed = &lines(&grade(&["--extraction", "boxed"], input.as_str()))[0];
    assert_eq!(boxed["verdict"], "correct");
    let anytime = &lines(&grade(&["--extraction", "anytime"], input.as_str()))[0];
    assert_eq!(
        (&anytime["verdict"], &anytime["extracted"]),
        (&json!("no_answer"), &json!(""))
    );
    let unknown = grade(&["--extraction", "somewhere"], input.as_str());
    assert_eq!(unknown.status.code(), Some(64));
    assert!(problem(&unknown).contains("last-number"), "{}", problem(&unknown));
}

#[test]
fn nothing_in_nothing_out() {
    for input in ["", "\n", "\n \n\n"] {
        let output = grade(&[], input);
        assert!(output.status.success());
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn the_last_line_needs_no_line_break() {
    let input = format!("\n{}", [line(1, 1, "1"), line(2, 2, "2")].concat().trim_end());
    assert_eq!(lines(&grade(&[], input)).len(), 2);
}

#[test]
fn a_bad_line_ends_it_after_what_was_before() {
    let good: String = (0..1000).map(|id| line(id, id, id.to_string())).collect();
    for (bad, names) in [
        ("{\"id\": 1, \"respon", "no JSON object"),
        ("{\"id\": 1, \"response\": \"\"}", "\"ground_truth\" is missing"),
        (
            "{\"id\": 1, \"response\": 5, \"ground_truth\": \"5\"}",
            "\"response\" is 5",
        ),
        ("\u{1}", "no JSON object"),
    ] {
        let output = grade(&[], format!("{good}{bad}\n{good}"));
        assert_eq!(output.status.code(), Some(65), "{}", problem(&output));
        assert_eq!(lines(&output).len(), 1000);
        let problem = problem(&output);
        assert!(problem.contains("line 1001") && problem.contains(names), "{problem}");
        assert_eq!(problem.lines().count(), 1, "{problem}");
    }
    let no_text = [good.as_bytes(), b"\xff\xfe\n"].concat();
    let output = grade(&[], no_text);
    assert_eq!((output.status.code(), lines(&output).len()), (Some(65), 1000));
}

#[test]
fn explained_lines_say_more() {
    let input = line(1, 7, json!(["8", "7.0"]));
    let plain = &lines(&grade(&[], input.as_str()))[0];
    assert!(plain.get("rule").is_none(), "{plain}");
    let explained = &lines(&grade(&["--explain"], input))[0];
    assert_eq!(explained["correct"], true);
    assert!(!explained["rule"].as_str().unwrap().is_empty(), "{explained}");
    assert_eq!(explained["ground_truth_forms"].as_array().unwrap().len(), 2);
}

#[test]
fn a_line_is_answered_before_the_next_one_comes() {
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for id in 0..3 {
        stdin.write_all(line(id, 7, "7").as_bytes()).unwrap();
        let mut answer = String::new();
        stdout.read_line(&mut answer).unwrap();
        assert!(
            answer.starts_with(&format!("{{\"id\":{id},\"correct\":true")),
            "{answer}"
        );
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let mut child = start(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    // It never ends by itself: only a process that has ended refuses more.
    let writer = std::thread::spawn(move || {
        let some = line(1, 7, "7").repeat(1000);
        while stdin.write_all(some.as_bytes()).is_ok() {}
    });
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    drop(stdout);
    assert!(child.wait().unwrap().success());
    writer.join().unwrap();
    let mut problem = String::new();
    child.stderr.take().unwrap().read_to_string(&mut problem).unwrap();
    assert_eq!(problem, "");
}
