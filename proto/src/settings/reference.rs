//! The reference of all settings, deploy/jobs/reference.toml: written from the comments of the proto files and the
//! table of defaults.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value};

use super::filled::{choose_table, filled};
use super::job::Job;
use super::row::{Default, Literal, short_name};
use super::table::TABLE;
use crate::v1;

const HEAD: &str = "\
# Every setting of a job file with its default. What is left out of a job file takes the value that is shown here, the
# paper's where the paper has one (DeepSeek-R1-Distill-Qwen-1.5B at 8,000 tokens, arXiv 2505.13438). A setting that is
# commented out has no constant default; the lines above it say what happens without it. Unknown settings are refused.
# Relative paths start at the learner's --root; with `anytime local`, at the current directory.
#
# Check a job file without starting anything: anytime check job.toml
#
# This file is written by a test from proto/anytime/v1 and proto/src/settings/table.rs:
#
#   UPDATE=1 cargo test -p anytime-proto
";

/// Longest line.
const WIDTH: usize = 120;

/// The text of the reference: a job file with every setting at its default.
pub fn reference_text() -> String {
    let mut required = Job::new(&v1::JobSpec::default());
    for row in TABLE {
        if let (Default::Required(example, kinds), Some(field)) = (&row.default, Job::field(row.path))
            && kinds.holds(v1::JobKind::Train)
        {
            required.set(row.path, example.value(&field));
        }
    }
    choose_table(&mut required);
    let job = Job::new(&filled(&required.into_spec()).into_spec());

    let mut text = HEAD.to_owned();
    let mut section = String::new();
    for row in TABLE {
        let is_setting = |field: &FieldDescriptor| field.is_map() || !matches!(field.kind(), Kind::Message(_));
        let Some(field) = Job::field(row.path).filter(is_setting) else {
            continue;
        };
        let (path, name) = row.path.rsplit_once('.').unwrap_or(("", row.path));
        // The tables of objectives that are not chosen here are shown, not set.
        let is_shown_only = !job.has_section(row.path);
        let mark = if is_shown_only { "# " } else { "" };
        if path != section || text == HEAD {
            text.push('\n');
            if !path.is_empty() {
                push_comment(&mut text, &section_comment(path));
                text.push_str(&format!("{mark}[{path}]\n"));
            }
            path.clone_into(&mut section);
        }
        let mut comment = comment_of(field.parent_message(), field.path());
        if let Default::Computed(says, _) = row.default
            && !says.is_empty()
        {
            comment = format!("{comment} Default: {says}.").trim_start().to_owned();
        }
        push_comment(&mut text, &comment);
        let value = match (job.get(row.path), &row.default) {
            (Some(value), _) => Some(written(&field, &value)),
            (None, Default::Is(literal)) => Some(written(&field, &literal.value(&field))),
            _ => None,
        };
        match (value, &row.default) {
            (Some(value), _) => text.push_str(&format!("{mark}{name} = {value}\n")),
            (None, Default::Required(example, _) | Default::Open(example)) => {
                let example = match example {
                    Literal::Table(table) => (*table).to_owned(),
                    _ if field.is_list() && field.kind() == Kind::Double => "[0.1, 0.2, 0.3, 0.4]".to_owned(),
                    _ => written(&field, &example.value(&field)),
                };
                text.push_str(&format!("# {name} = {example}\n"));
            }
            (None, _) => {}
        }
    }
    text
}

/// The comment of the message that a section is, from the field or from the message itself.
pub(super) fn section_comment(path: &str) -> String {
    match Job::field(path).map(|field| field.kind()) {
        Some(Kind::Message(message)) => comment_of(&message, message.path()),
        _ => String::new(),
    }
}

pub(super) fn comment_of(message: &MessageDescriptor, path: &[i32]) -> String {
    let file = message.parent_file();
    let locations = file.file_descriptor_proto().source_code_info.iter();
    let comment = locations
        .flat_map(|info| &info.location)
        .find(|location| location.path == path)
        .and_then(|location| location.leading_comments.clone());
    let comment = comment.unwrap_or_default();
    let words: Vec<&str> = comment.split_whitespace().collect();
    words.join(" ")
}

fn push_comment(text: &mut String, comment: &str) {
    let mut line = String::new();
    for word in comment.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.chars().count() + word.chars().count() + 3 > WIDTH {
            text.push_str(&format!("# {line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&format!("# {line}\n"));
    }
}

/// A value as TOML.
pub(super) fn written(field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::I32(number) => number.to_string(),
        Value::F64(number) => format!("{number:?}"),
        // TOML escapes what JSON escapes, in the same way.
        Value::String(text) => serde_json::Value::String(text.clone()).to_string(),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(enumeration) => {
                let variant = enumeration.get_value(*number);
                let name = variant.map(|variant| short_name(&enumeration, variant.name()));
                format!("{:?}", name.unwrap_or_default())
            }
            _ => number.to_string(),
        },
        // One file is written as a text.
        Value::List(values) if field.kind() == Kind::String && values.len() == 1 => written(field, &values[0]),
        Value::List(values) => {
            let values: Vec<String> = values.iter().map(|value| written(field, value)).collect();
            format!("[{}]", values.join(", "))
        }
        // Tables are sections of their own.
        _ => String::new(),
    }
}
