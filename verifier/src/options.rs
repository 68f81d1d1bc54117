//! The choices of a request: how the answer is found, and the conventions that mathematics leaves open.

use anytime_proto::settings::InvalidSetting;
use anytime_proto::{ShortName, v1};

/// The choices of a request. The default extraction is `anytime`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// How the answer is found in the response.
    pub extraction: v1::Extraction,
    /// The conventions for comparing it.
    pub conventions: Conventions,
}

impl Options {
    /// The choices of a request, checked.
    ///
    /// # Errors
    /// [`InvalidSetting`] with the field's name if a number stands for none of its choices. It may come from a newer
    /// client, which would not get what it asks for.
    pub fn try_from_request(extraction: i32, conventions: Option<&v1::Conventions>) -> Result<Self, InvalidSetting> {
        let extraction = choice::<v1::Extraction>("extraction", extraction)?;
        let conventions = match conventions {
            Some(conventions) => Conventions::try_from_message(conventions)?,
            None => Conventions::default(),
        };
        Ok(Self {
            extraction,
            conventions,
        })
    }
}

/// The conventions that mathematics leaves open; `anytime.v1.Conventions` says what each means. The defaults follow the
/// labels of the public cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conventions {
    /// `PERCENTS_EXACT`: 50 % is not 50.
    pub exact_percents: bool,
    /// `FRACTIONS_REDUCED`: 2/4 is not 1/2.
    pub reduced_fractions: bool,
    /// `ROUNDING_TO_GROUND_TRUTH`: 1.547 is 1.55.
    pub rounding: bool,
    /// How units count.
    pub units: Units,
    /// `LISTS_ORDERED`: `1, 2` is not `2, 1`.
    pub ordered_lists: bool,
    /// `BRACKETS_EXACT`: `1, 2` is not `(1, 2)`.
    pub exact_brackets: bool,
}

impl Conventions {
    fn try_from_message(message: &v1::Conventions) -> Result<Self, InvalidSetting> {
        let percents = choice::<v1::Percents>("conventions.percents", message.percents)?;
        let fractions = choice::<v1::Fractions>("conventions.fractions", message.fractions)?;
        let rounding = choice::<v1::Rounding>("conventions.rounding", message.rounding)?;
        let units = choice::<v1::Units>("conventions.units", message.units)?;
        let lists = choice::<v1::Lists>("conventions.lists", message.lists)?;
        let brackets = choice::<v1::Brackets>("conventions.brackets", message.brackets)?;
        Ok(Self {
            exact_percents: percents == v1::Percents::Exact,
            reduced_fractions: fractions == v1::Fractions::Reduced,
            rounding: rounding == v1::Rounding::ToGroundTruth,
            units: match units {
                v1::Units::Unspecified | v1::Units::Optional => Units::Optional,
                v1::Units::Required => Units::Required,
                v1::Units::Ignored => Units::Ignored,
            },
            ordered_lists: lists == v1::Lists::Ordered,
            exact_brackets: brackets == v1::Brackets::Exact,
        })
    }
}

/// The choice that a number on the wire stands for.
fn choice<Choice: ShortName>(field: &str, number: i32) -> Result<Choice, InvalidSetting> {
    Choice::try_from(number).map_err(|_| {
        let choices = (0..).map_while(|number| Choice::try_from(number).ok());
        let names: Vec<&str> = choices.map(Choice::full_name).collect();
        InvalidSetting::new(field, number, format!("it must be {}", names.join(", ")))
    })
}

/// How a unit of measurement counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Units {
    /// It may be left out or added, but not be another one.
    #[default]
    Optional,
    /// It must be there exactly if the ground truth has one.
    Required,
    /// It is ignored.
    Ignored,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_and_unspecified_are_the_defaults() {
        let unset = Options::try_from_request(0, None).unwrap();
        let unspecified = Options::try_from_request(0, Some(&v1::Conventions::default())).unwrap();
        assert_eq!(unset, Options::default());
        assert_eq!(unspecified, Options::default());
    }

    #[test]
    fn the_first_named_choice_is_the_default() {
        let first = v1::Conventions {
            percents: 1,
            fractions: 1,
            rounding: 1,
            units: 1,
            lists: 1,
            brackets: 1,
        };
        let options = Options::try_from_request(1, Some(&first)).unwrap();
        assert_eq!(options.conventions, Conventions::default());
    }

    #[test]
    fn every_choice_arrives() {
        let message = v1::Conventions {
            percents: v1::Percents::Exact.into(),
            fractions: v1::Fractions::Reduced.into(),
            rounding: v1::Rounding::ToGroundTruth.into(),
            units: v1::Units::Ignored.into(),
            lists: v1::Lists::Ordered.into(),
            brackets: v1::Brackets::Exact.into(),
        };
        let extraction = v1::Extraction::LastNumber;
        let options = Options::try_from_request(extraction.into(), Some(&message)).unwrap();
        let expected = Conventions {
            exact_percents: true,
            reduced_fractions: true,
            rounding: true,
            units: Units::Ignored,
            ordered_lists: true,
            exact_brackets: true,
        };
        assert_eq!((options.extraction, options.conventions), (extraction, expected));
        let required = v1::Conventions {
            units: v1::Units::Required.into(),
            ..Default::default()
        };
        let options = Options::try_from_request(0, Some(&required)).unwrap();
        assert_eq!(options.conventions.units, Units::Required);
    }

    #[test]
    fn an_unknown_choice_is_refused_by_name() {
        let error = Options::try_from_request(4, None).unwrap_err();
        assert_eq!(
            (error.field.as_str(), error.value.as_deref()),
            ("extraction", Some("4"))
        );
        assert_eq!(
            error.reason,
            "it must be EXTRACTION_UNSPECIFIED, EXTRACTION_ANYTIME, EXTRACTION_BOXED, EXTRACTION_LAST_NUMBER"
        );
        type Set = fn(&mut v1::Conventions);
        let fields: [(&str, Set); 6] = [
            ("percents", |message| message.percents = 3),
            ("fractions", |message| message.fractions = -1),
            ("rounding", |message| message.rounding = 3),
            ("units", |message| message.units = 4),
            ("lists", |message| message.lists = 3),
            ("brackets", |message| message.brackets = i32::MAX),
        ];
        for (field, set) in fields {
            let mut message = v1::Conventions::default();
            set(&mut message);
            let error = Options::try_from_request(0, Some(&message)).unwrap_err();
            assert_eq!(error.field, format!("conventions.{field}"));
            assert!(
                error
                    .reason
                    .starts_with(&format!("it must be {}_UNSPECIFIED, ", field.to_uppercase())),
                "{}",
                error.reason
            );
        }
    }
}
