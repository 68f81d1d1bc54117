//! The TOML form of the messages that hold a choice: `[objective.kimi]` is the table of one possibility. Generated from
//! the descriptors; this file has what the generated code says to people.

use serde::de::Error as _;
use serde::ser::SerializeStruct as _;

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
