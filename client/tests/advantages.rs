//! `anytime advantages` against the golden vectors of the paper's reference code, and what it refuses.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Stdio;

use serde_json::{Value, json};
use support::{Ended, LIMIT, command};
use tokio::io::AsyncWriteExt as _;

/// G = 2, S = 4, A = 2; the second trace ended inside the second segment.
fn golden() -> Value {
    json!({
        "rewards": [
            [[0, 0], [0, 1], [1, 1], [1, 1]],
            [[0, 0], [1, 0], [1, 1], [0, 1]],
        ],
        "nodes": [[0, 1, 2, 3], [0, 1, 1, 1]],
    })
}

async fn advantages(arguments: &[&str], input: &str) -> Ended {
    let mut command = command(&[&["advantages"], arguments].concat());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that is refused before it reads its input closes the pipe.
    stdin.write_all(input.as_bytes()).await.ok();
    drop(stdin);
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn analysis(arguments: &[&str], input: &Value) -> Value {
    let ended = advantages(&[arguments, &["--json"]].concat(), &input.to_string()).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    ended.json()
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(entries) => entries.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn assert_close(actual: &Value, expected: &[f64]) {
    let actual = flat(actual);
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
    }
}

#[tokio::test]
async fn golden_vectors() {
    let uniform = analysis(&["--prior", "uniform"], &golden()).await;
    assert_close(&uniform["R"], &[0.625, 0.625, 0.5, 0.25, 0.5, 0.5, 0.375, 0.125]);
    let v1 = [0.0, 0.0, 0.166667, 0.178571];
    assert_close(&uniform["V1"], &[v1, v1].concat());
    let v2 = [0.5625, 0.5625, 0.4375, 0.1875];
    assert_close(&uniform["V2"], &[v2, v2].concat());
    let a = [
        0.0625, 0.203125, 0.197917, 0.069196, -0.0625, 0.078125, 0.072917, -0.055804,
    ];
    assert_close(&uniform["A"], &a);
    let v: Vec<f64> = flat(&uniform["R"])
        .iter()
        .zip(a)
        .map(|(to_go, advantage)| to_go - advantage)
        .collect();
    assert_close(&uniform["V"], &v);
    let third = 1.0 / 3.0;
    let of_merged_node = [0.0, 0.0, third, -2.0 * third, third, third, -2.0 * third, third];
    assert_close(
        &uniform["summary"],
        &[[0.0, 0.0, -0.5, 0.5, 0.0, 0.0, 0.0, 0.0], of_merged_node].concat(),
    );

    let base = [0.25, 0.4375, 0.458333, 0.276786, -0.25, -0.0625, -0.041667, -0.223214];
    assert_close(&analysis(&["--prior", "base"], &golden()).await["A"], &base);
    let linear = [0.1, 0.275, 0.283333, 0.110714, -0.1, 0.075, 0.083333, -0.089286];
    // Named, by default, and spelled out.
    for arguments in [
        &["--prior", "linear", "--budgets", "2000,4000,6000,8000"][..],
        &["--budgets", "2000,4000,6000,8000"],
        &["--prior", "0.1,0.2,0.3,0.4"],
    ] {
        assert_close(&analysis(arguments, &golden()).await["A"], &linear);
    }
    for (name, prior, first) in [
        ("v2", "uniform", [0.0625; 4]),
        ("v2", "base", [0.25; 4]),
        ("v1", "uniform", [0.625, 0.625, 0.333333, 0.071429]),
        ("none", "uniform", [0.625, 0.625, 0.5, 0.25]),
    ] {
        let document = analysis(&["--prior", prior, "--variance-reduction", name], &golden()).await;
        assert_close(&document["A"][0], &first);
    }
}

#[tokio::test]
async fn golden_vectors_of_grpo_and_of_a_group_of_one() {
    let grpo = json!({ "rewards": [[[1]], [[0]], [[0]], [[1]]] });
    let through_brpo = [
        "--prior",
        "base",
        "--variance-reduction",
        "v2",
        "--summary-method",
        "grpo",
    ];
    for arguments in [&["--objective", "grpo"][..], &through_brpo] {
        let document = analysis(arguments, &grpo).await;
        assert_close(&document["A"], &[0.5, -0.5, -0.5, 0.5]);
        assert_close(&document["summary"], &[0.5, -0.5, -0.5, 0.5]);
    }
    let grpo_linear = json!({
        "rewards": [[[0], [0], [1], [1]], [[0], [1], [1], [0]]],
        "nodes": [[0, 1, 2, 3], [0, 1, 1, 1]],
    });
    let linear = [
        "--prior",
        "0.1,0.2,0.3,0.4",
        "--variance-reduction",
        "v2",
        "--summary-method",
        "grpo",
    ];
    let document = analysis(&linear, &grpo_linear).await;
    assert_close(&document["A"][0], &[0.1, 0.1, 0.2, 0.2]);
    assert_close(&document["summary"], &[0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, -0.5]);
    let one = json!({ "rewards": [[[0, 0], [0, 1], [1, 1], [1, 1]]] });
    let document = analysis(&["--prior", "uniform"], &one).await;
    assert_close(&document["A"], &[0.625, 0.625, 0.416667, 0.116071]);
}

#[tokio::test]
async fn settings_change_what_they_name() {
    // Five budgets, scores that are no 0 or 1, λ = 0.7.
    let input = json!({ "rewards": [
        [[0.5], [1], [0], [1], [1]],
        [[0], [0.25], [1], [1], [0.5]],
        [[1], [1], [1], [0], [1]],
    ]});
    let arguments = [
        "--objective",
        "brpo",
        "--prior",
        "0.05,0.15,0.2,0.25,0.35",
        "--lambda",
        "0.7",
    ];
    let document = analysis(&[&arguments[..], &["--variance-reduction", "brpo"]].concat(), &input).await;
    // The second segment of the first trace: R = 0.15 + 0.25 + 0.35, V1 = 0.5·0.95, V2 = mean of 0.75, 0.6625, 0.7.
    let v2 = (0.75 + 0.6625 + 0.7) / 3.0;
    assert_close(&document["A"][0][1], &[0.75 - (0.2 * 0.475 + 0.8 * v2)]);
    // The third: V1 = (0.7·1 + 0.49·0.5)/(0.7 + 0.49)·0.8.
    assert_close(&document["V1"][0][2], &[(0.7 + 0.245) / 1.19 * 0.8]);

    let left_out = analysis(&[&arguments[..], &["--leave-one-out"]].concat(), &input).await;
    assert_close(&left_out["V2"][0][1], &[(0.6625 + 0.7) / 2.0]);
    let by_budget = ["--mix", "budget", "--budgets", "10,20,30,40,100"];
    let by_budget = analysis(&[&arguments[..], &by_budget].concat(), &input).await;
    assert_close(&by_budget["A"][0][1], &[0.75 - (0.1 * 0.475 + 0.9 * v2)]);
}

#[tokio::test]
async fn lengths_say_who_ended_early_and_what_length_costs() {
    let input = json!({ "rewards": [[[0, 1], [1, 1]], [[1, 0], [0, 1]]], "lengths": [8, 3] });
    let arguments = ["--prior", "uniform", "--budgets", "4,8"];
    let document = analysis(&arguments, &input).await;
    assert_close(&document["summary"][1], &[0.5, -0.5, -0.5, 0.5]);
    let penalised = analysis(&[&arguments[..], &["--length-penalty", "linear"]].concat(), &input).await;
    // Trace 0: factors 0.9 and 0.8; trace 1: 1 − 0.2·3/8 at both.
    assert_close(&penalised["R"], &[0.625, 0.4, 0.4625, 0.23125]);
}

#[tokio::test]
async fn objectives_of_the_related_work_that_scores_and_lengths_decide() {
    let input = json!({ "rewards": [[[1]], [[1]], [[1]], [[0]]], "lengths": [2, 4, 6, 2] });
    let of =
        async |arguments: &[&str]| analysis(&[&["--budgets", "8", "--objective"], arguments].concat(), &input).await;
    // λ: 0.5, 0, −0.5, and for the wrong one min(0, 0.5).
    assert_close(&of(&["kimi"]).await["R"], &[1.5, 1.0, 0.5, 0.0]);
    assert_close(
        &of(&["kimi", "--length-weight", "0.5"]).await["A"],
        &[0.5, 0.25, 0.0, -0.75],
    );
    // Of the correct ones 2 and 4 are within the tolerance, and 6 has 0.5 − 4/4.
    assert_close(
        &of(&["short_rl", "--length-tolerance", "2"]).await["R"],
        &[1.5, 1.5, 0.5, 0.0],
    );
    let plain = of(&["elastic", "--divide-by-deviation", "false"]).await;
    assert_close(&plain["A"], &[0.25, 0.25, 0.25, -0.75]);
}

#[tokio::test]
async fn objectives_that_need_more_than_scores_say_so() {
    let input = json!({ "rewards": [[[1]], [[0]]], "lengths": [2, 4] }).to_string();
    for name in ["adaptthink", "degrpo"] {
        let ended = advantages(&["--budgets", "8", "--objective", name], &input).await;
        assert_eq!(ended.code, 64);
        assert!(
            ended.stderr.contains("--objective") && ended.stderr.contains(name),
            "{}",
            ended.stderr
        );
    }
    let without_lengths = json!({ "rewards": [[[1]], [[0]]] }).to_string();
    let ended = advantages(&["--objective", "kimi"], &without_lengths).await;
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.contains("lengths"), "{}", ended.stderr);
}

#[tokio::test]
async fn people_get_a_table() {
    let ended = advantages(&["--prior", "uniform"], &golden().to_string()).await;
    assert_eq!(ended.code, 0);
    for part in ["trace 0", "trace 1", "segment 4", "0.203125", "summary 1", "-0.666667"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("-0.000000"));
}

#[tokio::test]
async fn bad_input_is_refused_with_its_place() {
    let good = golden().to_string();
    let uniform = &["--prior", "uniform"][..];
    let cases: [(&[&str], &str, &str); 23] = [
        (uniform, "", "standard input"),
        (uniform, "[]", "rewards"),
        (uniform, "{}", "no field `rewards`"),
        (uniform, r#"{"reward": []}"#, "reward"),
        (uniform, r#"{"rewards": []}"#, "rewards"),
        (uniform, r#"{"rewards": 3}"#, "rewards"),
        (uniform, r#"{"rewards": [[[1], [1]], [[1]]]}"#, "rewards[1]"),
        (uniform, r#"{"rewards": [[[1], [1]], [[1], 1]]}"#, "rewards[1][1]"),
        (
            uniform,
            r#"{"rewards": [[[1, 1], [1, 1]], [[1, 1], [1]]]}"#,
            "rewards[1][1]",
        ),
        (uniform, r#"{"rewards": [[[1], []]]}"#, "rewards[0][1]"),
        (uniform, r#"{"rewards": [[[1], ["a"]]]}"#, "rewards[0][1][0]"),
        (uniform, r#"{"rewards": [[[1], [null]]]}"#, "rewards[0][1][0]"),
        (uniform, r#"{"rewards": [[[1], [1]]], "nodes": [[0]]}"#, "nodes[0]"),
        (
            uniform,
            r#"{"rewards": [[[1], [1]]], "nodes": [[1, 1]]}"#,
            "nodes[0][0]",
        ),
        (uniform, r#"{"rewards": [[[1], [1]]], "lengths": [3]}"#, "--budgets"),
        (&["--prior", "0.5,0.5"], &good, "objective.prior_weights"),
        (&["--prior", "0.5,0.5,0.5,0.5"], &good, "sum 1"),
        (&["--prior", "flat"], &good, "uniform"),
        (&["--prior", "linear"], &good, "--budgets"),
        (&["--prior", "uniform", "--budgets", "1,2"], &good, "--budgets"),
        (&["--prior", "uniform", "--budgets", "1,2,2,4"], &good, "--budgets: "),
        (&["--prior", "uniform", "--lambda", "0"], &good, "objective.lambda"),
        (&["--prior", "uniform", "--length-penalty", "linear"], &good, "lengths"),
    ];
    for (arguments, input, place) in cases {
        let ended = advantages(arguments, input).await;
        assert_eq!(ended.code, 64, "{arguments:?} {input}: {}", ended.stderr);
        assert!(ended.stderr.contains(place), "{arguments:?} {input}: {}", ended.stderr);
        assert!(ended.stdout.is_empty());
    }
    let ended = advantages(&["--objective", "ppo", "--prior", "uniform"], &good).await;
    assert_eq!(ended.code, 64);
    assert!(ended.stderr.contains("objective.name"), "{}", ended.stderr);
}
