//! One row of the table of settings: the default and the check of a setting, and how they are carried out.

use prost_reflect::{FieldDescriptor, Kind, Value};

use super::data_files::data_files;
use super::error::InvalidSetting;
use super::job::Job;
use crate::v1;

pub(super) type Checked<T> = Result<T, InvalidSetting>;

/// The largest whole number that TOML can hold. Jobs are printed and kept as TOML.
const LARGEST: u64 = i64::MAX as u64;

/// One setting.
pub(super) struct Row {
    /// Its dotted name.
    pub(super) path: &'static str,
    pub(super) default: Default,
    pub(super) check: Check,
}

/// The value of a setting that nobody has written.
pub(super) enum Default {
    /// It has to be written in jobs of these kinds; the literal is an example.
    Required(Literal, Kinds),
    Is(Literal),
    /// It follows from other settings, as the text says.
    Computed(&'static str, fn(&Job) -> Option<Value>),
    /// It stays open; the comment in the proto file says what happens then. The literal is an example.
    Open(Literal),
}

/// Kinds of jobs.
#[derive(Clone, Copy)]
pub(super) enum Kinds {
    All,
    AllBut(v1::JobKind),
    Only(v1::JobKind),
}

/// A value as a table can hold it; [`Literal::value`] gives it the type of its field.
#[derive(Clone, Copy)]
pub(super) enum Literal {
    Flag(bool),
    Whole(u64),
    Number(f64),
    /// A text, or the short name of an enumeration's variant.
    Text(&'static str),
    List(&'static [u32]),
    Texts(&'static [&'static str]),
    /// A table of values, as TOML; only as an example.
    Table(&'static str),
}

/// The values that a setting may have. An enumeration is always checked to be one of its variants.
pub(super) enum Check {
    Any,
    /// A whole number from … to.
    Whole(u64, u64),
    /// A finite number that satisfies this; the text continues "it must be".
    Number(fn(f64) -> bool, &'static str),
    /// Files that hold rows; the text continues "it must be".
    Files(&'static str),
    /// A check that reads other settings or whose reason takes more than a clause.
    Rule(fn(&Job, &str) -> Checked<()>),
}

pub(super) const fn row(path: &'static str, default: Default, check: Check) -> Row {
    Row { path, default, check }
}

impl Kinds {
    pub(super) fn holds(self, kind: v1::JobKind) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(other) => kind != other,
            Self::Only(only) => kind == only,
        }
    }
}

impl Literal {
    /// The value as the field has it.
    pub(super) fn value(self, field: &FieldDescriptor) -> Value {
        match (self, field.kind()) {
            (Self::Flag(flag), _) => Value::Bool(flag),
            (Self::Whole(number), Kind::Uint64) => Value::U64(number),
            (Self::Whole(number), Kind::Int32) => Value::I32(number as i32),
            (Self::Whole(number), _) => Value::U32(number as u32),
            (Self::Number(number), _) => Value::F64(number),
            (Self::Text(name), Kind::Enum(enumeration)) => {
                let is_meant = |full_name: &str| short_name(&enumeration, full_name) == name;
                let variant = enumeration.values().find(|variant| is_meant(variant.name()));
                Value::EnumNumber(variant.map_or(0, |variant| variant.number()))
            }
            (Self::Text(text), _) if field.is_list() => Value::List(vec![Value::String(text.to_owned())]),
            (Self::Text(text), _) => Value::String(text.to_owned()),
            (Self::Texts(texts), _) => {
                Value::List(texts.iter().map(|text| Value::String((*text).to_owned())).collect())
            }
            (Self::Table(_), _) => Value::Map(std::collections::HashMap::new()),
            (Self::List(numbers), _) => Value::List(numbers.iter().copied().map(Value::U32).collect()),
        }
    }
}

/// `train` of `JOB_KIND_TRAIN`.
pub(super) fn short_name(enumeration: &prost_reflect::EnumDescriptor, full_name: &str) -> String {
    let unspecified = enumeration.default_value();
    let prefix = unspecified.name().trim_end_matches("UNSPECIFIED");
    full_name.trim_start_matches(prefix).to_ascii_lowercase()
}

impl Row {
    /// Writes the default where nothing is written.
    pub(super) fn fill(&self, job: &mut Job) {
        if !job.has_section(self.path) || job.get(self.path).is_some() {
            return;
        }
        let value = match (&self.default, Job::field(self.path)) {
            (Default::Is(literal), Some(field)) => Some(literal.value(&field)),
            (Default::Computed(_, of), _) => of(job),
            _ => None,
        };
        if let Some(value) = value {
            job.set(self.path, value);
        }
    }

    /// Checks a setting whose default is filled in. A table that is not there is not checked.
    pub(super) fn check(&self, job: &Job) -> Checked<()> {
        let Some(field) = Job::field(self.path).filter(|_| job.has_section(self.path)) else {
            return Ok(());
        };
        let kind: v1::JobKind = job.choice("kind");
        let is_required = matches!(&self.default, Default::Required(_, kinds) if kinds.holds(kind));
        let value = job.get(self.path);
        if let Kind::Enum(enumeration) = field.kind() {
            let number = value.as_ref().and_then(Value::as_enum_number).unwrap_or_default();
            if number == 0 || enumeration.get_value(number).is_none() {
                let names: Vec<String> = enumeration
                    .values()
                    .filter(|variant| variant.number() != 0)
                    .map(|variant| short_name(&enumeration, variant.name()))
                    .collect();
                let reason = format!("it must be {}", alternatives(&names));
                return Err(match value {
                    Some(_) => InvalidSetting::new(self.path, number, reason),
                    None => InvalidSetting::missing(self.path, reason),
                });
            }
        }
        let Some(value) = value else {
            return match (&self.check, is_required) {
                (Check::Files(what), true) => Err(InvalidSetting::missing(self.path, format!("it must be {what}"))),
                (Check::Rule(rule), _) => rule(job, self.path),
                _ => Ok(()),
            };
        };
        if let Some(number) = value.as_u64().filter(|number| *number > LARGEST) {
            return Err(InvalidSetting::new(
                self.path,
                number,
                format!("it must be 0 to {LARGEST}"),
            ));
        }
        match &self.check {
            Check::Any => Ok(()),
            Check::Whole(least, most) => {
                let number = job.whole(self.path);
                if (*least..=*most).contains(&number) {
                    return Ok(());
                }
                let reason = format!("it must be {least} to {most}");
                Err(InvalidSetting::new(self.path, number, reason))
            }
            Check::Number(is_valid, clause) => {
                let number = value.as_f64().unwrap_or(f64::NAN);
                if number.is_finite() && is_valid(number) {
                    return Ok(());
                }
                Err(InvalidSetting::new(self.path, number, format!("it must be {clause}")))
            }
            Check::Files(_) => data_files(job, self.path),
            Check::Rule(rule) => rule(job, self.path),
        }
    }
}

/// `train, sft or evaluate`.
pub(super) fn alternatives(names: &[impl AsRef<str>]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
