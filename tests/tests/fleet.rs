//! A fleet without a model, as `make bench-fleet` measures it, small: nothing in the learner or in Redis grows with the
//! number of groups, and the queue keeps its bound while the trainer stands still.

use std::process::Command;

use anytime_tests::programs::binary;

/// Runs a case of the benchmark, which fails where a bound does not hold; what it prints is shown then.
fn measure(arguments: &[&str]) -> Vec<serde_json::Value> {
    let directory = tempfile::tempdir().expect("a directory");
    let output = Command::new(binary("anytime-bench"))
        .args(["fleet", "memory", "--redis-sync", "everysec"])
        .args(arguments)
        .arg("--directory")
        .arg(directory.path())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("the benchmark starts");
    let (lines, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{lines}{errors}");
    let line = |line: &str| serde_json::from_str(line).expect("a line of JSON");
    lines.lines().map(line).collect()
}

#[test]
fn what_is_kept_after_many_groups_is_what_is_kept_after_few() {
    let looks = measure(&[
        "--held-seconds",
        "0",
        "--pushes",
        "3200",
        "--looks",
        "4",
        "--growth-mib",
        "48",
    ]);
    assert_eq!(looks.len(), 4);
    for name in ["keys", "stored", "seen", "queued", "leased", "waiting", "taken"] {
        assert!(looks[0][name].is_u64(), "{name}: {looks:?}");
        assert_eq!(looks[0][name], looks[3][name], "{name}: {looks:?}");
    }
    assert_eq!((&looks[0]["pushes"], &looks[3]["pushes"]), (&800.into(), &3200.into()));
}

#[test]
fn a_trainer_that_stands_still_fills_its_queue_and_no_memory() {
    let looks = measure(&[
        "--pushes",
        "0",
        "--held-seconds",
        "9",
        "--thinking-tokens",
        "800",
        "--summary-tokens",
        "16",
        "--held-actors",
        "16",
        "--growth-mib",
        "64",
    ]);
    assert!(!looks.is_empty());
    // Everything that may wait does.
    assert!(
        looks.iter().all(|look| look["stored"].as_u64() >= Some(64)),
        "{looks:?}"
    );
}
