//! What differs between two specifications.

use super::filled::filled;
use super::table::TABLE;
use crate::v1;

/// The settings that differ, in the order of the table. One that is left out is its default.
pub(super) fn changed(before: &v1::JobSpec, after: &v1::JobSpec) -> Vec<&'static str> {
    let (before, after) = (filled(before), filled(after));
    let differs = |path: &&str| before.get(path) != after.get(path);
    TABLE.iter().map(|row| row.path).filter(differs).collect()
}
