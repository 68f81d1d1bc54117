//! What the documents tell a reader to type is there: targets of make with their variables, subcommands and arguments of
//! the programs, crates and tests; and every heading that a link leads to.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anytime_tests::documents::{anchors, commands, documents, headings};
use anytime_tests::help::Help;
use anytime_tests::programs::repository;
use anytime_tests::rooms::workspace_members;

/// The programs that are asked for their arguments.
const PROGRAMS: [&str; 4] = ["anytime", "anytime-learner", "anytime-actor", "anytime-verifier"];

/// What stands before a command, and is none.
const PREFIXES: [&str; 3] = ["env", "sudo", "exec"];

/// How a quoted error goes on behind the name of a program.
const GOES_ON: &str = "is";

/// What the programs say of themselves, asked once each.
#[derive(Default)]
struct Programs(BTreeMap<(String, Vec<String>), Help>);

impl Programs {
    fn help(&mut self, program: &str, subcommands: &[String]) -> &Help {
        let key = (program.to_owned(), subcommands.to_vec());
        self.0.entry(key).or_insert_with(|| Help::of(program, subcommands))
    }

    /// What of a command line there is not.
    fn unknown(&mut self, program: &str, arguments: &[String]) -> Vec<String> {
        let mut subcommands: Vec<String> = Vec::new();
        let mut rest = arguments;
        while let Some((word, behind)) = rest.split_first() {
            let known = self.help(program, &subcommands).commands();
            if known.contains(word) {
                subcommands.push(word.clone());
                rest = behind;
            } else if known.is_empty() || !is_name(word) || word == GOES_ON {
                break;
            } else {
                return vec![format!("{word} is no command of {program}")];
            }
        }
        self.help(program, &subcommands).unknown_flags(rest)
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// The command without what stands before it: `TOKEN=x`, `sudo`, the folder of the program.
fn bare(words: &[String]) -> Option<(&str, &[String])> {
    let is_before = |word: &String| {
        let is_variable = word
            .split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        is_variable || PREFIXES.contains(&word.as_str())
    };
    let start = words.iter().position(|word| !is_before(word))?;
    let (program, arguments) = words[start..].split_first()?;
    Some((program.strip_prefix("target/release/").unwrap_or(program), arguments))
}

#[test]
fn every_command_that_a_document_shows_is_there() {
    let makefile = makefile_and_scripts();
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    let crates: BTreeSet<String> = package_names();
    let mut programs = Programs::default();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (document, text) in documents() {
        for words in commands(&text) {
            let Some((program, arguments)) = bare(&words) else {
                continue;
            };
            let found = match program {
                "make" => unknown_to_make(arguments, &targets, &makefile),
                "cargo" => unknown_to_cargo(arguments, &crates),
                _ if PROGRAMS.contains(&program) => programs.unknown(program, arguments),
                _ => continue,
            };
            seen += 1;
            wrong.extend(
                found
                    .iter()
                    .map(|what| format!("{document}: `{}`: {what}", words.join(" "))),
            );
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
    assert!(seen > 200, "only {seen} commands were found");
}

fn unknown_to_make(arguments: &[String], targets: &BTreeSet<&str>, makefile: &str) -> Vec<String> {
    let is_read = |variable: &str| {
        let ways = ["$(", "$${", "${"].map(|open| format!("{open}{variable}"));
        ways.iter().any(|way| makefile.contains(way))
    };
    let is_there = |word: &&String| match word.split_once('=') {
        Some((variable, _)) => is_read(variable),
        None => targets.contains(word.as_str()) || word.starts_with('-'),
    };
    arguments.iter().filter(|word| !is_there(word)).cloned().collect()
}

/// The Makefile, and behind it the scripts that it runs: make hands its variables on to them.
fn makefile_and_scripts() -> String {
    let mut text = std::fs::read_to_string(repository().join("Makefile")).unwrap();
    let words: BTreeSet<String> = text.split_whitespace().map(|word| word.replace('@', "")).collect();
    for script in words.iter().filter(|word| word.ends_with(".sh")) {
        text.push_str(&std::fs::read_to_string(repository().join(script)).unwrap_or_default());
    }
    text
}

fn unknown_to_cargo(arguments: &[String], crates: &BTreeSet<String>) -> Vec<String> {
    let named = |flag: &str| arguments.iter().skip_while(|word| *word != flag).nth(1);
    let mut unknown = Vec::new();
    if let Some(package) = named("-p")
        && !crates.contains(package)
        && package != "CRATE"
    {
        unknown.push(format!("there is no crate {package}"));
    }
    if let Some(test) = named("--test")
        && test != "NAME"
        && !has_test(test)
    {
        unknown.push(format!("there is no test {test}"));
    }
    unknown
}

fn has_test(name: &str) -> bool {
    workspace_members(&repository()).iter().any(|member| {
        let tests = repository().join(member).join("tests");
        let is_found = tests.join(format!("{name}.rs")).is_file() || tests.join(name).join("main.rs").is_file();
        is_found || tests_of(member).any(|test| test == name)
    })
}

fn manifest(member: &str) -> toml::Table {
    let manifest = std::fs::read_to_string(repository().join(member).join("Cargo.toml")).unwrap();
    manifest.parse().unwrap()
}

/// The tests that a manifest names itself.
fn tests_of(member: &str) -> impl Iterator<Item = String> {
    let tests = manifest(member).get("test").and_then(toml::Value::as_array).cloned();
    let tests = tests.unwrap_or_default().into_iter();
    tests.filter_map(|test| test.get("name")?.as_str().map(str::to_owned))
}

fn package_names() -> BTreeSet<String> {
    let name = |member: &String| manifest(member)["package"]["name"].as_str().unwrap().to_owned();
    workspace_members(&repository()).iter().map(name).collect()
}

#[test]
fn every_heading_that_a_link_leads_to_is_there() {
    let documents: BTreeMap<String, String> = documents().into_iter().collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (document, text) in &documents {
        for (file, anchor) in anchors(text) {
            let folder = Path::new(document).parent().unwrap();
            let target = if file.is_empty() {
                document.clone()
            } else {
                normal(&folder.join(file))
            };
            let Some(target_text) = documents.get(&target) else {
                continue;
            };
            seen += 1;
            if !headings(target_text).contains(anchor) {
                wrong.push(format!("{document}: ({file}#{anchor})"));
            }
        }
    }
    assert!(wrong.is_empty(), "no such heading:\n{}", wrong.join("\n"));
    assert!(seen > 20, "only {seen} links were found");
}

/// A path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn what_a_document_shows_wrongly_is_found() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut programs = Programs::default();
    assert_eq!(
        programs.unknown("anytime", &words("submit job.toml --watch")),
        Vec::<String>::new()
    );
    assert_eq!(
        programs.unknown("anytime", &words("submit job.toml --wait")),
        ["--wait"]
    );
    assert_eq!(
        programs.unknown("anytime", &words("sumbit job.toml")),
        ["sumbit is no command of anytime"]
    );
    let makefile = "demo: build ## x\n\techo $(WHAT)\n";
    let targets = BTreeSet::from(["demo"]);
    assert_eq!(
        unknown_to_make(&words("demo WHAT=x"), &targets, makefile),
        Vec::<String>::new()
    );
    assert_eq!(
        unknown_to_make(&words("demos WHAT=x WHO=y"), &targets, makefile),
        ["demos", "WHO=y"]
    );
    let crates = package_names();
    assert!(unknown_to_cargo(&words("test -p anytime-proto --test refusals_page"), &crates).is_empty());
    assert_eq!(
        unknown_to_cargo(&words("test -p anytime-prot --test none"), &crates).len(),
        2
    );
}
