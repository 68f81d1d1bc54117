//! Files that were written between a job's submission and its start. A job may wait for hours, and its start reads and
//! checks everything anew: what was true at submission need not be. Such a job runs, because all was checked again and
//! nothing has been trained yet, and somebody may have put a file right on purpose; but it says so.

use std::path::Path;

use anytime_proto::settings::{HubReference, JobSettings};
use anytime_proto::v1;

use crate::data::files_of;
use crate::jobs::checked::FileStamp;

/// How many files a sentence names.
const SHOWN: usize = 3;

/// All files that a job of these settings reads, as they are now.
pub(super) fn stamps(settings: &JobSettings, root: &Path) -> Vec<FileStamp> {
    let mut stamps = Vec::new();
    let mut of_model = Vec::new();
    // A job that starts from another one has the model to itself.
    if settings.model.from_job.is_none() {
        let listing = std::fs::read_dir(root.join(&settings.model.path)).into_iter().flatten();
        of_model = listing.flatten().map(|entry| entry.path()).collect();
    }
    of_model.retain(|path| path.is_file());
    of_model.sort();
    stamps.extend(of_model.iter().map(|path| FileStamp::of("model.path", path)));
    let data = (settings.kind != v1::JobKind::Evaluate).then_some(("data.path", &settings.data.path));
    let evaluation = (settings.kind != v1::JobKind::Sft).then_some(("evaluation.path", &settings.evaluation.path));
    for (setting, names) in data.into_iter().chain(evaluation) {
        // What is of the hub is known by its checksums.
        let names: Vec<String> = names
            .iter()
            .filter(|name| !HubReference::is_one(name))
            .cloned()
            .collect();
        let files = files_of(setting, &names, root).unwrap_or_default();
        stamps.extend(files.iter().map(|path| FileStamp::of(setting, path)));
    }
    stamps
}

/// The notices about files that have changed, a sentence for each setting. Once a job has a recovery checkpoint
/// (`has_begun`), that is tied to its model and rows, and only the files of its evaluations are compared.
pub(super) fn notices(then: &[FileStamp], now: &[FileStamp], has_begun: bool) -> Vec<v1::Notice> {
    if then.is_empty() {
        return Vec::new();
    }
    let settings = if has_begun {
        &["evaluation.path"][..]
    } else {
        &["model.path", "data.path", "evaluation.path"]
    };
    let changed = |setting: &&str| {
        let of = |stamps: &[FileStamp], others: &[FileStamp]| -> Vec<String> {
            let changed = stamps
                .iter()
                .filter(|stamp| stamp.setting == **setting && !others.contains(stamp));
            changed.map(|stamp| stamp.path.display().to_string()).collect()
        };
        let mut names = of(now, then);
        names.extend(of(then, now));
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| v1::Notice {
            topic: "changed_files".to_owned(),
            text: sentence(setting, &names),
            step: 0,
        })
    };
    settings.iter().filter_map(changed).collect()
}

fn sentence(setting: &str, names: &[String]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{setting}: {shown}{more} changed after the job was submitted and checked; all was checked again, and the job works \
         with what is there now"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(setting: &str, path: &str, bytes: u64) -> FileStamp {
        FileStamp {
            setting: setting.to_owned(),
            path: path.into(),
            bytes: Some(bytes),
            written: None,
        }
    }

    #[test]
    fn files_that_changed_came_or_went_are_named() {
        let then = [
            stamp("model.path", "m/config.json", 1),
            stamp("data.path", "a", 1),
            stamp("data.path", "b", 1),
            stamp("evaluation.path", "e", 1),
        ];
        assert_eq!(notices(&then, &then, false), []);
        let now = [
            stamp("model.path", "m/config.json", 1),
            stamp("data.path", "b", 2),
            stamp("data.path", "c", 1),
            stamp("evaluation.path", "e", 2),
        ];
        let texts = |has_begun| -> Vec<String> {
            let notices = notices(&then, &now, has_begun);
            notices.into_iter().map(|notice| notice.text).collect()
        };
        let said = texts(false);
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("data.path: a, b, c changed"), "{}", said[0]);
        assert!(said[1].starts_with("evaluation.path: e changed"), "{}", said[1]);
        assert_eq!(texts(true), said[1..]);
        assert_eq!(notices(&[], &now, false), [], "a job of an earlier version");
    }
}
