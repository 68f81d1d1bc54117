//! Why a job's thread stops before its work is done.

/// The request to stop that a job's thread finds between two pieces of its work, or while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The user cancelled the job: it ends as cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The process ends: the job goes on from its recovery checkpoint at the next start.
    #[error("the learner is shutting down")]
    Shutdown,
}
