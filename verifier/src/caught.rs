//! Panics of the grading, caught.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anytime_proto::v1::{Verdict, VerdictKind};

use crate::grade::verdict;

/// A panic says nothing about the answer: it becomes a fault.
pub(crate) fn catch_panic(grade: impl FnOnce() -> Verdict) -> Verdict {
    // Grading is pure and the cache is written after it: there is no state that a panic could leave half changed.
    match catch_unwind(AssertUnwindSafe(grade)) {
        Ok(graded) => graded,
        Err(payload) => {
            let reason = panic_message(payload.as_ref());
            verdict(VerdictKind::InternalError, "", format!("grading panicked: {reason}"))
        }
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown reason")
}
