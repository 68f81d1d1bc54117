//! The wire: messages and services generated from `anytime/v1/*.proto`, the job specification and its validation, the
//! invariants of a scored group, kept generations, message limits, and the one place that turns errors into gRPC
//! statuses.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

pub mod generations;
mod group;
mod ids;
pub mod limits;
mod manifest;
pub mod settings;
mod short_names;
mod status;

/// Messages, clients and servers of `anytime.v1`.
#[allow(missing_docs, clippy::all, clippy::unwrap_used, unreachable_pub)]
pub mod v1 {
    tonic::include_proto!("anytime.v1");
}

pub use group::{InvalidGroup, check_group};
pub use ids::{ActorId, GroupId, JobId, WeightsVersion};
pub use manifest::{have_same_tensors, manifest_checksum};
pub use short_names::ShortName;
pub use status::{invalid_setting_status, setting_of_status};

/// The encoded file descriptors, for the reflection service.
pub const FILE_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
