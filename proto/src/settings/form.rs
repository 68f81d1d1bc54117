//! The TOML form of the messages that hold a choice: `[objective.kimi]` is the table of one possibility. Generated from
//! the descriptors; this file has what the generated code says to people.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

use crate::short_names::Named;
use crate::v1;

include!(concat!(env!("OUT_DIR"), "/forms.rs"));

/// Refuses a second table: a job has one objective.
fn one_table<E: serde::de::Error>(written: Option<&'static str>, name: &str) -> Result<(), E> {
    match written {
        Some(other) if other != name => Err(E::custom(format!(
            "[objective.{other}] and [objective.{name}] are both written; a job has one objective"
        ))),
        _ => Ok(()),
    }
}

/// The place of a setting that job files used to write beside the name of the objective.
fn moved(setting: &str, owners: &[&str]) -> String {
    let tables: Vec<String> = owners.iter().map(|owner| format!("[objective.{owner}]")).collect();
    format!(
        "objective.{setting} is now written as {setting} under {}",
        tables.join(" or ")
    )
}

/// A section of a job file. Serde's derived readers would also accept a list and take its entries as the settings in
/// order.
struct FromTable<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FromTable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyTable<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyTable<T> {
            type Value = T;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a table of settings")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(OnlyTable(PhantomData)).map(Self)
    }
}

/// Reads a section that may be missing.
pub(crate) fn section_from_table<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let section = Option::<FromTable<T>>::deserialize(deserializer)?;
    Ok(section.map(|section| section.0))
}

/// Reads budgets and refuses an empty list, because a specification cannot tell it from one that is left out.
pub(crate) fn budgets_from_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let budgets = Vec::<u32>::deserialize(deserializer)?;
    if budgets.is_empty() {
        return Err(D::Error::custom(
            "it is an empty list; it must hold a budget or more, or be left out for the default",
        ));
    }
    Ok(budgets)
}

/// Reads files: one text, or a list of texts that has some.
pub(crate) fn files_from_text_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Files;
    impl<'de> Visitor<'de> for Files {
        type Value = Vec<String>;
        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a text in quotes or a list of them")
        }
        fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Vec<String>, E> {
            Ok(vec![name.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Vec<String>, A::Error> {
            let mut files = Vec::new();
            while let Some(name) = names.next_element()? {
                files.push(name);
            }
            if files.is_empty() {
                return Err(A::Error::custom("it is an empty list; it must have an entry or more"));
            }
            Ok(files)
        }
    }
    deserializer.deserialize_any(Files)
}

/// Writes files as they are mostly written: one as a text, several as a list.
pub(crate) fn files_as_text_or_list<S: serde::Serializer>(files: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match files {
        [file] => serializer.serialize_str(file),
        files => serializer.collect_seq(files),
    }
}

/// Reads a table of values of any kind, each of which becomes JSON.
pub(crate) fn values_from_table<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let FromTable(table) = FromTable::<BTreeMap<String, toml::Value>>::deserialize(deserializer)?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let json = as_json(&value).map_err(|reason| D::Error::custom(format!("{name} {reason}")))?;
        values.insert(name, json.to_string());
    }
    Ok(values)
}

/// JSON has no dates and no infinite numbers.
fn as_json(value: &toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) if number.is_finite() => (*number).into(),
        toml::Value::Float(number) => return Err(format!("is {number}; it must be a finite number")),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(date) => return Err(format!("is a date, {date}; it must be a text in quotes")),
        toml::Value::Array(items) => items.iter().map(as_json).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(table) => {
            let entries = table.iter().map(|(name, item)| Ok((name.clone(), as_json(item)?)));
            serde_json::Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}

/// Writes the values of such a table again. A null, which TOML does not have, is left out.
pub(crate) fn values_as_table<S: Serializer>(
    values: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut table = BTreeMap::new();
    for (name, json) in values {
        let value: serde_json::Value =
            serde_json::from_str(json).map_err(|error| S::Error::custom(format!("{name}: {error}")))?;
        if !value.is_null() {
            table.insert(name, value);
        }
    }
    table.serialize(serializer)
}
