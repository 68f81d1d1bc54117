//! Files and directories that appear whole or not at all, and that are on the disk when the call returns.
//!
//! Every process of this project keeps something that a crash must not leave half written: a job, a checkpoint, an
//! exported model, a port file. All of them follow the same four steps, which are written here once:
//!
//! 1. write beside the target, under the name `.NAME.part`;
//! 2. sync what was written;
//! 3. rename it onto the target, so that a reader sees the old content or the new one;
//! 4. sync the directory, so that the rename survives a loss of power.
//!
//! | to write | use |
//! |---|---|
//! | bytes that are in memory | [`write_durably`] |
//! | a file that is written piece by piece | [`write_durably_with`] |
//! | a directory with everything in it | [`replace_directory`] |
//! | a rename of one's own | [`sync_directory`] after it |
//! | records behind one another | [`record`], and [`RecordReader`] to read them |
//! | many contents at once, compressed | [`write_packed`], and [`PackedReader`] to read them |
//!
//! A call that fails leaves the target as it was and removes what it wrote. A crash can leave one `.NAME.part` behind;
//! the next write of the same target overwrites it. That is why the name is fixed, and why the crates that pick a
//! random one (`tempfile`, `atomic-write-file`) are not used here: their leftovers are never found again, and those of
//! a model's export have gigabytes. A lock on the directory of the target makes writers wait for each other.
#![forbid(unsafe_code)]

mod directory;
mod file;
mod packed;
mod part;
mod records;

pub use directory::{replace_directory, sync_directory};
pub use file::{write_durably, write_durably_with};
pub use packed::{PackedError, PackedReader, write_packed};
pub use part::{PART_SUFFIX, WriteError};
pub use records::{RecordReader, only_record, record};
