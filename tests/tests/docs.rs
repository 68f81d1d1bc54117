//! The documents name no file that is not there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anytime_tests::documents::documents;

/// A name with one of these endings is a source of this repository, even if the document leaves out where it lies.
/// Other endings, such as .json, are also those of files that a run writes.
const SOURCE_ENDINGS: [&str; 4] = [".rs", ".proto", ".cpp", ".h"];

/// What builds and runs leave behind.
const NO_SOURCES: [&str; 4] = [".git", ".deps", "target", "runs"];

/// What commands of the repository write beside its sources.
const WRITTEN: [&str; 1] = ["bench/results-gpu.json"];

/// What lies at the root of a checkout from which the containers were started: nothing that a document must name.
const OF_ITS_USER: [&str; 2] = ["secrets", "work"];

/// The files and folders of a tree, as paths from its root.
struct Tree {
    paths: BTreeSet<String>,
}

impl Tree {
    fn read(root: &Path) -> Self {
        let mut paths = BTreeSet::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let is_root = folder.as_os_str().is_empty();
            for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if NO_SOURCES.contains(&name.as_str()) || is_root && OF_ITS_USER.contains(&name.as_str()) {
                    continue;
                }
                let path = folder.join(&name);
                paths.insert(path.to_str().unwrap().to_owned());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                }
            }
        }
        Self { paths }
    }

    /// Whether a word means a path of this repository: it begins with a folder of the root, or is called like a source.
    fn is_named_by(&self, word: &str) -> bool {
        let is_path = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
        let begins_at_root = word
            .split_once('/')
            .is_some_and(|(first, _)| self.paths.contains(first));
        let is_source = SOURCE_ENDINGS
            .iter()
            .any(|ending| word.strip_suffix(ending).is_some_and(|name| !name.is_empty()));
        is_path && !word.starts_with('/') && (begins_at_root || is_source)
    }

    /// Whether there is such a path, or one that ends in it: documents shorten `actor/src/engine/cache.rs` to
    /// `engine/cache.rs` where the rest is clear.
    fn has(&self, word: &str) -> bool {
        let path = word.trim_end_matches('/');
        // A name that the reader fills in has a part in capitals: `objectives/src/NAME.rs`.
        let name = path.rsplit('/').next().unwrap_or_default();
        let mut parts = name.split(['.', '-', '_']);
        let is_placeholder = parts.any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
        if is_placeholder && !self.paths.contains(path) {
            return path.rsplit_once('/').is_none_or(|(folder, _)| self.has(folder));
        }
        let tail = format!("/{path}");
        self.paths.contains(path) || self.paths.iter().any(|known| known.ends_with(&tail))
    }

    /// The paths that a document names and the tree has not.
    fn missing_in(&self, document: &str, text: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for word in words(text) {
            if self.is_named_by(word) && !self.has(word) && !WRITTEN.contains(&word) {
                missing.push(format!("{document}: `{word}`"));
            }
        }
        let folder = Path::new(document).parent().unwrap_or(Path::new(""));
        for link in links(text) {
            let target = normal(&folder.join(link));
            if !target.is_empty() && !self.paths.contains(&target) {
                missing.push(format!("{document}: ({link})"));
            }
        }
        missing
    }
}

/// The words in backticks and in fenced blocks.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if is_fenced {
            words.extend(line.split_whitespace());
        } else {
            words.extend(line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace));
        }
    }
    words
        .into_iter()
        .map(|word| {
            // `loss.rs:12` and `tree.rs::rows` name a place in a file.
            let word = word.split(':').next().unwrap_or_default();
            word.trim_matches(|c: char| "()[]{},;'\"".contains(c))
                .trim_end_matches('.')
        })
        .collect()
}

/// The targets of links into the repository, without their anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    targets
        .filter(|target| !target.contains(':'))
        .map(|target| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty())
        .collect()
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str().unwrap()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts.join("/")
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tree = Tree::read(root);
    let missing = documents()
        .into_iter()
        .flat_map(|(document, text)| tree.missing_in(&document, &text));
    let missing: Vec<String> = missing.collect();
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

#[test]
fn what_a_document_names_wrongly_is_found() {
    let paths = [
        "docs",
        "docs/cluster.md",
        "actor",
        "actor/src",
        "actor/src/engine",
        "actor/src/engine/cache.rs",
    ];
    let tree = Tree {
        paths: paths.map(str::to_owned).into(),
    };
    let right = "`actor/src/engine/` and `engine/cache.rs:12`, `runs/demo/report.json`, `actor/src/YYYY-NAME.rs`, [a cluster]\
                 (cluster.md#more), [elsewhere](https://example.org/actor/x.rs)\n```\nanytime (actor/) README\n```\n";
    assert_eq!(tree.missing_in("docs/x.md", right), Vec::<String>::new());
    let wrong = "`actor/src/gone.rs`, `actor/none`, `cash.rs`, [text](../README.md)\n```\nrun actor/start.sh\n```";
    let found = [
        "`actor/src/gone.rs`",
        "`actor/none`",
        "`cash.rs`",
        "`actor/start.sh`",
        "(../README.md)",
    ];
    assert_eq!(
        tree.missing_in("docs/x.md", wrong),
        found.map(|place| format!("docs/x.md: {place}"))
    );
}
