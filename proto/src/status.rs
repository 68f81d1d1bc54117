//! The one place where errors of the domain become gRPC statuses, and back.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::settings::InvalidSetting;

/// Metadata key that carries the name of the setting at fault.
const SETTING_KEY: &str = "anytime-setting";

/// Characters that are kept at the start and at the end of a long message. A message travels as a percent-encoded
/// header, and a client drops an answer whose headers exceed 16 KiB.
const MESSAGE_ENDS: [usize; 2] = [800, 400];

/// INVALID_ARGUMENT with the setting's name beside the message, so that a client need not read prose.
pub fn invalid_setting_status(error: &InvalidSetting) -> Status {
    let mut status = Status::invalid_argument(middle_left_out(error.to_string()));
    if let Ok(value) = MetadataValue::try_from(error.field.as_str()) {
        status.metadata_mut().insert(SETTING_KEY, value);
    }
    status
}

fn middle_left_out(message: String) -> String {
    let [start, end] = MESSAGE_ENDS;
    let count = message.chars().count();
    if count <= start + end {
        return message;
    }
    let letters = || message.chars();
    let (start, end): (String, String) = (letters().take(start).collect(), letters().skip(count - end).collect());
    format!("{start} … {end}")
}

/// The name of the setting that a server refused, if that is what the status says.
pub fn setting_of_status(status: &Status) -> Option<String> {
    if status.code() != Code::InvalidArgument {
        return None;
    }
    let value = status.metadata().get(SETTING_KEY)?;
    value.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_fits_the_headers() {
        let status = |reason: String| invalid_setting_status(&InvalidSetting::because("data.path", reason));
        assert_eq!(status("short".to_owned()).message(), "data.path: short");
        let long = status(format!("{}the end", "\u{1F914}".repeat(100_000)));
        // Each character has four bytes, and each byte takes three characters in the header.
        assert!(long.message().len() * 3 < 16 << 10, "{}", long.message().len());
        assert!(long.message().ends_with("the end"));
        assert_eq!(setting_of_status(&long).as_deref(), Some("data.path"));
    }
}
