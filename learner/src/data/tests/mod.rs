//! Every form of a data set, and what is wrong with one by field, file and row.

mod damaged;
mod forms;
mod layouts;
mod parquet_files;
mod refusals;
mod repeats;

use std::path::Path;

use anytime_proto::settings::InvalidSetting;

use super::fields::Fields;
use super::problem::ProblemRow;
use super::read::{CompletionRow, DataFiles, ProblemSet, read_completions, read_problems};

/// The files of a setting in a directory of their own.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, content).expect("written");
        self
    }

    fn read(&self, names: &[&str], fields: Fields<'_>) -> Result<ProblemSet, InvalidSetting> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        read_problems(&self.source(&names, fields))
    }

    fn completions(&self, name: &str, fields: Fields<'_>) -> Result<Vec<CompletionRow>, InvalidSetting> {
        read_completions(&self.source(&[name.to_owned()], fields)).map(|completions| completions.rows)
    }

    fn source<'a>(&'a self, names: &'a [String], fields: Fields<'a>) -> DataFiles<'a> {
        DataFiles {
            setting: "data.path",
            names,
            root: self.path(),
            fields,
            until: None,
        }
    }

    /// What is said about these files, without the directory.
    fn fault(&self, names: &[&str]) -> String {
        let error = self.read(names, Fields::default()).expect_err("refused");
        assert_eq!(error.field, "data.path");
        let said = error.to_string();
        assert!(!said.contains('\n'), "one sentence: {said}");
        said.replace(&format!("{}/", self.path().display()), "")
    }
}

/// The problems of one file with this content.
fn problems_of(content: impl AsRef<[u8]>) -> Result<Vec<ProblemRow>, InvalidSetting> {
    let files = Files::new();
    files.write("data", content);
    files.read(&["data"], Fields::default()).map(|set| set.rows)
}

/// What is said about the first fault of a file.
fn fault_of(content: impl AsRef<[u8]>) -> String {
    problems_of(content).expect_err("refused").reason
}

/// Id, problem and answers of every row.
fn content(rows: &[ProblemRow]) -> Vec<(&str, &str, Vec<&str>)> {
    rows.iter()
        .map(|row| {
            let answers = row.answers.iter().map(String::as_str).collect();
            (row.id.as_str(), row.problem.as_str(), answers)
        })
        .collect()
}

/// One row with these fields, as JSON.
fn answers_of(row: &str) -> Vec<String> {
    problems_of(row).unwrap_or_else(|error| panic!("{row}: {error}"))[0]
        .answers
        .clone()
}
