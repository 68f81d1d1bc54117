//! Every case of the binary on a tiny random model: that it runs, and that its figures are those of its work.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_anytime-bench"))
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

/// The objects that a case prints.
fn lines(case: &str, more: &[&str]) -> Vec<Value> {
    let common = [
        case,
        "--name",
        "case",
        "--shape",
        "tiny",
        "--threads",
        "1",
        "--repetitions",
        "2",
    ];
    let output = bench(&[&common, more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn seconds(line: &Value) -> Vec<f64> {
    let values = line["seconds"].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

#[test]
fn decode_in_both_kinds() {
    for dtype in ["f32", "bf16"] {
        let more = ["--dtype", dtype, "--prompts", "2", "--traces", "3", "--new-tokens", "5"];
        let [line] = &lines("decode", &more)[..] else {
            panic!("one line");
        };
        assert_eq!(
            (line["tokens"].as_u64(), line["dtype"].as_str()),
            (Some(30), Some(dtype))
        );
        assert_eq!(
            (line["side"].as_str(), line["case"].as_str()),
            (Some("anytime"), Some("case"))
        );
        let seconds = seconds(line);
        assert!(seconds.len() == 2 && seconds.iter().all(|&seconds| seconds > 0.0));
        // The same seeds draw the same tokens, whatever the run.
        let digest = line["ids_digest"].as_str();
        assert_eq!(digest.map(str::len), Some(16), "{line}");
        assert_eq!(lines("decode", &more)[0]["ids_digest"].as_str(), digest);
    }
}

#[test]
fn a_case_beside_other_work_draws_the_same_tokens() {
    let small = ["--prompts", "2", "--traces", "3", "--new-tokens", "5"];
    let quiet = &lines("decode", &small)[0];
    let busy = &lines("decode", &[&small[..], &["--busy", "1"]].concat())[0];
    assert_eq!(busy["ids_digest"], quiet["ids_digest"]);
    assert_eq!((busy["busy"].as_u64(), quiet["busy"].as_u64()), (Some(1), None));
    assert!(seconds(busy).iter().all(|&seconds| seconds > 0.0));
}

#[test]
fn rollout_in_its_three_parts() {
    let small = [
        "--traces",
        "4",
        "--budgets",
        "8,16",
        "--summaries",
        "2",
        "--summary-tokens",
        "3",
        "--slots",
        "8",
    ];
    let [rollouts, thinking, own] = &lines("rollout", &small)[..] else {
        panic!("three lines");
    };
    // 2 groups of 4 traces of 16 tokens; 2 cuts, 2 summaries, 3 tokens.
    assert_eq!(rollouts["thinking_tokens"], 128);
    assert_eq!(rollouts["summary_tokens"], 96);
    assert_eq!(thinking["case"], "rollout_thinking_f32");
    assert_eq!(own["case"], "rollout_own_tokens_f32");
    assert_eq!(own["tokens"], 96);
    for (all, part) in seconds(rollouts).iter().zip(seconds(thinking)) {
        assert!(*all > 0.0 && part > 0.0);
    }
}

#[test]
fn an_update_and_its_products() {
    let small = ["--budgets", "8,16", "--summaries", "2", "--summary-tokens", "3"];
    let [update] = &lines("training", &small)[..] else {
        panic!("one line");
    };
    // 32 + 16, and four branches of 8 inserted tokens and 3 of their own.
    assert_eq!(update["computed_tokens"], 92);
    assert_eq!(update["trained_tokens"], 28);
    let [limit] = &lines("train-limit", &small)[..] else {
        panic!("one line");
    };
    // Two layers of 48: q and o 48 × 48, k and v 48 × 16, three of 48 × 96; the head has 96 rows.
    let layers = 2 * (2 * 48 * 48 + 2 * 48 * 16 + 3 * 48 * 96);
    assert_eq!(limit["flop"], f64::from(6 * (layers * 92 + 96 * 48 * 28)));
    assert_eq!(limit["side"], "libtorch");
}

/// The object that a profile prints.
fn profile(what: &str, more: &[&str]) -> Value {
    let common = [
        "profile",
        what,
        "--shape",
        "tiny",
        "--threads",
        "1",
        "--repetitions",
        "2",
        "--budgets",
        "8,16",
        "--summaries",
        "2",
        "--summary-tokens",
        "3",
    ];
    let output = bench(&[&common, more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Names of operators with an own time, after a look at all figures.
fn operators(profile: &Value) -> Vec<&str> {
    let operators = profile["operators"].as_array().unwrap();
    let own_seconds = |of: &Value| of["own_seconds"].as_f64().unwrap();
    let mut shares = 0.0;
    for operator in operators {
        assert!(operator["calls"].as_u64().unwrap() > 0, "{operator}");
        assert!(
            own_seconds(operator) <= operator["total_seconds"].as_f64().unwrap(),
            "{operator}"
        );
        shares += operator["share"].as_f64().unwrap();
    }
    assert!(operators.is_sorted_by(|one, next| own_seconds(one) >= own_seconds(next)));
    // Own times do not overlap.
    assert!(shares > 0.0 && shares <= 1.0, "shares add up to {shares}");
    assert!((profile["accounted_share"].as_f64().unwrap() - shares).abs() < 1e-9);
    operators.iter().map(|of| of["name"].as_str().unwrap()).collect()
}

#[test]
fn a_profile_of_the_engine_names_its_operators() {
    let profile = profile("engine", &["--traces", "4", "--slots", "16", "--json"]);
    let names = operators(&profile);
    for expected in [
        "anytime::attend_reads",
        "anytime::rotate_and_store",
        "anytime::rms_norm",
        "anytime::draw",
    ] {
        assert!(names.contains(&expected), "{expected} is not among {names:?}");
    }
    let products = ["mkldnn::_linear_pointwise", "anytime::narrow_linear", "aten::linear"];
    assert!(
        products.iter().any(|product| names.contains(product)),
        "no product among {names:?}"
    );
}

#[test]
fn a_profile_of_the_trainer_names_its_operators() {
    let profile = profile("trainer", &["--json"]);
    let names = operators(&profile);
    for expected in [
        "anytime::linear",
        "anytime::linear_backward",
        "anytime::embedding_backward",
        "anytime::backward",
        "anytime::adamw",
        "aten::mm",
    ] {
        assert!(names.contains(&expected), "{expected} is not among {names:?}");
    }
}

#[test]
fn a_profile_is_a_table_for_people() {
    let output = bench(&[
        "profile",
        "trainer",
        "--shape",
        "tiny",
        "--threads",
        "1",
        "--repetitions",
        "1",
        "--rows",
        "2",
    ]);
    let table = String::from_utf8(output.stdout).unwrap();
    let starts = ["operator ", "all operators ", "outside of operators ", "wall time "];
    for start in starts {
        assert!(table.lines().any(|line| line.starts_with(start)), "{start}: {table}");
    }
    // Two operators, the others, and the four lines above.
    assert_eq!(table.lines().count(), 7, "{table}");
}

#[test]
fn limits_of_every_number_of_rows() {
    let limits = lines("limits", &["--rows", "1,3"]);
    assert_eq!(limits.len(), 2);
    for (line, rows) in limits.iter().zip([1, 3]) {
        assert_eq!(line["case"], format!("case_{rows}"));
        assert_eq!(line["tokens"], rows);
        // Passes of microseconds are repeated until they can be told from noise.
        assert!(seconds(line).len() > 2 && seconds(line).iter().sum::<f64>() >= 0.4);
    }
}

#[test]
fn gpu_report_runs_on_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("gpu.json");
    let small = [
        "--batches",
        "1,16",
        "--prompt-tokens",
        "4",
        "--new-tokens",
        "4",
        "--budgets",
        "8,16",
        "--traces",
        "2",
        "--slots",
        "8",
        "--cache-gib",
        "1",
        "--steady-groups",
        "3",
        "--steady-shortest",
        "6",
        "--steady-longest",
        "20",
        "--steady-slots",
        "4",
        "--mixed-lengths",
        "8,24",
        "--repetitions",
        "1",
    ];
    let common = [
        "gpu",
        "--device",
        "cpu",
        "--shape",
        "tiny",
        "--command",
        "test",
        "--date",
        "today",
    ];
    let output = bench(&[&common[..], &small, &["--out", out.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document = read(&out);
    let report = &document["report"];
    for path in [
        "tree",
        "prompts",
        "mixed_lengths",
        "copies",
        "branches",
        "branches_beside_thinkings",
        "a_branch_alone",
    ] {
        // The same device twice.
        assert_eq!(report["parity"][format!("{path}_f32_largest")], 0.0, "{path}");
        assert!(
            report["parity"][format!("{path}_bf16_mean")].as_f64().unwrap() > 0.0,
            "{path}"
        );
    }
    // Sums may start at another place of memory, and the sign of a gradient near zero decides a whole step of AdamW.
    for (path, most) in [("gradient", 1e-4), ("update", 0.1), ("draws", 0.0)] {
        let found = report["parity"][format!("{path}_f32")].as_f64().unwrap();
        assert!(found <= most, "{path}: {found}");
        assert!(report["parity"][format!("{path}_bf16")].is_number(), "{path}");
    }
    let cases = report["cases"].as_array().unwrap();
    let names: Vec<&str> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "decode_b1_bf16",
            "decode_b16_bf16",
            "anytime_rollout_bf16",
            "decode_steady_bf16",
            "training_update_bf16",
            "training_mixed_bf16",
            "decode_b16_f32",
            "training_update_f32",
        ]
    );
    for case in cases {
        for figure in [
            "first_seconds",
            "seconds_median",
            "operators",
            "model_flop_utilisation",
            "of_bandwidth_limit",
        ] {
            assert!(case[figure].as_f64().unwrap() > 0.0, "{figure}: {case}");
        }
        assert_eq!(case["repetitions"], 1, "{case}");
    }
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().count(), 2 + cases.len(), "{table}");
}

#[test]
fn without_cuda_one_message_and_a_failure() {
    let output = bench(&[
        "gpu",
        "--device",
        "cuda:77",
        "--command",
        "test",
        "--date",
        "today",
        "--out",
        "/dev/null",
    ]);
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cuda:77") && message.lines().count() == 1, "{message}");
}

#[test]
fn summary_of_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, out) = (folder.path().join("lines.jsonl"), folder.path().join("results.json"));
    let text = [
        r#"{"case": "train_update_f32", "side": "anytime", "seconds": [2.0, 1.0, 9.0]}"#,
        r#"{"case": "train_update_f32", "side": "transformers", "seconds": [13.0], "versions": {"torch": "2"}}"#,
    ];
    std::fs::write(&lines, text.join("\n")).unwrap();
    let (lines, out_path) = (lines.to_str().unwrap(), out.to_str().unwrap());
    let about = ["--command", "test", "--date", "today", "--version-of", "rustc=1"];
    let output = bench(&[&["summary", "--lines", lines, "--out", out_path], &about[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("| `train_update_f32` | 6.500 |"), "{table}");
    let document = read(&out);
    assert_eq!(document["ratios"]["train_update_f32"], 6.5);
    assert_eq!(document["versions"], serde_json::json!({"torch": "2", "rustc": "1"}));
    assert!(document["hardware"]["cores"].as_u64().unwrap() > 0);
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
