//! Jinja2's filters `int` and `float`.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error};

use super::bounds::refuse;

pub(super) fn adopt(environment: &mut Environment<'static>) {
    environment.add_filter("int", int);
    environment.add_filter("float", float);
}

/// `value|int(default=0, base=10)`. The base is for texts.
fn int(value: &Value, default: Option<Value>, base: Option<u32>, named: Kwargs) -> Result<Value, Error> {
    let default = given(default, "default", &named)?;
    let base = given(base, "base", &named)?.unwrap_or(10);
    named.assert_all_used()?;
    if base != 0 && !(2..=36).contains(&base) {
        return Err(refuse(format!("int: base is {base} and must be 0 or 2 to 36")));
    }
    let based = value.as_str().filter(|_| base != 10);
    let number = match based.and_then(|text| in_base(text, base)).or_else(|| number_of(value)) {
        Some(number) if number.is_integer() => Some(number),
        Some(number) => f64::try_from(number)
            .ok()
            .filter(|x| x.is_finite())
            .map(|x| Value::from(x as i64)),
        None => None,
    };
    Ok(number.or(default).unwrap_or_else(|| Value::from(0)))
}

/// `value|float(default=0.0)`.
fn float(value: &Value, default: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let default = given(default, "default", &named)?;
    named.assert_all_used()?;
    let number = number_of(value).and_then(|number| f64::try_from(number).ok());
    Ok(number.map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0)))
}

/// An argument by its place or, failing that, by its name.
fn given<T>(positional: Option<T>, name: &str, named: &Kwargs) -> Result<Option<T>, Error>
where
    Option<T>: for<'a> minijinja::value::ArgType<'a, Output = Option<T>>,
{
    match positional {
        Some(value) => Ok(Some(value)),
        None => named.get::<Option<T>>(name),
    }
}

/// `int(text, base)`. The base 0 reads it from the text.
fn in_base(text: &str, base: u32) -> Option<Value> {
    let text = text.trim();
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, of)| Some((lower.strip_prefix(prefix)?, of)))
        .filter(|(_, of)| base == 0 || base == *of);
    let (digits, base) = prefixed.unwrap_or((&lower, if base == 0 { 10 } else { base }));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(digits, base).ok()?;
    Some(Value::from(if is_negative { -number } else { number }))
}

fn number_of(value: &Value) -> Option<Value> {
    match value.kind() {
        ValueKind::Number => Some(value.clone()),
        ValueKind::Bool => Some(Value::from(i64::from(value.is_true()))),
        _ => {
            let text = value.as_str()?.trim();
            let whole = text.parse::<i64>().ok().map(Value::from);
            whole.or_else(|| text.parse::<f64>().ok().map(Value::from))
        }
    }
}
