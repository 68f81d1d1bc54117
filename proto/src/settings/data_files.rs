//! What `data.path` and `evaluation.path` may say, as far as it can be seen without looking at the disk; and what is said
//! where nothing is there. Client and learner look at different disks and say the same.

use super::error::InvalidSetting;
use super::hub::check_data;
use super::job::Job;

/// Places that are no files, by what they begin with.
const SCHEMES: [&str; 8] = [
    "https://", "http://", "s3://", "gs://", "gcs://", "az://", "abfs://", "hdfs://",
];

/// Endings of names of files that hold rows.
const ENDINGS: [&str; 6] = ["json", "jsonl", "ndjson", "parquet", "gz", "zst"];

/// The check of a setting that names files.
pub(super) fn data_files(job: &Job, path: &str) -> Result<(), InvalidSetting> {
    for name in job.texts(path) {
        if name.trim().is_empty() {
            return Err(InvalidSetting::new(
                path,
                name,
                "it must be a JSON, JSONL or Parquet file",
            ));
        }
        if name.contains('\0') {
            return Err(InvalidSetting::new(
                path,
                name,
                "it must be a name that a file can have",
            ));
        }
        if let Some(scheme) = SCHEMES.iter().find(|scheme| name.starts_with(*scheme)) {
            let reason = format!(
                "files are read from the learner's disk or from the Hugging Face hub (hf://datasets/…), not from {scheme}; \
                 fetch it first and name the file"
            );
            return Err(InvalidSetting::new(path, name, reason));
        }
        check_data(&name).map_err(|reason| InvalidSetting::new(path, name.as_str(), reason))?;
    }
    Ok(())
}

/// Whether a name may stand for several files: `*`, `?` and `[…]`.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// The clause of a refusal where a name of the setting leads nowhere.
pub fn reason_that_nothing_is_there(name: &str) -> String {
    let is_identifier = name.split('/').count() == 2
        && !name.starts_with(['/', '.', '~'])
        && !ENDINGS
            .iter()
            .any(|ending| name.to_ascii_lowercase().ends_with(&format!(".{ending}")));
    if is_identifier {
        return format!(
            "it must be a file, a directory or a pattern, and there is no such file; files of a data set of the Hugging \
             Face hub are named `hf://datasets/{name}/PATH`"
        );
    }
    if name.starts_with('~') {
        return "it must be a file that exists; `~` stands for nothing here, write the directory out".to_owned();
    }
    "it must be a file that exists".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_hub_id_is_told_apart_from_a_file() {
        for id in ["openai/gsm8k", "BytedTsinghua-SIA/DAPO-Math-17k", "math-ai/aime24"] {
            assert!(reason_that_nothing_is_there(id).contains("hf://datasets/"), "{id}");
        }
        for file in [
            "data/train.jsonl",
            "data/train.JSON",
            "/data/train",
            "./data",
            "train",
            "a/b/c",
            "data/x.jsonl.gz",
        ] {
            assert!(!reason_that_nothing_is_there(file).contains("hf://datasets/"), "{file}");
        }
        assert!(reason_that_nothing_is_there("~/data.jsonl").contains('~'));
    }
}
