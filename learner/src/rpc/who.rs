//! Who calls: the ids by which an actor's process names itself.

use anytime_proto::ActorId;
use tonic::Status;

use super::status;
use crate::rollouts::actors::Holder;

/// The longest id that is taken, in bytes: ids are kept, and stand in the log.
const LONGEST_ID: usize = 256;

/// Checks the length of an id.
///
/// # Errors
/// `INVALID_ARGUMENT` that names the field.
pub(crate) fn check_id(field: &str, id: &str) -> Result<(), Status> {
    if id.len() <= LONGEST_ID {
        return Ok(());
    }
    let length = id.len();
    let message = format!("{field} has {length} bytes; it must have {LONGEST_ID} or fewer");
    Err(status::bad_argument(field, message))
}

/// The process that a request names. An actor that does not say which process it is has an empty `incarnation`.
///
/// # Errors
/// `INVALID_ARGUMENT` that names the field.
pub(crate) fn holder(actor_id: String, incarnation: String) -> Result<Holder, Status> {
    if actor_id.is_empty() {
        return Err(status::bad_argument("actor_id", "actor_id is empty"));
    }
    for (field, id) in [("actor_id", &actor_id), ("incarnation", &incarnation)] {
        check_id(field, id)?;
    }
    Ok(Holder {
        actor: ActorId(actor_id),
        incarnation,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_would_fill_logs_and_memory_are_refused_by_name() {
        let long = "a".repeat(20 << 20);
        for (actor_id, incarnation, says) in [
            ("", "", "actor_id is empty"),
            (
                long.as_str(),
                "",
                "actor_id has 20971520 bytes; it must have 256 or fewer",
            ),
            (
                "actor",
                long.as_str(),
                "incarnation has 20971520 bytes; it must have 256 or fewer",
            ),
        ] {
            let status = holder(actor_id.to_owned(), incarnation.to_owned()).unwrap_err();
            assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, says));
        }
        let longest = "a".repeat(LONGEST_ID);
        assert_eq!(holder(longest.clone(), longest.clone()).unwrap().incarnation, longest);
    }
}
