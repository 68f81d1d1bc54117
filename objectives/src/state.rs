//! The state that an objective keeps between steps carries the name of the objective, so that another objective does
//! not take it for its own.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

/// The state to take over is not one of this objective.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("state of the objective: {0}")]
pub struct InvalidState(pub String);

/// The state as it is saved: the fields of `state`, which must serialise to an object, and `name`.
pub(crate) fn named<T: Serialize>(name: &str, state: &T) -> Value {
    let mut value = serde_json::to_value(state).unwrap_or_default();
    value["name"] = json!(name);
    value
}

/// Reads back a state that [`named`] made under this name.
pub(crate) fn read_named<T: DeserializeOwned>(name: &str, state: Value) -> Result<T, InvalidState> {
    if state["name"] != name {
        let problem = format!("is that of {}, and the job trains with \"{name}\"", state["name"]);
        return Err(InvalidState(problem));
    }
    serde_json::from_value(state).map_err(|error| InvalidState(format!("of \"{name}\": {error}")))
}
