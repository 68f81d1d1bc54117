//! Which repository is meant.

use std::fmt;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    DataSet,
}

/// A repository of the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// What it holds.
    pub kind: Kind,
    /// Whose it is.
    pub owner: String,
    /// Its name.
    pub name: String,
}

impl Repository {
    /// The segments of its address in the hub's interface: `api/models/OWNER/NAME`.
    pub(crate) fn api(&self) -> [&str; 4] {
        let kind = match self.kind {
            Kind::Model => "models",
            Kind::DataSet => "datasets",
        };
        ["api", kind, &self.owner, &self.name]
    }

    /// The segments of its page, below which its files are: `OWNER/NAME`, `datasets/OWNER/NAME`.
    pub(crate) fn page(&self) -> Vec<&str> {
        match self.kind {
            Kind::Model => vec![&self.owner, &self.name],
            Kind::DataSet => vec!["datasets", &self.owner, &self.name],
        }
    }

    /// Its directory in the cache: `models--OWNER--NAME`.
    pub(crate) fn directory(&self) -> String {
        let kind = match self.kind {
            Kind::Model => "models",
            Kind::DataSet => "datasets",
        };
        format!("{kind}--{}--{}", self.owner, self.name)
    }
}

/// `the model OWNER/NAME`.
impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Model => "model",
            Kind::DataSet => "data set",
        };
        write!(formatter, "the {kind} {}/{}", self.owner, self.name)
    }
}

/// Whether a revision is the hash of a commit, which never means anything else.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_hexadecimal(revision)
}

pub(crate) fn is_hexadecimal(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
