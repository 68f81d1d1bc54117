//! The demo's data, vocabulary and job files.
#![allow(clippy::unwrap_used)]

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anytime::demo::{job_specs, prepare, write_jobs};
use anytime::overrides::OverrideArgs;
use anytime::tasks::{CUT_MARKER, END_MARKER, SUMMARY_MARKER, Sizes, TaskName, write_data, write_model};
use anytime_proto::settings::{JobSettings, parse_job_file};
use anytime_proto::v1;
use serde_json::Value;
use tokenizers::Tokenizer;

const SIZES: Sizes = Sizes {
    train: 400,
    test: 100,
    sft: 2000,
};

fn rows(path: &Path) -> Vec<HashMap<String, String>> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Computes the chain from left to right modulo 10, in another way than the generator.
fn evaluate(problem: &str) -> u32 {
    let characters: Vec<char> = problem.strip_suffix('=').unwrap().chars().collect();
    let mut value = characters[0].to_digit(10).unwrap() as i32;
    for pair in characters[1..].chunks(2) {
        let digit = pair[1].to_digit(10).unwrap() as i32;
        value = match pair[0] {
            '+' => value + digit,
            '-' => value - digit,
            other => panic!("{other}"),
        };
    }
    value.rem_euclid(10) as u32
}

#[test]
fn answers_are_right_and_the_test_set_is_held_out() {
    let directory = tempfile::tempdir().unwrap();
    write_data(TaskName::Chains, directory.path(), 7, &SIZES).unwrap();
    let train = rows(&directory.path().join("train.jsonl"));
    let test = rows(&directory.path().join("test.jsonl"));
    assert_eq!((train.len(), test.len()), (400, 100));
    for row in train.iter().chain(&test) {
        assert_eq!(row["answer"], evaluate(&row["problem"]).to_string(), "{row:?}");
        assert!((6..=12).contains(&row["problem"].len()), "3 to 6 digits: {row:?}");
    }
    let ids: HashSet<&str> = train.iter().chain(&test).map(|row| row["id"].as_str()).collect();
    assert_eq!(ids.len(), 500);
    let held_out: HashSet<&str> = test.iter().map(|row| row["problem"].as_str()).collect();
    assert_eq!(held_out.len(), 100);
    assert!(train.iter().all(|row| !held_out.contains(row["problem"].as_str())));
    for row in rows(&directory.path().join("sft.jsonl")) {
        let problem = row["prompt"].split_inclusive('=').next().unwrap();
        assert!(!held_out.contains(problem), "{row:?}");
    }
}

#[test]
fn the_warm_start_teaches_the_value_that_the_thinking_has_established() {
    let directory = tempfile::tempdir().unwrap();
    write_data(TaskName::Chains, directory.path(), 7, &SIZES).unwrap();
    let (mut whole, mut cut, mut before_any_step) = (0, 0, 0);
    for row in rows(&directory.path().join("sft.jsonl")) {
        let (problem, prefix) = row["prompt"].split_once('=').unwrap();
        let problem = format!("{problem}=");
        if prefix.is_empty() {
            let (thinking, summary) = row["completion"].split_once(END_MARKER).unwrap();
            check_steps(&problem, thinking);
            assert_eq!(summary, format!("{SUMMARY_MARKER}{}}}", evaluate(&problem)), "{row:?}");
            whole += 1;
            continue;
        }
        let inserted = format!("{CUT_MARKER}{END_MARKER}{SUMMARY_MARKER}");
        let thinking = prefix.strip_suffix(&inserted).unwrap();
        assert!(!thinking.is_empty());
        let steps = thinking.matches(';').count();
        before_any_step += usize::from(steps == 0);
        let established = format!("{}=", &problem[..1 + 2 * steps]);
        assert_eq!(row["completion"], format!("{}}}", evaluate(&established)), "{row:?}");
        cut += 1;
    }
    assert_eq!(whole + cut, 2000);
    // Seven in ten are whole; three standard deviations are 61.
    assert!((1339..=1461).contains(&whole), "{whole}");
    assert!(before_any_step > 50, "{before_any_step}");
}

/// Each step is the running value, alone or with the operation that leads to it.
fn check_steps(problem: &str, thinking: &str) {
    let steps: Vec<&str> = thinking.strip_suffix(';').unwrap().split(';').collect();
    assert_eq!(steps.len(), (problem.len() - 2) / 2);
    for (index, step) in steps.iter().enumerate() {
        let before = evaluate(&format!("{}=", &problem[..1 + 2 * index]));
        let after = evaluate(&format!("{}=", &problem[..3 + 2 * index]));
        let operation = &problem[1 + 2 * index..3 + 2 * index];
        assert!(
            *step == after.to_string() || *step == format!("{before}{operation}={after}"),
            "{problem} {thinking}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let read = |seed: u64| {
        let directory = tempfile::tempdir().unwrap();
        write_data(TaskName::Chains, directory.path(), seed, &SIZES).unwrap();
        ["train.jsonl", "test.jsonl", "sft.jsonl"]
            .map(|name| std::fs::read_to_string(directory.path().join(name)).unwrap())
    };
    assert_eq!(read(1), read(1));
    assert_ne!(read(1), read(2));
}

#[test]
fn the_tokenizer_has_one_token_per_character_and_marker() {
    let directory = tempfile::tempdir().unwrap();
    write_model(directory.path()).unwrap();
    let tokenizer = Tokenizer::from_file(directory.path().join("tokenizer.json")).unwrap();
    let encode = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    for marker in [CUT_MARKER, END_MARKER, SUMMARY_MARKER, "<eos>", "<pad>"] {
        assert_eq!(encode(marker).len(), 1, "{marker:?}");
    }
    let row = format!("4+7-2=4+7=1;9;{CUT_MARKER}{END_MARKER}{SUMMARY_MARKER}9}}");
    let ids = encode(&row);
    assert_eq!(ids.len(), 6 + 6 + 2 + 3 + 2);
    assert_eq!(
        tokenizer.decode(&ids, true).unwrap(),
        row,
        "markers are ordinary text to the decoder"
    );
    let parts = ["4+7-2=", "4+7=1;9;", CUT_MARKER, END_MARKER, SUMMARY_MARKER, "9}"];
    assert_eq!(
        parts.map(encode).concat(),
        ids,
        "tokenised by parts is tokenised as a whole"
    );
    let with_end: Vec<u32> = [ids, encode("<eos>")].concat();
    assert_eq!(tokenizer.decode(&with_end, true).unwrap(), row);
    assert!(
        tokenizer.encode("4/2", false).is_err(),
        "what is not in the vocabulary is refused"
    );

    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(directory.path().join("config.json")).unwrap()).unwrap();
    assert!(config["vocab_size"].as_u64().unwrap() as usize >= tokenizer.get_vocab_size(true));
    assert_eq!(config["eos_token_id"], encode("<eos>")[0]);
    assert_eq!(config["pad_token_id"], encode("<pad>")[0]);
}

#[test]
fn job_files_move_with_the_directory_and_the_seed() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("else \"where\"");
    let specs = prepare(TaskName::Chains, &out, Some(9), &OverrideArgs::default()).unwrap();
    let out = out.to_str().unwrap();
    let [sft, train] = [0, 1].map(|index| JobSettings::try_new(&specs[index]).unwrap());
    assert_eq!((sft.kind, train.kind), (v1::JobKind::Sft, v1::JobKind::Train));
    assert_eq!(
        Some(&train.model.path),
        sft.checkpoint.output.as_ref(),
        "the second starts from what the first wrote"
    );
    let final_checkpoint = train.checkpoint.output.clone().unwrap();
    for path in [
        &sft.model.path,
        &sft.data.path[0],
        &train.data.path[0],
        &train.evaluation.path[0],
        &final_checkpoint,
    ] {
        assert!(path.starts_with(out), "{path}");
    }
    for path in [&sft.data.path, &train.data.path, &train.evaluation.path]
        .into_iter()
        .flatten()
    {
        assert!(Path::new(path).is_file(), "{path}");
    }
    assert!(sft.model.initialise && !train.model.initialise);
    assert_eq!((sft.model.seed, train.rollout.seed), (9, 9));
    assert_eq!(
        (train.markers.end.as_str(), train.markers.cut.as_str()),
        (END_MARKER, CUT_MARKER)
    );
    assert_eq!(train.markers.summary, SUMMARY_MARKER);
    for spec in &specs {
        let path = Path::new(out).join("jobs").join(format!("{}.toml", spec.name()));
        let read = parse_job_file(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(
            JobSettings::try_new(&read).unwrap(),
            JobSettings::try_new(spec).unwrap()
        );
    }
}

#[test]
fn without_another_directory_the_job_files_are_the_repositorys() {
    let directory = tempfile::tempdir().unwrap();
    let specs = job_specs(TaskName::Chains, Path::new("runs/demo"), None).unwrap();
    let written = write_jobs(directory.path(), &specs).unwrap();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (path, name) in written.iter().zip(["sft.toml", "train.toml"]) {
        let ours =
            parse_job_file(&std::fs::read_to_string(repository.join("deploy/demo").join(name)).unwrap()).unwrap();
        let read = parse_job_file(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(
            JobSettings::try_new(&read).unwrap(),
            JobSettings::try_new(&ours).unwrap()
        );
    }
}

/// Of `3*7+4*8=`.
fn terms(problem: &str) -> Vec<(u32, u32)> {
    let digit = |text: &str| text.parse::<u32>().unwrap();
    let terms = problem.strip_suffix('=').unwrap().split('+');
    terms
        .map(|term| {
            let (times, addend) = term.split_once('*').unwrap();
            (digit(times), digit(addend))
        })
        .collect()
}

#[test]
fn products_are_taught_mostly_the_long_way_and_every_token_is_known() {
    let directory = tempfile::tempdir().unwrap();
    write_data(TaskName::Products, directory.path(), 3, &SIZES).unwrap();
    write_model(directory.path()).unwrap();
    let tokenizer = Tokenizer::from_file(directory.path().join("tokenizer.json")).unwrap();
    let test = rows(&directory.path().join("test.jsonl"));
    let held_out: HashSet<&str> = test.iter().map(|row| row["problem"].as_str()).collect();
    for row in rows(&directory.path().join("train.jsonl")).iter().chain(&test) {
        let terms = terms(&row["problem"]);
        assert!((2..=3).contains(&terms.len()), "{row:?}");
        let sum: u32 = terms.iter().map(|(times, addend)| times * addend).sum();
        assert_eq!(row["answer"], (sum % 10).to_string(), "{row:?}");
    }
    let (mut long, mut concise) = (0, 0);
    for row in rows(&directory.path().join("sft.jsonl")) {
        let (problem, prefix) = row["prompt"].split_once('=').unwrap();
        let problem = format!("{problem}=");
        assert!(!held_out.contains(problem.as_str()));
        assert!(
            tokenizer
                .encode(format!("{}{}", row["prompt"], row["completion"]), false)
                .is_ok()
        );
        if !prefix.is_empty() {
            continue;
        }
        let terms = terms(&problem);
        let (thinking, _) = row["completion"].split_once(END_MARKER).unwrap();
        let additions: u32 = terms.iter().map(|term| term.0).sum();
        if thinking.starts_with('=') {
            concise += 1;
            // `=1;` and `=23;` for every further term.
            assert_eq!(thinking.len(), 3 + 4 * (terms.len() - 1), "{row:?}");
        } else {
            long += 1;
            assert_eq!(thinking.len(), additions as usize + terms.len(), "{row:?}");
        }
        let answer: u32 = terms.iter().map(|(times, addend)| times * addend).sum::<u32>() % 10;
        assert!(thinking.ends_with(&format!("{answer};")), "{row:?}");
    }
    // 15 % of about 1,400; three standard deviations are 40.
    assert!((170..=250).contains(&concise), "{concise} of {}", long + concise);
}

#[test]
fn sums_are_right_and_held_out_whatever_their_order() {
    let directory = tempfile::tempdir().unwrap();
    write_data(TaskName::Sums, directory.path(), 3, &Sizes::of(TaskName::Sums)).unwrap();
    let numbers = |row: &HashMap<String, String>| {
        let text = row["problem"]
            .strip_prefix("What is ")
            .unwrap()
            .strip_suffix('?')
            .unwrap();
        let mut numbers: Vec<u32> = text.split(" + ").map(|number| number.parse().unwrap()).collect();
        assert_eq!(row["answer"], numbers.iter().sum::<u32>().to_string());
        assert!(numbers.iter().all(|number| (10..100).contains(number)));
        numbers.sort_unstable();
        numbers
    };
    let test: HashSet<Vec<u32>> = rows(&directory.path().join("test.jsonl")).iter().map(numbers).collect();
    let train: Vec<Vec<u32>> = rows(&directory.path().join("train.jsonl"))
        .iter()
        .map(numbers)
        .collect();
    assert_eq!((train.len(), test.len()), (2000, 128));
    assert!(train.iter().all(|sum| !test.contains(sum)));
    for count in [2, 3] {
        assert!(train.iter().filter(|sum| sum.len() == count).count() > 800);
    }
    assert!(!directory.path().join("sft.jsonl").exists());
    let too_many = Sizes {
        train: 10_000_000,
        ..Sizes::of(TaskName::Sums)
    };
    let refused = write_data(TaskName::Sums, &directory.path().join("more"), 3, &too_many).unwrap_err();
    assert!(refused.to_string().contains("--train 10000000"), "{refused}");
}
