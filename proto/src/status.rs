//! The one place where errors of the domain become gRPC statuses, and back.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::settings::InvalidSetting;

/// Metadata key that carries the name of the setting at fault.
const SETTING_KEY: &str = "anytime-setting";

/// INVALID_ARGUMENT with the setting's name beside the message, so that a client need not read prose.
pub fn invalid_setting_status(error: &InvalidSetting) -> Status {
    let mut status = Status::invalid_argument(error.to_string());
    if let Ok(value) = MetadataValue::try_from(error.field.as_str()) {
        status.metadata_mut().insert(SETTING_KEY, value);
    }
    status
}

/// The name of the setting that a server refused, if that is what the status says.
pub fn setting_of_status(status: &Status) -> Option<String> {
    if status.code() != Code::InvalidArgument {
        return None;
    }
    let value = status.metadata().get(SETTING_KEY)?;
    value.to_str().ok().map(str::to_owned)
}
