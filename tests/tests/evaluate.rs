//! The accuracy of a checkpoint at budgets that it was not trained at.
#![allow(clippy::unwrap_used)]

use anytime_tests::stack::Stack;
use anytime_tests::wait::within;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
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

        // For people: a line per budget. The same seed and the same weights measure the same.
        let table = stack
            .anytime(&[&base[..], &settings].concat(), 60)
            .await
            .expect(0)
            .stdout;
        for (index, budget) in [3, 10, 20].iter().enumerate() {
            let interval = format!("{:.3} ± {:.3}", accuracy[index], ci95[index]);
            let has_line = table
                .lines()
                .any(|line| line.trim().starts_with(&budget.to_string()) && line.contains(&interval));
            assert!(has_line, "{budget}: {interval}\n{table}");
        }
    })
    .await;
}
