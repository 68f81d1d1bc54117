//! What the letters of a whole answer are, where its spelling leaves that open: matrices and vectors, which keep their order,
//! or the ends of segments.

mod bold;
mod capitals;
mod segments;

pub use bold::with_vectors;
pub(super) use bold::{bold, embolden};
pub(super) use capitals::{keep_order, ordered};
pub use segments::have_lengths;
pub(super) use segments::{join, segments};
