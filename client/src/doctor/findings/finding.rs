//! One finding.

/// Something that is wrong, or that should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is, a word for scripts. docs/operations.md lists them.
    pub kind: &'static str,
    /// Whether something is wrong; else it is only a note.
    pub is_fault: bool,
    /// The job or the actor that it is about; empty where it is about neither.
    pub about: String,
    /// What is so, in a sentence.
    pub text: String,
    /// What can be done; empty where nothing needs to be.
    pub advice: String,
}

impl Finding {
    /// Sentence and advice.
    pub fn in_words(&self) -> String {
        match self.advice.as_str() {
            "" => self.text.clone(),
            advice => format!("{}: {advice}", self.text),
        }
    }
}

/// A fault of this kind.
pub(super) fn fault(kind: &'static str, about: &str, text: String, advice: impl Into<String>) -> Finding {
    Finding {
        kind,
        is_fault: true,
        about: about.to_owned(),
        text,
        advice: advice.into(),
    }
}

/// A note of this kind.
pub(super) fn note(kind: &'static str, about: &str, text: String) -> Finding {
    Finding {
        kind,
        is_fault: false,
        about: about.to_owned(),
        text,
        advice: String::new(),
    }
}
