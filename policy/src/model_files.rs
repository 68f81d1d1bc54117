//! Reads the small files of a model directory and says what is wrong with one: a pointer of git-lfs, a directory and a
//! link to nothing are reported as what they are. A byte order mark is skipped.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use crate::error::PolicyError;

/// The beginning of a pointer of git-lfs, which keeps the file's content elsewhere.
pub(crate) const POINTER: &[u8] = b"version https://git-lfs";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a file without its byte order mark.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, PolicyError> {
    refuse_irregular(path)?;
    let mut bytes = std::fs::read(path).map_err(|source| PolicyError::read(path, source))?;
    if bytes.starts_with(POINTER) {
        return Err(is_pointer(path));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(bytes)
}

/// Refuses what is neither a file nor a directory, such as a FIFO, whose reading could wait for ever. What is wrong with
/// others, reading them says.
pub(crate) fn refuse_irregular(path: &Path) -> Result<(), PolicyError> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(PolicyError::checkpoint(path, "it is no regular file")),
        _ => Ok(()),
    }
}

/// The error for a file that is a pointer of git-lfs.
pub(crate) fn is_pointer(path: &Path) -> PolicyError {
    let problem = "the file is a pointer of git-lfs and not the content; fetch that with `git lfs pull`";
    PolicyError::checkpoint(path, problem)
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, PolicyError> {
    String::from_utf8(bytes(path)?)
        .map_err(|_| PolicyError::checkpoint(path, "the file is not in UTF-8; save it in UTF-8"))
}

/// The text of a file; none where it is not there.
pub(crate) fn optional_text(path: &Path) -> Result<Option<String>, PolicyError> {
    if is_absent(path) {
        Ok(None)
    } else {
        text(path).map(Some)
    }
}

/// A file of JSON.
pub(crate) fn json(path: &Path) -> Result<Value, PolicyError> {
    let bytes = bytes(path)?;
    serde_json::from_slice(&bytes).or_else(|source| {
        let quoted = with_quoted_numbers(&bytes);
        serde_json::from_slice(&quoted).map_err(|_| PolicyError::json(path, source))
    })
}

/// JSON with Python's `NaN` and `Infinity`, which JSON does not have, as texts. A field that is needed is refused with
/// its text then; any other does no harm.
fn with_quoted_numbers(bytes: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(bytes.len() + 8);
    let (mut is_text, mut at) = (false, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let word = [&b"-Infinity"[..], b"Infinity", b"NaN"]
            .into_iter()
            .find(|word| !is_text && rest.starts_with(word));
        let length = match (word, rest[0]) {
            (Some(word), _) => {
                quoted.push(b'"');
                quoted.extend_from_slice(word);
                quoted.push(b'"');
                at += word.len();
                continue;
            }
            (None, b'\\') if is_text => 2,
            (None, b'"') => {
                is_text = !is_text;
                1
            }
            (None, _) => 1,
        };
        let end = (at + length).min(bytes.len());
        quoted.extend_from_slice(&bytes[at..end]);
        at = end;
    }
    quoted
}

/// A file of JSON that holds an object; null where it is not there.
pub(crate) fn optional_json(path: &Path) -> Result<Value, PolicyError> {
    if is_absent(path) {
        return Ok(Value::Null);
    }
    match json(path)? {
        value @ (Value::Object(_) | Value::Null) => Ok(value),
        _ => Err(PolicyError::checkpoint(path, "the file must hold a JSON object")),
    }
}

/// Whether there is no such file. A link to nothing is not absent: reading it says what is wrong.
fn is_absent(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_does_not_have_are_texts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(
            &path,
            r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "NaN": "Infinity \" NaN", "c": 1.5}"#,
        )
        .unwrap();
        let read = json(&path).unwrap();
        assert_eq!(read["a"], "NaN");
        assert_eq!(read["b"][0], "-Infinity");
        assert_eq!(read["b"][1], "Infinity");
        assert_eq!(read["b"][2], 1);
        assert_eq!(read["NaN"], "Infinity \" NaN");
        assert_eq!(read["c"], 1.5);
        for broken in [r#"{"a": NaNs}"#, r#"{"a": "NaN}"#, r#"{"a": Inf}"#, "\"\\", "NaN NaN"] {
            std::fs::write(&path, broken).unwrap();
            assert!(json(&path).is_err(), "{broken}");
        }
    }
}
