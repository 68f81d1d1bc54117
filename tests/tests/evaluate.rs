//! The accuracy of a checkpoint at budgets that it was not trained at.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use anytime_tests::stack::Stack;
use anytime_tests::wait::within;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

/// The rows of a JSONL file as a Parquet file.
fn write_parquet(rows: &Path, target: &Path) {
    let columns = ["id", "problem", "answer"];
    let fields = columns.map(|column| format!("REQUIRED BYTE_ARRAY {column} (UTF8);"));
    let schema = parse_message_type(&format!("message schema {{ {} }}", fields.concat())).unwrap();
    let file = std::fs::File::create(target).unwrap();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::default()).unwrap();
    let text = std::fs::read_to_string(rows).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut group = writer.next_row_group().unwrap();
    for name in columns {
        let values: Vec<ByteArray> = rows.iter().map(|row| row[name].as_str().unwrap().into()).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, None, None)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

/// The generations can be read from the runs directory and from the learner, and they agree with the accuracies.
async fn assert_generations_are_shown(stack: &Stack, job_id: &str, measured: &Value) {
    let runs = stack.workplace.path("runs").display().to_string();
    let job_directory = stack.workplace.path("runs").join(job_id);
    let file = job_directory.join("generations/step-00000000.jsonl");
    assert_eq!(measured["generations"], file.display().to_string());
    let by_run = ["show", &runs, "--job", job_id, "--json"];
    let list = stack.anytime(&by_run, 20).await.expect(0).json();
    let by_id = ["show", job_id, "--json"];
    assert_eq!(stack.anytime(&by_id, 20).await.expect(0).json(), list);
    let problems = list["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 24);
    let accuracy = numbers(&measured["accuracy"]);
    for (index, accuracy) in accuracy.iter().enumerate() {
        let of_problems = problems.iter().map(|problem| numbers(&problem["accuracy"])[index]);
        let mean = of_problems.sum::<f64>() / problems.len() as f64;
        assert!((mean - accuracy).abs() < 1e-9, "{mean} {accuracy}");
    }

    let problem = problems[5]["id"].as_str().unwrap();
    let line = [&by_run[..], &["--problem", problem]].concat();
    let line = stack.anytime(&line, 20).await.expect(0).json();
    assert_eq!(
        stack
            .anytime(&["show", job_id, "--json", "--problem", "5"], 20)
            .await
            .expect(0)
            .json(),
        line
    );
    let traces = line["traces"].as_array().unwrap();
    assert_eq!(traces.len(), 3);
    for trace in traces {
        let nodes = trace["nodes"].as_array().unwrap();
        let budgets: Vec<f64> = nodes.iter().flat_map(|node| numbers(&node["budgets"])).collect();
        assert_eq!(budgets, [3.0, 10.0, 20.0]);
        for summary in nodes.iter().flat_map(|node| node["summaries"].as_array().unwrap()) {
            // The grader saw the same answer: right is what equals the ground truth.
            let is_right = summary["extracted"] == line["ground_truths"][0] && summary["formatted"] == true;
            assert_eq!(summary["score"] == 1.0, is_right, "{summary}");
        }
    }
    let page = stack
        .anytime(&["show", job_id, "--problem", problem], 20)
        .await
        .expect(0)
        .stdout;
    for part in ["ground truth", "trace 0", "▎3"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let unknown = stack
        .anytime(&["show", job_id, "--problem", "nobody"], 20)
        .await
        .expect(64);
    assert!(unknown.stderr.contains("nobody"), "{}", unknown.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_is_measured_at_other_budgets() {
    within(150, async {
        let mut stack = Stack::start(2).await;
        let workplace = &stack.workplace;
        let job = stack.submit("warm", workplace.sft(120)).await;
        let warm = stack.wait_for_success(&job.id, 90).await;
        let checkpoint = warm.checkpoint.as_str();
        let problems = stack.workplace.path("data/test.jsonl").display().to_string();
        let settings = [
            ["--name", "other-budgets"],
            ["--budgets", "3,10,20"],
            ["--samples", "3"],
            ["--summaries", "2"],
            ["--max-summary-tokens", "4"],
            ["--temperature", "0.8"],
            ["--instruction", ""],
            ["--chat-template", "false"],
            ["--markers-cut", "..."],
            ["--markers-summary", "\n\n**Final Answer**\n\\boxed{"],
        ]
        .concat();
        let base = ["evaluate", "--model", checkpoint, "--problems", &problems];
        let ended = stack
            .anytime(&[&base[..], &settings, &["--json"]].concat(), 60)
            .await
            .expect(0);

        let report = ended.json();
        assert_eq!(report["kind"], "evaluate");
        assert_eq!(report["state"], "succeeded");
        assert_eq!(report["before"], Value::Null);
        let measured = &report["after"];
        assert_eq!(numbers(&measured["budgets"]), [3.0, 10.0, 20.0]);
        let accuracy = numbers(&measured["accuracy"]);
        let ci95 = numbers(&measured["ci95"]);
        assert_eq!((accuracy.len(), ci95.len()), (3, 3));
        assert!(accuracy.iter().all(|value| (0.0..=1.0).contains(value)), "{accuracy:?}");
        assert!(
            accuracy.iter().sum::<f64>() > 0.0,
            "a warm model guesses some digits: {accuracy:?}"
        );
        assert!(ci95.iter().all(|value| (0.0..0.5).contains(value)), "{ci95:?}");
        assert!(ci95.iter().any(|value| *value > 0.0), "{ci95:?}");
        let anytime = accuracy.iter().sum::<f64>() / 3.0;
        assert!((measured["anytime"].as_f64().unwrap() - anytime).abs() < 1e-9);
        assert_eq!(measured["final"].as_f64().unwrap(), accuracy[2]);
        let thinking = measured["mean_thinking_tokens"].as_f64().unwrap();
        assert!(thinking > 0.0 && thinking <= 20.0, "{thinking}");
        let found = stack.job(report["job_id"].as_str().unwrap()).await.unwrap();
        assert_eq!((found.evaluations[0].problems, found.evaluations[0].samples), (24, 3));

        let (low, high) = (numbers(&measured["accuracy_low"]), numbers(&measured["accuracy_high"]));
        assert!((0..3).all(|index| low[index] <= accuracy[index] && accuracy[index] <= high[index]));
        assert!((0..3).any(|index| low[index] < high[index]), "{low:?} {high:?}");
        let job_id = report["job_id"].as_str().unwrap();
        assert_generations_are_shown(&stack, job_id, measured).await;

        // The output for people has a line per budget. The same seed and the same weights measure the same, and the
        // same problems in a Parquet file are the same problems.
        let parquet = stack.workplace.path("data/test.parquet");
        write_parquet(&stack.workplace.path("data/test.jsonl"), &parquet);
        let parquet = parquet.display().to_string();
        let base = ["evaluate", "--model", checkpoint, "--problems", &parquet];
        let table = stack
            .anytime(&[&base[..], &settings].concat(), 60)
            .await
            .expect(0)
            .stdout;
        for (index, budget) in [3, 10, 20].iter().enumerate() {
            let interval = format!("{:.3} [{:.3}, {:.3}]", accuracy[index], low[index], high[index]);
            let has_line = table
                .lines()
                .any(|line| line.trim().starts_with(&budget.to_string()) && line.contains(&interval));
            assert!(has_line, "{budget}: {interval}\n{table}");
        }
    })
    .await;
}
