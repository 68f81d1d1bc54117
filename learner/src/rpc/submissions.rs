//! Submissions that are being answered, by request id. A request that is repeated before its first answer waits for
//! that one instead of checking the same files beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use anytime_proto::v1;
use prost::Message;
use tonic::Status;

use super::status;
use crate::lock::lock;

/// The largest specification that is taken, in bytes as it is sent. Every job keeps its own, and answers carry it.
const MAX_SPECIFICATION_BYTES: usize = 1024 * 1024;

/// Checks the size of a specification.
///
/// # Errors
/// `INVALID_ARGUMENT` with the size.
pub(super) fn check_size(spec: Option<&v1::JobSpec>) -> Result<(), Status> {
    let bytes = spec.map_or(0, Message::encoded_len);
    if bytes <= MAX_SPECIFICATION_BYTES {
        return Ok(());
    }
    let message = format!("the specification has {bytes} bytes; at most {MAX_SPECIFICATION_BYTES} are taken");
    Err(status::bad_argument("spec", message))
}

/// One lock for each request id that somebody waits for.
#[derive(Default)]
pub(super) struct Submissions {
    by_request: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Submissions {
    /// The lock of a request id. Requests without an id each get a lock of their own.
    pub(super) fn of(&self, request_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        if request_id.is_empty() {
            return Arc::default();
        }
        let mut by_request = lock(&self.by_request);
        if let Some(held) = by_request.get(request_id).and_then(Weak::upgrade) {
            return held;
        }
        by_request.retain(|_, held| held.strong_count() > 0);
        let new = Arc::default();
        by_request.insert(request_id.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_specification_has_at_most_a_mebibyte() {
        let spec = |length: usize| v1::JobSpec {
            name: Some("a".repeat(length)),
            ..v1::JobSpec::default()
        };
        assert!(check_size(None).is_ok() && check_size(Some(&spec(1000))).is_ok());
        let refused = check_size(Some(&spec(MAX_SPECIFICATION_BYTES))).unwrap_err();
        assert!(refused.message().contains("at most 1048576"), "{refused}");
    }

    #[test]
    fn the_same_request_has_the_same_lock_as_long_as_somebody_holds_it() {
        let submissions = Submissions::default();
        let first = submissions.of("a");
        assert!(Arc::ptr_eq(&first, &submissions.of("a")));
        assert!(!Arc::ptr_eq(&first, &submissions.of("b")));
        assert!(!Arc::ptr_eq(&submissions.of(""), &submissions.of("")));
        drop(first);
        let again = submissions.of("c");
        assert_eq!(lock(&submissions.by_request).len(), 1, "what nobody holds is forgotten");
        drop(again);
    }
}
