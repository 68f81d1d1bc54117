//! Enumerations by their short names: `JOB_KIND_TRAIN` is `train` in a job file and on the command line.

use std::marker::PhantomData;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::v1;

/// An enumeration of the proto files: its variants share the prefix of its name, and the first is `UNSPECIFIED`.
pub trait ShortName: Sized + Copy + TryFrom<i32> + Into<i32> {
    /// What every variant's name starts with, the last underscore included.
    const PREFIX: &'static str;

    /// The variant's name in the proto file.
    fn full_name(self) -> &'static str;

    /// The variant with this name in the proto file.
    fn from_full_name(name: &str) -> Option<Self>;

    /// The lower-case name without the prefix.
    fn short_name(self) -> String {
        self.full_name().trim_start_matches(Self::PREFIX).to_ascii_lowercase()
    }

    /// The variant with this short name; `unspecified` is none.
    fn from_short_name(name: &str) -> Option<Self> {
        let is_short = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_short || name == "unspecified" {
            return None;
        }
        Self::from_full_name(&format!("{}{}", Self::PREFIX, name.to_ascii_uppercase()))
    }

    /// All short names, for messages that say what is allowed.
    fn allowed() -> String {
        let names: Vec<String> = (1..)
            .map_while(|number| Self::try_from(number).ok())
            .map(Self::short_name)
            .collect();
        names.join(", ")
    }
}

include!(concat!(env!("OUT_DIR"), "/short_names.rs"));

pub(crate) fn serialize<E: ShortName, S: Serializer>(value: &Option<i32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value.and_then(|number| E::try_from(number).ok()) {
        Some(variant) => serializer.serialize_some(&variant.short_name()),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn deserialize<'de, E: ShortName, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match E::from_short_name(&name) {
        Some(variant) => Ok(Some(variant.into())),
        None => Err(D::Error::custom(format!(
            "it is {name:?}; it must be one of {}",
            E::allowed()
        ))),
    }
}

/// An enumeration's number that is read and written by its short name.
pub(crate) struct Named<E> {
    pub(crate) number: Option<i32>,
    kind: PhantomData<E>,
}

impl<E> Named<E> {
    pub(crate) fn new(number: Option<i32>) -> Self {
        Self {
            number,
            kind: PhantomData,
        }
    }
}

impl<E: ShortName> Serialize for Named<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize::<E, S>(&self.number, serializer)
    }
}

impl<'de, E: ShortName> Deserialize<'de> for Named<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize::<E, D>(deserializer).map(Self::new)
    }
}
