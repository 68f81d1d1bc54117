//! Which of a commit's files are fetched.

use glob::{MatchOptions, Pattern};

use crate::listing::HubFile;

const SINGLE: &str = "model.safetensors";

const INDEX: &str = "model.safetensors.index.json";

/// Endings of weights in formats that are not fetched: reading some of them runs code.
const OTHER_WEIGHTS: [&str; 9] = [
    ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".gguf", ".onnx",
];

/// Endings of files that hold rows, before an ending of compression.
const ROWS: [&str; 4] = [".json", ".jsonl", ".ndjson", ".parquet"];

/// Names that a refusal lists.
const MOST_LISTED: usize = 5;

/// The files of a model: `beside` are the names of those beside its weights, and its weights are safetensors. Without
/// `weights`, because they are drawn anew, these are left out.
///
/// # Errors
/// What the repository lacks, as a clause about it.
pub fn model_files(files: &[HubFile], beside: &[&str], weights: bool) -> Result<Vec<HubFile>, String> {
    let has = |name: &str| files.iter().any(|file| file.path == name);
    if !has("config.json") {
        return Err("has no config.json, and so no model of transformers".to_owned());
    }
    let is_weights: Box<dyn Fn(&str) -> bool> = match () {
        () if !weights => Box::new(|_| false),
        () if has(SINGLE) => Box::new(|path| path == SINGLE),
        () if has(INDEX) => Box::new(|path| path == INDEX || is_shard(path)),
        () => return Err(without_safetensors(files)),
    };
    let is_wanted = |file: &&HubFile| beside.contains(&file.path.as_str()) || is_weights(&file.path);
    Ok(files.iter().filter(is_wanted).cloned().collect())
}

/// `model-00001-of-00002.safetensors`.
fn is_shard(path: &str) -> bool {
    let numbers = path
        .strip_prefix("model-")
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .and_then(|rest| rest.split_once("-of-"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(number, all)| is_number(number) && is_number(all))
}

fn without_safetensors(files: &[HubFile]) -> String {
    let others: Vec<&str> = files
        .iter()
        .map(|file| file.path.as_str())
        .filter(|path| OTHER_WEIGHTS.iter().any(|ending| path.ends_with(ending)) || path.ends_with(".safetensors"))
        .collect();
    let has = match others.as_slice() {
        [] => String::new(),
        _ => format!("; it has {}, which is not fetched", listed(&others)),
    };
    format!("has neither {SINGLE} nor {INDEX}{has}")
}

/// The files that a path or a pattern (`*`, `?`, `[…]` within a name, `**` over directories) names. A pattern stands only
/// for files whose names say that they hold rows.
///
/// # Errors
/// That there are none, as a clause about the repository.
pub fn pattern_files(files: &[HubFile], path: &str) -> Result<Vec<HubFile>, String> {
    if let Some(file) = files.iter().find(|file| file.path == path) {
        return Ok(vec![file.clone()]);
    }
    let directory = format!("{}/", path.trim_end_matches('/'));
    let inside: Vec<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix(&directory))
        .collect();
    if !inside.is_empty() {
        return Err(format!(
            "has a directory {path} with {}; name the files in it that are meant, such as {directory}*.parquet",
            listed(&inside)
        ));
    }
    if !path.contains(['*', '?', '[']) {
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        return Err(format!("has no file {path}; it has {}", listed(&names)));
    }
    let pattern = Pattern::new(path).map_err(|error| format!("cannot be searched for {path}: {error}"))?;
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let matching: Vec<HubFile> = files
        .iter()
        .filter(|file| pattern.matches_with(&file.path, options) && holds_rows(&file.path))
        .cloned()
        .collect();
    if matching.is_empty() {
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        return Err(format!(
            "has no file of rows (JSON, JSONL, Parquet) that {path} matches; it has {}",
            listed(&names)
        ));
    }
    Ok(matching)
}

fn holds_rows(path: &str) -> bool {
    let name = path.to_ascii_lowercase();
    let unpacked = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(&name);
    ROWS.iter().any(|ending| unpacked.ends_with(ending))
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "no files".to_owned();
    }
    let shown = names[..names.len().min(MOST_LISTED)].join(", ");
    match names.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<HubFile> {
        let file = |path: &&str| HubFile::try_new(path, 1, &"0".repeat(40)).expect("a file");
        paths.iter().map(file).collect()
    }

    fn paths(files: &[HubFile]) -> Vec<&str> {
        files.iter().map(|file| file.path.as_str()).collect()
    }

    const BESIDE: [&str; 3] = ["config.json", "tokenizer.json", "LICENSE"];

    #[test]
    fn a_model_is_its_safetensors_and_the_files_beside_them() {
        let one = files(&[
            "config.json",
            "tokenizer.json",
            "model.safetensors",
            "model.fp16.safetensors",
            "pytorch_model.bin",
            "modeling_evil.py",
            "onnx/model.onnx",
            "LICENSE",
        ]);
        let chosen = model_files(&one, &BESIDE, true).expect("a model");
        assert_eq!(
            paths(&chosen),
            ["config.json", "tokenizer.json", "model.safetensors", "LICENSE"]
        );
        let chosen = model_files(&one, &BESIDE, false).expect("a model");
        assert_eq!(paths(&chosen), ["config.json", "tokenizer.json", "LICENSE"]);
        let sharded = files(&[
            "config.json",
            "consolidated.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model-x-of-y.safetensors",
            "model.safetensors.index.json",
        ]);
        let chosen = model_files(&sharded, &BESIDE, true).expect("a model");
        assert_eq!(chosen.len(), 4, "{chosen:?}");
        assert!(!paths(&chosen).contains(&"consolidated.safetensors"));
    }

    #[test]
    fn a_model_without_safetensors_is_refused_by_the_names_that_it_has() {
        let refused = model_files(
            &files(&["config.json", "pytorch_model.bin", "README.md"]),
            &BESIDE,
            true,
        );
        assert_eq!(
            refused.expect_err("no safetensors"),
            "has neither model.safetensors nor model.safetensors.index.json; it has pytorch_model.bin, which is not fetched"
        );
        let refused = model_files(&files(&["README.md"]), &BESIDE, true).expect_err("no model");
        assert!(refused.starts_with("has no config.json"), "{refused}");
    }

    #[test]
    fn a_pattern_keeps_to_names_and_to_files_of_rows() {
        let data = files(&[
            "README.md",
            "main/test-00000-of-00001.parquet",
            "main/train-00000-of-00002.parquet",
            "main/train-00001-of-00002.parquet",
            "main/train.py",
            "socratic/train-00000-of-00001.parquet",
            ".hidden.json",
            "rows.jsonl.gz",
            "odd[1].json",
        ]);
        let of = |path: &str| pattern_files(&data, path).map(|files| files.len());
        assert_eq!(of("main/train-*"), Ok(2));
        assert_eq!(of("*/train-*.parquet"), Ok(3));
        assert_eq!(of("**/train*"), Ok(3));
        assert_eq!(of("*"), Ok(2), "no .hidden.json, and nothing of a directory");
        assert_eq!(of("odd[1].json"), Ok(1), "a name before a pattern");
        assert_eq!(of("main/train.py"), Ok(1), "who names a file means it");
        for (path, says) in [
            ("main", "has a directory main with test-00000-of-00001.parquet"),
            ("main/", "has a directory main/ with"),
            ("train.json", "has no file train.json; it has README.md,"),
            ("x*", "has no file of rows (JSON, JSONL, Parquet) that x* matches"),
            ("main/***", "cannot be searched for main/***"),
        ] {
            let refused = pattern_files(&data, path).expect_err(path);
            assert!(refused.starts_with(says), "{path}: {refused}");
        }
    }
}
