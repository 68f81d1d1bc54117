//! The tasks that the project makes itself, by name.

use clap::ValueEnum;
use serde::Deserialize;

/// The tasks, as `anytime data` and `anytime demo --task` name them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TaskName {
    /// Chains of digits with + and − modulo 10; the concise way takes the same steps as the long one, spelled shorter
    Chains,
    /// Sums of products modulo 10; the concise way knows the times table, the long one adds again and again
    Products,
    /// Sums of two and three two-digit numbers, for a published checkpoint
    Sums,
}

impl TaskName {
    /// The name on the command line and in preset files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chains => "chains",
            Self::Products => "products",
            Self::Sums => "sums",
        }
    }

    /// The directory of its data in job files and presets. A run with a directory of its own replaces it by that one.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Chains => "runs/demo",
            Self::Products => "runs/products",
            Self::Sums => "runs/sums",
        }
    }
}
