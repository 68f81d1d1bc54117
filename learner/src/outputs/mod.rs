//! Where models may be written, and whose they are: the [`Places`] of one learner, and the [`Marker`] in every export by
//! which a job knows its own.

mod marker;
mod places;

pub use marker::{MARKER_FILE, Marker, Owner};
pub use places::{EXPORTS_DIRECTORY, FINAL_DIRECTORY, Places, check_writable};
