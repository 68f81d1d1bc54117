//! Which files a setting names, and opening one of them. Nothing is opened that is not a regular file: opening a FIFO
//! waits for a writer, and opening a device may do anything.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anytime_proto::settings::{InvalidSetting, is_pattern, reason_that_nothing_is_there};

/// Endings of the files that a directory stands for, before an ending of compression.
const ENDINGS: [&str; 4] = ["json", "jsonl", "ndjson", "parquet"];

/// Words in names by which published data sets tell their splits apart, and the split that each means.
const SPLITS: [(&str, &str); 13] = [
    ("train", "train"),
    ("training", "train"),
    ("test", "test"),
    ("testing", "test"),
    ("validation", "validation"),
    ("validate", "validation"),
    ("valid", "validation"),
    ("val", "validation"),
    ("dev", "dev"),
    ("eval", "eval"),
    ("evaluation", "eval"),
    ("holdout", "holdout"),
    ("heldout", "holdout"),
];

/// Most names that a message lists.
const MOST_LISTED: usize = 8;

/// All files that the setting names, those of a directory or a pattern in the order of their names.
///
/// # Errors
/// A name that leads nowhere or to something that is no regular file, a directory without files of rows or with files of
/// several splits, a pattern that matches nothing, and a file that is named twice.
pub fn resolve(field: &str, names: &[String], root: &Path) -> Result<Vec<PathBuf>, InvalidSetting> {
    let mut files: Vec<PathBuf> = Vec::new();
    for name in names {
        let path = root.join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => files.extend(of_directory(field, name, &path)?),
            Ok(metadata) => {
                check_regular(&metadata).map_err(|what| InvalidSetting::new(field, name, what))?;
                files.push(path);
            }
            Err(_) if is_pattern(name) => files.extend(of_pattern(field, name, root)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let reason = reason_that_nothing_is_there(name);
                return Err(InvalidSetting::new(field, name, reason));
            }
            Err(error) => {
                let reason = format!("it must be a readable JSON, JSONL or Parquet file: {error}");
                return Err(InvalidSetting::new(field, name, reason));
            }
        }
    }
    let mut seen = HashSet::new();
    for file in &files {
        if !seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())) {
            let reason = format!("{} is named twice; name every file once", file.display());
            return Err(InvalidSetting::because(field, reason));
        }
    }
    Ok(files)
}

/// Opens a regular file, without ever waiting for anything else.
pub(super) fn open(field: &str, path: &Path) -> Result<File, InvalidSetting> {
    let refuse = |reason: String| InvalidSetting::new(field, path.display().to_string(), reason);
    let unreadable =
        |error: std::io::Error| refuse(format!("it must be a readable JSON, JSONL or Parquet file: {error}"));
    check_regular(&std::fs::metadata(path).map_err(unreadable)?).map_err(refuse)?;
    // The file may have been replaced since it was looked at, and must not block this thread.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(unreadable)?;
    check_regular(&file.metadata().map_err(unreadable)?).map_err(refuse)?;
    Ok(file)
}

/// Refuses what is no regular file, and says what it is.
fn check_regular(metadata: &Metadata) -> Result<(), String> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_char_device() || kind.is_block_device() => "a device",
        () if kind.is_dir() => "a directory",
        () => "something else",
    };
    Err(format!("it must be a regular file, and is {what}"))
}

fn of_directory(field: &str, name: &str, directory: &Path) -> Result<Vec<PathBuf>, InvalidSetting> {
    let unreadable = |error: std::io::Error| {
        InvalidSetting::new(field, name, format!("it must be a directory that can be read: {error}"))
    };
    let mut files = Vec::new();
    let mut others = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if holds_rows(&path) && std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            files.push(path);
        } else {
            others.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    files.sort();
    others.sort();
    // Its JSON files describe the rows and hold none.
    let is_saved = others.iter().any(|name| name.ends_with(".arrow"))
        || files
            .iter()
            .any(|path| path.file_name().is_some_and(|name| name == "dataset_dict.json"));
    if is_saved {
        let reason = "it is a data set as save_to_disk or the cache of datasets keeps it, in Arrow; write its rows with \
                      to_parquet or to_json";
        return Err(InvalidSetting::new(field, name, reason));
    }
    if files.is_empty() {
        let reason = format!(
            "it must be a directory with files named *.json, *.jsonl or *.parquet (also with .gz or .zst); it {}",
            listed("holds", &others)
        );
        return Err(InvalidSetting::new(field, name, reason));
    }
    let of_files: Vec<(&PathBuf, &str)> = files.iter().filter_map(|path| Some((path, split_of(path)?))).collect();
    let mut splits: Vec<&str> = of_files.iter().map(|(_, split)| *split).collect();
    splits.sort_unstable();
    splits.dedup();
    if let [_, _, ..] = splits.as_slice() {
        let meant = if splits.contains(&"train") { "train" } else { splits[0] };
        let file_name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let is_of = |(path, split): &(&PathBuf, &str)| {
            let begins = file_name(path).is_some_and(|name| name.starts_with(meant));
            begins == (*split == meant)
        };
        // Where the beginning of the names does not tell the split, the first file is the example.
        let example = if of_files.iter().all(is_of) {
            format!("{meant}*")
        } else {
            let first = of_files.iter().find(|(_, split)| *split == meant);
            first.and_then(|(path, _)| file_name(path)).unwrap_or_default()
        };
        let reason = format!(
            "it holds files of several splits ({}); name those that are meant, such as {:?}",
            splits.join(", "),
            format!("{}/{example}", name.trim_end_matches('/'))
        );
        return Err(InvalidSetting::new(field, name, reason));
    }
    Ok(files)
}

/// Whether the name says that it is a file of rows.
fn holds_rows(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().to_ascii_lowercase())
        .unwrap_or_default();
    if name.starts_with('.') {
        return false;
    }
    let unpacked = name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(&name);
    ENDINGS.iter().any(|ending| unpacked.ends_with(&format!(".{ending}")))
}

/// The split that a file's name tells: the first word of one before the endings, `train` in
/// `train-00000-of-00002.parquet` and `test` in `gsm8k_test1.jsonl`.
fn split_of(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let of_word = |word: &str| {
        SPLITS
            .iter()
            .find(|(written, _)| *written == word)
            .map(|(_, split)| *split)
    };
    name.split(|letter: char| !letter.is_alphabetic()).find_map(of_word)
}

fn of_pattern(field: &str, name: &str, root: &Path) -> Result<Vec<PathBuf>, InvalidSetting> {
    // The root is no part of the pattern, whatever letters it has.
    let pattern = if Path::new(name).is_absolute() {
        name.to_owned()
    } else {
        format!("{}/{name}", glob::Pattern::escape(&root.to_string_lossy()))
    };
    let paths = glob::glob(&pattern)
        .map_err(|error| InvalidSetting::new(field, name, format!("it must be a pattern that can be read: {error}")))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| InvalidSetting::because(field, format!("{name}: {error}")))?;
        let metadata = std::fs::metadata(&path)
            .map_err(|error| InvalidSetting::because(field, format!("{}: {error}", path.display())))?;
        if metadata.is_dir() {
            continue;
        }
        check_regular(&metadata)
            .map_err(|what| InvalidSetting::because(field, format!("{}: {what}", path.display())))?;
        files.push(path);
    }
    if files.is_empty() {
        return Err(InvalidSetting::new(
            field,
            name,
            "it must be a pattern that some file matches",
        ));
    }
    Ok(files)
}

/// `holds a, b and 3 more`, or `holds nothing`.
fn listed(verb: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("{verb} nothing");
    }
    let shown: Vec<&str> = names.iter().take(MOST_LISTED).map(String::as_str).collect();
    let more = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{verb} {}{more}", shown.join(", "))
}
