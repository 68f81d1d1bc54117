//! What the values of one rendering may take: anyone may have written the template, and sixty steps that double a text
//! need more memory than there is. The filters of this file are put around every expression by `rewrite`.

use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Object, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};

/// The longest text that one rendering may make, in bytes.
pub(super) const LONGEST_TEXT: usize = 1 << 26;

/// A wider padding is a mistake, and would only take memory.
pub(super) const WIDEST: usize = 100_000;

/// Around what makes a value: counts it, and writes out what minijinja would compute later, again and again.
pub(super) const MADE: &str = "_made";
/// Around what is walked over: counts a part of it, so that time is bounded as well.
pub(super) const USED: &str = "_used";
/// Around what a namespace is to hold.
pub(super) const KEPT: &str = "_kept";
/// Around what is indexed, which takes time for a text only.
pub(super) const INDEXED: &str = "_indexed";
/// Around the left side of `+`, `~` and `*`.
pub(super) const LEFT: &str = "_left";
/// Around the right side of `+` and `~`.
pub(super) const ADDED: &str = "_added";
/// Around the right side of `*`.
pub(super) const FACTOR: &str = "_factor";
/// `value[start:stop:step]`.
pub(super) const SLICE: &str = "_slice";

/// The longest text that one expression may make, in bytes.
const LONGEST_VALUE: usize = 1 << 24;
/// All that the expressions of one rendering may make, in bytes.
const MOST_BYTES: u64 = 1 << 28;
/// What a value takes besides the bytes of its text.
const VALUE_BYTES: u64 = 128;
/// To walk over a byte costs this part of making it.
const USED_PART: u64 = 16;
/// Lists in lists; functions that walk over them take stack for each. JSON that is given has 128 at most.
const DEEPEST: usize = 160;

pub(super) fn adopt(environment: &mut Environment<'static>) {
    environment.add_filter(MADE, made);
    environment.add_filter(USED, used);
    environment.add_filter(KEPT, kept);
    environment.add_filter(INDEXED, |state: &State, value: Value| match value.as_str() {
        Some(_) => used(state, value),
        None => Ok(value),
    });
    environment.add_filter(LEFT, |state: &State, value: Value| {
        budget(state).change(|spent| spent.left_sides.push(value.clone()));
        value
    });
    environment.add_filter(ADDED, added);
    environment.add_filter(FACTOR, factor);
    environment.add_filter(SLICE, slice);
    // It prints all that there is, and Jinja2 has none.
    environment.remove_global("debug");
}

/// What a rendering has taken so far.
#[derive(Debug, Default)]
struct Budget(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    bytes: u64,
    written: usize,
    /// Of the operators whose right sides are being computed.
    left_sides: Vec<Value>,
}

impl Object for Budget {}

impl Budget {
    fn change<T>(&self, change: impl FnOnce(&mut Spent) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn budget(state: &State) -> Arc<Budget> {
    state.get_or_set_temp_object("_budget", Budget::default)
}

pub(super) fn refuse(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

fn too_much() -> Error {
    refuse(format!(
        "it makes values of more than {MOST_BYTES} bytes in all, as a list does that doubles in a loop"
    ))
}

fn charge(state: &State, bytes: u64) -> Result<(), Error> {
    let spent = budget(state).change(|spent| {
        spent.bytes = spent.bytes.saturating_add(bytes);
        spent.bytes
    });
    if spent > MOST_BYTES { Err(too_much()) } else { Ok(()) }
}

/// Counts what is printed, whether it ends up in the text or is captured.
pub(super) fn write(state: &State, bytes: usize) -> Result<(), Error> {
    let written = budget(state).change(|spent| {
        spent.written = spent.written.saturating_add(bytes);
        spent.written
    });
    if written > LONGEST_TEXT {
        return Err(refuse(format!("it renders more than {LONGEST_TEXT} bytes")));
    }
    Ok(())
}

/// Refuses a text before it is made. `bytes` may be more than it will have.
pub(super) fn text_of_length(bytes: usize) -> Result<(), Error> {
    if bytes > LONGEST_VALUE {
        return Err(refuse(format!(
            "it makes a text of more than {LONGEST_VALUE} bytes, as one does that doubles in a loop"
        )));
    }
    Ok(())
}

/// What lists in lists come to, in bytes.
struct Walk {
    bytes: u64,
    /// A list was met that minijinja would compute when it is read.
    is_lazy: bool,
}

/// The bytes of a value. What stands in it twice counts twice, since it is printed and compared twice.
fn walk(value: &Value) -> Result<Walk, Error> {
    let mut walk = Walk {
        bytes: 0,
        is_lazy: false,
    };
    walk.over(value, 0)?;
    Ok(walk)
}

pub(super) fn bytes_of(value: &Value) -> Result<usize, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.len());
    }
    Ok(walk(value)?.bytes as usize)
}

impl Walk {
    fn over(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.bytes += VALUE_BYTES;
        match value.kind() {
            ValueKind::String => self.bytes += value.as_str().unwrap_or_default().len() as u64,
            ValueKind::Bytes => self.bytes += value.as_bytes().unwrap_or_default().len() as u64,
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if depth == DEEPEST => {
                return Err(refuse(format!(
                    "it nests lists or dictionaries more than {DEEPEST} deep"
                )));
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.is_lazy |= !is_plain(value);
                for item in value.try_iter()? {
                    self.over(&item, depth + 1)?;
                }
            }
            ValueKind::Map if !is_of_engine(value) => {
                self.is_lazy |= !is_plain(value);
                for key in value.try_iter()? {
                    self.over(&key, depth + 1)?;
                    self.over(&value.get_item(&key)?, depth + 1)?;
                }
            }
            // These can come to hold what holds them.
            ValueKind::Map | ValueKind::Plain if depth > 0 => {
                return Err(refuse(
                    "a list, a dictionary or a namespace can hold no namespace, loop, macro or function",
                ));
            }
            _ => {}
        }
        if self.bytes > MOST_BYTES {
            Err(too_much())
        } else {
            Ok(())
        }
    }
}

/// Whether this is a namespace, a loop or the like, rather than a dictionary.
fn is_of_engine(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        let name = object.type_name();
        name.contains("::Namespace") || name.contains("minijinja::vm::")
    })
}

/// Whether all items of a list or dictionary are there.
fn is_plain(value: &Value) -> bool {
    const PLAIN: [&str; 3] = [
        "alloc::vec::Vec<",
        "alloc::collections::btree::map::BTreeMap<",
        "indexmap::map::IndexMap<",
    ];
    let is = |name: &str| PLAIN.iter().any(|plain| name.starts_with(plain));
    value.as_object().is_some_and(|object| is(object.type_name()))
}

fn made(state: &State, value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => {
            let bytes = value.as_str().unwrap_or_default().len();
            text_of_length(bytes)?;
            charge(state, bytes as u64 + VALUE_BYTES)?;
        }
        ValueKind::Map if is_of_engine(&value) => {
            for key in value.try_iter()? {
                kept(state, value.get_item(&key)?)?;
            }
        }
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            let walk = walk(&value)?;
            charge(state, walk.bytes)?;
            if walk.is_lazy {
                return written_out(&value);
            }
        }
        _ => {}
    }
    Ok(value)
}

/// The same lists with their items computed. A chain of lists that are each computed from the last takes stack for each.
fn written_out(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| written_out(&item));
            Ok(Value::from(items.collect::<Result<Vec<Value>, Error>>()?))
        }
        ValueKind::Map => {
            let pair = |key: Value| Ok((written_out(&key)?, written_out(&value.get_item(&key)?)?));
            let pairs: Result<Vec<(Value, Value)>, Error> = value.try_iter()?.map(pair).collect();
            Ok(Value::from_iter(pairs?))
        }
        _ => Ok(value.clone()),
    }
}

fn used(state: &State, value: Value) -> Result<Value, Error> {
    let bytes = match value.kind() {
        ValueKind::String => value.as_str().unwrap_or_default().len() as u64,
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => walk(&value)?.bytes,
        _ => 0,
    };
    charge(state, bytes / USED_PART)?;
    Ok(value)
}

/// Refuses what could come to hold what holds it, and what is nested too deep.
pub(super) fn kept(state: &State, value: Value) -> Result<Value, Error> {
    let mut walk = Walk {
        bytes: 0,
        is_lazy: false,
    };
    walk.over(&value, 1)?;
    charge(state, walk.bytes / USED_PART)?;
    Ok(value)
}

fn left_side(state: &State) -> Value {
    budget(state).change(|spent| spent.left_sides.pop()).unwrap_or_default()
}

fn added(state: &State, right: Value) -> Result<Value, Error> {
    let left = left_side(state);
    if left.as_str().is_some() || right.as_str().is_some() {
        text_of_length(bytes_of(&left)?.saturating_add(bytes_of(&right)?))?;
    }
    Ok(right)
}

fn factor(state: &State, right: Value) -> Result<Value, Error> {
    let left = left_side(state);
    for (repeated, times) in [(&left, &right), (&right, &left)] {
        let is_repeated = matches!(
            repeated.kind(),
            ValueKind::String | ValueKind::Seq | ValueKind::Iterable
        );
        if let Some(times) = times.as_usize().filter(|_| is_repeated) {
            let bytes = bytes_of(repeated)?.saturating_mul(times);
            match repeated.kind() {
                ValueKind::String => text_of_length(bytes)?,
                _ if bytes as u64 > MOST_BYTES => return Err(too_much()),
                _ => {}
            }
        }
    }
    Ok(right)
}

/// Python's slices. minijinja's own stop one too late where they run backwards to 0.
fn slice(value: Value, start: Value, stop: Value, step: Value) -> Result<Value, Error> {
    let number = |bound: Value| -> Result<Option<i64>, Error> {
        if bound.is_none() {
            return Ok(None);
        }
        i64::try_from(bound).map(Some)
    };
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?.unwrap_or(1));
    if step == 0 {
        return Err(refuse("a slice has the step 0"));
    }
    match value.kind() {
        ValueKind::String => {
            let letters: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            let places = places(letters.len(), start, stop, step);
            Ok(Value::from(places.map(|place| letters[place]).collect::<String>()))
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            let places = places(items.len(), start, stop, step);
            Ok(Value::from(
                places.map(|place| items[place].clone()).collect::<Vec<Value>>(),
            ))
        }
        ValueKind::Undefined | ValueKind::None => Ok(Value::from(Vec::<Value>::new())),
        kind => Err(refuse(format!("value of type {kind} cannot be sliced"))),
    }
}

/// The places that `[start:stop:step]` takes of so many.
fn places(length: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    // Where a slice that runs backwards ends is before the first place.
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let within = |place: i64| {
        let place = if place < 0 { place.saturating_add(length) } else { place };
        place.clamp(lowest, highest.max(lowest))
    };
    let start = start.map_or(if step > 0 { lowest } else { highest }, within);
    let stop = stop.map_or(if step > 0 { highest } else { lowest }, within);
    std::iter::successors(Some(start), move |place| place.checked_add(step))
        .take_while(move |place| if step > 0 { *place < stop } else { *place > stop })
        .filter_map(|place| usize::try_from(place).ok())
}

/// Refuses widths and precisions, the numbers of what says how to format a value.
pub(super) fn widths(format: &str) -> Result<(), Error> {
    let digits = |letter: char| !letter.is_ascii_digit();
    let is_wide = |number: &str| {
        let number = number.trim_start_matches('0');
        !number.is_empty() && number.parse().map_or(true, |width: usize| width > WIDEST)
    };
    let inside = format.split('{').skip(1).filter_map(|field| field.split('}').next());
    let fields: Vec<&str> = if format.contains('{') {
        inside.collect()
    } else {
        vec![format]
    };
    if fields.into_iter().flat_map(|field| field.split(digits)).any(is_wide) {
        return Err(refuse(format!("a text is made wider than {WIDEST}")));
    }
    Ok(())
}
