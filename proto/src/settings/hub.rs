//! Names of the Hugging Face hub, spelled as the hub's own tools have them (`HfFileSystem`):
//!
//! ```text
//! hf://OWNER/NAME[@REVISION]                    a model
//! hf://datasets/OWNER/NAME[@REVISION]/PATH      files of a data set; PATH may be a pattern
//! ```
//!
//! A slash in a revision is written `%2F`, except in `refs/convert/NAME` and `refs/pr/NUMBER`; `~NAME` stands for
//! `refs/convert/NAME`.

use std::fmt;

const SCHEME: &str = "hf://";

const DATA_SETS: &str = "datasets";

/// The branch that is meant where none is named.
const MAIN: &str = "main";

/// The longest name of an owner, or of what is theirs.
const LONGEST_NAME: usize = 96;

/// The longest name of a revision.
const LONGEST_REVISION: usize = 255;

/// A model, or files of a data set, on the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubReference {
    /// Files of a data set, and not a model.
    pub is_data_set: bool,
    /// Whose it is.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// A branch, a tag or a commit; none where the job names none.
    pub revision: Option<String>,
    /// The file or the pattern; empty of a model.
    pub path: String,
}

impl HubReference {
    /// Reads a name. None where it is no name of the hub but of a file.
    ///
    /// # Errors
    /// What it must be, as a clause.
    pub fn read(text: &str) -> Option<Result<Self, String>> {
        text.strip_prefix(SCHEME).map(Self::read_rest)
    }

    /// Whether a text is a name of the hub, well written or not.
    pub fn is_one(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The revision, which is the branch `main` where none is named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// The same at a commit.
    pub fn at(&self, commit: &str) -> Self {
        Self {
            revision: Some(commit.to_owned()),
            ..self.clone()
        }
    }

    fn read_rest(rest: &str) -> Result<Self, String> {
        let (is_data_set, rest) = match rest.strip_prefix(DATA_SETS).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let form = if is_data_set {
            "it must be hf://datasets/OWNER/NAME/PATH or hf://datasets/OWNER/NAME@REVISION/PATH"
        } else {
            "it must be hf://OWNER/NAME or hf://OWNER/NAME@REVISION"
        };
        let (owner, rest) = rest.split_once('/').ok_or_else(|| form.to_owned())?;
        if !is_data_set && matches!(owner, "spaces" | "buckets" | "models" | DATA_SETS) {
            return Err(form.to_owned());
        }
        let end = rest.find(['/', '@']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        let (revision, path) = match rest.strip_prefix('@') {
            Some(rest) => {
                let (revision, path) = split_revision(rest);
                (Some(revision), path)
            }
            None => (None, rest.strip_prefix('/').unwrap_or_default()),
        };
        if let Some(wrong) = [owner, name].into_iter().find(|part| !is_name(part)) {
            return Err(format!("{form}, and {wrong:?} is no name that the hub gives"));
        }
        if let Some(wrong) = revision.as_ref().filter(|revision| !is_revision(revision)) {
            return Err(format!("{form}, and {wrong:?} is no revision"));
        }
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(format!("{form}, and its path must not hold `.` or `..`"));
        }
        Ok(Self {
            is_data_set,
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for HubReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(SCHEME)?;
        if self.is_data_set {
            write!(formatter, "{DATA_SETS}/")?;
        }
        write!(formatter, "{}/{}", self.owner, self.name)?;
        if let Some(revision) = &self.revision {
            write!(formatter, "@{}", revision.replace('/', "%2F"))?;
        }
        if !self.path.is_empty() {
            write!(formatter, "/{}", self.path)?;
        }
        Ok(())
    }
}

/// The check of `model.path`, as far as it is about the hub.
pub(super) fn check_model(text: &str) -> Result<(), String> {
    let Some(reference) = HubReference::read(text) else {
        return Ok(());
    };
    let reference = reference?;
    if reference.is_data_set {
        return Err("it must be a model, and a data set is named".to_owned());
    }
    if !reference.path.is_empty() {
        return Err("it must be a whole repository, hf://OWNER/NAME or hf://OWNER/NAME@REVISION".to_owned());
    }
    Ok(())
}

/// The check of a name of data files, as far as it is about the hub.
pub(super) fn check_data(text: &str) -> Result<(), String> {
    let Some(reference) = HubReference::read(text) else {
        return Ok(());
    };
    let reference = reference?;
    if !reference.is_data_set {
        return Err("it must be a data set, hf://datasets/OWNER/NAME/PATH".to_owned());
    }
    if reference.path.trim_matches('/').is_empty() {
        return Err(format!(
            "it must name files, such as {}/*.parquet",
            HubReference {
                path: String::new(),
                ..reference
            }
        ));
    }
    Ok(())
}

/// The revision before the path.
fn split_revision(text: &str) -> (String, &str) {
    let special = ["refs/convert/", "refs/pr/"]
        .iter()
        .find(|prefix| text.starts_with(*prefix));
    let from = special.map_or(0, |prefix| prefix.len());
    let end = text[from..].find('/').map_or(text.len(), |end| from + end);
    let (revision, path) = (&text[..end], text[end..].strip_prefix('/').unwrap_or_default());
    let revision = match revision.strip_prefix('~') {
        Some(name) => format!("refs/convert/{name}"),
        None => revision.replace("%2F", "/").replace("%2f", "/"),
    };
    (revision, path)
}

/// By the hub's rules. Two hyphens would make two names of one in the cache.
fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=LONGEST_NAME).contains(&text.len())
        && text.chars().all(is_plain)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

/// By git's rules, as far as they keep a name from leading elsewhere.
fn is_revision(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '+');
    text.len() <= LONGEST_REVISION
        && text.chars().all(is_plain)
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> HubReference {
        HubReference::read(text).expect("of the hub").expect(text)
    }

    #[test]
    fn names_are_read_as_the_hubs_tools_read_them() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (text, revision, path, written) in [
            ("hf://Qwen/Qwen3-0.6B", None, "", ""),
            ("hf://Qwen/Qwen3-0.6B@main", Some("main"), "", ""),
            (&format!("hf://a/b@{commit}"), Some(commit), "", ""),
            ("hf://a/b@feature%2Fx", Some("feature/x"), "", ""),
            ("hf://a/b@refs/pr/3", Some("refs/pr/3"), "", "hf://a/b@refs%2Fpr%2F3"),
            (
                "hf://datasets/openai/gsm8k/main/train-*.parquet",
                None,
                "main/train-*.parquet",
                "",
            ),
            ("hf://datasets/a/b@v1.0/x.jsonl", Some("v1.0"), "x.jsonl", ""),
            (
                "hf://datasets/a/b@~parquet/default/train/*.parquet",
                Some("refs/convert/parquet"),
                "default/train/*.parquet",
                "hf://datasets/a/b@refs%2Fconvert%2Fparquet/default/train/*.parquet",
            ),
            (
                "hf://datasets/a/b@refs/convert/parquet/x",
                Some("refs/convert/parquet"),
                "x",
                "hf://datasets/a/b@refs%2Fconvert%2Fparquet/x",
            ),
            // An @ in a path is none of a revision.
            ("hf://datasets/a/b/x@y.json", None, "x@y.json", ""),
        ] {
            let reference = read(text);
            assert_eq!(
                (reference.revision.as_deref(), reference.path.as_str()),
                (revision, path),
                "{text}"
            );
            let written = if written.is_empty() { text } else { written };
            assert_eq!(reference.to_string(), written);
            assert_eq!(read(written), reference, "what is written is read back");
        }
        assert_eq!(read("hf://a/b").revision(), "main");
        assert_eq!(
            read("hf://datasets/a/b@main/x").at(commit).to_string(),
            format!("hf://datasets/a/b@{commit}/x")
        );
        assert!(HubReference::read("models/a/b").is_none());
        assert!(!HubReference::is_one("HF://a/b"));
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for text in [
            "hf://",
            "hf://a",
            "hf:///b",
            "hf://a/",
            "hf://../b",
            "hf://a/..",
            "hf://a/b@",
            "hf://a/b@..",
            "hf://a/b@x/../../y",
            "hf://a/b@%2Fetc",
            "hf://a/b@.hidden",
            "hf://a/b@x%2F%2Fy",
            "hf://a/b@x y",
            "hf://a--b/c",
            "hf://a/b?x=y",
            "hf://a/b#x",
            "hf://ä/b",
            "hf://spaces/a/b",
            "hf://datasets/a/b/../c",
            "hf://datasets/a",
            "hf://user:secret@host/b",
        ] {
            assert!(HubReference::read(text).expect("of the hub").is_err(), "{text}");
        }
        for (text, is_data) in [("hf://a/b/c", false), ("hf://datasets/a/b", true), ("hf://a/b", true)] {
            let check = if is_data { check_data } else { check_model };
            assert!(check(text).is_err(), "{text}");
        }
        assert_eq!(check_model("hf://a/b@v1"), Ok(()));
        assert_eq!(check_data("hf://datasets/a/b/*.json"), Ok(()));
        assert_eq!(check_data("data/x.json"), Ok(()));
    }
}
