//! What can go wrong between a model directory and a running decoder.

use std::fmt;
use std::path::{Path, PathBuf};

/// What an error is about: a file, or a field of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    path: PathBuf,
    field: Option<&'static str>,
}

impl Origin {
    pub(crate) fn file(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            field: None,
        }
    }

    pub(crate) fn field(path: &Path, field: &'static str) -> Self {
        Self {
            path: path.to_path_buf(),
            field: Some(field),
        }
    }

    /// The file's name, with the field where it is one, without its directory.
    pub fn short(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy();
        match self.field {
            Some(field) => format!("{field} in {name}"),
            None => name.into_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(formatter, "{field} in {}", self.path.display()),
            None => write!(formatter, "{}", self.path.display()),
        }
    }
}

/// An error of this crate. Its text names the file and the field or tensor that caused it.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// A file or directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file is not the JSON that it should be.
    #[error("{} is not valid json: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the text stops making sense.
        source: serde_json::Error,
    },
    /// A field of config.json is missing or has a value that this crate does not support.
    #[error("{}: {field} is {value}; it must be {allowed}", path.display())]
    ConfigField {
        /// The file.
        path: PathBuf,
        /// The field's name, dotted where it is nested.
        field: String,
        /// The value found, as JSON, or `missing`.
        value: String,
        /// What would have been accepted; the sentence continues "it must be".
        allowed: String,
    },
    /// A tensor that the configuration calls for is not there.
    #[error("{origin}: tensor {name} is missing{hint}")]
    MissingTensor {
        /// The file, or `weights` for tensors in memory.
        origin: String,
        /// The tensor's name.
        name: String,
        /// What may be the cause, as the end of the sentence; empty where nothing is known.
        hint: String,
    },
    /// A tensor is there that the configuration has no place for.
    #[error("{origin}: tensor {name} does not belong to a {model_type} model of this configuration{hint}")]
    UnexpectedTensor {
        /// The file, or `weights` for tensors in memory.
        origin: String,
        /// The tensor's name.
        name: String,
        /// The configuration's model type.
        model_type: String,
        /// What may be the cause, as the end of the sentence; empty where nothing is known.
        hint: String,
    },
    /// A tensor has another shape than the configuration gives it.
    #[error("{origin}: tensor {name} has shape {found:?}, the configuration says {expected:?}")]
    TensorShape {
        /// The file, or `weights` for tensors in memory.
        origin: String,
        /// The tensor's name.
        name: String,
        /// The shape found.
        found: Vec<i64>,
        /// The shape that the configuration gives.
        expected: Vec<i64>,
    },
    /// A tensor's number type is not one that can be read, or differs from the other tensors'.
    #[error("{origin}: tensor {name} is {found}; it must be {allowed}")]
    TensorKind {
        /// The file, or `weights` for tensors in memory.
        origin: String,
        /// The tensor's name.
        name: String,
        /// The type found.
        found: String,
        /// What would have been accepted; the sentence continues "it must be".
        allowed: String,
    },
    /// A file of the directory is damaged, cut short, or not what its name says.
    #[error("{}: {problem}", path.display())]
    Checkpoint {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The tokenizer could not be loaded, or could not process a text.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What is wrong.
        problem: String,
    },
    /// The chat template is malformed, or refused the message.
    #[error("{origin}: {problem}")]
    ChatTemplate {
        /// Where the template was found.
        origin: Origin,
        /// What is wrong.
        problem: String,
    },
    /// The device asked for does not exist or cannot be used.
    #[error("device {device}: {problem}")]
    Device {
        /// The device as it was asked for.
        device: String,
        /// Why it cannot be had.
        problem: String,
    },
    /// A training row whose lengths contradict each other.
    #[error("training row: {problem}")]
    Row {
        /// The contradiction.
        problem: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

impl From<anytime_files::WriteError> for PolicyError {
    fn from(error: anytime_files::WriteError) -> Self {
        Self::write(&error.path, error.source)
    }
}

impl PolicyError {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        PolicyError::Read {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        PolicyError::Write {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn json(path: &Path, source: serde_json::Error) -> Self {
        PolicyError::Json {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn checkpoint(path: &Path, problem: impl Into<String>) -> Self {
        PolicyError::Checkpoint {
            path: path.to_path_buf(),
            problem: problem.into(),
        }
    }
}
