//! Whatever was once sent can be read for ever: `proto/wire.txt` lists every field, value and method that there has been,
//! and this test fails where one of them is not as it was. Jobs, events, checkpoints and queues on disk are of earlier
//! versions, and so are clients. `make lint-proto` compares with the last tag as well.

use std::path::Path;

use prost::Message as _;
use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

const PACKAGE: &str = "anytime.v1";

const HEAD: &str = "\
# Every field, enumeration value and method of anytime.v1, with its number and type. A line that is here stays: whoever
# takes a field away reserves its number and name, and nobody changes one. A test compares this file with the protos.
# New lines are added by
#
#   UPDATE=1 cargo test -p anytime-proto
#
# which changes no line that is here. To break the wire on purpose, delete the line by hand in the same commit, and say
# why in its message.

";

/// One line for everything that the wire depends on, in the order of the proto files.
fn listing() -> Vec<String> {
    let set = FileDescriptorSet::decode(crate::FILE_DESCRIPTORS).expect("the build script encoded these descriptors");
    let mut files: Vec<_> = set.file.iter().filter(|file| file.package() == PACKAGE).collect();
    files.sort_by_key(|file| file.name().to_owned());
    let mut lines = Vec::new();
    for file in files {
        for message in &file.message_type {
            list_message(message, PACKAGE, &mut lines);
        }
        for enumeration in &file.enum_type {
            list_enumeration(enumeration, PACKAGE, &mut lines);
        }
        for service in &file.service {
            list_service(service, &mut lines);
        }
    }
    lines
}

fn list_message(message: &DescriptorProto, scope: &str, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", message.name());
    let mut fields: Vec<&FieldDescriptorProto> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        lines.push(format!("{name} {}", field_line(message, field)));
    }
    for range in &message.reserved_range {
        // The end is not part of it.
        lines.push(format!("{name} reserved {} to {}", range.start(), range.end() - 1));
    }
    for reserved in &message.reserved_name {
        lines.push(format!("{name} reserved {reserved}"));
    }
    for inner in &message.nested_type {
        list_message(inner, &name, lines);
    }
    for inner in &message.enum_type {
        list_enumeration(inner, &name, lines);
    }
}

/// `18 optional uint64 recovery_step`; `3 anytime.v1.StateChanged state of event` where it is one of a choice.
fn field_line(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    let scalar = field
        .r#type()
        .as_str_name()
        .trim_start_matches("TYPE_")
        .to_ascii_lowercase();
    let kind = match field.type_name().trim_start_matches('.') {
        "" => scalar.as_str(),
        named => named,
    };
    let index = field.oneof_index.and_then(|index| usize::try_from(index).ok());
    let choice = index.and_then(|index| message.oneof_decl.get(index));
    let choice = match choice {
        Some(choice) if !field.proto3_optional() => format!(" of {}", choice.name()),
        _ => String::new(),
    };
    format!("{} {label}{kind} {}{choice}", field.number(), field.name())
}

fn list_enumeration(enumeration: &EnumDescriptorProto, scope: &str, lines: &mut Vec<String>) {
    let name = format!("{scope}.{}", enumeration.name());
    for value in &enumeration.value {
        lines.push(format!("{name} {} {}", value.number(), value.name()));
    }
    for range in &enumeration.reserved_range {
        lines.push(format!("{name} reserved {} to {}", range.start(), range.end()));
    }
    for reserved in &enumeration.reserved_name {
        lines.push(format!("{name} reserved {reserved}"));
    }
}

fn list_service(service: &ServiceDescriptorProto, lines: &mut Vec<String>) {
    let stream = |is_stream: bool| if is_stream { "stream " } else { "" };
    for method in &service.method {
        lines.push(format!(
            "{PACKAGE}.{}/{} {}{} -> {}{}",
            service.name(),
            method.name(),
            stream(method.client_streaming()),
            method.input_type().trim_start_matches('.'),
            stream(method.server_streaming()),
            method.output_type().trim_start_matches('.'),
        ));
    }
}

/// The lines that are in the file and not in the protos any more.
fn broken<'a>(written: &'a str, now: &[String]) -> Vec<&'a str> {
    let lines = written
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter(|line| !now.iter().any(|other| other == line)).collect()
}

#[test]
fn what_was_sent_once_can_be_read_for_ever() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("wire.txt");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let now = listing();
    let missing = broken(&written, &now);
    assert!(
        missing.is_empty(),
        "this breaks what is on disk and who calls; {} has, and the protos have not:\n{}",
        path.display(),
        missing.join("\n")
    );
    let text = format!("{HEAD}{}\n", now.join("\n"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("writable");
        return;
    }
    let lags = "lags behind: UPDATE=1 cargo test -p anytime-proto";
    assert!(written == text, "{} {lags}", path.display());
}

#[test]
fn a_field_that_changes_is_found_and_a_new_one_is_not() {
    let now = listing();
    assert!(now.len() > 400, "{}", now.len());
    assert!(now.contains(&"anytime.v1.Job 18 optional uint64 recovery_step".to_owned()));
    assert!(now.contains(&"anytime.v1.JobEvent 3 anytime.v1.StateChanged state of event".to_owned()));
    assert!(now.contains(&"anytime.v1.ObjectiveSpec reserved 11 to 23".to_owned()));
    assert!(
        now.contains(
            &"anytime.v1.JobService/Watch anytime.v1.WatchJobRequest -> stream anytime.v1.JobEvent".to_owned()
        )
    );
    let text = format!("{HEAD}{}\n", now.join("\n"));
    assert_eq!(broken(&text, &now), Vec::<&str>::new());
    let mut later = now.clone();
    later.push("anytime.v1.Job 99 string motto".to_owned());
    assert_eq!(broken(&text, &later), Vec::<&str>::new());
    later.retain(|line| line != "anytime.v1.Job 1 string id");
    later.push("anytime.v1.Job 1 bytes id".to_owned());
    assert_eq!(broken(&text, &later), ["anytime.v1.Job 1 string id"]);
}
