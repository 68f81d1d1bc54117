//! Enumerations by their short names: `JOB_KIND_TRAIN` is `train` in a job file and on the command line.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::v1;

/// An enumeration whose variants share the prefix of its name and start with `UNSPECIFIED`.
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

macro_rules! short_name {
    ($($name:ident $prefix:literal),* $(,)?) => {
        $(impl ShortName for v1::$name {
            const PREFIX: &'static str = $prefix;

            fn full_name(self) -> &'static str {
                self.as_str_name()
            }

            fn from_full_name(name: &str) -> Option<Self> {
                Self::from_str_name(name)
            }
        })*
    };
}

short_name!(
    JobKind "JOB_KIND_",
    JobState "JOB_STATE_",
    Dtype "DTYPE_",
    CacheChoice "CACHE_CHOICE_",
    Prior "PRIOR_",
    VarianceReduction "VARIANCE_REDUCTION_",
    SummaryMethod "SUMMARY_METHOD_",
    Mix "MIX_",
    SummaryWeighting "SUMMARY_WEIGHTING_",
    LengthPenalty "LENGTH_PENALTY_",
    Schedule "SCHEDULE_",
    VerdictKind "VERDICT_KIND_",
    Purpose "PURPOSE_",
    WaitReason "WAIT_REASON_",
    AbandonReason "ABANDON_REASON_",
    FinishReason "FINISH_REASON_",
    PushStatus "PUSH_STATUS_",
    Extraction "EXTRACTION_",
    Percents "PERCENTS_",
    Fractions "FRACTIONS_",
    Rounding "ROUNDING_",
    Units "UNITS_",
    Lists "LISTS_",
    Brackets "BRACKETS_",
);

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
        None => Err(D::Error::custom(format!("`{name}` is not one of: {}", E::allowed()))),
    }
}
