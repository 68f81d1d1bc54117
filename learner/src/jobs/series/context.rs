//! What the files need to know of a job beside its events.

use anytime_proto::settings::with_defaults;
use anytime_proto::v1;

/// What the files need to know of a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Context {
    /// Those of the rewards of a step.
    pub(super) budgets: Vec<u32>,
    /// The setting `checkpoint.tensorboard`.
    pub(super) tensorboard: bool,
}

impl Context {
    /// None for a job whose specification cannot be read.
    pub(super) fn of(job: &v1::Job) -> Option<Self> {
        let spec = with_defaults(job.spec.as_ref()?);
        let checkpoint = spec.checkpoint.unwrap_or_default();
        Some(Self {
            budgets: spec.rollout.unwrap_or_default().budgets,
            tensorboard: checkpoint.tensorboard(),
        })
    }
}
