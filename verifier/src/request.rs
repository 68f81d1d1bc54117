//! Checks a request before any of it is graded.

use anytime_proto::settings::InvalidSetting;
use anytime_proto::v1::VerifyRequest;

use crate::limits::{MAX_ANSWER_CHARS, MAX_BATCH_ITEMS, MAX_GROUND_TRUTHS};
use crate::options::Options;

/// Refuses requests that cannot be graded whatever the responses are. Without this an item without a usable list of
/// ground truths would come back as a wrong answer.
pub(crate) fn check_request(request: &VerifyRequest) -> Result<Options, InvalidSetting> {
    let options = Options::try_from_request(request.extraction, request.conventions.as_ref())?;
    let items = &request.items;
    if items.len() > MAX_BATCH_ITEMS {
        let reason = format!("a request must have at most {MAX_BATCH_ITEMS} items");
        return Err(InvalidSetting::new("items", items.len(), reason));
    }
    for (index, item) in items.iter().enumerate() {
        if let Err(mut error) = check_ground_truths(&item.ground_truths) {
            error.field = format!("items[{index}].{}", error.field);
            return Err(error);
        }
    }
    Ok(options)
}

/// Refuses ground truths that no answer could match.
pub(crate) fn check_ground_truths(ground_truths: &[String]) -> Result<(), InvalidSetting> {
    if ground_truths.is_empty() {
        return Err(InvalidSetting::new(
            "ground_truths",
            ground_truths,
            "there must be at least one",
        ));
    }
    if ground_truths.len() > MAX_GROUND_TRUTHS {
        let reason = format!("there must be at most {MAX_GROUND_TRUTHS} entries");
        return Err(InvalidSetting::new("ground_truths", ground_truths.len(), reason));
    }
    for (index, ground_truth) in ground_truths.iter().enumerate() {
        // Characters are counted only where there could be too many.
        if ground_truth.len() > MAX_ANSWER_CHARS && ground_truth.chars().nth(MAX_ANSWER_CHARS).is_some() {
            let reason = format!("it must have at most {MAX_ANSWER_CHARS} characters");
            let size = format!("{} bytes", ground_truth.len());
            return Err(InvalidSetting {
                field: format!("ground_truths[{index}]"),
                value: Some(size),
                reason,
            });
        }
    }
    Ok(())
}
