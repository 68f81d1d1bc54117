//! Python's methods of texts, lists and dictionaries.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::{bounds, python, texts};

pub(super) fn adopt(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
}

/// Python's methods: those of this folder, then minijinja's collection. What goes wrong names the method.
fn method(state: &State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    let result = match own_method(value, name, arguments) {
        Ok(Some(result)) => Ok(result),
        Ok(None) => unknown_method_callback(state, value, name, arguments),
        Err(error) => Err(error),
    };
    result.map_err(|error| match error.kind() {
        ErrorKind::UnknownMethod => bounds::refuse(format!("a value that is {} has no method {name}", value.kind())),
        kind => {
            let said = error.detail().map_or_else(|| kind.to_string(), str::to_owned);
            bounds::refuse(format!("method {name}: {said}"))
        }
    })
}

fn own_method(value: &Value, name: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            match texts::method(text, name, arguments)? {
                Some(result) => Ok(Some(result)),
                None => python::text_method(text, name, arguments),
            }
        }
        ValueKind::Seq | ValueKind::Iterable => python::list_method(value, name, arguments),
        ValueKind::Map if name == "copy" => Ok(Some(value.clone())),
        _ => Ok(None),
    }
}
