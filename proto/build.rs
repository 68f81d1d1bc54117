//! Generates from `anytime/v1/*.proto`, without protoc: messages and services, the short names of all enumerations, the
//! TOML form of the job specification, and the settings structures of its sections. Nothing here names a setting: what
//! a job file can hold is what `JobSpec` reaches.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use protox::prost_reflect::prost::Message as _;
use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

const PACKAGE: &str = "anytime.v1";

/// Messages that the command line prints as JSON.
const REPORTED_MESSAGES: [&str; 20] = [
    "StepMetrics",
    "StepTimeline",
    "LearnerSpan",
    "GroupTimes",
    "StepAccount",
    "TrainedGroup",
    "LeftOutGroup",
    "SegmentStatistics",
    "EvaluationResult",
    "Notice",
    "JobCheck",
    "CheckedToken",
    "DataCheck",
    "CheckedTruth",
    "MemoryCheck",
    "MemoryPart",
    "GpuNeed",
    "HubInput",
    "HubFile",
    "Waiting",
];

/// What the comment of a setting without a default says last: what happens where it is left out.
const OPEN: &str = "Without it:";

/// What the comment of a table says whose values are of any kind. Other tables have texts.
const KEPT_AS_JSON: &str = "kept as JSON";

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir("anytime/v1")? {
        files.push(entry?.path());
    }
    files.sort();
    println!("cargo:rerun-if-changed=anytime/v1");
    let descriptors = protox::compile(&files, ["."])?;
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out_dir.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let pool = DescriptorPool::from_file_descriptor_set(descriptors.clone())?;
    let job = pool
        .get_message_by_name(&format!("{PACKAGE}.JobSpec"))
        .ok_or("there is no JobSpec")?;
    let messages = reachable(&job);
    std::fs::write(out_dir.join("short_names.rs"), short_names(&pool)?)?;
    std::fs::write(out_dir.join("forms.rs"), forms(&messages)?)?;
    std::fs::write(out_dir.join("sections.rs"), sections(&job)?)?;

    let mut builder = tonic_prost_build::configure();
    for message in messages.values() {
        // A message with a choice is read and written by hand, see `forms`.
        if choice_of(message).is_some() {
            continue;
        }
        builder = builder.type_attribute(
            message.full_name(),
            "#[derive(serde::Serialize, serde::Deserialize)] #[serde(default, deny_unknown_fields)]",
        );
        for field in message.fields() {
            if let Kind::Enum(enumeration) = field.kind() {
                let name = enumeration.name();
                builder = builder.field_attribute(
                    field.full_name(),
                    format!(
                        "#[serde(serialize_with = \"crate::short_names::serialize::<{name}, _>\", \
                         deserialize_with = \"crate::short_names::deserialize::<{name}, _>\")]"
                    ),
                );
            }
            if let Some(attribute) = reader_of(&field) {
                builder = builder.field_attribute(field.full_name(), attribute);
            }
        }
    }
    for message in REPORTED_MESSAGES {
        builder = builder.type_attribute(format!("{PACKAGE}.{message}"), "#[derive(serde::Serialize)]");
    }
    // The codec looks up by its name how large a message becomes.
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    // Weights travel in chunks that are cut from one buffer without copying, and a group goes to Redis as it came; maps
    // are written in the same order always.
    builder
        .btree_map(".")
        .bytes(".anytime.v1.PushRequest.group")
        .bytes(".anytime.v1.WeightsChunk.data")
        .bytes(".anytime.v1.WeightsDelta.Block.data")
        .codec_path("crate::codec::BoundedCodec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// How a field is read that its type alone would read too leniently: a section only from a table, budgets only from a
/// list that has some, files from a text or a list of texts. A map is a table of texts, or of values of any kind, each of
/// which is kept as JSON.
fn reader_of(field: &FieldDescriptor) -> Option<&'static str> {
    match field.kind() {
        _ if field.is_map() && comment_of(field).contains(KEPT_AS_JSON) => Some(
            "#[serde(deserialize_with = \"crate::settings::values_from_table\", serialize_with = \
             \"crate::settings::values_as_table\", skip_serializing_if = \"std::collections::BTreeMap::is_empty\")]",
        ),
        _ if field.is_map() => Some("#[serde(skip_serializing_if = \"std::collections::BTreeMap::is_empty\")]"),
        Kind::Message(_) => Some("#[serde(deserialize_with = \"crate::settings::section_from_table\")]"),
        Kind::Uint32 if field.is_list() => Some(
            "#[serde(deserialize_with = \"crate::settings::budgets_from_list\", skip_serializing_if = \"Vec::is_empty\")]",
        ),
        Kind::String if field.is_list() => Some(
            "#[serde(deserialize_with = \"crate::settings::files_from_text_or_list\", \
             serialize_with = \"crate::settings::files_as_text_or_list\", skip_serializing_if = \"Vec::is_empty\")]",
        ),
        _ => None,
    }
}

/// A message and all that its fields hold, by name.
fn reachable(message: &MessageDescriptor) -> BTreeMap<String, MessageDescriptor> {
    let mut found = BTreeMap::from([(message.name().to_owned(), message.clone())]);
    for field in message.fields() {
        if let Kind::Message(inner) = field.kind()
            && !field.is_map()
        {
            found.extend(reachable(&inner));
        }
    }
    found
}

/// The fields of the one choice that a message has.
fn choice_of(message: &MessageDescriptor) -> Option<Vec<FieldDescriptor>> {
    let choice = message.oneofs().find(|choice| !choice.is_synthetic())?;
    Some(choice.fields().collect())
}

/// `impl ShortName` for every enumeration: the prefix is what comes before `UNSPECIFIED`.
fn short_names(pool: &DescriptorPool) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for enumeration in pool.all_enums() {
        let unspecified = enumeration.default_value();
        let Some(prefix) = unspecified.name().strip_suffix("UNSPECIFIED") else {
            continue;
        };
        if enumeration.parent_message().is_some() || enumeration.package_name() != PACKAGE {
            continue;
        }
        let name = enumeration.name();
        write!(
            text,
            "impl ShortName for v1::{name} {{\n\
             const PREFIX: &'static str = {prefix:?};\n\
             fn full_name(self) -> &'static str {{ self.as_str_name() }}\n\
             fn from_full_name(name: &str) -> Option<Self> {{ Self::from_str_name(name) }}\n}}\n"
        )?;
    }
    Ok(text)
}

/// Reading and writing of the messages that hold a choice: in TOML each possibility is a table beside the other fields.
/// A reserved name is a setting that has moved into such a table.
fn forms(messages: &BTreeMap<String, MessageDescriptor>) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for message in messages.values() {
        let Some(tables) = choice_of(message) else {
            continue;
        };
        let name = message.name();
        let choice = format!("v1::{}::Settings", snake(name));
        let plain: Vec<FieldDescriptor> = message
            .fields()
            .filter(|field| field.containing_oneof().is_none_or(|choice| choice.is_synthetic()))
            .collect();
        let known: Vec<String> = plain
            .iter()
            .chain(&tables)
            .map(|field| field.name().to_owned())
            .collect();
        let mut read = String::new();
        let mut write_fields = String::new();
        for field in &plain {
            let field_name = field.name();
            match field.kind() {
                Kind::Enum(enumeration) => {
                    let kind = format!("Named::<v1::{}>", enumeration.name());
                    writeln!(
                        read,
                        "{field_name:?} => spec.{field_name} = map.next_value::<{kind}>()?.number,"
                    )?;
                    writeln!(
                        write_fields,
                        "form.serialize_field({field_name:?}, &{kind}::new(self.{field_name}))?;"
                    )?;
                }
                _ => {
                    writeln!(read, "{field_name:?} => spec.{field_name} = map.next_value()?,")?;
                    writeln!(
                        write_fields,
                        "form.serialize_field({field_name:?}, &self.{field_name})?;"
                    )?;
                }
            }
        }
        let mut written = String::new();
        let (mut names, mut of_name) = (String::new(), String::new());
        for table in &tables {
            let (field_name, variant) = (table.name(), camel(table.name()));
            writeln!(
                read,
                "{field_name:?} => {{ one_table::<A::Error>(spec.settings.as_ref().map({choice}::name), {field_name:?})?; \
                 spec.settings = Some({choice}::{variant}(map.next_value::<FromTable<_>>()?.0)); }}"
            )?;
            writeln!(
                written,
                "Some({choice}::{variant}(own)) => form.serialize_field({field_name:?}, own)?,"
            )?;
            writeln!(names, "Self::{variant}(_) => {field_name:?},")?;
            writeln!(of_name, "{field_name:?} => Some(Self::{variant}(Default::default())),")?;
        }
        for moved in message.reserved_names() {
            let is_owner = |table: &&FieldDescriptor| match table.kind() {
                Kind::Message(own) => own.get_field_by_name(moved).is_some(),
                _ => false,
            };
            let owners: Vec<&str> = tables.iter().filter(is_owner).map(FieldDescriptor::name).collect();
            writeln!(
                read,
                "{moved:?} => return Err(A::Error::custom(moved({moved:?}, &{owners:?}))),"
            )?;
        }
        let all: Vec<&str> = tables.iter().map(FieldDescriptor::name).collect();
        write!(
            text,
            r#"
impl {choice} {{
    /// The names of all tables, in the order of the proto file.
    pub const NAMES: &'static [&'static str] = &{all:?};

    /// The name of the table.
    pub fn name(&self) -> &'static str {{
        match self {{ {names} }}
    }}

    /// The empty table with this name.
    pub fn of_name(name: &str) -> Option<Self> {{
        match name {{ {of_name} _ => None }}
    }}
}}

impl serde::Serialize for v1::{name} {{
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {{
        let count = {count} + usize::from(self.settings.is_some());
        let mut form = serializer.serialize_struct({name:?}, count)?;
        {write_fields}
        match &self.settings {{
            {written}
            None => {{}}
        }}
        form.end()
    }}
}}

impl<'de> serde::Deserialize<'de> for v1::{name} {{
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {{
        struct Form;
        impl<'de> serde::de::Visitor<'de> for Form {{
            type Value = v1::{name};
            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{
                formatter.write_str("a table of settings")
            }}
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {{
                let mut spec = v1::{name}::default();
                while let Some(key) = map.next_key::<String>()? {{
                    match key.as_str() {{
                        {read}
                        other => return Err(A::Error::unknown_field(other, KNOWN)),
                    }}
                }}
                Ok(spec)
            }}
        }}
        const KNOWN: &[&str] = &{known:?};
        deserializer.deserialize_struct({name:?}, KNOWN, Form)
    }}
}}
"#,
            count = plain.len(),
        )?;
    }
    Ok(text)
}

/// `RolloutSettings` for `RolloutSpec` and so on: every field of a section with its value, because the defaults are
/// filled in. Sections that hold a choice have a structure of their own by hand.
fn sections(job: &MessageDescriptor) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for section in job.fields() {
        let Kind::Message(message) = section.kind() else {
            continue;
        };
        if section.is_map() || choice_of(&message).is_some() {
            continue;
        }
        structure(&mut text, section.name(), &message)?;
    }
    Ok(text)
}

/// The structure of one section, and before it those of the tables in it, which a job may have or not.
fn structure(text: &mut String, section: &str, message: &MessageDescriptor) -> std::fmt::Result {
    let spec = message.name();
    let name = settings_of(message);
    let (mut fields, mut values) = (String::new(), String::new());
    for field in message.fields() {
        let comment = comment_of(&field);
        for line in comment.lines() {
            writeln!(fields, "    #[doc = {line:?}]")?;
        }
        let field_name = field.name();
        // An empty map says already that nothing is written.
        let is_open = comment.contains(OPEN) && !field.is_map();
        let kind = type_of(&field);
        let value = match field.kind() {
            _ if field.is_list() || field.is_map() => format!("spec.{field_name}.clone()"),
            Kind::Message(table) => {
                structure(text, &format!("{section}.{field_name}"), &table)?;
                format!("spec.{field_name}.as_ref().map({}::new)", settings_of(&table))
            }
            Kind::String if is_open => format!("spec.{field_name}.clone()"),
            _ if is_open => format!("spec.{field_name}"),
            Kind::String => format!("spec.{field_name}().to_owned()"),
            _ => format!("spec.{field_name}()"),
        };
        let is_optional = is_open || (matches!(field.kind(), Kind::Message(_)) && !field.is_map());
        let kind = if is_optional { format!("Option<{kind}>") } else { kind };
        let missing = if comment.is_empty() {
            "    #[allow(missing_docs)]\n"
        } else {
            ""
        };
        writeln!(fields, "{missing}    pub {field_name}: {kind},")?;
        writeln!(values, "            {field_name}: {value},")?;
    }
    write!(
        text,
        "/// The section `{section}` of a job, checked; see `{spec}` in spec.proto.\n\
         #[derive(Clone, Debug, PartialEq)]\npub struct {name} {{\n{fields}}}\n\n\
         impl {name} {{\n    pub(super) fn new(spec: &v1::{spec}) -> Self {{\n        Self {{\n{values}        }}\n    }}\n}}\n\n",
    )
}

fn settings_of(message: &MessageDescriptor) -> String {
    message.name().replace("Spec", "Settings")
}

fn type_of(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Double => "f64".to_owned(),
        Kind::Uint32 => "u32".to_owned(),
        Kind::Uint64 => "u64".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::String => "String".to_owned(),
        Kind::Enum(enumeration) => format!("v1::{}", enumeration.name()),
        Kind::Message(table) if !field.is_map() => return settings_of(&table),
        Kind::Message(_) => return "std::collections::BTreeMap<String, String>".to_owned(),
        other => panic!("{}: no setting is a {other:?}", field.full_name()),
    };
    if field.is_list() { format!("Vec<{kind}>") } else { kind }
}

fn comment_of(field: &FieldDescriptor) -> String {
    let path = field.path().to_vec();
    let file = field.parent_file();
    let locations = file.file_descriptor_proto().source_code_info.iter();
    let comment = locations
        .flat_map(|info| &info.location)
        .find(|location| location.path == path)
        .and_then(|location| location.leading_comments.clone());
    let comment = comment.unwrap_or_default();
    let lines: Vec<&str> = comment.lines().map(str::trim).collect();
    lines.join("\n")
}

/// `ObjectiveSpec` as `objective_spec`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// `short_rl` as `ShortRl`.
fn camel(name: &str) -> String {
    let capitalised = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    name.split('_').map(capitalised).collect()
}
