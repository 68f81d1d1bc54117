//! Cards are read back: as YAML, as tables, as JSON.

use anytime_proto::settings::{parse_job_file, with_defaults};
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn job(more: &str) -> v1::Job {
    let text = format!(
        "name = \"paper\"\nkind = \"train\"\n[model]\npath = \"hf://Qwen/Qwen3-0.6B@{COMMIT}\"\n\
         [data]\npath = [\"/home/someone/secret/train.jsonl\", \"hf://datasets/a/b@{COMMIT}/x.parquet\"]\n\
         [training]\nsteps = 40\n[evaluation]\npath = \"/home/someone/secret/test.jsonl\"\n[rollout]\nbudgets = [100, 200]\n{more}"
    );
    v1::Job {
        id: "paper-2".to_owned(),
        spec: Some(with_defaults(&parse_job_file(&text).expect("a job file"))),
        evaluations: vec![
            evaluation(0, 0.25, true),
            evaluation(20, 0.5, true),
            evaluation(40, 0.75, false),
        ],
        ..v1::Job::default()
    }
}

fn evaluation(step: u64, accuracy: f64, has_interval: bool) -> v1::EvaluationResult {
    let ends = |shift: f64| {
        if has_interval {
            vec![accuracy + shift, accuracy + 0.125 + shift]
        } else {
            Vec::new()
        }
    };
    v1::EvaluationResult {
        step,
        budgets: vec![100, 200],
        accuracy: vec![accuracy, accuracy + 0.125],
        accuracy_low: ends(-0.0625),
        accuracy_high: ends(0.0625),
        anytime: accuracy + 0.0625,
        anytime_low: accuracy,
        anytime_high: accuracy + 0.125,
        problems: 30,
        samples: 4,
        ..v1::EvaluationResult::default()
    }
}

fn card(job: &v1::Job, step: u64, base: Option<&str>) -> String {
    let card = Card {
        job,
        step,
        base,
        base_name: "BASE_MODEL_README.md",
    };
    card.text().expect("a card")
}

fn front(card: &str) -> Yaml {
    let (front, _) = card
        .strip_prefix("---\n")
        .expect("a front")
        .split_once("\n---\n")
        .expect("its end");
    YamlLoader::load_from_str(front).expect("YAML").remove(0)
}

/// The cells of the row that begins like this.
fn row<'a>(card: &'a str, first: &str) -> Vec<&'a str> {
    let mut rows = card.lines().filter(|line| line.starts_with(&format!("| {first} |")));
    let row = rows.next().unwrap_or_else(|| panic!("no row {first:?} in {card}"));
    row.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_front_is_yaml_and_passes_on_what_the_base_says() {
    let readme =
        "---\nlicense: apache-2.0\nlicense_link: https://huggingface.co/Qwen/Qwen3-0.6B/blob/main/LICENSE\n---\n# Qwen";
    let text = card(&job(""), 40, Some(readme));
    let front = front(&text);
    assert_eq!(front["base_model"].as_str(), Some("Qwen/Qwen3-0.6B"));
    assert_eq!(front["library_name"].as_str(), Some("transformers"));
    assert_eq!(front["pipeline_tag"].as_str(), Some("text-generation"));
    assert_eq!(front["license"].as_str(), Some("apache-2.0"));
    assert!(
        front["license_link"]
            .as_str()
            .is_some_and(|link| link.ends_with("/LICENSE"))
    );
    let tags: Vec<&str> = front["tags"]
        .as_vec()
        .expect("a list")
        .iter()
        .filter_map(Yaml::as_str)
        .collect();
    assert_eq!(tags, ["anytime", "reasoning", "budget-forcing", "brpo"]);
    assert!(text.contains("[BASE_MODEL_README.md](BASE_MODEL_README.md)"));
    // Nothing is said where the base says nothing.
    let without = card(&job(""), 40, None);
    assert!(super::tests::front(&without)["license"].is_badvalue(), "{without}");
    assert!(!without.contains("BASE_MODEL_README"));
}

#[test]
fn no_directory_of_the_machine_is_shown() {
    let text = card(&job(""), 40, None);
    assert!(!text.contains("secret") && !text.contains("/home"), "{text}");
    assert_eq!(
        row(&text, "training data")[1],
        format!("`train.jsonl`, `hf://datasets/a/b@{COMMIT}/x.parquet`")
    );
    assert_eq!(row(&text, "evaluation data")[1], "`test.jsonl`");
    assert_eq!(row(&text, "budgets (thinking tokens)")[1], "100, 200");
    assert_eq!(row(&text, "objective")[1], "`brpo`");
    assert_eq!(row(&text, "steps")[1], "40 of 40");
}

#[test]
fn the_table_has_the_figures_of_the_evaluations() {
    let text = card(&job(""), 40, None);
    assert_eq!(row(&text, "budget"), ["budget", "before training", "after step 40"]);
    assert_eq!(row(&text, "100"), ["100", "0.250 [0.188, 0.312]", "0.750"]);
    assert_eq!(row(&text, "200"), ["200", "0.375 [0.312, 0.438]", "0.875"]);
    assert_eq!(row(&text, "mean"), ["mean", "0.312 [0.250, 0.375]", "0.812"]);
    // A recovery checkpoint between two evaluations has the one before, and says so.
    let between = card(&job(""), 30, None);
    assert_eq!(row(&between, "budget")[2], "after step 20");
    assert!(between.contains("These weights are those after step 30"), "{between}");
    // One that was never evaluated claims nothing.
    let early = card(&job(""), 10, None);
    assert_eq!(row(&early, "budget"), ["budget", "before training"]);
    assert!(early.contains("The weights after training were not evaluated"));
    let mut never = job("");
    never.evaluations.clear();
    assert!(card(&never, 40, None).contains("has measured no accuracy"));
}

#[test]
fn the_strings_are_those_of_the_job() {
    let markers = "[markers]\nopen = \"<r>\"\nend = \"</r>\"\ncut = \"it's late\\n\"\nsummary = \"\\n\\n```\\n\"\n";
    let text = card(&job(markers), 40, None);
    let json = text
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("\n```\n").next())
        .expect("JSON");
    let strings: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(strings["start of thinking"], "<r>");
    assert_eq!(strings["end of thinking"], "</r>");
    assert_eq!(strings["summary"], "\n\n```\n");
    assert_eq!(strings["budget forcing"], "it's late\n</r>\n\n```\n");
    let command = text
        .lines()
        .find(|line| line.starts_with("vllm serve"))
        .expect("a command");
    let word = command.split_once("--reasoning-config ").expect("an option").1;
    let said = std::process::Command::new("sh")
        .args(["-c", &format!("printf %s {word}")])
        .output();
    let said = said.expect("a shell").stdout;
    let config: Value = serde_json::from_slice(&said).expect("one word, as the shell reads it");
    assert_eq!(config["reasoning_start_str"], "<r>");
    assert_eq!(config["reasoning_end_str"], strings["budget forcing"]);
    // A template that opens the thinking itself.
    let text = card(&job(""), 40, None);
    assert!(text.contains("\"start of thinking\": \"<think>\""), "{text}");
}

#[test]
fn what_a_model_is_based_on() {
    let with_model = |path: &str, more: &str, base: Option<&str>| {
        let mut job = job("");
        let spec = job.spec.as_mut().expect("a specification");
        let model = spec.model.get_or_insert_default();
        model.path = Some(path.to_owned());
        model.initialise = Some(more == "initialise");
        front(&card(&job, 40, base))["base_model"].as_str().map(str::to_owned)
    };
    let own = "---\ntags:\n- anytime\nbase_model: Qwen/Qwen3-0.6B\n---\n";
    let others = "---\nbase_model: a/b\n---\n";
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(with_model("/models/Qwen3-0.6B/", "", None), is("Qwen3-0.6B"));
    let cached = format!("/c/hub/models--Qwen--Qwen3-0.6B/snapshots/{COMMIT}");
    assert_eq!(with_model(&cached, "", None), is("Qwen/Qwen3-0.6B"));
    assert_eq!(with_model("runs/sft/final", "", Some(own)), is("Qwen/Qwen3-0.6B"));
    assert_eq!(with_model("models/b-tuned", "", Some(others)), is("b-tuned"));
    assert_eq!(with_model("models/b", "initialise", Some(others)), None);
}

#[test]
fn odd_names_break_neither_the_table_nor_the_front() {
    let mut job = job("");
    let spec = job.spec.as_mut().expect("a specification");
    spec.data.get_or_insert_default().path = vec!["d/a|b`c`\n---\n\"x.jsonl".to_owned()];
    spec.model.get_or_insert_default().path = Some("m/\"\n---\nlicense: mit".to_owned());
    let readme = "---\nlicense: \"x\"y\nlicense_name: a: b # c\n---\n";
    let text = card(&job, 40, Some(readme));
    let front = front(&text);
    assert_eq!(front["license"].as_str(), Some("x"));
    assert_eq!(front["license_name"].as_str(), Some("a: b"));
    assert_eq!(front["base_model"].as_str(), Some("\"\n---\nlicense: mit"));
    assert!(text.contains("``a\\|b`c`\\n---\\n\"x.jsonl``"), "{text}");
}

#[test]
fn a_fine_tuned_model_promises_no_budgets() {
    let mut job = job("");
    let spec = job.spec.as_mut().expect("a specification");
    spec.set_kind(v1::JobKind::Sft);
    spec.evaluation = None;
    job.evaluations.clear();
    let text = card(&job, 40, None);
    assert!(
        text.contains("fine-tuned from") && !text.contains("## Evaluation") && !text.contains("budget"),
        "{text}"
    );
}

#[test]
fn a_card_says_what_adapters_it_is_of() {
    let of = |more: &str| card(&job(&format!("[training.lora]\nrank = 8\n{more}")), 40, None);
    let adapters = of("");
    assert!(adapters.contains("\nlibrary_name: peft\n"), "{adapters}");
    assert!(
        adapters.contains("| adapters | LoRA of rank 8, alpha 32, on q_proj, k_proj"),
        "{adapters}"
    );
    let merged = of("merge = true\n");
    assert!(merged.contains("\nlibrary_name: transformers\n"), "{merged}");
    assert!(merged.contains("; they are in these weights |"), "{merged}");
}
