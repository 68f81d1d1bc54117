//! What the check of a specification brings, before there is a job.

use anytime_proto::settings::JobSettings;
use anytime_proto::v1;

/// A specification that can work.
#[derive(Clone, Debug)]
pub struct CheckedJob {
    /// With all defaults.
    pub settings: JobSettings,
    /// What the files that it names hold.
    pub found: v1::JobCheck,
}

impl From<JobSettings> for CheckedJob {
    /// Nothing was looked at but the settings.
    fn from(settings: JobSettings) -> Self {
        let found = v1::JobCheck::default();
        Self { settings, found }
    }
}
