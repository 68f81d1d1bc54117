//! The wire: messages and services generated from `anytime/v1/*.proto`, the job specification with its defaults and
//! checks, the rule of nodes, the invariants of a scored group, which groups have ended, kept generations, message
//! limits, and the one place that turns errors into gRPC statuses.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

pub mod codec;
mod ended;
pub mod generations;
pub mod gpus;
mod group;
mod ids;
pub mod limits;
mod manifest;
pub mod nodes;
mod reasons;
pub mod settings;
mod short_names;
mod status;
#[cfg(test)]
mod wire;

/// Messages, clients and servers of `anytime.v1`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("anytime.v1");
}

pub use ended::{CheckpointAccount, EndedGroups, checkpoint_accounts};
pub use group::{InvalidGroup, LOWEST_LOG_PROB, check_group, check_group_against_plan, decode_group};
pub use ids::{ActorId, GroupId, JobId, WeightsVersion};
pub use manifest::{have_same_tensors, manifest_checksum};
pub use reasons::ErrorReason;
pub use short_names::ShortName;
pub use status::{
    ERROR_DOMAIN, Refusal, StatusDetails, invalid_setting_status, refused_settings_status, setting_of_status,
};

/// The form of the specification in a stored [`v1::Job`]. It goes up where a newer learner would misread what an older
/// one wrote: 1 since the settings of each objective have a table of their own.
pub const JOB_FORMAT: u32 = 1;

/// The encoded file descriptors, with comments, for the reflection service and for the table of settings.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
