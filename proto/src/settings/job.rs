//! A job specification whose settings are reached by their dotted names: what lets one table fill in and check them
//! all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use crate::v1;

#[allow(clippy::expect_used)]
static JOB_SPEC: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    DescriptorPool::decode(crate::FILE_DESCRIPTORS)
        .expect("the build script encoded these descriptors")
        .get_message_by_name("anytime.v1.JobSpec")
        .expect("the messages of this crate are generated from the same descriptors")
});

/// A [`v1::JobSpec`] by dotted names such as `objective.kimi.length_weight`.
#[derive(Clone, Debug)]
pub(super) struct Job(DynamicMessage);

impl Job {
    /// The job with all its sections, those of objectives only as far as they are written.
    #[allow(clippy::expect_used)]
    pub(super) fn new(spec: &v1::JobSpec) -> Self {
        let mut message = DynamicMessage::new(JOB_SPEC.clone());
        message
            .transcode_from(spec)
            .expect("both are generated from the same descriptors");
        for section in JOB_SPEC.fields() {
            if let Kind::Message(inner) = section.kind()
                && !section.is_map()
                && !message.has_field(&section)
            {
                message.set_field(&section, Value::Message(DynamicMessage::new(inner)));
            }
        }
        Self(message)
    }

    #[allow(clippy::expect_used)]
    pub(super) fn into_spec(self) -> v1::JobSpec {
        self.0
            .transcode_to()
            .expect("both are generated from the same descriptors")
    }

    /// The descriptor of the specification, for the test that lists all settings.
    #[cfg(test)]
    pub(super) fn descriptor() -> &'static MessageDescriptor {
        &JOB_SPEC
    }

    /// The field with this name; None where there is no such setting.
    pub(super) fn field(path: &str) -> Option<FieldDescriptor> {
        let mut message = JOB_SPEC.clone();
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let field = message.get_field_by_name(part)?;
            if parts.peek().is_none() {
                return Some(field);
            }
            let Kind::Message(inner) = field.kind() else {
                return None;
            };
            message = inner;
        }
        None
    }

    /// The value that is written; None where the setting or its table is not written.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        let (section, name) = self.section(path)?;
        if !section.has_field_by_name(name) {
            return None;
        }
        section.get_field_by_name(name).map(|value| value.into_owned())
    }

    /// Writes a value; does nothing where its table is not there.
    pub(super) fn set(&mut self, path: &str, value: Value) {
        let mut message = &mut self.0;
        let mut parts: Vec<&str> = path.split('.').collect();
        let Some(name) = parts.pop() else {
            return;
        };
        for part in parts {
            if !message.has_field_by_name(part) {
                return;
            }
            let Some(Value::Message(inner)) = message.get_field_by_name_mut(part) else {
                return;
            };
            message = inner;
        }
        message.set_field_by_name(name, value);
    }

    /// Whether the table of a setting is there.
    pub(super) fn has_section(&self, path: &str) -> bool {
        self.section(path).is_some()
    }

    fn section<'a>(&self, path: &'a str) -> Option<(&DynamicMessage, &'a str)> {
        let Some((sections, name)) = path.rsplit_once('.') else {
            return Some((&self.0, path));
        };
        let mut message = &self.0;
        for part in sections.split('.') {
            if !message.has_field_by_name(part) {
                return None;
            }
            // What is there is borrowed: a job is looked at hundreds of times while it is filled in and checked.
            let Cow::Borrowed(Value::Message(inner)) = message.get_field_by_name(part)? else {
                return None;
            };
            message = inner;
        }
        Some((message, name))
    }

    /// A number of a setting; 0 where it is not written.
    pub(super) fn whole(&self, path: &str) -> u64 {
        match self.get(path) {
            Some(Value::U32(number)) => u64::from(number),
            Some(Value::U64(number)) => number,
            _ => 0,
        }
    }

    /// Whether a setting is on; false where it is not written.
    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.get(path), Some(Value::Bool(true)))
    }

    /// A text of a setting; empty where it is not written.
    pub(super) fn text(&self, path: &str) -> String {
        match self.get(path) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        }
    }

    /// The texts of a list.
    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        let Some(Value::List(values)) = self.get(path) else {
            return Vec::new();
        };
        values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// The entries of a map of texts.
    pub(super) fn texts_by_name(&self, path: &str) -> BTreeMap<String, String> {
        let Some(Value::Map(entries)) = self.get(path) else {
            return BTreeMap::new();
        };
        let text = |(name, value): (MapKey, Value)| match (name, value) {
            (MapKey::String(name), Value::String(value)) => Some((name, value)),
            _ => None,
        };
        entries.into_iter().filter_map(text).collect()
    }

    /// The numbers of a list.
    pub(super) fn numbers(&self, path: &str) -> Vec<f64> {
        let Some(Value::List(values)) = self.get(path) else {
            return Vec::new();
        };
        values.iter().filter_map(Value::as_f64).collect()
    }

    /// A list of budgets.
    pub(super) fn budgets(&self, path: &str) -> Vec<u32> {
        let Some(Value::List(values)) = self.get(path) else {
            return Vec::new();
        };
        values.iter().filter_map(Value::as_u32).collect()
    }

    /// The variant of an enumeration; unspecified where it is not written.
    pub(super) fn choice<E: TryFrom<i32> + Default>(&self, path: &str) -> E {
        match self.get(path) {
            Some(Value::EnumNumber(number)) => E::try_from(number).unwrap_or_default(),
            _ => E::default(),
        }
    }
}
