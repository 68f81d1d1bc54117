//! The scored groups that training steps trained, kept in the job's directory: `groups/step-NNNNNNNN.groups`, a packed
//! file (`anytime_files::write_packed`) for each step. A step that is trained once more after a restart replaces its file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use anytime_files::{PackedReader, write_packed};
use anytime_proto::v1;
use prost::Message as _;
use tracing::warn;

/// Where they are in the job's directory.
pub const DIRECTORY: &str = "groups";

const PREFIX: &str = "step-";
const SUFFIX: &str = ".groups";

/// The groups of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptGroups {
    /// What they are and how they were trained.
    pub head: v1::KeptGroupsHead,
    /// In the order of training.
    pub groups: Vec<v1::KeptGroup>,
}

/// The file of a step.
pub fn path(job_directory: &Path, step: u64) -> PathBuf {
    job_directory.join(DIRECTORY).join(format!("{PREFIX}{step:08}{SUFFIX}"))
}

/// Writes the groups of the step that the head names.
///
/// # Errors
/// If the disk does not take them; an earlier file of the step is still there then.
pub fn write<'a>(
    job_directory: &Path,
    head: &v1::KeptGroupsHead,
    groups: impl IntoIterator<Item = (u64, &'a v1::ScoredGroup)>,
) -> anyhow::Result<()> {
    let target = path(job_directory, head.step);
    let directory = job_directory.join(DIRECTORY);
    fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    let encoded = groups.into_iter().map(|(sequence, group)| {
        let group = Some(group.clone());
        v1::KeptGroup { sequence, group }.encode_to_vec()
    });
    Ok(write_packed(&target, &head.encode_to_vec(), encoded)?)
}

/// Removes the files of all but the newest `count` steps up to this one. Where that fails, the disk has something too
/// much, and the job goes on.
pub fn prune(job_directory: &Path, step: u64, count: u64) {
    for older in steps(job_directory).unwrap_or_default() {
        if older.saturating_add(count) <= step {
            let path = path(job_directory, older);
            if let Err(error) = fs::remove_file(&path) {
                warn!(path = %path.display(), %error, "the groups of an older step cannot be removed");
            }
        }
    }
}

/// The steps whose groups are kept, ascending.
///
/// # Errors
/// If the directory cannot be read.
pub fn steps(job_directory: &Path) -> anyhow::Result<Vec<u64>> {
    let directory = job_directory.join(DIRECTORY);
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let reading = || format!("read {}", directory.display());
    let mut steps = Vec::new();
    for entry in fs::read_dir(&directory).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        steps.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    steps.sort_unstable();
    Ok(steps)
}

/// Reads the head of a file of groups.
///
/// # Errors
/// If it cannot be read, or is damaged, with what is wrong with it.
pub fn read_head(path: &Path) -> anyhow::Result<v1::KeptGroupsHead> {
    head_of(&PackedReader::open(path)?, path)
}

fn head_of(reader: &PackedReader, path: &Path) -> anyhow::Result<v1::KeptGroupsHead> {
    let head = v1::KeptGroupsHead::decode(reader.head()).ok();
    head.filter(|head| head.spec.is_some() && head.computation.is_some())
        .with_context(|| format!("{} is no file of groups, or its head is damaged", path.display()))
}

/// Reads a file of groups, whole.
///
/// # Errors
/// If it cannot be read, or is damaged, with what is wrong with it.
pub fn read(path: &Path) -> anyhow::Result<KeptGroups> {
    let damaged = || format!("{} is damaged", path.display());
    let mut reader = PackedReader::open(path)?;
    let head = head_of(&reader, path)?;
    let mut groups = Vec::new();
    while let Some(content) = reader.read_next()? {
        let kept = v1::KeptGroup::decode(content.as_slice()).with_context(damaged)?;
        let Some(group) = &kept.group else {
            bail!("{} is damaged: an entry has no group", path.display());
        };
        // A trainer relies on what holds of every group that was pushed.
        anytime_proto::check_group(group)
            .with_context(|| format!("{} holds group {} that is invalid", path.display(), group.group_id))?;
        groups.push(kept);
    }
    ensure!(
        groups.len() as u64 == head.groups,
        "{} is damaged: it holds {} of {} groups",
        path.display(),
        groups.len(),
        head.groups
    );
    Ok(KeptGroups { head, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> v1::ScoredGroup {
        let generated = |tokens: usize| {
            Some(v1::Generated {
                ids: (1..=tokens as u32).collect(),
                log_probs: vec![-0.5; tokens],
                versions: vec![3; tokens],
                finish: v1::FinishReason::Length.into(),
            })
        };
        let node = v1::Node {
            cut: 2,
            first_budget: 0,
            multiplicity: 1,
            inserted_ids: vec![7],
            summaries: vec![v1::Summary {
                generated: generated(2),
                ..Default::default()
            }],
        };
        v1::ScoredGroup {
            group_id: "job/train/5".to_owned(),
            budgets: vec![2],
            summaries_per_budget: 1,
            traces: vec![v1::Trace {
                thinking: generated(2),
                nodes: vec![node],
            }],
            ..Default::default()
        }
    }

    fn head(step: u64, groups: u64) -> v1::KeptGroupsHead {
        v1::KeptGroupsHead {
            job_id: "job".to_owned(),
            step,
            groups,
            spec: Some(v1::JobSpec::default()),
            computation: Some(v1::Computation::default()),
            ..Default::default()
        }
    }

    #[test]
    fn groups_come_back_as_they_were_and_a_step_stands_once() {
        let job = tempfile::tempdir().expect("a directory");
        let mut second = group();
        second.traces[0].thinking.as_mut().expect("there").log_probs[1] = f32::MIN_POSITIVE;
        write(job.path(), &head(7, 1), [(9, &group())]).expect("written");
        write(job.path(), &head(7, 2), [(5, &group()), (6, &second)]).expect("written again");
        let read = read(&path(job.path(), 7)).expect("read");
        assert_eq!(read.head, head(7, 2));
        let expected = [(5, group()), (6, second)].map(|(sequence, group)| v1::KeptGroup {
            sequence,
            group: Some(group),
        });
        assert_eq!(read.groups, expected);
        assert_eq!(read_head(&path(job.path(), 7)).expect("read"), head(7, 2));
        assert_eq!(steps(job.path()).expect("listed"), [7]);
    }

    #[test]
    fn the_newest_steps_stay_and_nothing_else_goes() {
        let job = tempfile::tempdir().expect("a directory");
        assert_eq!(steps(job.path()).expect("none yet"), Vec::<u64>::new());
        for step in [1, 2, 3, 10, 11, 12] {
            write(job.path(), &head(step, 1), [(0, &group())]).expect("written");
        }
        let notes = job.path().join(DIRECTORY).join("notes.txt");
        fs::write(&notes, "mine").expect("written");
        prune(job.path(), 11, 9);
        // Step 12 is of a line that a restart undid; its file is replaced when it is trained again.
        assert_eq!(steps(job.path()).expect("listed"), [3, 10, 11, 12]);
        prune(job.path(), 12, u64::MAX);
        prune(job.path(), 12, 1);
        assert_eq!(steps(job.path()).expect("listed"), [12]);
        assert!(notes.exists());
    }

    #[test]
    fn what_is_no_file_of_groups_is_said_to_be_none() {
        let job = tempfile::tempdir().expect("a directory");
        let file = path(job.path(), 1);
        let says = |wanted: &str| {
            let error = format!("{:#}", read(&file).expect_err(wanted));
            assert!(
                error.contains(wanted) && error.contains("step-00000001.groups"),
                "{error}"
            );
        };
        write(job.path(), &head(1, 2), [(0, &group())]).expect("written");
        says("holds 1 of 2 groups");
        let mut broken = group();
        broken.traces[0].thinking.as_mut().expect("there").log_probs.pop();
        write(job.path(), &head(1, 1), [(0, &broken)]).expect("written");
        says("holds group job/train/5 that is invalid");
        let mut empty = head(1, 0);
        empty.spec = None;
        write(job.path(), &empty, []).expect("written");
        says("is no file of groups");
        write_packed(&file, b"\xff\xff", Vec::new()).expect("written");
        says("its head is damaged");
        fs::write(&file, "no groups").expect("written");
        says("is damaged");
    }
}
