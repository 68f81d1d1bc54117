//! docs/job-reference.md: every setting with its type, its default, its range and its meaning, a table for each section.
//! It is written from the comments of the proto files and the table of settings, as the reference in TOML is. A range that
//! only a rule knows is taken from what the rule refuses.

use std::fmt::Write as _;

use prost_reflect::{FieldDescriptor, Kind, Value};

use super::filled::filled;
use super::job::Job;
use super::parse_job_file;
use super::reference::{comment_of, reference_text, section_comment, written};
use super::row::{Check, Default, Kinds, Row, short_name};
use super::table::TABLE;
use super::tests::assert_written;
use crate::v1::JobKind;

const HEAD: &str = "\
# Job reference

Every setting of a job file. [jobs.md](jobs.md) leads through them; `deploy/jobs/reference.toml` is the same as a job file,
and `anytime check job.toml` checks one without starting anything. What is left out takes its default, the paper's where the
paper has one. Unknown settings are refused by name.

A test writes this page from `proto/anytime/v1` and `proto/src/settings/table.rs`:
`UPDATE=1 cargo test -p anytime-proto --lib settings`.
";

/// What stands where a cell has nothing to say.
const NOTHING: &str = "–";

/// The text of the page.
fn page_text() -> String {
    let reference = filled(&parse_job_file(&reference_text()).expect("the reference is a job file"));
    let (mut contents, mut tables, mut section) = (String::new(), String::new(), None);
    for row in TABLE {
        let is_setting = |field: &FieldDescriptor| field.is_map() || !matches!(field.kind(), Kind::Message(_));
        let Some(field) = Job::field(row.path).filter(is_setting) else {
            continue;
        };
        let (path, name) = row.path.rsplit_once('.').unwrap_or(("", row.path));
        if section != Some(path) {
            section = Some(path);
            let (heading, comment) = match path {
                "" => ("The job".to_owned(), "What it is called, and what it does.".to_owned()),
                path => (format!("`[{path}]`"), section_comment(path)),
            };
            let anchor: String = heading.chars().filter(|c| !"`[].".contains(*c)).collect();
            let anchor = anchor.to_lowercase().replace(' ', "-");
            write!(contents, "\n- [{heading}](#{anchor}): {comment}").expect("a text");
            write!(
                tables,
                "\n## {heading}\n\n{comment}\n\n| setting | type | default | range | meaning |\n|---|---|---|---|---|\n"
            )
            .expect("a text");
        }
        let cells = [
            format!("`{name}`"),
            type_of(&field),
            default_of(row, &field, &reference),
            range_of(row, &field, &reference),
            comment_of(field.parent_message(), field.path()),
        ];
        let cells = cells.map(|cell| {
            if cell.is_empty() {
                NOTHING.to_owned()
            } else {
                cell.replace('|', "\\|")
            }
        });
        writeln!(tables, "| {} |", cells.join(" | ")).expect("a text");
    }
    format!("{HEAD}{contents}\n{tables}")
}

fn type_of(field: &FieldDescriptor) -> String {
    let one = match field.kind() {
        Kind::Message(_) => return "table of values".to_owned(),
        Kind::Enum(enumeration) => {
            let variants = enumeration.values().filter(|variant| variant.number() != 0);
            let names: Vec<String> = variants
                .map(|variant| format!("`\"{}\"`", short_name(&enumeration, variant.name())))
                .collect();
            return names.join(", ");
        }
        Kind::Bool => "true or false",
        Kind::Double => "number",
        Kind::String if field.is_list() => return "text, or list of texts".to_owned(),
        Kind::String => "text",
        _ => "whole number",
    };
    if field.is_list() {
        format!("list of {one}s")
    } else {
        one.to_owned()
    }
}

fn default_of(row: &Row, field: &FieldDescriptor, reference: &Job) -> String {
    let value = |value: &Value| format!("`{}`", written(field, value));
    match &row.default {
        Default::Required(_, Kinds::All) => "required".to_owned(),
        Default::Required(_, Kinds::AllBut(kind)) => format!("required, except for {}", kind_name(*kind)),
        Default::Required(_, Kinds::Only(kind)) => format!("required for {}", kind_name(*kind)),
        Default::Is(literal) => value(&literal.value(field)),
        Default::Computed("", _) => reference.get(row.path).as_ref().map(value).unwrap_or_default(),
        Default::Computed(says, _) => (*says).to_owned(),
        // The meaning says what happens without it.
        Default::Open(_) => String::new(),
    }
}

fn kind_name(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Train => "train",
        JobKind::Sft => "sft",
        JobKind::Evaluate => "evaluate",
        JobKind::Unspecified => "",
    }
}

fn range_of(row: &Row, field: &FieldDescriptor, reference: &Job) -> String {
    match &row.check {
        Check::Whole(least, most) => format!("{least} to {most}"),
        Check::Number(_, clause) => (*clause).to_owned(),
        Check::Files(what) => (*what).to_owned(),
        Check::Rule(_) if matches!(field.kind(), Kind::Enum(_)) => String::new(),
        Check::Rule(rule) => refused_range(*rule, row, field, reference),
        Check::Any if matches!(field.kind(), Kind::Uint32 | Kind::Uint64) => "0 or more".to_owned(),
        Check::Any => String::new(),
    }
}

/// What a rule asks for, in its own words: those with which it refuses a value that cannot be.
fn refused_range(
    rule: fn(&Job, &str) -> Result<(), super::InvalidSetting>,
    row: &Row,
    field: &FieldDescriptor,
    reference: &Job,
) -> String {
    let probes = match field.kind() {
        _ if field.is_list() => vec![Value::List(Vec::new())],
        Kind::String => vec![Value::String(String::new()), Value::String(" ".to_owned())],
        Kind::Uint32 => vec![Value::U32(0), Value::U32(1)],
        Kind::Uint64 => vec![Value::U64(0), Value::U64(1)],
        _ => Vec::new(),
    };
    for is_deterministic in [false, true] {
        for probe in &probes {
            let mut job = reference.clone();
            super::filled::choose_table(&mut job);
            job.set("rollout.deterministic", Value::Bool(is_deterministic));
            open_table(&mut job, row.path);
            job.set(row.path, probe.clone());
            if let Err(error) = rule(&job, row.path)
                && error.field == row.path
            {
                return clause_of(&error.reason);
            }
        }
    }
    String::new()
}

/// Opens the table of an objective, so that a setting in it can be written.
fn open_table(job: &mut Job, path: &str) {
    if let Some((table, _)) = path.rsplit_once('.')
        && let Some(Kind::Message(message)) = Job::field(table).map(|field| field.kind())
        && !job.has_section(path)
    {
        job.set(table, Value::Message(prost_reflect::DynamicMessage::new(message)));
    }
}

/// `it must be 1 or more` as `1 or more`.
fn clause_of(reason: &str) -> String {
    let openings = [
        ("it must be ", ""),
        ("they must be ", ""),
        ("it must not be ", "not "),
        ("it must ", "must "),
    ];
    let found = openings
        .iter()
        .find_map(|(opening, kept)| Some(format!("{kept}{}", reason.strip_prefix(opening)?)));
    found.unwrap_or_else(|| reason.to_owned())
}

#[test]
fn the_page_is_written_from_the_proto_files_and_the_table() {
    assert_written("docs/job-reference.md", &page_text(), "");
}

#[test]
fn every_setting_has_a_row_with_its_meaning() {
    let text = page_text();
    for row in TABLE {
        let Some(field) =
            Job::field(row.path).filter(|field| field.is_map() || !matches!(field.kind(), Kind::Message(_)))
        else {
            continue;
        };
        let (path, name) = row.path.rsplit_once('.').unwrap_or(("", row.path));
        let heading = if path.is_empty() {
            "\n## The job\n".to_owned()
        } else {
            format!("\n## `[{path}]`\n")
        };
        let section = text.split(&heading).nth(1).and_then(|rest| rest.split("\n## ").next());
        let line = section.and_then(|section| section.lines().find(|line| line.starts_with(&format!("| `{name}` |"))));
        let line = line.unwrap_or_else(|| panic!("{} has no row", row.path));
        assert!(
            !comment_of(field.parent_message(), field.path()).is_empty(),
            "{} has no comment",
            row.path
        );
        // A bar within a cell is escaped.
        assert_eq!(line.replace("\\|", "").matches('|').count(), 6, "{line}");
    }
}

#[test]
fn a_rule_says_its_range_itself() {
    let text = page_text();
    for part in [
        "| `name` | text | required | 1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit |",
        "| `budgets` | list of whole numbers | `[2000, 4000, 6000, 8000]` | ascending numbers of tokens from 1 to 1048576",
        "| `steps` | whole number | required, except for evaluate | 1 or more |",
        "| `keep` | whole number | `4` | 1 to 4096 |",
        "| `max_staleness` | whole number | 1; where rollout.deterministic, 0 | 0 where rollout.deterministic is true",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}
