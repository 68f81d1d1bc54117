//! The documents of the repository, taken apart: their commands, their links and their headings.

use std::collections::BTreeSet;
use std::path::Path;

use crate::programs::repository;

/// The documents at the root and beside what they document; those in docs/ are found. Folders below docs/ tell of earlier
/// trees, and CHANGELOG.md of earlier versions.
const DOCUMENTS: [&str; 8] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "BENCHMARKS.md",
    "clients/python/README.md",
    "clients/verifier-python/README.md",
    "docs/study/README.md",
];

/// What begins another command, or is read by the shell.
const ENDS: [&str; 10] = ["|", "||", "&&", ";", "&", ">", ">>", "<", "2>", "#"];

/// Every document as its path from the root and its text.
pub fn documents() -> Vec<(String, String)> {
    let root = repository();
    let mut names: BTreeSet<String> = DOCUMENTS.iter().map(|name| (*name).to_owned()).collect();
    let pages = std::fs::read_dir(root.join("docs")).expect("docs/ is there");
    for page in pages {
        let name = page.expect("listed").file_name().into_string().expect("a plain name");
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            names.insert(format!("docs/{name}"));
        }
    }
    let read = |name: String| {
        let text = std::fs::read_to_string(root.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, text)
    };
    names.into_iter().map(read).collect()
}

/// The commands of the fenced blocks of a shell, and what stands in backticks: each as its words, without comments.
pub fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let (mut fence, mut line_so_far) = (None, String::new());
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() {
                None
            } else {
                Some(language.to_owned())
            };
            continue;
        }
        match fence.as_deref() {
            Some("sh" | "bash" | "console") => {
                line_so_far.push_str(line.trim_end_matches('\\'));
                if !line.ends_with('\\') {
                    found.extend(split(&std::mem::take(&mut line_so_far)));
                }
            }
            Some(_) => {}
            None => found.extend(line.split('`').skip(1).step_by(2).flat_map(split)),
        }
    }
    found
}

/// A line as its commands. Quotes hold words together.
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for character in line.chars() {
        match (character, quote) {
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(character),
        }
    }
    words.push(word);
    let mut commands = vec![Vec::new()];
    for word in words.into_iter().filter(|word| !word.is_empty()) {
        if word.starts_with('#') {
            break;
        }
        let ends_command = word.ends_with(';');
        let word = word.trim_matches(|end| "();…".contains(end)).to_owned();
        if ENDS.contains(&word.as_str()) {
            commands.push(Vec::new());
        } else if !word.is_empty() {
            commands.last_mut().expect("never empty").push(word);
        }
        if ends_command {
            commands.push(Vec::new());
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// The links into this repository: file (empty where it is the document itself) and anchor.
pub fn anchors(text: &str) -> Vec<(&str, &str)> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', ' ']).next());
    targets
        .filter(|target| !target.contains(':'))
        .filter_map(|target| target.split_once('#'))
        .collect()
}

/// What the headings of a document are called in links.
pub fn headings(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut is_fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        }
        let title = line.trim_start_matches('#');
        if is_fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let is_kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
        let anchor: String = title.trim().chars().filter(is_kept).collect();
        found.insert(anchor.to_lowercase().replace(' ', "-"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_blocks_and_in_backticks() {
        let text = "Run `anytime list --json`.\n```sh\nmake demo    # `make` it\nTOKEN=x anytime submit \\\n  job.toml | cat; \
                    a 'b c' && d\n```\n```toml\nx = 1\n```\n";
        let found: Vec<String> = commands(text).iter().map(|words| words.join(" ")).collect();
        assert_eq!(
            found,
            [
                "anytime list --json",
                "make demo",
                "TOKEN=x anytime submit job.toml",
                "cat",
                "a b c",
                "d"
            ]
        );
    }

    #[test]
    fn headings_are_called_as_links_call_them() {
        let text = "# A `b.c` [d]: e-f\n```sh\n# no heading\n```\n#tag\n## Two  words\n";
        assert_eq!(
            headings(text),
            BTreeSet::from(["a-bc-d-e-f".to_owned(), "two--words".to_owned()])
        );
        assert_eq!(
            anchors("[x](a.md#b) [y](#c) [z](https://example.org/#d) [w](e.md)"),
            [("a.md", "b"), ("", "c")]
        );
    }
}
