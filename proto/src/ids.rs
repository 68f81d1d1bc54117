//! Identifiers as types of their own, so that one cannot be passed for another.

use std::fmt;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl $name {
            /// The identifier as it travels on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A job; chosen by the learner when the job is submitted.
    JobId
);
text_id!(
    /// An actor process; chosen by the actor and stable over its life.
    ActorId
);
text_id!(
    /// One leased problem of one job; the same for every actor that is given the lease.
    GroupId
);

/// Counts the training steps of a job whose weights have been published; 0 is the checkpoint the job started from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightsVersion(pub u64);

impl fmt::Display for WeightsVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
