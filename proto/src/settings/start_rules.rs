//! What a job file may say about where the job starts, and about what it is found by.

use std::collections::BTreeMap;

use super::error::InvalidSetting;
use super::hub::check_model;
use super::job::Job;
use super::row::Checked;

/// The longest id of a job: a name of 64 bytes, and a number behind it.
const LONGEST_ID: usize = 84;

/// The most labels of a job.
const MOST_LABELS: usize = 32;

/// The longest name of a label, in bytes.
const LONGEST_LABEL: usize = 64;

/// The longest text of a label, in bytes.
const LONGEST_LABEL_TEXT: usize = 256;

/// The model, unless the job starts from another job.
pub(super) fn model(job: &Job, path: &str) -> Checked<()> {
    let other = job.get("model.from_job").map(|_| job.text("model.from_job"));
    match (job.get(path), other) {
        (Some(_), Some(other)) => {
            let reason =
                format!("it must be left out beside model.from_job, which is {other:?}: a job starts from one of them");
            Err(InvalidSetting::new(path, job.text(path), reason))
        }
        (None, Some(_)) => Ok(()),
        (None, None) => Err(InvalidSetting::missing(
            path,
            "it must be a Hugging Face checkpoint directory (or model.from_job must name a job to start from)",
        )),
        (Some(_), None) => {
            let directory = job.text(path);
            if directory.is_empty() {
                return Err(InvalidSetting::new(
                    path,
                    directory,
                    "it must be a Hugging Face checkpoint directory",
                ));
            }
            check_model(&directory).map_err(|reason| InvalidSetting::new(path, directory, reason))
        }
    }
}

/// The id of a job.
pub(super) fn from_job(job: &Job, path: &str) -> Checked<()> {
    let id = job.text(path);
    if job.get(path).is_none() || is_job_id(&id) {
        return Ok(());
    }
    let reason = "it must be the id of a job, as `anytime list` shows it";
    Err(InvalidSetting::new(path, id, reason))
}

/// A step counts only with the job that it is one of.
pub(super) fn from_step(job: &Job, path: &str) -> Checked<()> {
    if job.get(path).is_none() || job.get("model.from_job").is_some() {
        return Ok(());
    }
    let reason = "it must be left out unless model.from_job is written";
    Err(InvalidSetting::new(path, job.whole(path), reason))
}

/// Weights are drawn anew, or those of another job are taken.
pub(super) fn initialise(job: &Job, path: &str) -> Checked<()> {
    let reason = match (job.get("model.from_job"), job.get("training.lora.rank")) {
        _ if !job.flag(path) => return Ok(()),
        (Some(_), _) => "it must be false with model.from_job, whose weights the job starts from",
        (None, Some(_)) => {
            "it must be false with training.lora, whose adapters are nothing without a base that is kept"
        }
        (None, None) => return Ok(()),
    };
    Err(InvalidSetting::new(path, true, reason))
}

/// Labels that a job may have.
pub(super) fn labels(job: &Job, path: &str) -> Checked<()> {
    check_labels(path, &job.texts_by_name(path))
}

/// Checks labels, of a job or of whoever asks for jobs, by their number and lengths.
///
/// # Errors
/// `field`, or the label in it that cannot be.
pub fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), InvalidSetting> {
    if labels.len() > MOST_LABELS {
        let reason = format!("there must be at most {MOST_LABELS} of them");
        return Err(InvalidSetting::new(field, labels.len(), reason));
    }
    for (name, text) in labels {
        if !is_label(name) {
            let reason = format!(
                "its names must be 1 to {LONGEST_LABEL} letters, digits, `-`, `_`, `.` and `/`, the first a letter or digit"
            );
            return Err(InvalidSetting::new(field, name.as_str(), reason));
        }
        if text.len() > LONGEST_LABEL_TEXT || text.chars().any(char::is_control) {
            let reason = format!("it must be a text of one line with at most {LONGEST_LABEL_TEXT} bytes");
            return Err(InvalidSetting::new(&format!("{field}.{name}"), text.as_str(), reason));
        }
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    (1..=LONGEST_LABEL).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_plain)
}

/// Whether a text can be the id of a job, which is the name of a directory, too.
pub fn is_job_id(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=LONGEST_ID).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::super::{JobFileError, parse_job_file};

    fn refused(model: &str, more: &str) -> Option<String> {
        let job =
            format!("name = \"job\"\nkind = \"evaluate\"\n{more}[model]\n{model}[evaluation]\npath = \"e.jsonl\"\n");
        match parse_job_file(&job) {
            Ok(_) => None,
            Err(JobFileError::Setting(error)) => Some(error.field),
            Err(JobFileError::Syntax(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_job_starts_from_a_model_or_from_a_job() {
        let of = |model: &str| refused(model, "").unwrap_or_default();
        assert_eq!(of("path = \"m\"\n"), "");
        assert_eq!(of("from_job = \"other-2\"\n"), "");
        assert_eq!(of("from_job = \"other\"\nfrom_step = 20\n"), "");
        assert_eq!(of(""), "model.path");
        assert_eq!(of("path = \"\"\n"), "model.path");
        assert_eq!(of("path = \"m\"\nfrom_job = \"other\"\n"), "model.path");
        assert_eq!(of("path = \"m\"\nfrom_step = 20\n"), "model.from_step");
        assert_eq!(of("from_job = \"other\"\ninitialise = true\n"), "model.initialise");
        for id in ["", "..", "../other", "/tmp", ".hidden", "a b", &"a".repeat(85)] {
            assert_eq!(of(&format!("from_job = {id:?}\n")), "model.from_job", "{id}");
        }
    }

    #[test]
    fn labels_are_bounded_in_number_and_length() {
        let of = |labels: &str| refused("path = \"m\"\n", &format!("labels = {{ {labels} }}\n")).unwrap_or_default();
        assert_eq!(of("team = \"math\", \"cost/center\" = \"\""), "");
        assert_eq!(of("\"a b\" = \"\""), "labels");
        assert_eq!(of(&format!("{} = \"\"", "a".repeat(65))), "labels");
        assert_eq!(of(&format!("a = {:?}", "x".repeat(257))), "labels.a");
        assert_eq!(of("a = \"two\\nlines\""), "labels.a");
        let many = |count: usize| {
            (0..count)
                .map(|number| format!("l{number} = \"\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(of(&many(32)), "");
        assert_eq!(of(&many(33)), "labels");
    }
}
