//! A source has at most 500 lines, or says at its head why it is longer.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

const MOST_LINES: usize = 500;

/// What a longer file says among its first lines, with the reason behind it.
const EXCUSE: &str = "Longer than 500 lines because";
const HEAD: usize = 10;

const SOURCE_ENDINGS: [&str; 6] = ["rs", "cpp", "h", "proto", "py", "sh"];

/// What builds and runs leave behind.
const NO_SOURCES: [&str; 4] = [".git", ".deps", "target", "runs"];

/// The sources below a folder that are too long and do not say why, with their lines.
fn too_long(root: &Path) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                if !NO_SOURCES.contains(&entry.file_name().to_str().unwrap()) {
                    folders.push(path);
                }
                continue;
            }
            let is_source = path
                .extension()
                .is_some_and(|ending| SOURCE_ENDINGS.contains(&ending.to_str().unwrap()));
            if !is_source {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().count();
            let head: String = text.lines().take(HEAD).collect();
            // The excuse may run over the end of a line of comment.
            let head = head.replace("//!", "").replace("  ", " ");
            if lines > MOST_LINES && !head.contains(EXCUSE) {
                found.push((path, lines));
            }
        }
    }
    found
}

#[test]
fn no_source_is_too_long_without_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = too_long(root);
    assert!(found.is_empty(), "split these, or say at the head why not: {found:?}");
}

#[test]
fn a_long_file_is_found_and_an_excused_one_is_not() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, head: &str, lines: usize| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{head}\n{}", "line\n".repeat(lines))).unwrap();
    };
    write("crate/src/short.rs", "//! Short.", 499);
    write("crate/src/long.rs", "//! Long.", 500);
    write(
        "crate/src/table.rs",
        "//! A table. Longer than\n//! 500 lines because it is one.",
        600,
    );
    write("crate/data.json", "", 600);
    write("target/debug/made.rs", "", 600);
    assert_eq!(too_long(root.path()), [(root.path().join("crate/src/long.rs"), 501)]);
}
